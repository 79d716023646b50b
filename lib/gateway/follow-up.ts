/** What a tier writes into the patient's record after a look. */
import { currentIncident, restartedBy } from '../incidents/history.ts'
import type { Incident } from '../incidents/incident.ts'
import { EXIT, MARKER } from '../tier/contract.ts'
import type { Outcome, TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { readConfig } from './config.ts'
import { type Examination, WARNING } from './examination.ts'
import { keepKnownGood } from './known-good.ts'
import { readRecord, writeRecord } from './record.ts'

/**
 * The gateway was seen healthy: notes process, version and config, ends an incident that nobody has ended, and keeps
 * the config as known-good when it has proven itself.
 */
export async function recordHealthy(run: TierRun, seen: Examination, nowMs: number): Promise<void> {
  const { settings, journal } = run
  const before = readRecord(settings).value
  const config = readConfig(settings)
  const sameConfig = config !== undefined && config.hash === before.configHash
  const broken = seen.warnings.some((warning) => warning.startsWith(WARNING.brokenConfig))
  const isStillStarting = seen.warnings.some((warning) => warning.startsWith(WARNING.stillStarting))
  const isNewProcess = before.pid !== undefined && seen.process !== undefined && seen.process.pid !== before.pid
  const deaths = isNewProcess
    ? await (await import('./out-of-memory.ts')).noticeOutOfMemory(run, before, seen, nowMs)
    : undefined
  const after = {
    ...before,
    ...deaths,
    lastHealthyMs: nowMs,
    // An orphan stays a stranger: at every tick it is examined anew.
    pid: seen.verdict === 'healthy' ? seen.process?.pid : undefined,
    version: seen.version,
    configHash: broken ? before.configHash : config?.hash,
    configHealthySinceMs: sameConfig || broken ? before.configHealthySinceMs : nowMs,
    // Its time is not counted anew at every tick.
    troubleSinceMs: isStillStarting ? before.troubleSinceMs : 0,
    putBack: [],
    replacedConfig: undefined,
    startedOnce: false,
  }
  writeRecord(settings, after)
  const incident = before.troubleSinceMs > 0 ? currentIncident(settings) : undefined
  if (incident) journal.info(MARKER.recovered(attribute(settings, incident, seen), incident.downSec))
  const kept = await keepKnownGood(settings, after, seen.process, nowMs)
  // The wait begins anew: asking OpenClaw costs seconds of CPU, and every tick would ask.
  if (kept === 'unproven') writeRecord(settings, { ...after, configHealthySinceMs: nowMs })
  else if (kept) journal.info(`config kept as known-good: ${kept.path}`)
}

/** The level whose restart brought the gateway back; undefined: it recovered by itself or from outside. */
export function attribute(settings: Settings, { begin }: Incident, seen: Examination): number | undefined {
  return restartedBy(settings, begin, seen.process && Date.now() - seen.process.ageSec * 1000)
}

/** The gateway was seen in trouble: notes since when. */
export function recordTrouble(settings: Settings, nowMs: number): void {
  const record = readRecord(settings).value
  if (record.troubleSinceMs === 0) writeRecord(settings, { ...record, troubleSinceMs: nowMs })
}

/** It is down, but somebody else is at it. */
export function standDown(run: TierRun, why: string, seen: Examination): Outcome {
  run.journal.info(`standing down: ${why}`)
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}

/** The gateway was stopped on purpose: says so, and how it is started again. */
export function leaveStopped(run: TierRun, seen: Examination): Outcome {
  run.journal.info(`left alone: ${seen.evidence}; \`openclaw gateway start\` starts it again`)
  return { code: EXIT.stoodDown, verdict: seen.verdict }
}
