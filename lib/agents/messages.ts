/** What a coding agent's messages and files say. */
import { readFileSync } from 'node:fs'
import { oneLine } from '../tier/contract.ts'
import { isRecord, tried } from '../tier/state.ts'
import type { DoctorEvent, Trouble } from './agent.ts'

export function trouble(kind: Trouble, detail: string): DoctorEvent[] {
  return [{ kind: 'trouble', trouble: kind, detail: oneLine(detail, 300) }]
}

const QUOTA = /quota|billing|balance|credits?\b|extra usage|(?:\b|_)limit(?:\b|_)|exhausted|\b402\b|\b429\b/i
const LOGIN =
  /api[ _-]key|log ?in\b|sign in|not logged in|oauth|auth method|authenticat|unauthorized|permission_denied|access token|\b40[13]\b/i

/** The service, or the program itself, gave up: why, by its words or an error's name. */
export function refused(detail: string, words = detail): DoctorEvent[] {
  return trouble(QUOTA.test(words) ? 'quota' : LOGIN.test(words) ? 'login' : 'service', detail)
}

export const SERVER_ENDED = trouble('instruments', 'its MCP server has ended')

/** A line that is no message has no type. */
export function parse(line: string): Record<string, unknown> {
  const message: unknown = tried(() => JSON.parse(line))
  return isRecord(message) ? message : {}
}

export function readJson(path: string): Record<string, unknown> {
  return parse(tried(() => readFileSync(path, 'utf8')) ?? '')
}

export function at(value: unknown, ...keys: string[]): unknown {
  return keys.reduce((inner, key) => (isRecord(inner) ? inner[key] : undefined), value)
}

export function itemsOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

export function called(name: unknown, input: unknown): DoctorEvent[] {
  return [{ kind: 'called', text: `${String(name).replace(/^mcp__?doctor__?/, '')} ${JSON.stringify(input)}` }]
}

export function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  return itemsOf(content)
    .map(({ text }) => String(text ?? ''))
    .join('\n')
}

// `--output-format stream-json`, which Qwen Code has from Claude Code

/** Of its first message: undefined when it is connected to the instruments. */
export function serverTrouble({ mcp_servers: servers }: Record<string, unknown>): DoctorEvent[] | undefined {
  const status = itemsOf(servers).find(({ name }) => name === 'doctor')?.status ?? 'not there'
  // A server that is late is waited for by the program itself (8 s were seen); a dead one shows as failed.
  if (status === 'pending') return []
  return status === 'connected' ? undefined : trouble('instruments', `its MCP server is ${status}`)
}

const CONNECTION_LOST = /^(?:Connection closed$|MCP tool execution may have completed before the connection failed)/

export function streamed(message: Record<string, unknown>): DoctorEvent[] {
  return itemsOf(at(message, 'message', 'content')).flatMap((part): DoctorEvent[] => {
    if (part.type === 'text') return [{ kind: 'said', text: String(part.text) }]
    if (part.type === 'tool_use') return called(part.name, part.input)
    if (part.type !== 'tool_result') return []
    const text = textOf(part.content)
    return CONNECTION_LOST.test(text) ? SERVER_ENDED : [{ kind: 'answered', text }]
  })
}
