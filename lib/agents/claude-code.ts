/**
 * Claude Code as the doctor: `claude -p` with our instruments and no tool of its own. Nothing of the user's settings is
 * loaded that could loosen that, and no transcript, file history or memory is kept.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Launch } from '../services/terminal.ts'
import { runCommand } from '../tier/command.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import type { Commission, Doctor, DoctorEvent, Trouble } from './doctors.ts'
import { plainEnv } from './plain-env.ts'
import { eventOf, parseMessage, partsOf } from './stream-json.ts'

/**
 * The oldest release in which all of this was seen to hold. 2.0.77 sends requests of subagents beside the session that
 * offer their model a shell; 1.0.128 cannot be locked down, and waits for an answer.
 */
const OLDEST = [2, 1, 330] as const

export const claude: Doctor = {
  name: 'claude',
  title: 'Claude Code',
  find: async (settings) => {
    const version = await runCommand('claude', ['--version'], { timeoutMs: 60_000, env: doctorEnv(settings) })
    if (version.missing) return { failure: 'claude (Claude Code) is not on the PATH' }
    const m = /(\d+)\.(\d+)\.(\d+)/.exec(version.stdout)
    if (!m) return { failure: `claude --version gave no version: ${version.failure ?? oneLine(version.stdout, 100)}` }
    const difference = OLDEST.map((least, i) => Number(m[i + 1]) - least).find((part) => part !== 0) ?? 0
    if (difference >= 0) return { version: m[0] }
    return { failure: `Claude Code ${m[0]} is too old; update it to ${OLDEST.join('.')} or later` }
  },
  prepare,
  read,
}

/** The second lock behind `--tools ''`: whatever is not an instrument is refused before it runs (exit 2 blocks). */
const ONLY_INSTRUMENTS = {
  matcher: '^(?!mcp__doctor__).*$',
  hooks: [{ type: 'command', command: "echo 'Only the instruments may be used.' >&2; exit 2", onFailure: 'block' }],
}

/**
 * `--setting-sources=` leaves out the user's, the project's and the local settings (hooks, MCP servers, permissions);
 * what of them is needed to sign in is copied. In the mode `dontAsk` what is not allowed is refused without a question.
 */
function prepare({ settings, folder, server }: Commission): Launch {
  const settingsPath = join(folder, 'claude-settings.json')
  const serversPath = join(folder, 'claude-mcp.json')
  const content = {
    ...signIn(settings, folder),
    permissions: { defaultMode: 'dontAsk', disableBypassPermissionsMode: 'disable', allow: ['mcp__doctor'] },
    fileCheckpointingEnabled: false,
    autoMemoryEnabled: false,
    disableAllHooks: false,
    hooks: { PreToolUse: [ONLY_INSTRUMENTS] },
  }
  writeFileSync(settingsPath, JSON.stringify(content, null, 2), { mode: 0o600 })
  writeFileSync(serversPath, JSON.stringify({ mcpServers: { doctor: { type: 'stdio', ...server } } }), { mode: 0o600 })
  return {
    program: 'claude',
    args: [
      ...['-p', '--output-format', 'stream-json', '--verbose'],
      ...['--settings', settingsPath, '--setting-sources='],
      ...['--mcp-config', serversPath, '--strict-mcp-config'],
      ...['--tools', '', '--permission-mode', 'dontAsk'],
      ...['--no-session-persistence', '--disable-slash-commands', '--no-chrome'],
    ],
    env: doctorEnv(settings),
  }
}

/** One message of its stream: init, what the model said and called, what instruments answered, the result. */
function read(line: string): DoctorEvent[] {
  const message = parseMessage(line)
  if (!message) return []
  if (message.type === 'system' && message.subtype === 'init') return instrumentsOf(message)
  if (message.type === 'system' && message.subtype === 'api_retry') return retried(message)
  if (message.type === 'assistant') return [...contentOf(message), ...troubleIn(message)]
  if (message.type === 'user') return contentOf(message)
  if (message.type === 'result') {
    if (message.is_error !== true) return [{ kind: 'finished', ...costOf(message) }]
    const detail = oneLine(String(message.result ?? message.subtype ?? 'it gave no reason'), 300)
    return [{ kind: 'trouble', trouble: troubleOf(detail) ?? 'service', detail }]
  }
  return []
}

