/** Qwen Code as the doctor, for every model behind the Chat Completions API, local ones too; in its bare mode. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { CALL_LIMIT_MS, type Doctor, type DoctorEvent, findProgram, plainEnv, writeOwn } from './agent.ts'
import { at, itemsOf, parse, readJson, refused, serverTrouble, streamed, trouble } from './messages.ts'

export const qwen: Doctor = {
  name: 'qwen',
  title: 'Qwen Code',
  // In its usual home may lie a newer release that it has fetched by itself, and that would answer.
  find: (settings) => findProgram(settings, qwen, '0.24.0', { ...qwenEnv(settings), QWEN_HOME: '/dev/null' }),
  /** A prompt includes files of the working folder by `@path`: it works in an empty one. Its state goes beside that one. */
  prepare({ settings, folder, server, instruments }) {
    const [work, home] = [join(folder, 'qwen-work'), join(folder, 'qwen-home')]
    for (const path of [work, home]) mkdirSync(path, { recursive: true, mode: 0o700 })
    const limits = { timeout: CALL_LIMIT_MS, discoveryTimeoutMs: 60_000 }
    const doctor = { ...server, ...limits, includeTools: instruments, alwaysLoadTools: true, trust: true }
    const servers = writeOwn(join(folder, 'qwen-mcp.json'), { mcpServers: { doctor } })
    const args = [
      ...['--bare', '--output-format', 'stream-json', '--auth-type', 'openai', '--approval-mode', 'default'],
      ...['--mcp-config', servers, '--allowed-mcp-server-names', 'doctor'],
      ...['--exclude-tools', OWN_TOOLS, '--disabled-slash-commands', OWN_COMMANDS, '--chat-recording=false'],
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
    }
    return { program: '/bin/sh', args: ['-c', 'cd "$0" && exec qwen "$@"', work, ...args], env }
  },
  read(line) {
    const message = parse(line)
    if (message.type === 'system' && message.subtype === 'init') return serverTrouble(message) ?? offered(message)
    if (message.type === 'assistant' || message.type === 'user') return streamed(message)
    if (message.type !== 'result') return []
    if (message.is_error !== true) return [{ kind: 'finished' }]
    const detail = String(at(message, 'error', 'message') ?? message.subtype)
    // The fifth call in a row with the same arguments ends its work; that cannot be switched off.
    const isLoop = detail.startsWith('Loop detection halted')
    return isLoop ? [{ kind: 'said', text: detail }, { kind: 'finished' }] : refused(detail)
  },
  /** `Retrying in 60s (attempt 1/10): …`: for a quota it would wait for an hour; a rate limit passes. */
  readError(line) {
    const detail = /^Retrying in \d+s \(attempt \d+\/\d+\): (.*(?:quota|billing|balance|credit).*)$/i.exec(line)?.[1]
    return detail ? trouble('quota', detail) : []
  },
}

const OWN_TOOLS = 'read_file,edit,notebook_edit,run_shell_command,get_goal,update_goal,propose_goal'
const OWN_COMMANDS = 'auth,bug,config,export,extensions,goal,hooks,import-config,init,insight,mcp,memory,update'

/** How it signs in: by the environment, else as it keeps it itself. Never the key of the one at the address of the other. */
function qwenEnv(settings: Settings): Record<string, string> {
  const env = plainEnv(settings, /^OPENAI_(?:API_KEY|BASE_URL|MODEL)$/)
  if (!env.OPENAI_API_KEY && !env.OPENAI_BASE_URL) Object.assign(env, ownSignIn(settings.home))
  if (env.OPENAI_BASE_URL && !env.OPENAI_API_KEY) env.OPENAI_API_KEY = 'none'
  return env
}

/** What its `/auth` has written: the model, the provider with its address, and the key under the provider's name for it. */
function ownSignIn(userHome: string): Record<string, string> {
  const theirs = readJson(join(userHome, '.qwen', 'settings.json'))
  const model = at(theirs, 'model', 'name')
  const provider = itemsOf(at(theirs, 'modelProviders', 'openai')).find(({ id }) => id === model)
  const auth = at(theirs, 'security', 'auth')
  const signIn = Object.entries({
    OPENAI_API_KEY: provider ? at(theirs, 'env', String(at(provider, 'envKey'))) : at(auth, 'apiKey'),
    OPENAI_BASE_URL: at(provider ?? auth, 'baseUrl'),
    OPENAI_MODEL: model,
  })
  return Object.fromEntries(signIn.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

/** Without a server it goes on; here it says what the model is offered. */
function offered({ tools }: Record<string, unknown>): DoctorEvent[] {
  const names = Array.isArray(tools) ? tools.map(String) : []
  const strange = names.filter((name) => !name.startsWith('mcp__doctor__'))
  if (strange.length > 0) return trouble('instruments', `it offers its model tools of its own: ${strange.join(', ')}`)
  return names.length > 0 ? [{ kind: 'connected' }] : trouble('instruments', 'it offers its model no instruments')
}
