/**
 * The front of every npm command, for any Node: `node scripts/npm.cjs [script.ts [arguments]]` in package.json. It says
 * what is missing before anything runs: a Node that is new enough, npm's packages (which it installs), programs that only
 * the system has. Flags that npm keeps (`npm run setup --dry-run`) it hands to the script, or refuses.
 *
 * Exit 2  something is missing, or a flag cannot be used; the command did not run
 *      else the script's own; without a script 0, and npm goes on
 */
// biome-ignore-all lint/style/useNodejsImportProtocol: Node 12 has to come as far as the sentence about Node
'use strict'
const { spawnSync } = require('child_process')
const fs = require('fs')
const { createRequire } = require('module')
const { delimiter, join } = require('path')
const { pathToFileURL } = require('url')

/** What only the system has, by its package in Debian; Homebrew's has the same name. */
const PROGRAMS = {
  tmux: 'tmux',
  curl: 'curl',
  ps: 'procps',
  shellcheck: 'shellcheck',
  'systemd-nspawn': 'systemd-container',
  'dbus-daemon': 'dbus dbus-user-session',
  cron: 'cron',
  prometheus: 'prometheus',
  'prometheus-node-exporter or node_exporter': 'prometheus-node-exporter',
  'prometheus-alertmanager or alertmanager': 'prometheus-alertmanager',
  chromium: 'chromium',
  ssh: 'openssh-client',
  sshd: 'openssh-server',
}
const TIERS = ['tmux', 'curl']
const ASKS_PS = TIERS.concat('ps')
const SYSTEMD = ['systemd-nspawn', 'dbus-daemon', 'cron']
const REAL = Object.keys(PROGRAMS).filter((program) => program !== 'shellcheck')
const NEEDS = {
  demo: ['tmux'],
  test: TIERS,
  'test:process': ASKS_PS,
  'test:real': REAL,
  'test:fire': ASKS_PS,
  'test:fire:short': ASKS_PS,
  'test:all': REAL,
  faults: ASKS_PS,
  'faults:real': ASKS_PS.concat(SYSTEMD),
  'doctor:eval': TIERS,
  'bench:tick': TIERS,
  'bench:felt': ASKS_PS.concat(SYSTEMD),
  shellcheck: ['shellcheck'],
}
/** `--plan` is to npm `-p -l -a -n`. */
const LETTERS = ['all', 'long', 'parseable']
/** What npm was told for the command is not meant for the installation; without a network npm would try for two minutes. */
const HOW_TO_INSTALL = [
  ...['--no-dry-run', '--no-json', '--no-global', '--loglevel=error', '--no-audit', '--no-fund'],
  ...['--fetch-retries=3', '--fetch-retry-mintimeout=1000', '--fetch-retry-factor=2'],
]
const FOR_USE = /^(?:install\.ts|scripts\/)/

const root = join(__dirname, '..')
const manifest = JSON.parse(read('package.json'))
const [script, ...given] = process.argv.slice(2)
const { npm_lifecycle_event: name = '' } = process.env
const typed = name === '' ? script : name === 'test' ? 'npm test' : `npm run ${name}`

checkNode()
const source = script ? read(script) : ''
const kept = keptByNpm()
checkSystem()
installPackages()
if (script) run()

function checkNode() {
  const lowest = /\d+\.\d+/.exec(manifest.engines.node)[0]
  const number = (version) => version.split('.').reduce((sum, part, i) => (i < 2 ? sum * 1000 + Number(part) : sum), 0)
  if (number(process.versions.node) < number(lowest))
    refuse(
      `needs Node.js ${lowest} or later; this is ${process.versions.node} (${process.execPath}). Get a newer one from nodejs.org, your package manager or nvm`,
    )
}

