/** What the tiers do alike: check the gateway, and write down what came of it. */
import { currentIncident, restartedBy } from '../incidents/history.ts'
import { MAX_SILENCE_SEC } from '../incidents/logs.ts'
import { DEED, EXIT, MARKER, NEEDS_ATTENTION, oneLine, type TierName } from '../tier/contract.ts'
import { type Outcome, type TierRun, whyHandsOff } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { editingSec, readConfig } from './config.ts'
import { examine } from './examine.ts'
import type { Examination, ExamineOptions } from './judge.ts'
import { keepKnownGood } from './known-good.ts'
import { wakePulse } from './pulse.ts'
import { countDeaths, type GatewayRecord, readRecord, troubleSecOf, writeRecord } from './record.ts'
import type { RemedyResult } from './remedies.ts'
import { TREATMENTS, type Verdict } from './treat.ts'

export function examineOptions({ settings, journal, dryRun }: TierRun, deep: boolean): ExamineOptions {
  const { value: record, problem } = readRecord(settings, dryRun)
  if (problem) journal.warn(problem)
  return { httpTimeoutSec: settings.healthCheckHttpTimeoutSec, record, deep }
}

export function check(run: TierRun, deep: boolean): Promise<Examination> {
  return examine(run.settings, examineOptions(run, deep))
}

export function logRemedy({ journal, meter }: TierRun, { done, failure }: RemedyResult): boolean {
  meter.add('restarts', { result: failure ? 'failed' : 'done' })
  if (failure) journal.error(`${done}: FAILED: ${oneLine(failure)}`)
  else journal.info(DEED.restart(done))
  return !failure
}

/** Notes a healthy gateway's process, version and config (but in a dry run), and ends the incident. @param by who healed it, where that is certain */
export async function recordHealthy(run: TierRun, seen: Examination, by?: number | 'outside'): Promise<Outcome> {
  const { settings, journal } = run
  const outcome: Outcome = { code: EXIT.healthy, verdict: 'healthy' }
  if (run.dryRun) return outcome
  wakePulse(settings)
  const nowMs = Date.now()
  const before = readRecord(settings).value
  const config = readConfig(settings)
  const sameConfig = config !== undefined && config.hash === before.configHash
  const warningOf = (kind: string) => seen.warnings.find((warning) => warning.kind === kind)
  const refusal = warningOf('broken-config')?.text
  // One that is just being edited is checked once it has settled.
  const isEdited = before.configHash !== undefined && !sameConfig && editingSec(settings) > 0
  const keepsHash = isEdited || refusal !== undefined || warningOf('unchecked-config') !== undefined
  const isNewProcess = before.pid !== undefined && seen.process !== undefined && seen.process.pid !== before.pid
  const memory = isNewProcess
    ? await (await import('./out-of-memory.ts')).noticeOutOfMemory(run, before, seen, nowMs)
    : undefined
  const supervision =
    before.supervisor === undefined || seen.process?.pid !== before.pid
      ? await (await import('../services/supervision.ts')).noteSupervision(settings, seen.process?.pid)
      : undefined
  const after = {
    ...(seen.process ? await counted(run, before, seen) : before),
    ...memory,
    ...supervision,
    lastHealthyMs: nowMs,
    pid: seen.verdict === 'healthy' ? seen.process?.pid : undefined,
    version: seen.version,
    configHash: keepsHash ? before.configHash : config?.hash,
    configHealthySinceMs: sameConfig || keepsHash ? before.configHealthySinceMs : nowMs,
    ...{ refusedConfigHash: refusal && config?.hash, refusal },
    troubleSinceMs: warningOf('still-starting') ? before.troubleSinceMs : 0,
    putBack: [],
    replacedConfig: undefined,
    putBackInVain: false,
    stoppedSinceMs: 0,
    stopTold: false,
    starts: {},
  }
  writeRecord(settings, after)
  const incident = before.troubleSinceMs > 0 || by !== undefined ? currentIncident(settings) : undefined
  if (incident || typeof by === 'number') {
    const startedMs = seen.process && nowMs - seen.process.ageSec * 1000
    const level = by === 'outside' ? undefined : (by ?? (incident && restartedBy(settings, incident.begin, startedMs)))
    // A human was called for what Level 1 cannot help: that its start works now is the human's deed.
    const isHumans = level === 1 && TREATMENTS[incident?.calledFor as Verdict]?.level1 === 'escalate'
    journal.info(MARKER.recovered(isHumans ? undefined : level, incident?.downSec ?? 0))
  }
  const kept = await keepKnownGood(settings, after, seen.process, nowMs)
  // Asking OpenClaw again at every tick would cost seconds of CPU.
  if (kept === 'unproven') writeRecord(settings, { ...after, configHealthySinceMs: nowMs })
  else if (kept) journal.info(`config kept as known-good: ${kept.path}`)
  return outcome
}

