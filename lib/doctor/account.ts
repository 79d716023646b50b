/** The account of a visit: who gets the credit, what was tried, and what is kept of it for the next doctor. */
import { localIso, oneLine } from '../tier/contract.ts'
import { addCase, parseReport } from './casebook.ts'
import type { Ending } from './ending.ts'
import type { RecordedDecision } from './guard-record.ts'
import { completeReport, readReport } from './report.ts'
import type { RunFiles } from './run-files.ts'
import type { Visit } from './session.ts'

export interface Account {
  visit: Visit
  /** What the guard decided during the visit. */
  decisions: readonly RecordedDecision[]
  /** How long the visit took. */
  seconds: number
  /** The gateway was healthy at its end. */
  isUp: boolean
}

/** What a decision of the guard must have been about for the doctor to have treated the gateway. */
const TREATING = new Set(['restart', 'repair', 'service', 'edit-config', 'end-process', 'reinstall'])

/** True for a call that was allowed and can heal the gateway. */
export const isTreatment = ({ allow, rule }: RecordedDecision) => allow && TREATING.has(rule)

/** The doctor is credited only on evidence: the prompt arrived, and before it was well he did something that can heal. */
export function isCredit({ visit, decisions, isUp }: Account): boolean {
  const wellAt = visit.healthySince ?? Number.POSITIVE_INFINITY
  return isUp && visit.prompted && decisions.some((one) => isTreatment(one) && one.at.getTime() <= wellAt)
}

const WHY: Readonly<Record<Ending, string>> = {
  recovered: 'the gateway was healthy for a while and is not any more',
  login: 'Claude Code is not logged in',
  quota: 'Claude Code’s quota is used up',
  service: 'Claude Code cannot reach its service',
  onboarding: 'Claude Code was never set up',
  unguarded: 'Claude Code got no prompt, for the guard would not have been in force',
  room: 'tmux did not open a session',
  'not-ready': 'Claude Code did not become ready',
  'not-delivered': 'the prompt could not be handed to Claude Code',
  exited: 'Claude Code ended early',
  idle: 'the doctor has ended, and the gateway is not healed',
  questions: 'Claude Code kept asking questions',
  paused: 'somebody paused everything while the doctor was at work',
  'time-limit': 'the doctor’s time was over',
}

export function whyNotHealed(visit: Visit): string {
  return `${WHY[visit.ending]} (${visit.detail})`
}

/** What the doctor changed, and what he was kept from, as one line. */
export function changesTried(decisions: readonly RecordedDecision[]): string {
  const did = decisions.filter(isTreatment).map(({ call }) => call)
  const refused = decisions.filter(({ allow }) => !allow).map(({ call }) => call)
  return [
    did.length > 0 ? `the doctor tried: ${oneLine(did.join('; '), 400)}` : 'the doctor changed nothing',
    ...(refused.length > 0 ? [`the guard refused ${refused.length} calls: ${oneLine(refused.join('; '), 300)}`] : []),
  ].join('; ')
}

/**
 * Completes the report and adds the incident to the casebook; what was done without a prompt teaches nothing. A failure
 * here changes no verdict. Returns lines for the log.
 */
export function keepAccount(files: RunFiles, account: Account, redact: (text: string) => string): string[] {
  const { visit, decisions, seconds } = account
  const recording = `recording: ${files.recordingPath}`
  if (!visit.prompted) return [recording]
  const how = isCredit(account) ? 'recovered by the doctor' : 'recovered by itself or from outside'
  const outcome = account.isUp ? how : `not recovered: ${whyNotHealed(visit)}`
  try {
    const written = redact(readReport(files.reportPath))
    const ending = `${visit.ending} (${visit.detail})`
    completeReport(files.reportPath, written, { outcome, ending, seconds, decisions }, redact)
    addCase(files.casebookPath, {
      at: localIso(new Date()),
      verdict: files.verdict,
      evidence: redact(files.evidence),
      outcome: redact(outcome),
      seconds,
      report: parseReport(written),
    })
    return [`report: ${files.reportPath}${written ? '' : ' (the doctor wrote none)'}`, recording]
  } catch (error) {
    return [`the report could not be completed: ${oneLine(String(error))}`, recording]
  }
}