function installPackages() {
  const isForUse = script !== undefined && FOR_USE.test(script)
  if (!lacksPackages(isForUse)) return
  const mine = join(root, '.npm-installing')
  const release = () => fs.unlinkSync(mine)
  try {
    for (let times = 0; !claim(mine, times); times++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  } catch (error) {
    refuse(
      `needs npm's packages, and ${root} cannot be written (${error.code}); \`npm ci\` there, as its owner, brings them`,
    )
  }
  process.on('exit', release)
  if (lacksPackages(isForUse)) {
    process.stderr.write(`Installing the npm packages of package-lock.json into ${join(root, 'node_modules')} …\n`)
    // `npm ci` would take the packages away from under jobs that run.
    const how = fs.existsSync(join(root, 'node_modules')) ? ['install', '--no-save'] : ['ci']
    how.push(isForUse ? '--omit=dev' : '--include=dev', ...HOW_TO_INSTALL)
    const npm = spawnSync('npm', how, { cwd: root, encoding: 'utf8' })
    const said = npm.error ? String(npm.error) : npm.stdout + npm.stderr
    if (npm.status !== 0 || lacksPackages(isForUse)) refuse(`needs npm's packages, and ${whyNot(said)}`)
  }
  release()
  process.removeListener('exit', release)
}

/** True when a package of the lock file is not there in its version. npm notes at the end of an installation what is. Other
 * versions are exchanged by the setup itself, beside the jobs that run. */
function lacksPackages(isForUse) {
  const [wanted, there] = ['package-lock.json', 'node_modules/.package-lock.json'].map((path) => {
    return fs.existsSync(join(root, path)) ? JSON.parse(read(path)).packages : {}
  })
  return Object.keys(wanted).some((path) => {
    const { optional, dev, devOptional, version } = wanted[path]
    if (path === '' || optional || (isForUse && (dev || devOptional))) return false
    const isOther = script !== 'install.ts' && there[path] && there[path].version !== version
    return !there[path] || isOther || !fs.existsSync(join(root, path))
  })
}

/** A link that names its process: made in one step. False while another one installs. */
function claim(path, times) {
  try {
    fs.symlinkSync(String(process.pid), path)
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  try {
    const holder = Number(fs.readlinkSync(path))
    if (times === 0) process.stderr.write(`Waiting for process ${holder}, which installs npm's packages …\n`)
    process.kill(holder, 0)
  } catch (error) {
    if (error.code === 'ESRCH') fs.unlinkSync(path)
  }
  return false
}

function whyNot(said) {
  if (/ENOENT.*npm|spawnSync npm/.test(said)) return 'there is no npm on the PATH'
  if (/EROFS|EACCES|EPERM/.test(said)) return `${root} cannot be written; \`npm ci\` there, as its owner, brings them`
  if (/ENOSPC/.test(said)) return 'the disk is full'
  if (/ENOTFOUND|EAI_AGAIN|ECONN|ENETUNREACH|EHOSTUNREACH|TIMEDOUT|ERR_SOCKET|ENOTCACHED/.test(said))
    return "npm's registry cannot be reached; is there a network? Try again when there is"
  const words = said.split('\n').filter((line) => /^npm err/i.test(line))
  return `npm failed: ${(words[1] || words[0] || said).replace(/^npm err\S* /i, '').trim()}; \`npm ci\` in ${root} says more`
}

function checkSystem() {
  const needed = NEEDS[name] || []
  if (needed.includes('systemd-nspawn')) {
    if (process.platform !== 'linux') refuse('needs Linux: it boots small machines with systemd')
    if (process.getuid() !== 0) refuse(`needs root, for it boots small machines with systemd: sudo ${typed}`)
  }
  const folders = `${process.env.PATH}${delimiter}/usr/sbin${delimiter}/sbin`.split(delimiter)
  const isThere = (program) => folders.some((folder) => fs.existsSync(join(folder, program)))
  const missing = needed.filter((programs) => !programs.split(' or ').some(isThere))
  const how = process.platform === 'darwin' ? 'brew install' : 'sudo apt-get install'
  const packages = missing.map((programs) => PROGRAMS[programs]).join(' ')
  if (missing.length > 0) refuse(`needs ${missing.join(', ')}, which this machine does not have: ${how} ${packages}`)
}

/**
 * The flags that npm took for itself, as the script understands them: npm leaves them in the environment. `--port 1` comes
 * as `npm_config_port=true`, and 1 as an argument: what takes a value comes last, so that it finds it, or is refused.
 */
function keptByNpm() {
  const takes = new Map(Array.from(source.matchAll(/^ {2}--([a-z-]+)( [A-Z]+)?/gm), ([, flag, value]) => [flag, value]))
  const { npm_execpath: npm, npm_config_userconfig: ofUser, npm_config_globalconfig: ofAll } = process.env
  const files = [ofUser, ofAll, join(root, '.npmrc'), npm && join(npm, '..', '..', 'npmrc')]
  const rc = files.map((path) => (path && fs.existsSync(path) ? fs.readFileSync(path, 'utf8') : '')).join('\n')
  const isSet = (flag) => new RegExp(`^\\s*${flag.replace(/-/g, '[-_]')}\\s*(?:=|$)`, 'm').test(rc)
  const flags = Object.keys(process.env).flatMap((key) => {
    const [, words = ''] = /^npm_config_([a-z_]+)$/.exec(key) || []
    const [flag, value] = [words.replace(/_/g, '-'), process.env[key]]
    const isNo = value === '' || value === 'false'
    if (flag === '' || isSet(flag) || (isNo && takes.has(flag))) return []
    const isOurs = takes.has(flag) || (!isNo && (flag === 'dry-run' || LETTERS.includes(flag)))
    if (!isOurs && ((!isNo && value !== 'true') || isNpms(flag, npm))) return []
    return { flag, text: isNo ? `--no-${flag}` : value === 'true' ? `--${flag}` : `--${flag}=${value}` }
  })
  flags.sort((a, b) => Number(takes.get(a.flag) !== undefined) - Number(takes.get(b.flag) !== undefined))
  const texts = flags.map(({ text }) => text)
  if (flags.some(({ flag }) => LETTERS.includes(flag)))
    refuse(`would run with other flags than you gave; ${behind('…')}`)
  // Which value is whose is not known any more.
  if (flags.filter(({ flag, text }) => takes.get(flag) && text === `--${flag}`).length > 1)
    refuse(`cannot tell what belongs to ${texts.join(' ')}; ${behind('…')}`)
  if (flags.length > 0 && takes.size === 0) refuse(`did not get ${texts.join(' ')}; ${behind(`${texts.join(' ')} …`)}`)
  return texts
}

function behind(flags) {
  return `npm keeps flags that do not stand behind \`--\`: ${typed} -- ${flags}`
}

/** True for what npm itself knows; yarn and pnpm keep no flags. */
function isNpms(flag, npm) {
  try {
    return flag in createRequire(npm)('@npmcli/config/lib/definitions').definitions
  } catch {
    return !/^npm\//.test(process.env.npm_config_user_agent)
  }
}

async function run() {
  const hasOwnHelp = /\b(?:runByHand|exitAsIn)\(/.test(source)
  if (!hasOwnHelp && given.some((word) => word === '-h' || word === '--help')) {
    const [, header = ''] = /\/\*\*([\s\S]*?)\*\//.exec(source) || []
    return process.stdout.write(`${header.replace(/^ *\*? ?/gm, '').trim()}\n`)
  }
  if (!hasOwnHelp && given.includes('--version')) return process.stdout.write(`${manifest.name} ${manifest.version}\n`)
  process.on('exit', (code) => {
    if (code === 2 && kept.length > 0) process.stderr.write(`${behind(kept.join(' '))}\n`)
  })
  const path = join(root, script)
  process.argv.splice(1, Infinity, path, ...kept, ...given)
  // An await that never settles.
  const neverEnds = () => {
    process.exitCode = 13
  }
  process.once('beforeExit', neverEnds)
  try {
    // Node before 22.18.
    if (!process.features.typescript) await import('tsx')
    await import(pathToFileURL(path).href)
    process.removeListener('beforeExit', neverEnds)
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
}

function refuse(why) {
  process.stderr.write(`${typed} ${why}\n`)
  process.exit(2)
}

function read(path) {
  return fs.readFileSync(join(root, path), 'utf8')
}
