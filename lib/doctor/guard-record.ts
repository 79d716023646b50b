/** What the guard leaves behind: a line in the recovery log for every decision, and copies of what may be changed. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { redact } from '../alerts/redact.ts'
import { formatLine, oneLine, parseLine } from '../tier/contract.ts'
import { type Decision, decide, RULES, type RuleId } from './guard.ts'
import { type GuardContext, readGuardContext } from './guard-context.ts'

/** Where it is noted that OpenClaw's own repair was used up in this run. */
export function repairMark(context: GuardContext): string {
  return join(context.runFolder, 'openclaw-doctor-fix-was-run')
}

/**
 * Does what must have happened before an allowed call runs: the config as it stands is kept in the run's folder.
 * Throws when that is impossible; then the call is refused.
 */
export function prepare(rules: readonly RuleId[], context: GuardContext): void {
  if (rules.includes('edit-config') || rules.includes('repair')) keepConfig(context)
  if (rules.includes('repair')) writeFileSync(repairMark(context), '', { mode: 0o600 })
}

/** Copies the config to `config-before-<n>-openclaw.json` (0600), unless the last copy is the same. */
function keepConfig(context: GuardContext): void {
  if (!existsSync(context.configPath)) return
  mkdirSync(context.runFolder, { recursive: true, mode: 0o700 })
  const config = readFileSync(context.configPath)
  const copies = readdirSync(context.runFolder)
    .map((name) => Number(/^config-before-(\d+)-/.exec(name)?.[1] ?? 0))
    .filter((n) => n > 0)
  const last = Math.max(0, ...copies)
  const pathOf = (n: number) => join(context.runFolder, `config-before-${n}-${basename(context.configPath)}`)
  if (last > 0 && existsSync(pathOf(last)) && readFileSync(pathOf(last)).equals(config)) return
  writeFileSync(pathOf(last + 1), config, { mode: 0o600, flag: 'wx' })
}

/** One decision, as it is written into the recovery log and read back for the report and the alert. */
export interface RecordedDecision {
  /** To the second. */
  at: Date
  allow: boolean
  tool: string
  rule: string
  /** The command, file or pattern that was asked for, redacted and on one line. */
  call: string
  reason: string
}

/** Appends a decision to the recovery log. Throws when the log cannot be written; then the call is refused. */
export function recordDecision(
  decision: Decision,
  call: { tool: string; input: unknown },
  context: GuardContext,
  secrets: readonly string[],
): void {
  const asked = oneLine(redact(subjectOf(call.input), secrets), 240).replaceAll('`', "'")
  const tool = oneLine(call.tool, 60).replace(/[^\w.-]/g, '_') || 'unnamed'
  const why = decision.allow ? '' : `: ${oneLine(redact(decision.reason, secrets), 300)}`
  const text = `GUARD ${decision.allow ? 'allowed' : 'refused'} ${tool} [${decision.rule}] \`${asked}\`${why}`
  const line = formatLine(new Date(), 'emergency-recovery', decision.allow ? 'INFO' : 'WARN', text)
  appendFileSync(context.recoveryLogPath, `${line}\n`, { mode: 0o600 })
}

/** Notes that a call was refused because the guard itself failed; says nothing when even that is impossible. */
export function recordFailure(contextPath: string, why: string): void {
  try {
    // A pipe in its place would hold up the answer.
    if (!statSync(contextPath).isFile()) return
    const decision = decide('guard-failed', `(${why})`)
    recordDecision(decision, { tool: 'unknown', input: {} }, readGuardContext(contextPath), [])
  } catch {
    // The answer is a refusal in any case.
  }
}

/** The read side of `recordDecision`; undefined for lines that are none. */
export function parseDecision(line: string): RecordedDecision | undefined {
  const parsed = parseLine(line)
  const m = /^GUARD (allowed|refused) ([\w.-]+) \[([a-z-]+)\] `([^`]*)`(?:: (.*))?$/.exec(parsed?.text ?? '')
  if (!parsed || !m) return undefined
  return { at: parsed.at, allow: m[1] === 'allowed', tool: m[2]!, rule: m[3]!, call: m[4]!, reason: m[5] ?? '' }
}

/** All decisions in the text of a recovery log. */
export function decisionsIn(log: string): RecordedDecision[] {
  return log.split('\n').flatMap((line) => parseDecision(line) ?? [])
}

/** What a call is about: its command, its file, its pattern. */
function subjectOf(input: unknown): string {
  if (typeof input !== 'object' || input === null) return ''
  const {
    command,
    file_path: file,
    notebook_path: notebook,
    path,
    pattern,
    url,
    query,
  } = input as Record<string, unknown>
  const subject =
    command ?? file ?? notebook ?? (pattern === undefined ? undefined : `${pattern} in ${path ?? '.'}`) ?? url ?? query
  return typeof subject === 'string' ? subject : JSON.stringify(input)
}

/** The policy as Markdown lines, for the briefing and the documentation. */
export function describeRules(): string {
  const lines = Object.values(RULES).map((rule) => `- ${rule.allow ? 'allowed' : 'refused'}: ${rule.what}`)
  return lines.join('\n')
}
