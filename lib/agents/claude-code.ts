/** Claude Code as the doctor: `claude -p` with our instruments, no tool of its own, none of the user's settings, no memory. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Launch, quoted } from '../services/terminal.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import type { Commission, Doctor, DoctorEvent, Trouble } from './agent.ts'
import { eventOf, findProgram, parseMessage, partsOf, plainEnv, readJson, serverStatus, trouble } from './agent.ts'

export const claude: Doctor = {
  name: 'claude',
  title: 'Claude Code',
  // 2.0.77 sends requests of subagents that offer their model a shell; 1.0.128 cannot be locked down.
  find: (settings) => findProgram(settings, claude, [2, 1, 330], doctorEnv(settings)),
  prepare,
  read,
}

/** The second lock behind `--tools ''`: all but the instruments is refused before it runs (exit 2 blocks). */
const ONLY_INSTRUMENTS = {
  matcher: '^(?!mcp__doctor__).*$',
  hooks: [{ type: 'command', command: "echo 'Only the instruments may be used.' >&2; exit 2", onFailure: 'block' }],
}

/** `--setting-sources=` leaves out all settings but ours; `dontAsk` refuses what is not allowed without a question. */
function prepare({ settings, folder, server }: Commission): Launch {
  const write = (name: string, content: unknown) => {
    writeFileSync(join(folder, name), JSON.stringify(content, null, 2), { mode: 0o600 })
    return join(folder, name)
  }
  const settingsPath = write('claude-settings.json', {
    ...signIn(settings, folder),
    permissions: { defaultMode: 'dontAsk', disableBypassPermissionsMode: 'disable', allow: ['mcp__doctor'] },
    fileCheckpointingEnabled: false,
    autoMemoryEnabled: false,
    disableAllHooks: false,
    hooks: { PreToolUse: [ONLY_INSTRUMENTS] },
  })
  const serversPath = write('claude-mcp.json', { mcpServers: { doctor: { type: 'stdio', ...server } } })
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

function read(line: string): DoctorEvent[] {
  const message = parseMessage(line)
  if (message?.type === 'system' && message.subtype === 'init') {
    const status = serverStatus(message)
    // A server that is late is waited for by Claude Code itself (8 s were seen); a dead one shows as failed.
    if (status === 'pending') return []
    return status === 'connected' ? [{ kind: 'connected' }] : trouble('instruments', `its MCP server is ${status}`)
  }
  if (message?.type === 'system' && message.subtype === 'api_retry') return retried(message)
  if (message?.type === 'assistant' || message?.type === 'user') {
    const events = partsOf(message).flatMap(eventOf)
    const { error } = message
    if (message.type === 'user' || typeof error !== 'string') return events
    const detail = events.flatMap((event) => (event.kind === 'said' ? [event.text] : [])).join(' ') || error
    return [...events, ...trouble(TROUBLE_OF_ERROR[error] ?? troubleOf(detail), detail)]
  }
  if (message?.type !== 'result') return []
  const { is_error: isError, total_cost_usd: costUsd } = message
  if (isError !== true) return [{ kind: 'finished', ...(typeof costUsd === 'number' ? { costUsd } : {}) }]
  const detail = oneLine(String(message.result ?? message.subtype ?? 'it gave no reason'), 300)
  return trouble(troubleOf(detail), detail)
}

const TROUBLE_OF_ERROR: Readonly<Record<string, Trouble>> = {
  authentication_failed: 'login',
  oauth_org_not_allowed: 'login',
  billing_error: 'quota',
  rate_limit: 'quota',
  usage_limit_reached: 'quota',
  overloaded: 'service',
  server_error: 'service',
}

/** Retries go on for minutes; a key that was refused four times is not accepted the fifth time. */
function retried({ attempt, error, error_status: status }: Record<string, unknown>): DoctorEvent[] {
  const kind = TROUBLE_OF_ERROR[String(error)] ?? 'service'
  if (Number(attempt) < (kind === 'service' || error === 'rate_limit' ? 7 : 4)) return []
  return trouble(kind, `${error} (HTTP ${status}), tried ${attempt} times`)
}

function troubleOf(message: string): Trouble {
  if (/not logged in|run \/login|invalid api key|invalid x-api-key|oauth|authenticat|API Error: 40[13]/i.test(message))
    return 'login'
  return /\blimit\b|credit balance|usage credits|extra usage|\b429\b/i.test(message) ? 'quota' : 'service'
}

/** Keys of the user's settings that are about signing in or the way to the service, and nothing else. */
const SIGN_IN_KEYS =
  'apiKeyHelper awsAuthRefresh awsCredentialExport gcpAuthRefresh forceLoginMethod forceLoginOrgUUID model'.split(' ')

/** Its own login comes first: the key of the settings is mostly meant for OpenClaw. It stands in a file of the session only. */
function signIn(settings: Settings, folder: string): Record<string, unknown> {
  const theirs = readJson(join(configDir(settings), 'settings.json'))
  const kept = Object.fromEntries(SIGN_IN_KEYS.flatMap((key) => (key in theirs ? [[key, theirs[key]]] : [])))
  const env = isRecord(theirs.env) ? Object.entries(theirs.env).filter(([name]) => SIGN_IN_ENV.test(name)) : []
  if (env.length > 0) kept.env = Object.fromEntries(env)
  if (!settings.anthropicApiKey || settings.claudeOauthToken || 'apiKeyHelper' in kept || hasLogin(settings))
    return kept
  const keyPath = join(folder, 'anthropic.key')
  writeFileSync(keyPath, settings.anthropicApiKey, { mode: 0o600 })
  return { ...kept, apiKeyHelper: `cat ${quoted(keyPath)}` }
}

function hasLogin(settings: Settings): boolean {
  if ('claudeAiOauth' in readJson(join(configDir(settings), '.credentials.json'))) return true
  // There the login lies in the keychain, which a job of launchd's was seen not to reach (anthropics/claude-code#77213).
  if (process.platform === 'darwin') return false
  return 'oauthAccount' in readJson(join(settings.childEnv.CLAUDE_CONFIG_DIR || settings.home, '.claude.json'))
}

function configDir(settings: Settings): string {
  return settings.childEnv.CLAUDE_CONFIG_DIR || join(settings.home, '.claude')
}

const SIGN_IN_ENV =
  /^(?:CLAUDE_CONFIG_DIR|ANTHROPIC_(?!API_KEY$)\w+|CLAUDE_CODE_OAUTH_TOKEN|CLAUDE_CODE_USE_(?:BEDROCK|VERTEX|FOUNDRY)|CLAUDE_CODE_SKIP_\w+_AUTH|AWS_\w+|GOOGLE_APPLICATION_CREDENTIALS|CLOUD_ML_REGION|VERTEX_REGION_\w+)$/
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

/** An allow list: the tier's own environment may switch hooks off (CLAUDE_CODE_SIMPLE), and hold any secret. */
function doctorEnv(settings: Settings): Record<string, string> {
  const env = plainEnv(settings, SIGN_IN_ENV)
  if (settings.claudeOauthToken) env.CLAUDE_CODE_OAUTH_TOKEN = settings.claudeOauthToken
  if (settings.anthropicBaseUrl) env.ANTHROPIC_BASE_URL = settings.anthropicBaseUrl
  env.PATH = [env.PATH, join(settings.home, '.claude/local')].join(':')
  return { ...env, ...QUIET }
}
