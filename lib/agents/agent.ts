/** What the coding agents share: the interface of a doctor, its program, environment and files. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Launch } from '../services/terminal.ts'
import { oneLine } from '../tier/contract.ts'
import type { DOCTOR_NAMES } from '../tier/setting-table.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'

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

export interface Doctor {
  name: DoctorName
  title: string
  /** Its version, or a sentence why it cannot be used. */
  find(settings: Settings): Promise<{ version: string } | { failure: string }>
  /** Writes what it needs into the folder, and says how it is started: the briefing is its standard input. */
  prepare(commission: Commission): Launch
  read(line: string): DoctorEvent[]
  readError?(line: string): DoctorEvent[]
}

/** @param oldest the oldest release that was seen to keep to the instruments */
export async function findProgram(settings: Settings, { name, title }: Doctor, oldest: string, env: Launch['env']) {
  const { stdout, missing, failure } = await shell(settings, { timeoutSec: 60, env })`${name} --version`
  if (missing) return { failure: `${name} (${title}) is not on the PATH` }
  const version = /\d+\.\d+\.\d+/.exec(stdout)?.[0]
  if (!version) return { failure: `${name} --version gave no version: ${failure ?? oneLine(stdout, 100)}` }
  if (version.localeCompare(oldest, 'en', { numeric: true }) >= 0) return { version }
  return { failure: `${title} ${version} is too old; update it to ${oldest} or later` }
}

const PLAIN =
  /^(?:HOME|PATH|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_\w+|XDG_\w+|DBUS_SESSION_BUS_ADDRESS|TMUX_TMPDIR|NVM_DIR|HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|ALL_PROXY|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR|OPENCLAW_(?:HOME|PROFILE|STATE_DIR|CONFIG_PATH|GATEWAY_URL|GATEWAY_PORT|MEMORY_DIR))$/

/** An allow list: the tier's environment may hold any secret. @param signIn variables with which this doctor signs in */
export function plainEnv(settings: Settings, signIn: RegExp): Record<string, string> {
  const ours = {
    CLAUDE_CODE_OAUTH_TOKEN: settings.claudeOauthToken,
    CLAUDE_CONFIG_DIR: settings.claudeConfigDir,
    ANTHROPIC_BASE_URL: settings.anthropicBaseUrl,
    OPENAI_API_KEY: settings.openaiApiKey,
    OPENAI_BASE_URL: settings.openaiBaseUrl,
    OPENAI_MODEL: settings.openaiModel,
    GEMINI_API_KEY: settings.geminiApiKey,
  }
  const isMeant = (name: string) => PLAIN.test(name) || signIn.test(name)
  const all = Object.entries({ ...settings.childEnv, ...ours })
  return Object.fromEntries(all.filter(([name, value]) => value && isMeant(name)))
}

export function writeOwn(path: string, content: unknown): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 })
  return path
}
