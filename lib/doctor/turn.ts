/** One doctor at a time on a machine, whichever profile's gateway he is called for. */
import { afterRestart } from '../gateway/backoff.ts'
import { type Examination, type ExamineOptions, examine, isUp } from '../gateway/examine.ts'
import { restart } from '../gateway/remedies.ts'
import { TREATMENTS } from '../gateway/treat.ts'
import { pauseFor, waitUntilUp } from '../gateway/wait.ts'
import { readWatchState, writeWatchState } from '../gateway/watch-state.ts'
import { DEED, oneLine } from '../tier/contract.ts'
import { isLock, takeDoctorLock } from '../tier/lock.ts'
import type { TierRun } from '../tier/run.ts'

/** The gateway as it is when the turn has come. */
export interface Turn {
  seen: Examination
  /** It was restarted meanwhile. */
  byRestart: boolean
}

type Options = (deep: boolean) => ExamineOptions

/**
 * Waits while the doctor of another profile works, no longer than one visit may take, looking at the gateway meanwhile.
 * What he repaired (the package that both share, the machine) may have been the reason here, too: so after him comes one
 * restart, and only then a doctor of our own.
 */
export async function waitForTurn(
  run: TierRun,
  seen: Examination,
  options: Options,
): Promise<Turn | { failure: string }> {
  const { settings, journal } = run
  const limitSec = settings.emergencyRecoveryTimeoutSec
  const deadline = performance.now() + limitSec * 1000
  let hasWaited = false
  for (;;) {
    const taken = await takeDoctorLock(settings).catch((error: NodeJS.ErrnoException) => {
      journal.warn(`whether a doctor of another profile works cannot be told (${error.code}); going on`)
    })
    if (!taken || isLock(taken)) {
      run.onExit(() => taken?.release())
      break
    }
    const other = `the doctor of the profile ${taken.profile} (pid ${taken.pid})`
    if (!hasWaited) journal.info(`${other} is at work; waiting, one at a time`)
    hasWaited = true
    if (performance.now() > deadline) return { failure: `${other} has been at work for longer than ${limitSec} s` }
    await pauseFor(settings.emergencyRecoveryCheckIntervalSec, run.signal)
    const now = await examine(settings, options(false))
    if (isUp(now.verdict)) return { seen: now, byRestart: false }
  }
  if (!hasWaited) return { seen, byRestart: false }
  let now = await examine(settings, options(true))
  if (TREATMENTS[now.verdict].level3 === 'wait')
    now = await waitUntilUp(settings, options(true), settings.startupGraceSec, run.signal)
  // A config that is broken is this gateway's own: nobody has touched it.
  if (TREATMENTS[now.verdict].level3 !== 'doctor' || now.verdict === 'misconfigured')
    return { seen: now, byRestart: false }
  return { seen: await restartOnce(run, now, options), byRestart: true }
}

async function restartOnce(run: TierRun, seen: Examination, options: Options): Promise<Examination> {
  const { settings, journal } = run
  journal.info(`${seen.verdict}: one restart first, for what the other doctor did may have helped here, too`)
  const watch = readWatchState(settings, false).value
  writeWatchState(settings, { ...watch, backoff: afterRestart(watch.backoff, Date.now()) })
  const { done, failure } = await restart(settings, seen)
  run.meter.add('restarts', { result: failure ? 'failed' : 'done' })
  if (failure) journal.error(`${done}: FAILED: ${oneLine(failure)}`)
  else journal.info(DEED.restart(done))
  // Until the new process has got somewhere, the log still says why the last one could not.
  for (const deadline = performance.now() + 15_000; ; ) {
    const after = await waitUntilUp(settings, options(true), settings.startupGraceSec, run.signal)
    if (isUp(after.verdict) || performance.now() > deadline) return after
    await pauseFor(1, run.signal)
  }
}
