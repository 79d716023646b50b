/**
 * Qwen Code as the doctor: for every model behind the Chat Completions API, local ones too. It runs in its bare mode,
 * which reads no settings, context files, extensions, hooks, skills or `.env` of anybody's; of the four kinds of tools
 * that are left there all are excluded, and a start at which the model would be offered anything else ends the visit.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from '../tier/command.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import type { Commission, Doctor, DoctorEvent, Launch, Trouble } from './doctors.ts'
import { plainEnv } from './plain-env.ts'

export const qwen: Doctor = { name: 'qwen', title: 'Qwen Code', find, prepare, read, readError }

/** The oldest release in which all of this was seen to hold. */
const OLDEST = [0, 23, 0] as const
/** How long one call of an instrument may take, and how long the instruments may take to start. */
const CALL_LIMIT_MS = 15 * 60_000
const START_LIMIT_MS = 60_000

const BUILT_IN_TOOLS = [
  'read_file',
  'edit',
  'notebook_edit',
  'run_shell_command',
  'get_goal',
  'update_goal',
  'propose_goal',
]
// A briefing never begins with one of them; these are the ones that would do more than answer.
const SLASH_COMMANDS = [
  'auth',
  'bug',
  'config',
  'export',
  'extensions',
  'goal',
  'hooks',
  'import-config',
  'init',
  'mcp',
  'memory',
  'update',
]
const TOOL_PREFIX = 'mcp__doctor__'

async function find(settings: Settings): Promise<{ version: string } | { failure: string }> {
  // With a home of its own it would answer for a release that it has downloaded there, and not for the one that is started.
  const env = { ...qwenEnv(settings), QWEN_HOME: '/dev/null' }
  const result = await runCommand('qwen', ['--version'], { timeoutMs: 60_000, env })
  if (result.missing) return { failure: 'qwen (Qwen Code) is not on the PATH' }
  const m = /(\d+)\.(\d+)\.(\d+)/.exec(result.stdout)
  if (!m) return { failure: `qwen --version gave no version: ${result.failure ?? oneLine(result.stdout, 100)}` }
  const difference = OLDEST.map((least, i) => Number(m[i + 1]) - least).find((part) => part !== 0) ?? 0
  if (difference < 0)
    return { failure: `Qwen Code ${m[0]} is too old: ${OLDEST.join('.')} or newer is needed; update it` }
  return { version: m[0] }
}

/**
 * `@path` in a prompt includes files of the working folder, so that one is empty. Its own state (usage records) goes
 * into the run's folder, and a release that it has downloaded by itself into its home is not started.
 */
function prepare({ settings, folder, server, instruments }: Commission): Launch {
  const [work, home, mcpPath] = [join(folder, 'qwen-work'), join(folder, 'qwen-home'), join(folder, 'qwen-mcp.json')]
  for (const path of [work, home]) mkdirSync(path, { recursive: true, mode: 0o700 })
  const doctor = {
    ...server,
    trust: true,
    includeTools: instruments,
    timeout: CALL_LIMIT_MS,
    discoveryTimeoutMs: START_LIMIT_MS,
    alwaysLoadTools: true,
  }
  writeFileSync(mcpPath, JSON.stringify({ mcpServers: { doctor } }), { mode: 0o600 })
  const args = [
    '--bare',
    ...['--output-format', 'stream-json'],
    ...['--auth-type', 'openai'],
    ...['--approval-mode', 'default'],
    ...['--mcp-config', mcpPath],
    ...['--allowed-mcp-server-names', 'doctor'],
    ...['--exclude-tools', BUILT_IN_TOOLS.join(',')],
    ...['--disabled-slash-commands', SLASH_COMMANDS.join(',')],
    '--chat-recording=false',
  ]
  const env = {
    ...qwenEnv(settings),
    QWEN_HOME: home,
    QWEN_RUNTIME_DIR: home,
    QWEN_CODE_SYSTEM_SETTINGS_PATH: join(home, 'none.json'),
    QWEN_CODE_SYSTEM_DEFAULTS_PATH: join(home, 'none.json'),
    QWEN_CODE_MCP_TOOL_IDLE_TIMEOUT_MS: String(CALL_LIMIT_MS),
    QWEN_CODE_NO_RELAUNCH: '1',
    QWEN_USAGE_STATISTICS_ENABLED: 'false',
    QWEN_DISABLE_AUTO_TITLE: '1',
  }
  return { program: '/bin/sh', args: ['-c', 'cd "$0" && exec qwen "$@"', work, ...args], env }
}

