#!/usr/bin/env -S npx tsx
/**
 * Level 2, the health check. Catches what the watchdog missed; waits longer, with more remedies.
 * Started by LaunchAgent com.openclaw.healthcheck (Linux: a systemd user timer of that name) every 300 s, and at once
 * when Level 1 escalates.
 *
 * Exit 0  the gateway is healthy, or was brought back (also by Level 3)
 *      1  still down: Level 3 has failed and called for a human
 *      2  unusable flags or settings, nothing was touched
 *      3  not acting: paused, Level 3 or another health check is at work, or the gateway was stopped on purpose
 */
import { type Examination, isUp } from '../lib/gateway/examine.ts'
import {
  check,
  examineOptions,
  leaveStopped,
  logRemedy,
  recordHealthy,
  recordTrouble,
  standDown,
} from '../lib/gateway/follow-up.ts'
import { readRecord, refusalsDue, writeRecord } from '../lib/gateway/record.ts'
import { TREATMENTS } from '../lib/gateway/treat.ts'
import { afterRestart, readWatchState, whyCooling, writeWatchState } from '../lib/gateway/watch-state.ts'
import { currentIncident, downSec, isFresh } from '../lib/incidents/history.ts'
import { glanceAtPeers } from '../lib/services/watchers.ts'
import { EXIT, MARKER, oneLine, TIERS } from '../lib/tier/contract.ts'
import { LAUNCHER, type Outcome, runTier, type TierRun, whyHandsOff } from '../lib/tier/run.ts'
import { shell } from '../lib/tier/shell.ts'

await runTier({
  tier: 'healthcheck',
  help: `Level 2 of openclaw-self-healing: checks the OpenClaw Gateway over HTTP, restarts it up to three times, rolls its config
back to the last known-good one, and starts Level 3 (an AI doctor) when it has been down for five minutes.
Started every 300 s by launchd or systemd; can be run by hand at any time.`,
  main: async (run) => {
    const outcome = await main(run)
    // 7. Whatever became of the gateway: the watchers watch each other.
    await glanceAtPeers(run, 'healthcheck')
    return outcome
  },
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, journal } = run

  // 1. HTTP check.
  let seen = await check(run, true)
  const isSettled = () => isUp(seen.verdict) || seen.verdict === 'stopped-on-purpose'
  const settled = (by?: number) => (isUp(seen.verdict) ? healthy(run, seen, by) : leaveStopped(run, seen))
  if (isSettled()) return settled()
  if (run.dryRun) {
    journal.warn(`${seen.verdict}: ${seen.evidence}`)
    journal.info(`dry run: level 2 would now: ${TREATMENTS[seen.verdict].level2}`)
    return { code: EXIT.down, verdict: seen.verdict }
  }
  const { confirmFailure, pauseFor, waitSec, waitUntilUp } = await import('../lib/gateway/wait.ts')
  const handsOff = () => whyHandsOff(settings, 'healthcheck')
  run.markAtWork()
  recordTrouble(settings)
  if (seen.verdict === 'hung' && !isFresh(currentIncident(settings))) {
    seen = await confirmFailure(run, examineOptions(run, true), seen, false)
    if (isSettled()) return settled()
  }

  // 2. A gateway that is starting or draining gets the time that it may take.
  if (TREATMENTS[seen.verdict].level2 === 'wait') {
    const limitSec = waitSec(settings, seen)
    journal.info(`${seen.verdict}: ${seen.evidence}; waiting up to ${Math.ceil(limitSec)} s`)
    seen = await waitUntilUp(settings, examineOptions(run, true), limitSec, run.signal)
    if (isSettled()) return settled()
  }

  // 3. Up to three retries, 30 s apart, each with the remedy that the table names.
  const retries = settings.healthCheckMaxRetries
  for (let retry = 1; retry <= retries; retry++) {
    const why = await handsOff()
    if (why) return standDown(run, why, seen)
    journal.warn(MARKER.down(seen.verdict, seen.evidence))
    const { level2: remedy, because } = TREATMENTS[seen.verdict]
    journal.warn(remedy === 'escalate' ? `no retries: ${because}` : `retry ${retry}/${retries}: ${remedy}`)
    const treated = await treat(run, seen)
    if (treated === 'cannot') break
    seen = await waitUntilUp(settings, examineOptions(run, true), waitSec(settings, seen), run.signal)
    if (isSettled()) return settled(treated === 'done' ? TIERS.healthcheck.level : undefined)
    if (seen.process && treated !== 'waiting') {
      journal.warn(`${seen.verdict} after ${settings.startupGraceSec} s; another restart would be the same`)
      break
    }
    if (retry < retries) await pauseFor(settings.healthCheckRetryDelaySec, run.signal)
  }

  // 4. Still down: watch on until the gateway has been down for five minutes in all.
  const limitSec = settings.healthCheckEscalationWaitSec
  journal.warn(MARKER.down(seen.verdict, seen.evidence))
  for (;;) {
    const why = await handsOff()
    if (why) return standDown(run, why, seen)
    const leftSec = limitSec - downSec(settings)
    if (leftSec <= 0) break
    journal.info(`down for ${Math.round(downSec(settings))} s; level 3 follows at ${limitSec} s`)
    await pauseFor(Math.min(leftSec, settings.healthCheckRetryDelaySec), run.signal)
    seen = await check(run, false)
    if (isSettled()) return settled()
  }

  // 5. A learned remedy, if there is an approved one for exactly this failure: then no doctor is needed.
  const { hostFacts } = await import('../lib/gateway/host.ts')
  const { gatewayService } = await import('../lib/services/supervisor.ts')
  const facts = await hostFacts(settings, seen.service ?? (await gatewayService(settings)))
  journal.info(`evidence for level 3:\n${facts}`)
  if (!seen.process) (await import('../lib/gateway/known-good.ts')).undoRollBack(run)
  const healed = await applyLearnedRemedy(run)
  if (healed) return healed

  // 6. Level 3, in the foreground: launchd ends a job's children with the job.
  journal.warn(MARKER.escalate(3, `down for ${Math.round(downSec(settings))} s, ${seen.verdict}: ${seen.evidence}`))
  const code = await runEmergencyRecovery(run)
  journal.info(`level 3 ended with exit code ${code}`)
  if (code === EXIT.healthy) return recordHealthy(run, await check(run, false))
  return { code: code === EXIT.stoodDown ? EXIT.stoodDown : EXIT.down, verdict: seen.verdict }
}

