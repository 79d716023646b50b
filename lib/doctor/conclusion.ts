/** What follows a session: whose recovery it was, what is rolled back, the report, what was learned. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { addLearning } from '../incidents/learnings.ts'
import { localIso, oneLine } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { ENDINGS, type SessionEnd } from './run-doctor.ts'
import { type InstrumentCall, isTreatment, type Session } from './session.ts'

const isRefused = ({ decision }: InstrumentCall) => decision === 'refused'

/** A recovery is the doctor's only if it did something that can heal before the gateway was healthy. */
export function isByDoctor(calls: readonly InstrumentCall[], { healthySince }: SessionEnd): boolean {
  return calls.some((one) => isTreatment(one) && one.at <= (healthySince ?? Number.POSITIVE_INFINITY))
}

export function whyNotHealed({ title, ending, detail }: SessionEnd): string {
  return `${ENDINGS[ending].replace('%', title)} (${detail})`
}

export function changesTried(calls: readonly InstrumentCall[]): string {
  const named = (some: readonly InstrumentCall[]) => oneLine(some.map(describeCall).join('; '), 400)
  const [did, refused] = [calls.filter(isTreatment), calls.filter(isRefused)]
  const changed = did.length > 0 ? `the doctor tried: ${named(did)}` : 'the doctor changed nothing'
  return refused.length > 0 ? `${changed}; it was refused ${refused.length} calls: ${named(refused)}` : changed
}

function describeCall({ name, args }: InstrumentCall): string {
  const given = Object.values(args).map((value) => (typeof value === 'string' ? value : JSON.stringify(value)))
  return oneLine([name, ...given].join(' '), 200).replaceAll('`', "'")
}

/** Rolls back edits that did not help, completes report and learnings; returns lines for the log. Changes no verdict. */
export function conclude(
  { hide }: TierRun,
  session: Session,
  end: SessionEnd,
  before: { verdict: string; evidence: string },
  isUp: boolean,
  seconds: number,
): string[] {
  const { report, configAfter, calls } = session.state
  const { reportPath } = session.context
  const said: string[] = []
  if (!isUp) {
    const keeps = report?.keepConfigEdits
    if (keeps) said.push(`the doctor's edits of the config stay: ${oneLine(keeps, 200)}`)
    else if (session.rollBackEdits()) said.push("rolled back the doctor's edits of the config: they did not help")
    else if (configAfter !== undefined)
      said.push('the config was written by another hand since: no edit was rolled back')
  }
  if (!end.wasAtWork) return said
  const how = isByDoctor(calls, end) ? 'recovered by the doctor' : 'recovered by itself or from outside'
  const outcome = hide(isUp ? how : `not recovered: ${whyNotHealed(end)}`)
  try {
    const refused = calls.filter(isRefused)
    const written = existsSync(reportPath) ? readFileSync(reportPath, 'utf8').trim() : ''
    const text = [
      written || '# Emergency recovery\n\nThe doctor left no report.',
      '',
      '## Outcome as seen from outside',
      '',
      `- ${outcome}`,
      `- the session of ${end.title} ended: ${end.ending} (${end.detail}), after ${Math.round(seconds)} s`,
      `- ${calls.length} calls of instruments, ${refused.length} of them refused`,
      ...refused.map((one) => `  - refused \`${describeCall(one)}\`: ${one.why}`),
      ...(end.costUsd === undefined ? [] : [`- cost: $${end.costUsd.toFixed(2)}, as it says itself`]),
      ...said.map((line) => `- ${line}`),
    ].join('\n')
    writeFileAtomic(reportPath, `${hide(text)}\n`)
    said.push(`report: ${reportPath}${report ? '' : ' (the doctor wrote none)'}`)
    const evidence = hide(oneLine(before.evidence, 300))
    addLearning(learningsPath(session), {
      ...{ at: localIso(new Date()), verdict: before.verdict, evidence, outcome, seconds, report },
    })
  } catch (error) {
    said.push(`the report could not be completed: ${oneLine(String(error))}`)
  }
  return said
}

export function learningsPath({ settings }: Session): string {
  return join(settings.memoryDir, 'recovery-learnings.md')
}
