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

/** Checks every 0.5 to 2 s until it is up, will not come, or `limitSec` is over. Returns the last examination. */
export async function waitUntilUp(
  settings: Settings,
  options: ExamineOptions,
  limitSec: number,
  signal: AbortSignal,
): Promise<Examination> {
  const deadline = performance.now() + limitSec * 1000
  let missing = 0
  let pauseMs = 250
  for (;;) {
    const examination = await examine(settings, options)
    const { verdict } = examination
    // Waiting changes only what Level 1 would wait for, start or restart.
    if (['nothing', 'report', 'escalate'].includes(TREATMENTS[verdict].level1)) return examination
    missing = verdict === 'absent' || verdict === 'unloaded' || verdict === 'parked' ? missing + 1 : 0
    if (missing >= ABSENT_CHECKS || performance.now() >= deadline) return examination
    pauseMs = Math.min(pauseMs * 2, 2000)
    await delay(Math.min(pauseMs, Math.max(0, deadline - performance.now()) + 10), undefined, { signal })
  }
}

const OLD_WORDS_SEC = 15

/** As `waitUntilUp`, right after a start, when the log may still be about the old process. */
export async function waitAfterStart(
  settings: Settings,
  options: ExamineOptions,
  limitSec: number,
  signal: AbortSignal,
): Promise<Examination> {
  const oldWordsEnd = performance.now() + Math.min(OLD_WORDS_SEC, limitSec) * 1000
  for (;;) {
    const seen = await waitUntilUp(settings, options, limitSec, signal)
    if (isUp(seen.verdict) || performance.now() > oldWordsEnd) return seen
    await pauseFor(1, signal)
  }
}

/** Confirms a failure by `watchdogMaxRetries` probes, twice as many after a sleep. */
export async function confirmFailure(
  run: TierRun,
  options: ExamineOptions,
  first: Examination,
  hasSlept: boolean,
): Promise<Examination> {
  const { settings, journal } = run
  const probes = settings.watchdogMaxRetries * (hasSlept ? 2 : 1)
  let seen = first
  for (let probeNumber = 1; probeNumber < probes; probeNumber++) {
    journal.info(`probe ${probeNumber}/${probes}: ${seen.verdict}: ${seen.evidence}`)
    await delay(settings.watchdogRetryDelaySec * 1000, undefined, { signal: run.signal })
    seen = await examine(settings, options)
    if (isUp(seen.verdict) || !(seen.process || seen.portOwner)) return seen
  }
  return seen
}

export async function pauseFor(seconds: number, signal: AbortSignal): Promise<void> {
  await delay(seconds * 1000, undefined, { signal })
}