/** Does what the table says. `failed`: it was tried; `cannot`: this level can do no more; `waiting`: it is coming by itself. */
async function treat(run: TierRun, seen: Examination): Promise<'done' | 'failed' | 'waiting' | 'cannot'> {
  const { settings, journal } = run
  const remedy = TREATMENTS[seen.verdict].level2
  if (remedy === 'escalate') return 'cannot'
  if (remedy === 'wait') return 'waiting'

  const watch = readWatchState(settings, false).value
  const cooling = watch.backoff.crashes > settings.healthCheckMaxRetries ? whyCooling(watch, settings) : undefined
  let isOnlyStart = remedy === 'start once'
  if (remedy === 'put back known-good config') {
    const { rollBackConfig } = await import('../lib/gateway/known-good.ts')
    const result = await rollBackConfig(run, seen)
    if (result === 'cannot') return 'cannot'
    if (result === 'done') run.meter.add('configRollbacks')
    // What kept it down may have been passing: a network or a disk that came late.
    isOnlyStart = result === 'blameless'
  } else if (cooling) {
    journal.warn(cooling)
    return 'cannot'
  }
  const record = readRecord(settings).value
  if (isOnlyStart && record.startedOnce) return 'cannot'
  if (isOnlyStart) writeRecord(settings, { ...record, startedOnce: true })
  writeWatchState(settings, { ...watch, backoff: afterRestart(watch.backoff, Date.now()) })
  const { restart } = await import('../lib/gateway/remedies.ts')
  if (remedy !== 'restart') return logRemedy(run, await restart(settings, seen)) ? 'done' : 'failed'

  // `openclaw gateway restart`, as a user would (exit 2: still starting); under systemd it may drain for 330 s first.
  const { waitUntilUp } = await import('../lib/gateway/wait.ts')
  const { SYSTEMD_ACTION_TIMEOUT_SEC } = await import('../lib/services/systemd.ts')
  const $ = shell(settings, { timeoutSec: seen.service?.kind === 'systemd' ? SYSTEMD_ACTION_TIMEOUT_SEC : 60 })
  const { code, failure } = await $`openclaw gateway restart`
  const hasFailed = code !== 0 && code !== 2
  const now = await (hasFailed ? check(run, false) : waitUntilUp(settings, examineOptions(run, false), 5, run.signal))
  const isComing = isUp(now.verdict) || TREATMENTS[now.verdict].level2 === 'wait'
  if (isComing && hasFailed) return 'waiting'
  // It does not start a gateway that has no supervisor, nor end one that hangs.
  if (!isComing)
    journal.info(`openclaw gateway restart did not bring it back${hasFailed ? `: ${oneLine(failure!)}` : ''}`)
  const result = isComing ? { done: 'openclaw gateway restart' } : await restart(settings, now)
  return logRemedy(run, result) ? 'done' : 'failed'
}

