import { statSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { listProcesses } from '../tier/process-table.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { tried } from '../tier/state.ts'
import { type Examination, type ExamineOptions, examine, isUp } from './examine.ts'
import { gatewayLogs } from './logs.ts'
import { TREATMENTS } from './treat.ts'

/** A drain may take as long under systemd: TimeoutStopSec of OpenClaw's unit. */
export const DRAIN_SEC = 330
export const SYSTEMD_ACTION_TIMEOUT_SEC = DRAIN_SEC + 70

export function waitSec({ startupGraceSec }: Settings, { verdict, graceLeftSec }: Examination): number {
  if (verdict === 'draining') return DRAIN_SEC + startupGraceSec
  return verdict === 'starting' ? graceLeftSec : startupGraceSec
}

export const isOnItsWay = ({ verdict }: Examination): boolean => TREATMENTS[verdict].level1 === 'wait'

/** Gives one that is starting or draining the time that it may take, and what replaces it meanwhile; then a boot that makes progress. */
export async function waitWhileOnItsWay(run: TierRun, options: () => ExamineOptions, first: Examination) {
  const { settings, journal, signal } = run
  let seen = first
  for (let round = 1; isOnItsWay(seen) && round <= 2; round++) {
    const limitSec = waitSec(settings, seen)
    journal.info(`${seen.verdict}: ${seen.evidence}; waiting up to ${Math.ceil(limitSec)} s`)
    const before = seen
    seen = await waitUntilUp(settings, options(), limitSec, signal)
    if (seen.verdict === before.verdict && seen.process?.pid === before.process?.pid) break
  }
  while (await isStillBooting(run, seen)) {
    journal.info(`its start takes longer than ${settings.startupGraceSec} s, and makes progress; waiting`)
    seen = await waitUntilUp(settings, options(), settings.startupGraceSec, signal)
  }
  return seen
}

/** A loop uses the processor, too: after half an hour it counts as hung. */
const LONGEST_BOOT_SEC = 1800
const SAMPLE_SEC = 20
const LEAST_CPU_SEC = 1

/** True for a boot beyond its grace whose log or processor time grows: a migration may take a quarter of an hour. */
async function isStillBooting({ settings, signal }: TierRun, { verdict, wasHealthy, process: target }: Examination) {
  if (verdict !== 'hung' || wasHealthy || !target || target.ageSec > LONGEST_BOOT_SEC) return false
  const before = await sample(settings, target.pid)
  await pauseFor(Math.min(SAMPLE_SEC, settings.startupGraceSec), signal)
  const after = await sample(settings, target.pid)
  return after.logBytes > before.logBytes || after.cpuSec - before.cpuSec >= LEAST_CPU_SEC
}

async function sample(settings: Settings, pid: number) {
  const cpuSec = (await listProcesses(settings, [pid]))[0]?.cpuSec ?? 0
  const logBytes = gatewayLogs(settings).reduce((sum, path) => sum + (tried(() => statSync(path).size) ?? 0), 0)
  return { cpuSec, logBytes }
}

const ABSENT_CHECKS = 3

/** Checks every 0.5 to 2 s until it is up, will not come (not before `leastSec`), or `limitSec` is over. Returns the last examination. */
export async function waitUntilUp(
  settings: Settings,
  options: ExamineOptions,
  limitSec: number,
  signal: AbortSignal,
  leastSec = 0,
): Promise<Examination> {
  const started = performance.now()
  let missing = 0
  let before: number | undefined
  for (let pauseSec = 0.5; ; pauseSec = Math.min(pauseSec * 2, 2)) {
    const seen = await examine(settings, options)
    const { level1 } = TREATMENTS[seen.verdict]
    const leftSec = limitSec - (performance.now() - started) / 1000
    if (isUp(seen.verdict) || leftSec <= 0) return seen
    missing = level1.startsWith('start') ? missing + 1 : 0
    // Waiting changes only what Level 1 would wait for, start or restart.
    const isHopeless = missing >= ABSENT_CHECKS || ['report', 'escalate'].includes(level1)
    // Many have died; this one may be the repaired one, and is still booting.
    const isBooting =
      seen.verdict === 'crash-looping' && seen.process && seen.process.pid === (before ?? seen.process.pid)
    before = seen.process?.pid
    if (isHopeless && !isBooting && limitSec - leftSec >= leastSec) return seen
    await pauseFor(Math.min(pauseSec, leftSec + 0.01), signal)
  }
}

const OLD_WORDS_SEC = 15

/** As `waitUntilUp`, right after a start, when the log may still be about the old process. */
export function waitAfterStart(settings: Settings, options: ExamineOptions, limitSec: number, signal: AbortSignal) {
  return waitUntilUp(settings, options, limitSec, signal, OLD_WORDS_SEC)
}

export async function confirmFailure(
  { settings, journal, signal }: TierRun,
  options: ExamineOptions,
  first: Examination,
  hasSlept = false,
): Promise<Examination> {
  const probes = settings.watchdogMaxRetries * (hasSlept ? 2 : 1)
  let seen = first
  for (let probeNumber = 1; probeNumber < probes; probeNumber++) {
    journal.info(`probe ${probeNumber}/${probes}: ${seen.verdict}: ${seen.evidence}`)
    await pauseFor(settings.watchdogRetryDelaySec, signal)
    seen = await examine(settings, options)
    if (isUp(seen.verdict) || !(seen.process || seen.portOwner)) return seen
  }
  return seen
}

export const pauseFor = (seconds: number, signal: AbortSignal) => delay(seconds * 1000, undefined, { signal })
