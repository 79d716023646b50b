import { existsSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DOCTORS } from '../agents/doctors.ts'
import { configuredChannels, formProblems, noChannel } from '../alerts/channels.ts'
import { adviceFor } from '../gateway/advice.ts'
import { examine, isUp } from '../gateway/examine.ts'
import { readRecord } from '../gateway/record.ts'
import { hiding } from '../gateway/secrets.ts'
import { domainNotes, launchdTarget } from '../services/launchd.ts'
import type { Receipt } from '../services/receipt.ts'
import { stop } from '../tier/by-hand.ts'
import { EXIT } from '../tier/contract.ts'
import { type Settings, SYSTEM_PATH } from '../tier/settings.ts'
import { findOnPath, shell } from '../tier/shell.ts'
import { tilde } from './change.ts'

const isMac = process.platform === 'darwin'
const systemPackage = (name: string) => (isMac ? `\`brew install ${name}\`` : `\`sudo apt-get install ${name}\``)

const NEEDED = [
  ['openclaw', 'no level can repair the gateway', '`npm install -g openclaw`'],
  ['tmux', 'no doctor, which works in tmux', systemPackage('tmux')],
  ['bash', 'less evidence of a hung gateway', systemPackage('bash')],
  ['curl', 'no pulse, a full tick a minute', systemPackage('curl')],
  ['crontab', 'no alerts, no guardian', systemPackage('cron')],
] as const

export type Part = { name: string; found?: string; lack: string }

/** What the levels use: where it is, or that it is missing, what that means, and the command that mends it. */
export async function lookAround(settings: Settings): Promise<Part[]> {
  const { childEnv } = settings
  const parts = NEEDED.map(([name, without, cure]) => {
    const lack = `MISSING: ${without}; ${cure}`
    return { name, found: findOnPath(name, childEnv.PATH), lack }
  })
  return [...parts, await lookForDoctor(settings)]
}

async function lookForDoctor(settings: Settings): Promise<Part> {
  const failures: string[] = []
  for (const name of settings.doctors) {
    const path = findOnPath(name, settings.childEnv.PATH)
    const found = await DOCTORS[name].find(settings)
    if ('version' in found) return { name, found: `${path} (${found.version})`, lack: '' }
    const cure = name === 'claude' && !path ? '`npm i -g @anthropic-ai/claude-code && claude`' : ''
    failures.push(cure || found.failure)
  }
  return { name: settings.doctors.join(' or '), lack: `MISSING: no doctor; ${failures.join('; ')}` }
}

export function assertOwnHome({ home }: Settings): void {
  const owner = statSync(home).uid
  const cure = 'run setup as the user who runs the gateway, without sudo'
  if (owner !== process.getuid!())
    throw stop(EXIT.unusable, `the home folder ${home} belongs to another user (uid ${owner}): ${cure}`)
}

/** macOS keeps these from background jobs without the user's permission. */
const PROTECTED = /^(?:~\/(?:Desktop|Documents|Downloads|Library\/(?:Mobile Documents|CloudStorage))|\/Volumes)\//
const NO_LOGIN =
  'no login of Claude Code is seen here, which a job needs: run `claude` once and sign in, or put a token of `claude setup-token` into .env as CLAUDE_CODE_OAUTH_TOKEN'

/** What is not as it should be by now, each with its cure; empty: all is well. */
export async function whatIsWrong(settings: Settings, parts: Part[], root: string, scheduler: Receipt['scheduler']) {
  const hide = await hiding(settings)
  const record = readRecord(settings, true).value
  const { verdict, evidence } = await examine(settings, {
    ...{ httpTimeoutSec: settings.watchdogHealthTimeoutSec, record, deep: false },
  })
  const [advice] = adviceFor(settings, 'gateway', verdict, evidence)
  return [
    ...parts.flatMap(({ name, found, lack }) => (found ? [] : [`${name} is ${lack.replace('MISSING', 'missing')}`])),
    ...(configuredChannels(settings).length === 0 ? [noChannel(settings)] : formProblems(settings)),
    ...settings.envProblems,
    ...(await warnings(settings, root, scheduler, parts)),
    ...(isUp(verdict) ? [] : [hide(`the gateway is not up right now, ${verdict}: ${evidence}; ${advice}`)]),
  ]
}

