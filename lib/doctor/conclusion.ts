/** What is made of a session at its end: whose recovery it was, what is rolled back, the report, what was learned. */
import { join } from 'node:path'
import { addLearning } from '../incidents/learnings.ts'
import { localIso, oneLine } from '../tier/contract.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { rollBackEdits } from './act-config.ts'
import type { InstrumentCall, Session } from './instrument.ts'
import { reportText } from './run-files.ts'
import { ENDINGS, type SessionEnd } from './session.ts'

/** True for a call that can heal the gateway. */
export const isTreatment = ({ acts, decision }: InstrumentCall) => acts && decision === 'done'

/** A doctor is credited only on evidence: before the gateway was healthy it did something that can heal. */
export function isCredit(calls: readonly InstrumentCall[], end: SessionEnd): boolean {
  const healthyAt = end.healthySince ?? Number.POSITIVE_INFINITY
  return calls.some((one) => isTreatment(one) && one.at <= healthyAt)
}

export function whyNotHealed(title: string, { ending, detail }: SessionEnd): string {
  return `${ENDINGS[ending].replace('%', title)} (${detail})`
}

/** What the doctor changed, and what it was refused, as one line. */
export function changesTried(calls: readonly InstrumentCall[]): string {
  const named = (some: readonly InstrumentCall[]) => oneLine(some.map(describeCall).join('; '), 400)
  const did = calls.filter(isTreatment)
  const refused = calls.filter(({ decision }) => decision === 'refused')
  return [
    did.length > 0 ? `the doctor tried: ${named(did)}` : 'the doctor changed nothing',
    ...(refused.length > 0 ? [`it was refused ${refused.length} calls: ${named(refused)}`] : []),
  ].join('; ')
}

export function describeCall({ name, args }: Pick<InstrumentCall, 'name' | 'args'>): string {
  const given = Object.values(args).map((value) => (typeof value === 'string' ? value : JSON.stringify(value)))
  return oneLine([name, ...given].join(' '), 200).replaceAll('`', "'")
}

export interface Conclusion {
  title: string
  end: SessionEnd
  verdict: string
  evidence: string
  isUp: boolean
  seconds: number
  hide: (text: string) => string
}

/**
 * Rolls back edits that did not help, completes the report and adds the incident to the learnings. A failure here
 * changes no verdict. Returns lines for the log.
 */
export function conclude(session: Session, of: Conclusion): string[] {
  const { context, state } = session
  const said: string[] = []
  const keeps = state.report?.keepConfigEdits
  if (!of.isUp && keeps) said.push(`the doctor's edits of the config stay: ${oneLine(keeps, 200)}`)
  else if (!of.isUp && rollBackEdits(session))
    said.push("rolled back the doctor's edits of the config: they did not help")
  else if (!of.isUp && state.configAfter !== undefined)
    said.push('the config was written by another hand since: no edit was rolled back')
  if (!of.end.wasAtWork) return said
  const how = isCredit(state.calls, of.end) ? 'recovered by the doctor' : 'recovered by itself or from outside'
  const outcome = of.hide(of.isUp ? how : `not recovered: ${whyNotHealed(of.title, of.end)}`)
  try {
    const refused = state.calls.filter(({ decision }) => decision === 'refused')
    const cost = of.end.costUsd === undefined ? [] : [`- cost: $${of.end.costUsd.toFixed(2)}, as it says itself`]
    const parts = [
      reportText(context) || '# Emergency recovery\n\nThe doctor left no report.',
      [
        '## Outcome as seen from outside',
        '',
        `- ${outcome}`,
        `- the session of ${of.title} ended: ${of.end.ending} (${of.end.detail}), after ${Math.round(of.seconds)} s`,
        `- ${state.calls.length} calls of instruments, ${refused.length} of them refused`,
        ...refused.map((one) => `  - refused \`${describeCall(one)}\`: ${one.why}`),
        ...cost,
        ...said.map((line) => `- ${line}`),
      ].join('\n'),
    ]
    writeFileAtomic(context.reportPath, `${of.hide(parts.join('\n\n'))}\n`)
    said.push(`report: ${context.reportPath}${state.report ? '' : ' (the doctor wrote none)'}`)
    addLearning(learningsPath(session), {
      at: localIso(new Date()),
      verdict: of.verdict,
      evidence: of.hide(oneLine(of.evidence, 300)),
      outcome,
      seconds: of.seconds,
      report: state.report,
    })
  } catch (error) {
    said.push(`the report could not be completed: ${oneLine(String(error))}`)
  }
  return said
}

export function learningsPath({ settings }: Session): string {
  return join(settings.memoryDir, 'recovery-learnings.md')
}
