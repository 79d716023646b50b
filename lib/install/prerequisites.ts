/** What the system needs on this machine, what suffers without it, and how to get it. */
import { statSync } from 'node:fs'
import type { Settings } from '../tier/settings.ts'
import { findOnPath } from './files.ts'

export interface Prerequisite {
  name: string
  /** Where it is; undefined: missing. */
  path: string | undefined
  /** What suffers without it, and how to get it. */
  without: string
}

const isMac = process.platform === 'darwin'
const systemPackage = (name: string) => (isMac ? `brew install ${name}` : `sudo apt-get install ${name}`)

const NEEDED: [names: string[], without: string][] = [
  [['openclaw'], 'no level can restart the gateway through its own command; `npm install -g openclaw`'],
  [['tmux'], `Level 3 cannot give the doctor a terminal; \`${systemPackage('tmux')}\``],
  [['bash'], `Level 1 keeps less evidence of a hung gateway; \`${systemPackage('bash')}\``],
  [['curl'], `a tier that cannot start can tell nobody; \`${systemPackage('curl')}\``],
  [['crontab'], `Level 4 and the guardian are not started; \`${systemPackage('cron')}\``],
  [['lsof', 'ss'], `nobody can say who has the gateway's port; \`${systemPackage('lsof')}\``],
]

/** Looks for everything on this shell's PATH, which the jobs will have too. */
export function prerequisites(searchPath: string, doctors: readonly string[]): Prerequisite[] {
  const hint = '`npm install -g @anthropic-ai/claude-code`, then run `claude` once and sign in; or see DOCTOR'
  return [...NEEDED, [[...doctors], `Level 3 has no doctor; ${hint}`] as const].map(([names, without]) => ({
    name: names.join(' or '),
    path: names.map((name) => findOnPath(name, searchPath)).find((path) => path !== undefined),
    without,
  }))
}

/** Things about where and as whom setup runs that would make a broken installation; one line each. */
export function obstacles(home: string, root: string): string[] {
  const found: string[] = []
  const owner = statSync(home, { throwIfNoEntry: false })?.uid
  if (owner === undefined) found.push(`the home folder ${home} does not exist`)
  else if (process.getuid !== undefined && owner !== process.getuid())
    found.push(
      `the home folder ${home} belongs to another user (uid ${owner}): run setup as the user who runs the gateway, without sudo`,
    )
  for (const path of [home, root])
    if (/[\n\r\0]/.test(path)) found.push(`a path with a line break in it cannot be scheduled: ${JSON.stringify(path)}`)
  return found
}

/** Folders that macOS keeps from background jobs until somebody allows it; in HOME unless they begin with a slash. */
const PROTECTED = ['Desktop', 'Documents', 'Downloads', 'Library/Mobile Documents', 'Library/CloudStorage', '/Volumes']

/** Things worth knowing that stop nothing. */
export function warnings(settings: Settings, root: string): string[] {
  const { home } = settings
  const found = [...settings.envProblems]
  for (const [path, cure] of [
    [root, 'Move the checkout elsewhere, e.g. to ~/openclaw-self-healing'],
    [settings.memoryDir, 'Set OPENCLAW_MEMORY_DIR to a folder elsewhere'],
    [settings.stateDir, 'Keep the state folder elsewhere'],
  ] as const) {
    const folder = PROTECTED.map((name) => (name.startsWith('/') ? name : `${home}/${name}`)).find((one) =>
      path.startsWith(`${one}/`),
    )
    if (isMac && folder)
      found.push(`${path} is in ${folder}, which macOS protects: launchd and cron may be refused there. ${cure}`)
  }
  if (isMac && !settings.claudeOauthToken && !settings.anthropicApiKey)
    found.push(
      'Claude Code started by launchd may not get at a login in the keychain: `claude setup-token` makes a token for CLAUDE_CODE_OAUTH_TOKEN in .env',
    )
  // Profile and state folder have to be known before .env can be found: the jobs are given them.
  const inShell = settings.fromEnvironment.filter((name) => !['OPENCLAW_STATE_DIR', 'OPENCLAW_PROFILE'].includes(name))
  if (inShell.length > 0)
    found.push(`set in this shell, which no job will see: ${inShell.join(', ')}; put it into .env`)
  return found
}
