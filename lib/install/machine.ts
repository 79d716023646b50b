import { existsSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
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
  ['openclaw', 'no level can restart the gateway through its own command; `npm install -g openclaw`'],
  ['tmux', `Level 3 cannot give the doctor a terminal; ${systemPackage('tmux')}`],
  ['bash', `Level 1 keeps less evidence of a hung gateway; ${systemPackage('bash')}`],
  ['curl', `a tier that cannot start can send no alert; ${systemPackage('curl')}`],
  ['crontab', `Level 4 and the guardian are not started; ${systemPackage('cron')}`],
] as const
const NO_DOCTOR =
  'Level 3 has no doctor; `npm install -g @anthropic-ai/claude-code`, then run `claude` once and sign in; or see DOCTOR'

export function prerequisites({ childEnv, doctors }: Settings): { name: string; path?: string; without: string }[] {
  return [...NEEDED, [doctors.join(' or '), NO_DOCTOR] as const].map(([name, without]) => {
    const paths = name.split(' or ').map((one) => findOnPath(one, childEnv.PATH))
    return { name, without, path: paths.find(Boolean) }
  })
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
  'the keychain shows no login of Claude Code here, and may show none to a job either: `claude setup-token` makes a token for CLAUDE_CODE_OAUTH_TOKEN in .env'

export async function warnings(settings: Settings, root: string, scheduler: Receipt['scheduler']): Promise<string[]> {
  const { home, memoryDir, stateDir, fromEnvironment, claudeOauthToken, claudeConfigDir, anthropicApiKey } = settings
  const isMac = scheduler === 'launchd'
  const found = [root, memoryDir, stateDir]
    .filter((path) => isMac && PROTECTED.test(tilde(path, home)))
    .map((path) => `${path} is protected by macOS: launchd and cron may be refused there. Keep it elsewhere`)
  const $ = shell(settings)
  const needsLogin = settings.doctors.includes('claude') && !claudeOauthToken && !anthropicApiKey
  // 44: there is none, for with another CLAUDE_CONFIG_DIR it has a longer name; 36: ssh and cron get no answer.
  if (isMac && needsLogin && (await $`security find-generic-password -s ${'Claude Code-credentials'}`).failure)
    found.push(NO_LOGIN)
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
    throw new Error(`launchd has no ${launchdTarget()} for you (${failure}): ${cure}`)
  }
  if (findOnPath('systemctl', settings.childEnv.PATH)) {
    const { failure } = await $`systemctl --user show --property=Version`
    if (!failure) return 'systemd'
    const cure = '`sudo loginctl enable-linger $USER` starts it; then run setup again'
    if (existsSync('/run/systemd/system'))
      throw new Error(`systemd's user manager does not answer (${failure}). ${cure}`)
  }
  if (findOnPath('crontab', settings.childEnv.PATH)) return 'cron'
  throw new Error('this machine has neither launchd, nor systemd, nor cron: nothing could start the levels')
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
