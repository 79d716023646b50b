/** How Claude Code asks the guard: the hook's entry in the settings file, its input and its answer. */
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isRecord } from '../tier/state.ts'
import { type Decision, decide } from './guard.ts'
import type { ToolCall } from './guard-judge.ts'

/** The guard answers within a second or two, or is killed after this time. */
const GUARD_LIMIT_SEC = 25
/** Claude Code's own limit for the hook, in seconds; far behind ours, because at this one it lets the call pass. */
const HOOK_TIMEOUT_SEC = 120

const SCRIPT = fileURLToPath(new URL('../../scripts/doctor-guard.ts', import.meta.url))

/**
 * The `hooks` part of the settings file for a run: every tool call is put to the guard.
 *
 * Claude Code (2.1.330, measured; its hooks reference) blocks a call only when the hook prints a decision or exits with 2.
 * Any other exit code, a hook that cannot be started and a hook that takes too long let the call pass. So the shell
 * turns every failure into exit 2, the guard has a shorter limit of its own, and `onFailure` (since 2.1.295; older
 * releases pass over it) says the same once more.
 */
export function guardHooks(contextPath: string): Record<string, unknown> {
  return beforeEveryCall(guardCommand(contextPath))
}

/**
 * The same, and secrets are hidden in what tools answered before the model gets it. When that part fails, Claude Code
 * passes the answer on as it is: it comes on top of the guard, which refuses calls that would show a secret in the first
 * place. Only for releases that let a hook replace a tool's input and output.
 */
export function hidingHooks(contextPath: string): Record<string, unknown> {
  return {
    ...beforeEveryCall(guardCommand(contextPath, ['hides-output'])),
    PostToolUse: [{ matcher: '*', hooks: [{ type: 'command', command: hideCommand(contextPath), timeout: 60 }] }],
  }
}

function beforeEveryCall(command: string): Record<string, unknown> {
  const hook = { type: 'command', command, timeout: HOOK_TIMEOUT_SEC, onFailure: 'block' }
  return { PreToolUse: [{ matcher: '*', hooks: [hook] }] }
}

/** The command line of the hook that hides. */
export function hideCommand(contextPath: string): string {
  return commandLine(contextPath, ['hide'])
}

function commandLine(contextPath: string, modes: readonly string[]): string {
  return [process.execPath, ...typeScriptOptions(), SCRIPT, contextPath, ...modes].map(quoted).join(' ')
}

/** The guard's command line, for any POSIX shell. */
export function guardCommand(contextPath: string, modes: readonly 'hides-output'[] = []): string {
  return `${commandLine(contextPath, [String(GUARD_LIMIT_SEC), ...modes])} || { echo 'The guard failed, so this call is refused.' >&2; exit 2; }`
}

/** What Node needs to run the guard's TypeScript: nothing from 22.18 on, tsx by its absolute address before. */
export function typeScriptOptions(): string[] {
  if ('typescript' in process.features && process.features.typescript) return []
  return ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href]
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/**
 * The answer that Claude Code reads from the hook's standard output.
 * @param updatedInput what an allowed call is run with instead of its own input
 */
export function answerOf(decision: Decision, updatedInput?: Record<string, unknown>): string {
  return JSON.stringify({
    hookSpecificOutput: {
      hookEventName: 'PreToolUse',
      permissionDecision: decision.allow ? 'allow' : 'deny',
      permissionDecisionReason: decision.allow ? `Allowed: ${decision.reason}.` : `Refused: ${decision.reason}`,
      ...(decision.allow && updatedInput ? { updatedInput } : {}),
    },
  })
}

/** True for a text that is such an answer, whole. */
export function isAnswer(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    const output = isRecord(value) && isRecord(value.hookSpecificOutput) ? value.hookSpecificOutput : {}
    return output.permissionDecision === 'allow' || output.permissionDecision === 'deny'
  } catch {
    return false
  }
}

/** The answer when the guard itself fails. */
export function failedAnswer(why: string): string {
  return answerOf(decide('guard-failed', why))
}

/** Reads the hook's input. Throws with a sentence when it is not what Claude Code sends. */
export function readCall(text: string): ToolCall {
  const value: unknown = JSON.parse(text)
  if (!isRecord(value)) throw new Error('the hook was given no object')
  const { tool_name: tool, tool_input: input } = value
  if (typeof tool !== 'string' || tool === '') throw new Error('the hook was given no tool_name')
  if (!isRecord(input)) throw new Error('the hook was given no tool_input')
  return { tool, input }
}