export async function warnings(
  settings: Settings,
  root: string,
  scheduler: Receipt['scheduler'],
  parts: Pick<Part, 'name' | 'found'>[],
) {
  const { home, memoryDir, stateDir, fromEnvironment, claudeOauthToken, claudeConfigDir, anthropicApiKey } = settings
  const isMac = scheduler === 'launchd'
  const found = [root, memoryDir, stateDir]
    .filter((path) => isMac && PROTECTED.test(tilde(path, home)))
    .map((path) => `${path} is protected by macOS: launchd and cron may be refused there. Keep it elsewhere`)
  const $ = shell(settings)
  const isClaude = parts.some(({ name, found }) => name === 'claude' && found)
  const login = join(claudeConfigDir || join(home, '.claude'), '.credentials.json')
  // 44: there is none, for with another CLAUDE_CONFIG_DIR it has a longer name; 36: ssh and cron get no answer.
  const isSignedIn = async () =>
    isMac ? !(await $`security find-generic-password -s ${'Claude Code-credentials'}`).failure : existsSync(login)
  if (isClaude && !claudeOauthToken && !anthropicApiKey && !(await isSignedIn())) found.push(NO_LOGIN)
  if (isMac && claudeConfigDir)
    found.push(
      `Claude Code keeps another login in the keychain for CLAUDE_CONFIG_DIR=${claudeConfigDir} than for ~/.claude`,
    )
  const manager = isMac ? (await $`launchctl managername`).stdout.trim() : ''
  if (!/^(?:Aqua)?$/.test(manager))
    found.push(`no session at the Mac's screen (${manager}): run setup there if the jobs do not come by themselves`)
  if (isMac) found.push(...(await domainNotes(settings)))
  // Profile and state folder have to be known before .env can be found: the jobs are given them.
  const names = fromEnvironment.filter((name) => !['OPENCLAW_STATE_DIR', 'OPENCLAW_PROFILE'].includes(name))
  if (names.length > 0) found.push(`set in this shell, which no job will see: ${names.join(', ')}; put it into .env`)
  return found
}

/** Who starts Level 1 and Level 2 here. Throws, with advice, when this session cannot reach launchd or systemd. */
export async function schedulerHere(settings: Settings): Promise<Receipt['scheduler']> {
  const $ = shell(settings)
  if (findOnPath('launchctl', settings.childEnv.PATH)) {
    const { failure } = await $`launchctl print ${launchdTarget()}`
    if (!failure) return 'launchd'
    const cure = "log in at the Mac's own screen and stay logged in (automatic login helps), then run setup again"
    throw stop(EXIT.unusable, `launchd has no ${launchdTarget()} for you (${failure}): ${cure}`)
  }
  if (findOnPath('systemctl', settings.childEnv.PATH)) {
    const { failure } = await $`systemctl --user show --property=Version`
    if (!failure) return 'systemd'
    const cure = '`sudo loginctl enable-linger $USER` starts it; then run setup again'
    if (existsSync('/run/systemd/system'))
      throw stop(EXIT.unusable, `systemd's user manager does not answer (${failure}). ${cure}`)
  }
  if (findOnPath('crontab', settings.childEnv.PATH)) return 'cron'
  const cure = `install cron (${systemPackage('cron')}), then run setup again`
  throw stop(
    EXIT.unusable,
    `this machine has neither launchd, nor systemd, nor cron: nothing starts the levels; ${cure}`,
  )
}

/** The Node that runs this, for the jobs: by its name on the PATH, so that an upgrade does not lose it. */
export function nodeForJobs(settings: Settings, root: string): { path: string; searchPath: string } {
  const folders = (settings.childEnv.PATH ?? '')
    .split(':')
    .filter((folder) => folder.startsWith('/') && !folder.endsWith('/node-gyp-bin'))
    // npm puts node_modules/.bin of the checkout and of every folder above it first.
    .filter((folder) => !(folder.endsWith('/node_modules/.bin') && `${root}/`.startsWith(folder.slice(0, -17))))
    // fnm gives every shell a folder of its own, with a link to where Node really is.
    .map((folder) => (folder.includes('/fnm_multishells/') && existsSync(folder) ? realpathSync(folder) : folder))
  const searchPath = [...new Set([...folders, ...SYSTEM_PATH.split(':')])].join(':')
  const path = findOnPath('node', searchPath)
  if (path && realpathSync(path) === realpathSync(process.execPath)) return { path, searchPath }
  // A version manager's shim, or a Node that was started by its absolute path.
  return { path: process.execPath, searchPath: `${searchPath}:${dirname(process.execPath)}` }
}