export async function recordTrouble(run: TierRun, seen: Examination): Promise<void> {
  const record = await counted(run, readRecord(run.settings).value, seen)
  const nowMs = Date.now()
  const { troubleSinceMs, troubleSeenMs } = record
  // Time in which no tier looked does not count.
  const unseenMs = nowMs - troubleSeenMs > MAX_SILENCE_SEC * 1000 ? nowMs - troubleSeenMs : 0
  const sinceMs = troubleSinceMs > 0 ? Math.min(nowMs, troubleSinceMs + unseenMs) : nowMs
  writeRecord(run.settings, { ...record, troubleSinceMs: sinceMs, troubleSeenMs: nowMs })
}

async function counted({ settings, journal }: TierRun, before: GatewayRecord, seen: Examination) {
  const { record, ended } = await countDeaths(settings, before, seen)
  if (ended > 0) journal.warn(DEED.ended(ended))
  return record
}

const MOST_ALIKE = 2

/** Notes a start that is done once in an incident, or after these last words. Returns why it is not done again. */
export function noteStart(settings: Settings, { verdict, lastWords }: Examination, once: string | false) {
  if (!once && verdict !== 'unknown' && lastWords === undefined) return undefined
  const record = readRecord(settings).value
  const what = once || `after: ${(lastWords ?? '').replace(/[\w-]*\d[\w-]*/g, '#')}`
  const before = record.starts[what] ?? 0
  if (before >= (once ? 1 : MOST_ALIKE))
    return once ? 'this was tried once already' : `it failed ${before} times with the same words`
  writeRecord(settings, { ...record, starts: { ...record.starts, [what]: before + 1 } })
  return undefined
}

/** Who is at work already: a pause, a higher tier, OpenClaw's updater or triage (which may hang, so not without end). */
export async function whyNotAct({ settings }: TierRun, tier: TierName): Promise<string | undefined> {
  return (await whyHandsOff(settings, tier)) ?? openclawsWork(settings)
}

const LONGEST_UPDATE_SEC = 1800

export async function openclawsWork(settings: Settings): Promise<string | undefined> {
  if (troubleSecOf(readRecord(settings).value) > LONGEST_UPDATE_SEC) return undefined
  const { openclawAtWork } = await import('./processes.ts')
  return openclawAtWork(settings)
}

export function dryRunEnds({ journal }: TierRun, { verdict, evidence }: Examination, level: 1 | 2): Outcome {
  journal.warn(MARKER.down(verdict, evidence))
  journal.info(`dry run: level ${level} would now: ${TREATMENTS[verdict][`level${level}`]}`)
  return { code: EXIT.down, verdict }
}

export function standDown(run: TierRun, why: string, seen: Examination): Outcome {
  run.journal.info(`not acting: ${why}`)
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}

const STOP_TOLD_AFTER_MS = 6 * 3_600_000

export function leaveStopped({ settings, journal, dryRun }: TierRun, seen: Examination): Outcome {
  journal.info(`leaving it stopped: ${seen.evidence}; \`openclaw gateway start\` starts it again`)
  const record = readRecord(settings, dryRun).value
  const sinceMs = record.stoppedSinceMs || Date.now()
  const isDue = !record.stopTold && Date.now() - sinceMs >= STOP_TOLD_AFTER_MS
  if (isDue && !dryRun) journal.warn(MARKER.notice(`${NEEDS_ATTENTION}it has been stopped for 6 h: ${seen.evidence}`))
  if (!dryRun) writeRecord(settings, { ...record, stoppedSinceMs: sinceMs, stopTold: record.stopTold || isDue })
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}
