/** What a tool answered, on its way to the model: secrets are taken out of it first. */
import { redact } from '../alerts/redact.ts'
import { isRecord } from '../tier/state.ts'

/**
 * The answer that Claude Code reads from its PostToolUse hook, or '' when there is nothing to hide. `updatedToolOutput`
 * replaces what the model gets (2.1.330, measured; in its hooks reference); it must have the shape of the original, so
 * every text inside it is redacted where it stands. Nothing is returned for an output without secrets: hooks run side
 * by side on the original, and an unchanged copy would compete with theirs.
 * @param input the hook's input, with `tool_response`
 */
export function outputAnswer(input: unknown, secrets: readonly string[]): string {
  if (!isRecord(input) || input.tool_response === undefined) return ''
  const before = JSON.stringify(input.tool_response)
  const updatedToolOutput = hidden(input.tool_response, secrets)
  if (JSON.stringify(updatedToolOutput) === before) return ''
  return JSON.stringify({ hookSpecificOutput: { hookEventName: 'PostToolUse', updatedToolOutput } })
}

function hidden(value: unknown, secrets: readonly string[]): unknown {
  if (typeof value === 'string') return redact(value, secrets)
  if (Array.isArray(value)) return value.map((one) => hidden(one, secrets))
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, hidden(one, secrets)]))
}
