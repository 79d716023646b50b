/**
 * Claude Code as it is installed, and how it is started so that the guard decides about every tool call: nothing of the
 * user's own settings is loaded that could loosen it, and no question can wait for ever for somebody to answer it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from '../tier/command.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import { guardHooks, hidingHooks } from './guard-hook.ts'

export interface ClaudeCode {
  /** Its version as three numbers. */
  version: [number, number, number]
  /** The options that its `--help` names. */
  options: ReadonlySet<string>
  /** The values that its `--help` names for `--permission-mode`. */
  permissionModes: ReadonlySet<string>
}

/**
 * Asks the installed Claude Code what it is. Returns why it cannot be used, as a sentence.
 * 1.0.128 to 2.1.330 answer `--version` and `--help` without a login and within seconds (measured).
 */
export async function findClaude(settings: Settings): Promise<ClaudeCode | { failure: string }> {
  const ask = (flag: string) => runCommand('claude', [flag], { timeoutMs: 60_000, env: doctorEnv(settings) })
  const version = await ask('--version')
  if (version.missing) return { failure: 'claude (Claude Code) is not on the PATH' }
  const m = /(\d+)\.(\d+)\.(\d+)/.exec(version.stdout)
  if (!m) return { failure: `claude --version gave no version: ${version.failure ?? oneLine(version.stdout, 100)}` }
  const help = await ask('--help')
  const options = new Set(help.stdout.match(/(?<![\w-])--[a-z][a-z-]+/gi) ?? [])
  // Without it there is no guard, and without a guard there is no doctor.
  if (!options.has('--settings'))
    return { failure: `Claude Code ${m[0]} has no --settings${help.failure ? ` (${help.failure})` : ''}; update it` }
  const choices = /--permission-mode[\s\S]*?choices:([\s\S]*?)\)/.exec(help.stdout)?.[1] ?? ''
  return {
    version: [Number(m[1]), Number(m[2]), Number(m[3])],
    options,
    permissionModes: new Set(choices.match(/\w+/g) ?? []),
  }
}

/** Where the hooks write what Claude Code does: one JSON object per line. */
export function eventsPath(folder: string): string {
  return join(folder, 'events.jsonl')
}

/**
 * Writes the settings file of this run (0600) and returns the arguments that Claude Code is started with.
 * @param folder the run's own folder (0700)
 * @param contextPath the guard's context file
 *
 * `--setting-sources=` leaves out the user's, the project's and the local settings (hooks, MCP servers, permissions);
 * what of them is needed to sign in is copied. In the mode `dontAsk` a call that no hook allows is refused without a
 * question; releases before it have only `default`, whose question the session answers with "no".
 */
export function prepareLaunch(settings: Settings, claude: ClaudeCode, folder: string, contextPath: string): string[] {
  const mode = claude.permissionModes.has('dontAsk') ? 'dontAsk' : 'default'
  const path = join(folder, 'claude-settings.json')
  const content = { ...signIn(settings, folder), ...settingsOf(claude, folder, contextPath, mode) }
  writeFileSync(path, JSON.stringify(content, null, 2), { mode: 0o600 })
  const has = (option: string, ...args: string[]) => (claude.options.has(option) ? args : [])
  return [
    ...['--settings', path],
    ...has('--setting-sources', '--setting-sources='),
    ...has('--strict-mcp-config', '--strict-mcp-config'),
    ...has('--permission-mode', '--permission-mode', mode),
    ...has('--tools', '--tools', 'Bash,Read,Edit,Write,Glob,Grep'),
    ...has('--disable-slash-commands', '--disable-slash-commands'),
    ...has('--no-chrome', '--no-chrome'),
    // Commands and their output are shown whole, so that the recording is worth reading.
    ...has('--verbose', '--verbose'),
  ]
}

/** The releases in which StopFailure and a rewritten tool input and output were seen to work are newer than this. */
const NEWER_HOOKS = [2, 1, 295] as const

function settingsOf(claude: ClaudeCode, folder: string, contextPath: string, mode: string): Record<string, unknown> {
  const note = [{ hooks: [{ type: 'command', command: noteCommand(eventsPath(folder)), timeout: 10 }] }]
  const isNew = compare(claude.version, NEWER_HOOKS) >= 0
  return {
    permissions: { defaultMode: mode, disableBypassPermissionsMode: 'disable' },
    disableAllHooks: false,
    // A release that does not know the name of a hook skips the whole file (2.0.77: "Invalid key in record"),
    // so older ones get only names that 1.0 already had.
    hooks: {
      ...(isNew ? hidingHooks(contextPath) : guardHooks(contextPath)),
      SessionStart: note,
      UserPromptSubmit: note,
      Stop: note,
      ...(isNew ? { StopFailure: note } : {}),
    },
  }
}

