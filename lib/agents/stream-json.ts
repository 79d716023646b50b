/** The messages of `--output-format stream-json` in the form that Claude Code gave them and Qwen Code took over. */
import { isRecord } from '../tier/state.ts'
import type { DoctorEvent } from './doctors.ts'

/** One line as a message; undefined when it is none. */
export function parseMessage(line: string): Record<string, unknown> | undefined {
  try {
    const message: unknown = JSON.parse(line)
    return isRecord(message) ? message : undefined
  } catch {
    return undefined
  }
}

/** The parts of a message's content; none when it has no content. */
export function partsOf({ message }: Record<string, unknown>): Record<string, unknown>[] {
  return isRecord(message) && Array.isArray(message.content) ? message.content.filter(isRecord) : []
}

/** What one part tells: the model said or called something, or an instrument answered. */
export function eventOf(part: Record<string, unknown>): DoctorEvent[] {
  if (part.type === 'text') return [{ kind: 'said', text: String(part.text) }]
  if (part.type === 'tool_use') {
    const name = String(part.name).replace(/^mcp__doctor__/, '')
    return [{ kind: 'called', text: `${name} ${compact(part.input)}` }]
  }
  return part.type === 'tool_result' ? [{ kind: 'answered', text: textOfResult(part) }] : []
}

/** The text of what a tool answered. */
export function textOfResult({ content }: Record<string, unknown>): string {
  if (!Array.isArray(content)) return String(content)
  return content.map((piece) => (isRecord(piece) ? String(piece.text ?? '') : '')).join('\n')
}

/** A value on one line. A list in a list in a list, twenty thousand deep, is no reason to end. */
export function compact(value: unknown): string {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return '(arguments that cannot be shown)'
  }
}