/** The sign-in: of the environment, else as its own `/auth` keeps it; never a key of the one with the address of the other. */
function qwenEnv(settings: Settings): Record<string, string> {
  const env = plainEnv(settings, /^OPENAI_(?:API_KEY|BASE_URL|MODEL)$/)
  if (!env.OPENAI_API_KEY && !env.OPENAI_BASE_URL) Object.assign(env, ownSignIn(settings.home))
  // A model server on one's own machine mostly asks for no key, but Qwen Code does.
  if (env.OPENAI_BASE_URL && !env.OPENAI_API_KEY) env.OPENAI_API_KEY = 'none'
  return env
}

function ownSignIn(userHome: string): Record<string, string> {
  const theirs = readJson(join(userHome, '.qwen', 'settings.json'))
  const at = (value: unknown, ...keys: string[]): unknown =>
    keys.reduce((inner, key) => (isRecord(inner) ? inner[key] : undefined), value)
  const model = at(theirs, 'model', 'name')
  const providers = at(theirs, 'modelProviders', 'openai')
  const provider = Array.isArray(providers) ? providers.find((one) => at(one, 'id') === model) : undefined
  const signIn = {
    OPENAI_API_KEY:
      at(theirs, 'env', String(at(provider, 'envKey') ?? 'OPENAI_API_KEY')) ?? at(theirs, 'security', 'auth', 'apiKey'),
    OPENAI_BASE_URL:
      at(provider, 'baseUrl') ?? at(theirs, 'env', 'OPENAI_BASE_URL') ?? at(theirs, 'security', 'auth', 'baseUrl'),
    OPENAI_MODEL: model,
  }
  return Object.fromEntries(
    Object.entries(signIn).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

function read(line: string): DoctorEvent[] {
  let message: unknown
  try {
    message = JSON.parse(line)
  } catch {
    return []
  }
  if (!isRecord(message)) return []
  if (message.type === 'system' && message.subtype === 'init') return [instrumentsOf(message)]
  if (message.type === 'assistant' || message.type === 'user') return contentOf(message)
  if (message.type !== 'result') return []
  if (message.is_error !== true) return [{ kind: 'finished' }]
  const detail = oneLine(String(isRecord(message.error) ? message.error.message : message.subtype), 300)
  return [{ kind: 'trouble', trouble: troubleOf(detail), detail }]
}

/** It waits for a server that is late, goes on without one that is dead, and says here what the model will be offered. */
function instrumentsOf({ tools, mcp_servers: servers }: Record<string, unknown>): DoctorEvent {
  const trouble = (detail: string): DoctorEvent => ({ kind: 'trouble', trouble: 'instruments', detail })
  const ours = Array.isArray(servers) ? servers.find((one) => isRecord(one) && one.name === 'doctor') : undefined
  if (!isRecord(ours) || ours.status !== 'connected')
    return trouble(`its MCP server is ${isRecord(ours) ? String(ours.status) : 'not there'}`)
  const names = Array.isArray(tools) ? tools.map(String) : []
  const strange = names.filter((name) => !name.startsWith(TOOL_PREFIX))
  if (strange.length > 0)
    return trouble(`it offers its model more than the instruments: ${oneLine(strange.join(', '), 200)}`)
  return names.length > 0 ? { kind: 'connected' } : trouble('it offers its model no instruments')
}

/** Its words after a call during which the server has ended; it starts another one, which would know nothing of this visit. */
const SERVER_ENDED = /^MCP tool execution may have completed before the connection failed/

function contentOf({ message }: Record<string, unknown>): DoctorEvent[] {
  const content = isRecord(message) && Array.isArray(message.content) ? message.content : []
  return content.filter(isRecord).flatMap((part): DoctorEvent[] => {
    if (part.type === 'text') return [{ kind: 'said', text: String(part.text) }]
    if (part.type === 'tool_use') {
      const name = String(part.name).replace(TOOL_PREFIX, '')
      return [{ kind: 'called', text: `${name} ${JSON.stringify(part.input)}` }]
    }
    if (part.type !== 'tool_result') return []
    const text = typeof part.content === 'string' ? part.content : JSON.stringify(part.content)
    if (part.is_error === true && SERVER_ENDED.test(text))
      return [{ kind: 'trouble', trouble: 'instruments', detail: 'its MCP server has ended' }]
    return [{ kind: 'answered', text }]
  })
}

/** `Retrying in 60s (attempt 1/10): …`: it would wait for a quota for an hour. */
function readError(line: string): DoctorEvent[] {
  const detail = /^Retrying in \d+s \(attempt \d+\/\d+\): (.*)$/.exec(line)?.[1]
  return detail && troubleOf(detail) === 'quota'
    ? [{ kind: 'trouble', trouble: 'quota', detail: oneLine(detail, 300) }]
    : []
}

function troubleOf(message: string): Trouble {
  if (/quota|billing|balance|credit|\b402\b/i.test(message)) return 'quota'
  return /api key|unauthorized|authenticat|\b40[13]\b/i.test(message) ? 'login' : 'service'
}
