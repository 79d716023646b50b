/** Gemini CLI as the doctor: in a home of the session, with the instruments as its only allowed tools, and with an API key. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Launch } from '../services/terminal.ts'
import type { Settings } from '../tier/settings.ts'
import type { Commission, Doctor, DoctorEvent } from './agent.ts'
import { at, CALL_LIMIT_MS, compact, findProgram, parseMessage, plainEnv, trouble } from './agent.ts'

export const gemini: Doctor = {
  name: 'gemini',
  title: 'Gemini CLI',
  find: (settings) =>
    findProgram(settings, gemini, [0, 58, 0], { ...geminiEnv(settings), GEMINI_CLI_HOME: '/dev/null' }),
  prepare,
  read,
  readError,
}

const TOOL_PREFIX = 'mcp_doctor_'

/** A prompt includes files of the working folder by `@path`: it works in one that is empty but for what ends the search for a `.env`. */
function prepare({ settings, folder, server }: Commission): Launch {
  const [work, home, temporary] = [join(folder, 'gemini-work'), join(folder, 'gemini-home'), join(folder, 'gemini-tmp')]
  for (const path of [join(work, '.gemini'), join(home, '.gemini'), temporary])
    mkdirSync(path, { recursive: true, mode: 0o700 })
  for (const path of [join(work, '.env'), join(work, '.gemini', '.env')]) writeFileSync(path, '')
  // By itself it passes on only a few variables, and its own folder for temporary files among them.
  const env = { TMPDIR: '/tmp', ...plainEnv(settings, /^$/) }
  const doctor = { ...server, env, trust: true, timeout: CALL_LIMIT_MS }
  writeFileSync(join(home, '.gemini', 'settings.json'), JSON.stringify(settingsWith(doctor)), { mode: 0o600 })
  const args = ['--output-format', 'stream-json', '--approval-mode', 'default', '--skip-trust']
  const own = {
    GEMINI_CLI_HOME: home,
    GEMINI_CLI_SYSTEM_SETTINGS_PATH: join(home, 'none.json'),
    GEMINI_CLI_SYSTEM_DEFAULTS_PATH: join(home, 'none.json'),
    GEMINI_CLI_NO_RELAUNCH: 'true',
    // Its reports of errors hold the conversation.
    TMPDIR: temporary,
  }
  return {
    program: '/bin/sh',
    args: ['-c', 'cd "$0" && exec gemini "$@"', work, ...args, '--allowed-mcp-server-names', 'doctor'],
    env: { ...geminiEnv(settings), ...own },
  }
}

function settingsWith(doctor: Record<string, unknown>) {
  return {
    mcpServers: { doctor },
    // With a list of allowed tools every other one is neither offered nor allowed.
    tools: { core: [`${TOOL_PREFIX}*`], truncateToolOutputThreshold: 0 },
    security: { auth: { selectedType: 'gemini-api-key' }, disableYoloMode: true, disableAlwaysAllow: true },
    general: {
      ...{ enableAutoUpdate: false, enableAutoUpdateNotification: false, maxAttempts: 5 },
      ...{ checkpointing: { enabled: false }, plan: { enabled: false } },
    },
    privacy: { usageStatisticsEnabled: false },
    telemetry: { enabled: false },
    skills: { enabled: false },
    hooksConfig: { enabled: false },
    experimental: { enableAgents: false },
    context: { fileName: 'no-context-file' },
    model: { disableLoopDetection: true },
  }
}

function geminiEnv(settings: Settings): Record<string, string> {
  return plainEnv(settings, /^(?:GEMINI_API_KEY|GEMINI_MODEL|GOOGLE_GEMINI_BASE_URL)$/)
}

function read(line: string): DoctorEvent[] {
  const message = parseMessage(line)
  if (!message) return readError(line)
  // Instruments that are late were waited for until here; of those that are dead, standard error tells.
  if (message.type === 'init') return [{ kind: 'connected' }]
  if (message.type === 'message' && message.role === 'assistant')
    return [{ kind: 'said', text: String(message.content) }]
  if (message.type === 'tool_use') {
    const name = String(message.tool_name).replace(TOOL_PREFIX, '')
    return [{ kind: 'called', text: `${name} ${compact(message.parameters)}` }]
  }
  if (message.type === 'tool_result') {
    const failure = String(at(message, 'error', 'message') ?? '')
    if (SERVER_ENDED.test(failure)) return trouble('instruments', 'its MCP server has ended')
    return [{ kind: 'answered', text: failure || String(message.output) }]
  }
  return message.type === 'result' ? endOf(message) : []
}

/** Every call after its MCP server has ended. */
const SERVER_ENDED = /"message\\?":\\?"MCP error -32000: Connection closed/

function endOf(message: Record<string, unknown>): DoctorEvent[] {
  if (message.status === 'success')
    return at(message, 'stats', 'tool_calls') === 0
      ? trouble('instruments', 'it ended without a call of an instrument')
      : [{ kind: 'finished' }]
  const detail = String(at(message, 'error', 'message') ?? message.status)
  if (/quota|billing|credit|RESOURCE_EXHAUSTED/i.test(detail)) return trouble('quota', detail)
  const isLogin = /API[ _]key|UNAUTHENTICATED|PERMISSION_DENIED|auth method/i.test(detail)
  return trouble(isLogin ? 'login' : 'service', detail)
}

function readError(line: string): DoctorEvent[] {
  if (/^MCP issues detected/.test(line)) return trouble('instruments', 'its MCP server could not be started')
  if (/you must specify the GEMINI_API_KEY|Please set an Auth method|Invalid auth method/.test(line))
    return trouble('login', line)
  return []
}
