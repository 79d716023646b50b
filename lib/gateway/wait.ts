/** Waiting for a gateway to come up. */
import { setTimeout as delay } from 'node:timers/promises'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { type Examination, type ExamineOptions, examine, isUp, type Verdict } from './examine.ts'

/** With these verdicts waiting longer changes nothing. */
const FINAL: readonly Verdict[] = [
  'misconfigured',
  'impostor',
  'broken-install',
  'blocked',
  'unusable-state',
  'disk-full',
  'stopped-on-purpose',
]
/** Gone this many times in a row, with no supervisor starting it, it is not coming by itself. */
const ABSENT_LOOKS = 3

/** Examines the gateway every 0.5 to 2 s until it is up, will not come, or `limitSec` is over. Returns the last examination. */
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
    if (isUp(verdict) || FINAL.includes(verdict)) return examination
    missing = verdict === 'absent' || verdict === 'unloaded' || verdict === 'parked' ? missing + 1 : 0
    if (missing >= ABSENT_LOOKS || performance.now() >= deadline) return examination
    pauseMs = Math.min(pauseMs * 2, 2000)
    await delay(Math.min(pauseMs, Math.max(0, deadline - performance.now()) + 10), undefined, { signal })
  }
}

const OLD_WORDS_SEC = 15

/** As `waitUntilUp`, right after a start: what the log says need not be about the new process yet. */
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

/** Confirms a failure by `watchdogMaxRetries` probes (twice as many after a sleep): one timeout is a busy moment. */
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

/** Waits, unless the tier is told to stop. */
export async function pauseFor(seconds: number, signal: AbortSignal): Promise<void> {
  await delay(seconds * 1000, undefined, { signal })
}
