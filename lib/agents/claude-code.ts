/** Claude Code as the doctor: `claude -p` with our instruments, no tool of its own, none of the user's settings, no memory. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { quote } from '../tier/shell.ts'
import { isRecord } from '../tier/state.ts'
import { CALL_LIMIT_MS, type Doctor, type DoctorEvent, findProgram, plainEnv, writeOwn } from './agent.ts'
import { parse, readJson, refused, serverTrouble, streamed } from './messages.ts'

export const claude: Doctor = {
  name: 'claude',
  title: 'Claude Code',
  // 2.0.77 sends requests of subagents that offer their model a shell; 1.0.128 cannot be locked down.
  find: (settings) => findProgram(settings, claude, '2.1.330', doctorEnv(settings)),
  /** `--setting-sources=` leaves out all settings but ours; `dontAsk` refuses what is not allowed without a question. */
  prepare({ settings, folder, server }) {
    const settingsPath = writeOwn(join(folder, 'claude-settings.json'), {
      ...signIn(settings, folder),
      permissions: {
        ...{ defaultMode: 'dontAsk', disableBypassPermissionsMode: 'disable', allow: ['mcp__doctor'] },
        // A prompt includes the files that it names by `@path`, unless they may not be read.
        deny: ['Read(//**)'],
      },
      fileCheckpointingEnabled: false,
      autoMemoryEnabled: false,
      disableAllHooks: false,
      hooks: { PreToolUse: [ONLY_INSTRUMENTS] },
    })
    const servers = { mcpServers: { doctor: { type: 'stdio', ...server } } }
    return {
      program: 'claude',
      args: [
        ...['-p', '--output-format', 'stream-json', '--verbose'],
        ...['--settings', settingsPath, '--setting-sources='],
        ...['--mcp-config', writeOwn(join(folder, 'claude-mcp.json'), servers), '--strict-mcp-config'],
        ...['--tools', '', '--permission-mode', 'dontAsk'],
        ...['--no-session-persistence', '--disable-slash-commands', '--no-chrome'],
      ],
      env: doctorEnv(settings),
    }
  },
  read(line) {
    const message = parse(line)
    const { type, subtype, error } = message
    if (type === 'system' && subtype === 'init') return serverTrouble(message) ?? [{ kind: 'connected' }]
    if (type === 'system' && subtype === 'api_retry') return retried(message)
    if (type === 'user') return streamed(message)
    if (type === 'assistant') {
      const events = streamed(message)
      if (typeof error !== 'string') return events
      const said = events.flatMap((event) => (event.kind === 'said' ? [event.text] : [])).join(' ')
      return [...events, ...refused(said || error, `${error} ${said}`)]
    }
    if (type !== 'result') return []
    const { is_error: isError, total_cost_usd: costUsd } = message
    if (isError === true) return refused(String(message.result ?? subtype ?? 'it gave no reason'))
    return [{ kind: 'finished', ...(typeof costUsd === 'number' ? { costUsd } : {}) }]
  },
}

/** The second lock behind `--tools ''`: all but the instruments is refused before it runs (exit 2 blocks). */
const ONLY_INSTRUMENTS = {
  matcher: '^(?!mcp__doctor__).*$',
  hooks: [{ type: 'command', command: "echo 'Only the instruments may be used.' >&2; exit 2", onFailure: 'block' }],
}

/** Retries go on for minutes; a key that was refused four times is not accepted the fifth time. */
function retried({ attempt, error, error_status: status }: Record<string, unknown>): DoctorEvent[] {
  const isFinal = /^(?:authentication|oauth|billing|usage)_/.test(String(error))
  return Number(attempt) < (isFinal ? 4 : 7) ? [] : refused(`${error} (HTTP ${status}), tried ${attempt} times`)
}

/** Keys of the user's settings that are about signing in or the way to the service, and nothing else. */
const SIGN_IN_KEYS =
  'apiKeyHelper awsAuthRefresh awsCredentialExport gcpAuthRefresh forceLoginMethod forceLoginOrgUUID model'.split(' ')

/** Its own login comes first: the key of the settings is mostly meant for OpenClaw. It stands in a file of the session only. */
function signIn(settings: Settings, folder: string): Record<string, unknown> {
  const configDir = settings.claudeConfigDir || join(settings.home, '.claude')
  const theirs = readJson(join(configDir, 'settings.json'))
  const kept = Object.fromEntries(SIGN_IN_KEYS.flatMap((key) => (key in theirs ? [[key, theirs[key]]] : [])))
  const env = isRecord(theirs.env) ? Object.entries(theirs.env).filter(([name]) => SIGN_IN_ENV.test(name)) : []
  if (env.length > 0) kept.env = Object.fromEntries(env)
  const hasOwn = 'apiKeyHelper' in kept || settings.claudeOauthToken || hasLogin(settings, configDir)
  if (!settings.anthropicApiKey || hasOwn) return kept
  const keyPath = writeOwn(join(folder, 'anthropic.key'), settings.anthropicApiKey)
  return { ...kept, apiKeyHelper: `cat ${quote(keyPath)}` }
}

function hasLogin(settings: Settings, configDir: string): boolean {
  if ('claudeAiOauth' in readJson(join(configDir, '.credentials.json'))) return true
  // There the login lies in the keychain, which a job of launchd's was seen not to reach (anthropics/claude-code#77213).
  if (process.platform === 'darwin') return false
  return 'oauthAccount' in readJson(join(settings.claudeConfigDir || settings.home, '.claude.json'))
}

const SIGN_IN_ENV =
  /^(?:CLAUDE_CONFIG_DIR|ANTHROPIC_(?!API_KEY$)\w+|CLAUDE_CODE_OAUTH_TOKEN|CLAUDE_CODE_USE_(?:BEDROCK|VERTEX|FOUNDRY)|CLAUDE_CODE_SKIP_\w+_AUTH|AWS_\w+|GOOGLE_APPLICATION_CREDENTIALS|CLOUD_ML_REGION|VERTEX_REGION_\w+)$/

/** An allow list: the tier's own environment may switch hooks off (CLAUDE_CODE_SIMPLE), and hold any secret. */
function doctorEnv(settings: Settings): Record<string, string> {
  return {
    ...plainEnv(settings, SIGN_IN_ENV),
    // No updates, telemetry, reports of errors.
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    CLAUDE_CODE_DISABLE_FILE_CHECKPOINTING: '1',
    ENABLE_TOOL_SEARCH: 'false',
    MCP_TIMEOUT: '60000',
    MCP_TOOL_TIMEOUT: String(CALL_LIMIT_MS),
  }
}
