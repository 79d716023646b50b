import { setTimeout as delay } from 'node:timers/promises'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { type Examination, type ExamineOptions, examine, isUp } from './examine.ts'
import { TREATMENTS } from './treat.ts'

/** A drain may take as long under systemd: TimeoutStopSec of OpenClaw's unit. */
export const DRAIN_SEC = 330

export function waitSec({ startupGraceSec }: Settings, { verdict, graceLeftSec }: Examination): number {
  if (verdict === 'draining') return DRAIN_SEC + startupGraceSec
  return verdict === 'starting' ? graceLeftSec : startupGraceSec
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
  for (let pauseSec = 0.5; ; pauseSec = Math.min(pauseSec * 2, 2)) {
    const seen = await examine(settings, options)
    const { verdict } = seen
    const leftSec = limitSec - (performance.now() - started) / 1000
    if (isUp(verdict) || leftSec <= 0) return seen
    missing = verdict === 'absent' || verdict === 'unloaded' || verdict === 'parked' ? missing + 1 : 0
    // Waiting changes only what Level 1 would wait for, start or restart.
    const isHopeless = missing >= ABSENT_CHECKS || ['report', 'escalate'].includes(TREATMENTS[verdict].level1)
    if (isHopeless && limitSec - leftSec >= leastSec) return seen
    await pauseFor(Math.min(pauseSec, leftSec + 0.01), signal)
  }
}

const OLD_WORDS_SEC = 15

/** As `waitUntilUp`, right after a start, when the log may still be about the old process. */
export function waitAfterStart(settings: Settings, options: ExamineOptions, limitSec: number, signal: AbortSignal) {
  return waitUntilUp(settings, options, limitSec, signal, OLD_WORDS_SEC)
}

/** Confirms a failure by `watchdogMaxRetries` probes, twice as many after a sleep. */
export async function confirmFailure(
  { settings, journal, signal }: TierRun,
  options: ExamineOptions,
  first: Examination,
  hasSlept: boolean,
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

export async function pauseFor(seconds: number, signal: AbortSignal): Promise<void> {
  await delay(seconds * 1000, undefined, { signal })
}
