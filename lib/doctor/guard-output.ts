/** What a tool answered, on its way to the model: secrets are taken out of it first. */
import { redact } from '../alerts/redact.ts'
import { isRecord } from '../tier/state.ts'
import type { ToolCall } from './guard-judge.ts'

/**
 * The input under which a Bash call is run so that it always succeeds; undefined for other tools, whose input stays.
 * What a failed call answered cannot be hidden: Claude Code (2.1.330, measured) tells PostToolUseFailure of it and takes
 * no other output from it. So a failure is said in the output instead.
 *
 * The command gets lines of its own (a comment or a here-document may end it) in a subshell, which `exit` and zsh's fatal
 * errors leave without passing by the end. A `cd` in it does not last, which the guard never relied on: every call is
 * judged as if nobody knew where it begins.
 */
export function inputThatSucceeds({ tool, input }: ToolCall): Record<string, unknown> | undefined {
  if (tool !== 'Bash') return undefined
  return { ...input, command: `(\n${input.command}\n) || echo "[exit code $?]"` }
}

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
