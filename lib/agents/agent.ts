/** What the coding agents share: the interface of a doctor, and its tools. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Launch } from '../services/terminal.ts'
import { oneLine } from '../tier/contract.ts'
import type { DOCTOR_NAMES } from '../tier/setting-table.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, tried } from '../tier/state.ts'

export const CALL_LIMIT_MS = 1_000_000

export type DoctorName = (typeof DOCTOR_NAMES)[number]

export type Trouble = 'login' | 'quota' | 'service' | 'instruments'

export type DoctorEvent =
  | { kind: 'connected' }
  | { kind: 'trouble'; trouble: Trouble; detail: string }
  | { kind: 'said'; text: string }
  | { kind: 'called'; text: string }
  | { kind: 'answered'; text: string }
  | { kind: 'finished'; costUsd?: number }

export interface Commission {
  settings: Settings
  folder: string
  /** How the MCP server with the instruments is started (stdio); its name is `doctor`. */
  server: { command: string; args: string[] }
  instruments: readonly string[]
}

export type Found = { version: string } | { failure: string }

export interface Doctor {
  name: DoctorName
  title: string
  /** Its version, or a sentence why it cannot be used. */
  find(settings: Settings): Promise<Found>
  /** Writes what it needs into the folder, and says how it is started: the briefing is its standard input. */
  prepare(commission: Commission): Launch
  read(line: string): DoctorEvent[]
  readError?(line: string): DoctorEvent[]
}

/** @param oldest the oldest release whose lock-down was seen to hold */
export async function findProgram(
  settings: Settings,
  { name, title }: Pick<Doctor, 'name' | 'title'>,
  oldest: readonly [number, number, number],
  env: Record<string, string>,
): Promise<Found> {
  const { stdout, missing, failure } = await shell(settings, { timeoutSec: 60, env })`${name} --version`
  if (missing) return { failure: `${name} (${title}) is not on the PATH` }
  const m = /(\d+)\.(\d+)\.(\d+)/.exec(stdout)
  if (!m) return { failure: `${name} --version gave no version: ${failure ?? oneLine(stdout, 100)}` }
  const difference = oldest.map((least, i) => Number(m[i + 1]) - least).find((part) => part !== 0) ?? 0
  if (difference >= 0) return { version: m[0] }
  return { failure: `${title} ${m[0]} is too old; update it to ${oldest.join('.')} or later` }
}

const PLAIN =
  /^(?:HOME|PATH|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_\w+|XDG_\w+|DBUS_SESSION_BUS_ADDRESS|TMUX_TMPDIR|NVM_DIR|HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|ALL_PROXY|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR|OPENCLAW_(?:HOME|PROFILE|STATE_DIR|CONFIG_PATH|GATEWAY_URL|GATEWAY_PORT|MEMORY_DIR))$/

/** An allow list: the tier's environment may hold any secret. @param signIn variables with which this doctor signs in */
export function plainEnv(settings: Settings, signIn: RegExp): Record<string, string> {
  const ours = {
    OPENAI_API_KEY: settings.openaiApiKey,
    OPENAI_BASE_URL: settings.openaiBaseUrl,
    OPENAI_MODEL: settings.openaiModel,
    GEMINI_API_KEY: settings.geminiApiKey,
  }
  const given = Object.entries({ ...settings.childEnv, ...ours }).filter(([, value]) => value)
  const env = Object.fromEntries(given.filter(([name]) => PLAIN.test(name) || signIn.test(name)))
  // Where user installers put programs; the PATH of a job often lacks it.
  env.PATH = [env.PATH, join(settings.home, '.local/bin')].join(':')
  if (!env.LANG && !env.LC_ALL) env.LANG = process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'
  return env
}

export function trouble(kind: Trouble, detail: string): DoctorEvent[] {
  return [{ kind: 'trouble', trouble: kind, detail: oneLine(detail, 300) }]
}

export function readJson(path: string): Record<string, unknown> {
  return parseMessage(tried(() => readFileSync(path, 'utf8')) ?? '') ?? {}
}

export function at(value: unknown, ...keys: string[]): unknown {
  return keys.reduce((inner, key) => (isRecord(inner) ? inner[key] : undefined), value)
}

// `--output-format stream-json`, which Qwen Code has from Claude Code

export function parseMessage(line: string): Record<string, unknown> | undefined {
  const message: unknown = tried(() => JSON.parse(line))
  return isRecord(message) ? message : undefined
}

export function serverStatus({ mcp_servers: servers }: Record<string, unknown>): string {
  const ours = Array.isArray(servers) ? servers.find((one) => at(one, 'name') === 'doctor') : undefined
  return String(at(ours, 'status') ?? 'not there')
}

export function partsOf({ message }: Record<string, unknown>): Record<string, unknown>[] {
  return isRecord(message) && Array.isArray(message.content) ? message.content.filter(isRecord) : []
}

export function eventOf(part: Record<string, unknown>): DoctorEvent[] {
  if (part.type === 'text') return [{ kind: 'said', text: String(part.text) }]
  if (part.type === 'tool_use')
    return [{ kind: 'called', text: `${String(part.name).replace(/^mcp__doctor__/, '')} ${compact(part.input)}` }]
  return part.type === 'tool_result' ? [{ kind: 'answered', text: textOfResult(part) }] : []
}

export function textOfResult({ content }: Record<string, unknown>): string {
  if (!Array.isArray(content)) return String(content)
  return content.map((piece) => String(at(piece, 'text') ?? '')).join('\n')
}

export function compact(value: unknown): string {
  return tried(() => JSON.stringify(value) ?? '') ?? '(arguments that cannot be shown)'
}