/** A server that is late is waited for by Claude Code itself (8 s were seen); a dead one shows as failed. */
function instrumentsOf({ mcp_servers: servers }: Record<string, unknown>): DoctorEvent[] {
  const ours = Array.isArray(servers) ? servers.find((one) => isRecord(one) && one.name === 'doctor') : undefined
  if (isRecord(ours) && ours.status === 'connected') return [{ kind: 'connected' }]
  if (isRecord(ours) && ours.status === 'pending') return []
  const detail = `its MCP server is ${isRecord(ours) ? String(ours.status) : 'not there'}`
  return [{ kind: 'trouble', trouble: 'instruments', detail }]
}

function contentOf(message: Record<string, unknown>): DoctorEvent[] {
  return partsOf(message).flatMap(eventOf)
}

/** Its own words for why a turn failed (2.1.330). */
const TROUBLE_OF_ERROR: Readonly<Record<string, Trouble>> = {
  authentication_failed: 'login',
  oauth_org_not_allowed: 'login',
  billing_error: 'quota',
  rate_limit: 'quota',
  usage_limit_reached: 'quota',
  overloaded: 'service',
  server_error: 'service',
}

function troubleIn(message: Record<string, unknown>): DoctorEvent[] {
  const { error } = message
  if (typeof error !== 'string') return []
  const said = contentOf(message).flatMap((event) => (event.kind === 'said' ? [event.text] : []))
  const detail = oneLine(said.join(' ') || error, 300)
  return [{ kind: 'trouble', trouble: TROUBLE_OF_ERROR[error] ?? troubleOf(detail) ?? 'service', detail }]
}

/** Retries go on for minutes; a key that was refused four times is not accepted the fifth time. */
function retried({ attempt, error, error_status: status }: Record<string, unknown>): DoctorEvent[] {
  const trouble = TROUBLE_OF_ERROR[String(error)] ?? 'service'
  if (Number(attempt) < (trouble === 'service' || error === 'rate_limit' ? 7 : 4)) return []
  return [{ kind: 'trouble', trouble, detail: `${error} (HTTP ${status}), tried ${attempt} times` }]
}

function costOf({ total_cost_usd: cost }: Record<string, unknown>): { costUsd?: number } {
  return typeof cost === 'number' ? { costUsd: cost } : {}
}

/** What kind of trouble a message of a coding agent's is about. */
function troubleOf(message: string): Trouble | undefined {
  if (/not logged in|run \/login|invalid api key|invalid x-api-key|oauth|authenticat|API Error: 40[13]/i.test(message))
    return 'login'
  return /\blimit\b|credit balance|usage credits|extra usage|\b429\b/i.test(message) ? 'quota' : undefined
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
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
  /^(?:CLAUDE_CONFIG_DIR|ANTHROPIC_(?!API_KEY$)\w+|CLAUDE_CODE_OAUTH_TOKEN|CLAUDE_CODE_USE_(?:BEDROCK|VERTEX|FOUNDRY)|CLAUDE_CODE_SKIP_\w+_AUTH|AWS_\w+|GOOGLE_APPLICATION_CREDENTIALS|CLOUD_ML_REGION|VERTEX_REGION_\w+)$/
/** An emergency is no time for updates, surveys and marketplaces; instruments may take a quarter of an hour. */
const QUIET = {
  DISABLE_AUTOUPDATER: '1',
  DISABLE_TELEMETRY: '1',
  DISABLE_ERROR_REPORTING: '1',
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  CLAUDE_CODE_DISABLE_FILE_CHECKPOINTING: '1',
  ENABLE_TOOL_SEARCH: 'false',
  MCP_TIMEOUT: '60000',
  MCP_TOOL_TIMEOUT: '1000000',
}

/**
 * The environment of the doctor and of everything that he runs: an allow list. The tier's own environment may hold any
 * secret, may come from inside another Claude Code or tmux, and may switch hooks off (CLAUDE_CODE_SIMPLE).
 */
export function doctorEnv(settings: Settings): Record<string, string> {
  const env = plainEnv(settings, SIGN_IN_ENV)
  if (settings.claudeOauthToken) env.CLAUDE_CODE_OAUTH_TOKEN = settings.claudeOauthToken
  if (settings.anthropicBaseUrl) env.ANTHROPIC_BASE_URL = settings.anthropicBaseUrl
  // Where its older installers put it.
  env.PATH = [env.PATH, join(settings.home, '.claude/local')].join(':')
  return { ...env, ...QUIET }
}
