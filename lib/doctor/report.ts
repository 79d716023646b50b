/** The report of a visit: what the doctor wrote, completed with what only the outside knows. */
import { existsSync, readFileSync } from 'node:fs'
import { cleanText } from '../tier/contract.ts'
import { writeFileAtomic } from '../tier/state.ts'
import type { RecordedDecision } from './guard-record.ts'

const MAX_REPORT_CHARS = 200_000

export interface Conclusion {
  /** What became of it, as a sentence that begins with `recovered` or `not recovered`. */
  outcome: string
  /** How the visit ended. */
  ending: string
  seconds: number
  decisions: readonly RecordedDecision[]
}

/** What the doctor wrote; empty when there is no report. */
export function readReport(path: string): string {
  return existsSync(path) ? cleanText(readFileSync(path, 'utf8').slice(0, MAX_REPORT_CHARS)).trim() : ''
}

/** Puts the report into its final form: redacted, with the outcome and the guard's refusals behind it. */
export function completeReport(
  path: string,
  written: string,
  conclusion: Conclusion,
  redact: (text: string) => string,
): void {
  const refused = conclusion.decisions.filter(({ allow }) => !allow)
  const allowed = conclusion.decisions.length - refused.length
  const parts = [
    written || '# Emergency recovery\n\nThe doctor left no report.',
    [
      '## Outcome as seen from outside',
      '',
      `- ${conclusion.outcome}`,
      `- the visit ended: ${conclusion.ending}, after ${Math.round(conclusion.seconds)} s`,
      `- the guard allowed ${allowed} tool calls and refused ${refused.length}`,
      ...refused.map(({ tool, rule, call, reason }) => `  - refused ${tool} [${rule}] \`${call}\`: ${reason}`),
    ].join('\n'),
  ]
  writeFileAtomic(path, `${redact(parts.join('\n\n'))}\n`)
}
