/** What a tier writes down after it examined the gateway. */
import { currentIncident, restartedBy } from '../incidents/history.ts'
import { EXIT, MARKER } from '../tier/contract.ts'
import type { Outcome, TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { readConfig } from './config.ts'
import { type Examination, WARNING } from './examination.ts'
import { keepKnownGood } from './known-good.ts'
import { readRecord, writeRecord } from './record.ts'

/**
 * The gateway was seen healthy: notes process, version and config, ends the open incident, and keeps the config as
 * known-good once it is proven.
 * @param by the level that healed it, or `outside`, where that is certain; else the restarts in the logs tell
 */
export async function recordHealthy(run: TierRun, seen: Examination, by?: number | 'outside'): Promise<void> {
  const { settings, journal } = run
  const nowMs = Date.now()
  const before = readRecord(settings).value
  const config = readConfig(settings)
  const sameConfig = config !== undefined && config.hash === before.configHash
  const hasWarning = (words: string) => seen.warnings.some((warning) => warning.startsWith(words))
  const isBroken = hasWarning(WARNING.brokenConfig)
  const isNewProcess = before.pid !== undefined && seen.process !== undefined && seen.process.pid !== before.pid
  const deaths = isNewProcess
    ? await (await import('./log-notices.ts')).noticeOutOfMemory(run, before, seen, nowMs)
    : undefined
  const after = {
    ...before,
    ...deaths,
    lastHealthyMs: nowMs,
    // An orphan is examined from scratch at every tick.
    pid: seen.verdict === 'healthy' ? seen.process?.pid : undefined,
    version: seen.version,
    configHash: isBroken ? before.configHash : config?.hash,
    configHealthySinceMs: sameConfig || isBroken ? before.configHealthySinceMs : nowMs,
    troubleSinceMs: hasWarning(WARNING.stillStarting) ? before.troubleSinceMs : 0,
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
  // To ask OpenClaw costs seconds of CPU: not at every tick.
  if (kept === 'unproven') writeRecord(settings, { ...after, configHealthySinceMs: nowMs })
  else if (kept) journal.info(`config kept as known-good: ${kept.path}`)
}

/** The gateway was seen in trouble: notes since when. */
export function recordTrouble(settings: Settings): void {
  const record = readRecord(settings).value
  if (record.troubleSinceMs === 0) writeRecord(settings, { ...record, troubleSinceMs: Date.now() })
}

/** It is down, but a pause or a higher tier forbids to act. */
export function standDown(run: TierRun, why: string, seen: Examination): Outcome {
  run.journal.info(`not acting: ${why}`)
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}

/** The gateway was stopped on purpose: says so, and how it is started again. */
export function leaveStopped(run: TierRun, seen: Examination): Outcome {
  run.journal.info(`leaving it stopped: ${seen.evidence}; \`openclaw gateway start\` starts it again`)
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}
