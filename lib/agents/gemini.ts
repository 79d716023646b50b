/**
 * Gemini CLI as the doctor. It runs in a home of its own in the folder of the run, so that nobody's settings, extensions,
 * hooks, skills, agents, policies or context files are read, with a list of allowed tools that names the instruments and
 * nothing else. The login that it keeps in the user's home is out of its reach: it signs in with an API key.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Launch } from '../services/terminal.ts'
import { runCommand } from '../tier/command.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import type { Commission, Doctor, DoctorEvent, Trouble } from './doctors.ts'
import { plainEnv } from './plain-env.ts'
import { compact, parseMessage } from './stream-json.ts'

export const gemini: Doctor = { name: 'gemini', title: 'Gemini CLI', find, prepare, read, readError }

/** The oldest release in which all of this was seen to hold. */
const OLDEST = [0, 58, 0] as const
const CALL_LIMIT_MS = 15 * 60_000
const TOOL_PREFIX = 'mcp_doctor_'

async function find(settings: Settings): Promise<{ version: string } | { failure: string }> {
  // Even for its version it writes into its home, and puts up with one that is none.
  const env = { ...geminiEnv(settings), GEMINI_CLI_HOME: '/dev/null' }
  const result = await runCommand('gemini', ['--version'], { timeoutMs: 60_000, env })
  if (result.missing) return { failure: 'gemini (Gemini CLI) is not on the PATH' }
  const m = /(\d+)\.(\d+)\.(\d+)/.exec(result.stdout)
  if (!m) return { failure: `gemini --version gave no version: ${result.failure ?? oneLine(result.stdout, 100)}` }
  const difference = OLDEST.map((least, i) => Number(m[i + 1]) - least).find((part) => part !== 0) ?? 0
  if (difference >= 0) return { version: m[0] }
  return { failure: `Gemini CLI ${m[0]} is too old; update it to ${OLDEST.join('.')} or later` }
}

/** A prompt includes files of the working folder by `@path`: it works in one that is empty but for what ends the search for a `.env`. */
function prepare({ settings, folder, server }: Commission): Launch {
  const [work, home, temporary] = ['work', 'home', 'tmp'].map((name) => join(folder, `gemini-${name}`)) as [
    string,
    string,
    string,
  ]
  for (const path of [join(work, '.gemini'), join(home, '.gemini'), temporary])
    mkdirSync(path, { recursive: true, mode: 0o700 })
  for (const path of [join(work, '.env'), join(work, '.gemini', '.env')]) writeFileSync(path, '')
  const env = geminiEnv(settings)
  // It would hand on only a few variables, and its own folder for temporary files among them.
  const doctor = {
    ...server,
    env: { TMPDIR: '/tmp', ...plainEnv(settings, /^$/) },
    trust: true,
    timeout: CALL_LIMIT_MS,
  }
  writeFileSync(join(home, '.gemini', 'settings.json'), JSON.stringify(settingsWith(doctor)), { mode: 0o600 })
  const args = [
    '--output-format',
    'stream-json',
    '--approval-mode',
    'default',
    '--skip-trust',
    '--allowed-mcp-server-names',
    'doctor',
  ]
  const own = {
    GEMINI_CLI_HOME: home,
    GEMINI_CLI_SYSTEM_SETTINGS_PATH: join(home, 'none.json'),
    GEMINI_CLI_SYSTEM_DEFAULTS_PATH: join(home, 'none.json'),
    GEMINI_CLI_NO_RELAUNCH: 'true',
    // Its reports of errors hold the conversation.
    TMPDIR: temporary,
  }
  return { program: '/bin/sh', args: ['-c', 'cd "$0" && exec gemini "$@"', work, ...args], env: { ...env, ...own } }
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

const trouble = (kind: Trouble, detail: string): DoctorEvent[] => [
  { kind: 'trouble', trouble: kind, detail: oneLine(detail, 300) },
]

function read(line: string): DoctorEvent[] {
  const message = parseMessage(line)
  if (!message) return readError(line)
  // Instruments that are late were waited for until here; of those that are dead, standard error tells.
  if (message.type === 'init') return [{ kind: 'connected' }]
  if (message.type === 'message' && message.role === 'assistant')
    return [{ kind: 'said', text: String(message.content) }]
  if (message.type === 'tool_use') {
    const name = String(message.tool_name)
    const text = `${name.replace(TOOL_PREFIX, '')} ${compact(message.parameters)}`
    return [{ kind: 'called', text }]
  }
  if (message.type === 'tool_result') return answerOf(message)
  return message.type === 'result' ? endOf(message) : []
}

/** After its MCP server has ended each call would fail like this. */
const SERVER_ENDED = /"message\\?":\\?"MCP error -32000: Connection closed/

function answerOf({ output, error }: Record<string, unknown>): DoctorEvent[] {
  const failure = isRecord(error) ? String(error.message) : ''
  if (SERVER_ENDED.test(failure)) return trouble('instruments', 'its MCP server has ended')
  return [{ kind: 'answered', text: failure || String(output) }]
}

function endOf({ status, error, stats }: Record<string, unknown>): DoctorEvent[] {
  if (status === 'success') {
    if (isRecord(stats) && stats.tool_calls === 0)
      return trouble('instruments', 'it ended without a call of an instrument')
    return [{ kind: 'finished' }]
  }
  const detail = String(isRecord(error) ? error.message : status)
  if (/quota|billing|credit|RESOURCE_EXHAUSTED/i.test(detail)) return trouble('quota', detail)
  const isLogin = /API[ _]key|UNAUTHENTICATED|PERMISSION_DENIED|auth method/i.test(detail)
  return trouble(isLogin ? 'login' : 'service', detail)
}

/** What it says beside its stream, before it or instead of it. */
function readError(line: string): DoctorEvent[] {
  if (/^MCP issues detected/.test(line)) return trouble('instruments', 'its MCP server could not be started')
  if (/you must specify the GEMINI_API_KEY|Please set an Auth method|Invalid auth method/.test(line))
    return trouble('login', line)
  return []
}
