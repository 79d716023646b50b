/** Gemini CLI as the doctor: in a home of the session, with the instruments as its only allowed tools, and with an API key. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { CALL_LIMIT_MS, type Doctor, findProgram, plainEnv, writeOwn } from './agent.ts'
import { at, called, parse, refused, SERVER_ENDED, trouble } from './messages.ts'

export const gemini: Doctor = {
  name: 'gemini',
  title: 'Gemini CLI',
  find: (settings) => findProgram(settings, gemini, '0.58.0', { ...signIn(settings), GEMINI_CLI_HOME: '/dev/null' }),
  /** A prompt includes files of the working folder by `@path`: it works in one that is empty but for what ends the search for a `.env`. */
  prepare({ settings, folder, server }) {
    const [work, home, tmp] = [join(folder, 'gemini-work'), join(folder, 'gemini-home'), join(folder, 'gemini-tmp')]
    mkdirSync(tmp, { recursive: true, mode: 0o700 })
    for (const path of [join(work, '.env'), join(work, '.gemini', '.env')]) writeOwn(path, '')
    // By itself it passes on only a few variables, and its own folder for temporary files among them.
    const env = { TMPDIR: '/tmp', ...plainEnv(settings, /^$/) }
    const doctor = { ...server, env, trust: true, timeout: CALL_LIMIT_MS }
    writeOwn(join(home, '.gemini', 'settings.json'), { ...SETTINGS, mcpServers: { doctor } })
    const args = ['--output-format', 'stream-json', '--approval-mode', 'default', '--skip-trust']
    const own = {
      GEMINI_CLI_HOME: home,
      GEMINI_CLI_SYSTEM_SETTINGS_PATH: join(home, 'none.json'),
      GEMINI_CLI_SYSTEM_DEFAULTS_PATH: join(home, 'none.json'),
      GEMINI_CLI_NO_RELAUNCH: 'true',
      // Its reports of errors hold the conversation.
      TMPDIR: tmp,
    }
    return {
      program: '/bin/sh',
      args: ['-c', 'cd "$0" && exec gemini "$@"', work, ...args, '--allowed-mcp-server-names', 'doctor'],
      env: { ...signIn(settings), ...own },
    }
  },
  read(line) {
    const { type, ...message } = parse(line)
    if (type === undefined) return gemini.readError!(line)
    // Instruments that are late were waited for until here; of those that are dead, standard error tells.
    if (type === 'init') return [{ kind: 'connected' }]
    if (type === 'message' && message.role === 'assistant') return [{ kind: 'said', text: String(message.content) }]
    if (type === 'tool_use') return called(message.tool_name, message.parameters)
    const failure = String(at(message, 'error', 'message') ?? '')
    // Every call after its MCP server has ended.
    if (type === 'tool_result' && /"message\\?":\\?"MCP error -32000: Connection closed/.test(failure))
      return SERVER_ENDED
    if (type === 'tool_result') return [{ kind: 'answered', text: failure || String(message.output) }]
    if (type !== 'result') return []
    if (message.status !== 'success') return refused(failure || String(message.status))
    const isIdle = at(message, 'stats', 'tool_calls') === 0
    return isIdle ? trouble('instruments', 'it ended without a call of an instrument') : [{ kind: 'finished' }]
  },
  readError(line) {
    if (/^MCP issues detected/.test(line)) return trouble('instruments', 'its MCP server could not be started')
    if (/you must specify the GEMINI_API_KEY|Please set an Auth method|Invalid auth method/.test(line))
      return trouble('login', line)
    return []
  },
}

const SETTINGS = {
  // With a list of allowed tools every other one is neither offered nor allowed.
  tools: { core: ['mcp_doctor_*'], truncateToolOutputThreshold: 0 },
  security: { auth: { selectedType: 'gemini-api-key' }, disableYoloMode: true, disableAlwaysAllow: true },
  general: { enableAutoUpdate: false, maxAttempts: 5, checkpointing: { enabled: false }, plan: { enabled: false } },
  privacy: { usageStatisticsEnabled: false },
  telemetry: { enabled: false },
  skills: { enabled: false },
  hooksConfig: { enabled: false },
  experimental: { enableAgents: false },
  context: { fileName: 'no-context-file' },
  model: { disableLoopDetection: true },
}

const signIn = (settings: Settings) => plainEnv(settings, /^(?:GEMINI_API_KEY|GEMINI_MODEL|GOOGLE_GEMINI_BASE_URL)$/)
