/** What Claude Code's hooks reported in this run: that it took over the guard's settings, was prompted, ended a turn. */
import { readFileSync } from 'node:fs'
import { isRecord } from '../tier/state.ts'
import { eventsPath } from './claude-code.ts'

export type HookEvent =
  | { kind: 'SessionStart' }
  | { kind: 'UserPromptSubmit'; prompt: string }
  | { kind: 'Stop' }
  /** The turn ended because the service failed; `error` is Claude Code's word for why, e.g. `rate_limit`. */
  | { kind: 'StopFailure'; error: string; message: string }

/** The events so far, in order. A line that is being written right now is left for the next reading. */
export function readEvents(folder: string): HookEvent[] {
  let text: string
  try {
    text = readFileSync(eventsPath(folder), 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => parseEvent(line) ?? [])
}

function parseEvent(line: string): HookEvent | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (!isRecord(value)) return undefined
  switch (value.hook_event_name) {
    case 'SessionStart':
    case 'Stop':
      return { kind: value.hook_event_name }
    case 'UserPromptSubmit':
      return { kind: 'UserPromptSubmit', prompt: String(value.prompt ?? '') }
    case 'StopFailure':
      return {
        kind: 'StopFailure',
        error: String(value.error ?? ''),
        message: String(value.last_assistant_message ?? ''),
      }
    default:
      return undefined
  }
}
