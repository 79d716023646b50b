/** What the tiers do alike: check the gateway, and write down what came of it. */
import { currentIncident, restartedBy } from '../incidents/history.ts'
import { DEED, EXIT, MARKER, oneLine } from '../tier/contract.ts'
import type { Outcome, TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { readConfig } from './config.ts'
import type { Examination, ExamineOptions, Warning } from './examination.ts'
import { examine } from './examine.ts'
import { keepKnownGood } from './known-good.ts'
import { readRecord, writeRecord } from './record.ts'
import type { RemedyResult } from './remedies.ts'

export function examineOptions({ settings, journal, dryRun }: TierRun, deep: boolean): ExamineOptions {
  const { value: record, problem } = readRecord(settings, dryRun)
  if (problem) journal.warn(problem)
  return { httpTimeoutSec: settings.healthCheckHttpTimeoutSec, record, deep }
}

export function check(run: TierRun, deep: boolean): Promise<Examination> {
  return examine(run.settings, examineOptions(run, deep))
}

/** Logs and counts a restart or start; true when it worked. */
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
  const nowMs = Date.now()
  const before = readRecord(settings).value
  const config = readConfig(settings)
  const sameConfig = config !== undefined && config.hash === before.configHash
  const hasWarning = (kind: Warning['kind']) => seen.warnings.some((warning) => warning.kind === kind)
  const isBroken = hasWarning('broken-config')
  const isNewProcess = before.pid !== undefined && seen.process !== undefined && seen.process.pid !== before.pid
  const deaths = isNewProcess
    ? await (await import('./log-notices.ts')).noticeOutOfMemory(run, before, seen, nowMs)
    : undefined
  const after = {
    ...before,
    ...deaths,
    lastHealthyMs: nowMs,
    pid: seen.verdict === 'healthy' ? seen.process?.pid : undefined,
    version: seen.version,
    configHash: isBroken ? before.configHash : config?.hash,
    configHealthySinceMs: sameConfig || isBroken ? before.configHealthySinceMs : nowMs,
    troubleSinceMs: hasWarning('still-starting') ? before.troubleSinceMs : 0,
    putBack: [],
    replacedConfig: undefined,
    startedOnce: false,
  }
  writeRecord(settings, after)
  const incident = before.troubleSinceMs > 0 || by !== undefined ? currentIncident(settings) : undefined
  if (incident || typeof by === 'number') {
    const startedMs = seen.process && nowMs - seen.process.ageSec * 1000
    const level = by === 'outside' ? undefined : (by ?? (incident && restartedBy(settings, incident.begin, startedMs)))
    journal.info(MARKER.recovered(level, incident?.downSec ?? 0))
  }
  const kept = await keepKnownGood(settings, after, seen.process, nowMs)
  // Asking OpenClaw again at every tick would cost seconds of CPU.
  if (kept === 'unproven') writeRecord(settings, { ...after, configHealthySinceMs: nowMs })
  else if (kept) journal.info(`config kept as known-good: ${kept.path}`)
  return outcome
}

export function recordTrouble(settings: Settings): void {
  const record = readRecord(settings).value
  if (record.troubleSinceMs === 0) writeRecord(settings, { ...record, troubleSinceMs: Date.now() })
}

/** It is down, but a pause or a higher tier forbids to act. */
export function standDown(run: TierRun, why: string, seen: Examination): Outcome {
  run.journal.info(`not acting: ${why}`)
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}

export function leaveStopped(run: TierRun, seen: Examination): Outcome {
  run.journal.info(`leaving it stopped: ${seen.evidence}; \`openclaw gateway start\` starts it again`)
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}