/** Appends the event to the file and prints nothing: what a UserPromptSubmit hook prints would reach the model. */
function noteCommand(path: string): string {
  return `{ cat; echo; } >> ${shellQuote(path)}`
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return 0
}

/** Keys of the user's settings that are about signing in or the way to the service, and nothing else. */
const SIGN_IN_KEYS = [
  'apiKeyHelper',
  'awsAuthRefresh',
  'awsCredentialExport',
  'gcpAuthRefresh',
  'forceLoginMethod',
  'forceLoginOrgUUID',
  'model',
]

/**
 * How Claude Code signs in. Its own login (kept in HOME or the keychain) comes first; only without one is the
 * ANTHROPIC_API_KEY of the settings used: in that file it is mostly meant for OpenClaw. The key is handed over by a
 * helper that prints a file of the run: it stands in no environment and no command line, and Claude Code asks no
 * question about it.
 */
function signIn(settings: Settings, folder: string): Record<string, unknown> {
  const theirs = readJson(join(configDir(settings), 'settings.json'))
  const kept = Object.fromEntries(SIGN_IN_KEYS.flatMap((key) => (key in theirs ? [[key, theirs[key]]] : [])))
  const env = isRecord(theirs.env) ? Object.entries(theirs.env).filter(([name]) => SIGN_IN_ENV.test(name)) : []
  const withEnv = env.length > 0 ? { ...kept, env: Object.fromEntries(env) } : kept
  if (!settings.anthropicApiKey || settings.claudeOauthToken || 'apiKeyHelper' in kept || hasLogin(settings))
    return withEnv
  const keyPath = join(folder, 'anthropic.key')
  writeFileSync(keyPath, settings.anthropicApiKey, { mode: 0o600 })
  return { ...withEnv, apiKeyHelper: `cat ${shellQuote(keyPath)}` }
}

function hasLogin(settings: Settings): boolean {
  if ('claudeAiOauth' in readJson(join(configDir(settings), '.credentials.json'))) return true
  // There the login lies in the keychain, and a job of launchd's was seen not to get at it (anthropics/claude-code#77213):
  // a key that somebody has put into the settings is sure.
  if (process.platform === 'darwin') return false
  const own = settings.childEnv.CLAUDE_CONFIG_DIR
  const state = readJson(own ? join(own, '.claude.json') : join(settings.home, '.claude.json'))
  return 'oauthAccount' in state
}

function configDir(settings: Settings): string {
  return settings.childEnv.CLAUDE_CONFIG_DIR || join(settings.home, '.claude')
}

function readJson(path: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return isRecord(value) ? value : {}
  } catch {
    return {}
  }
}

const SIGN_IN_ENV =
  /^(?:ANTHROPIC_(?!API_KEY$)\w+|CLAUDE_CODE_OAUTH_TOKEN|CLAUDE_CODE_USE_(?:BEDROCK|VERTEX|FOUNDRY)|CLAUDE_CODE_SKIP_\w+_AUTH|AWS_\w+|GOOGLE_APPLICATION_CREDENTIALS|CLOUD_ML_REGION|VERTEX_REGION_\w+|HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|ALL_PROXY|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR)$/
const PLAIN_ENV =
  /^(?:HOME|PATH|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_\w+|XDG_\w+|DBUS_SESSION_BUS_ADDRESS|TMUX_TMPDIR|CLAUDE_CONFIG_DIR|NVM_DIR|OPENCLAW_(?:HOME|PROFILE|STATE_DIR|CONFIG_PATH|GATEWAY_URL|GATEWAY_PORT|MEMORY_DIR))$/

/**
 * The environment of the doctor and of everything that he runs: an allow list. The tier's own environment may hold any
 * secret, may come from inside another Claude Code or tmux, and may switch hooks off (CLAUDE_CODE_SIMPLE).
 */
export function doctorEnv(settings: Settings): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(settings.childEnv))
    if (PLAIN_ENV.test(name) || SIGN_IN_ENV.test(name)) env[name] = value
  if (settings.claudeOauthToken) env.CLAUDE_CODE_OAUTH_TOKEN = settings.claudeOauthToken
  if (settings.anthropicBaseUrl) env.ANTHROPIC_BASE_URL = settings.anthropicBaseUrl
  // Where its own installer puts it; a job's PATH often lacks these.
  env.PATH = [env.PATH, join(settings.home, '.local/bin'), join(settings.home, '.claude/local')].join(':')
  // launchd and cron set none, and without one Claude Code's signs come out as question marks.
  if (!env.LANG && !env.LC_ALL) env.LANG = process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'
  // An emergency is no time for updates, surveys and marketplaces.
  return { ...env, DISABLE_AUTOUPDATER: '1', CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' }
}