/** A gateway that was only waited for has not recovered. */
async function healthy(run: TierRun, seen: Examination, by?: number): Promise<Outcome> {
  const outcome = await recordHealthy(run, seen, by !== undefined && currentIncident(run.settings) ? by : undefined)
  if (!run.dryRun && refusalsDue(readRecord(run.settings).value, Date.now()))
    await (await import('../lib/gateway/log-notices.ts')).noticeRefusals(run)
  return outcome
}

/** Repeats the calls that healed this failure before, under the doctor's policy; drops them if they do not help. */
async function applyLearnedRemedy(run: TierRun): Promise<Outcome | undefined> {
  const { settings, journal } = run
  const { approvedRemedy, describeRemedy, setStatus } = await import('../lib/doctor/learned.ts')
  const remedy = approvedRemedy(settings, await check(run, true), journal.warn)
  if (!remedy) return undefined
  const { isTreatment, openSession } = await import('../lib/doctor/session.ts')
  const { callInstrument } = await import('../lib/doctor/instruments.ts')
  const { hiding } = await import('../lib/alerts/secrets.ts')
  const { waitAfterStart } = await import('../lib/gateway/wait.ts')
  journal.warn(`learned remedy ${remedy.fingerprint}: ${describeRemedy(remedy)}`)
  const session = openSession(settings, 'healthcheck', journal.path)
  const hide = await hiding(settings)
  let isOpen = true
  const close = (helped: boolean) => {
    const isRolledBack = isOpen && !helped && session.rollBackEdits()
    if (isOpen) session.close(hide)
    isOpen = false
    return isRolledBack ? '; its edits of the config were rolled back' : ''
  }
  run.onExit(() => void close(false))
  let failure: string | undefined
  for (const { name, args } of remedy.calls) {
    const { text, isError } = await callInstrument(session, name, args)
    if (isError) failure = oneLine(text, 200)
    if (isError) break
  }
  const after = session.state.calls.some(isTreatment)
    ? await waitAfterStart(settings, examineOptions(run, true), settings.startupGraceSec, run.signal)
    : await check(run, true)
  const hasHelped = isUp(after.verdict)
  const rolledBack = close(hasHelped)
  if (hasHelped) return healthy(run, after, failure ? undefined : TIERS.healthcheck.level)
  setStatus(settings, remedy.fingerprint, 'dropped', ['approved', 'proposed'])
  const why = failure ?? `${after.verdict}: ${after.evidence}`
  const dropped = `the learned remedy ${remedy.fingerprint} did not help and is dropped (${why})${rolledBack}`
  journal.warn(MARKER.notice(dropped))
  return undefined
}

async function runEmergencyRecovery(run: TierRun): Promise<number> {
  const { execa } = await import('execa')
  const child = execa({ stdio: 'inherit', reject: false })`sh ${LAUNCHER} emergency-recovery`
  // SIGTERM is passed on to Level 3, which has a tmux session to end.
  run.onExit(async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await child
  })
  const { exitCode, signal } = await child
  if (exitCode !== undefined && exitCode <= EXIT.stoodDown && exitCode !== EXIT.unusable) return exitCode
  // Killed, or never begun (2 is also the shell's own code for that), Level 3 could not leave the marker itself.
  run.journal.error(MARKER.manual(`level 3 ended by ${signal ?? `exit code ${exitCode}`} before it was done`))
  return EXIT.down
}
