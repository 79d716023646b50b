#!/usr/bin/env -S npx tsx
/**
 * Level 2, the health check: the nurse. Catches what the watchdog missed; more patient, with more remedies.
 * Started by LaunchAgent com.openclaw.healthcheck (Linux: a systemd user timer of that name) every 300 s, and at once
 * when Level 1 escalates.
 *
 * Exit 0  the gateway was healthy when I left, or it was brought back (by me or by Level 3)
 *      1  still down: Level 3 has failed and called for a human
 *      2  unusable flags or settings, nothing was touched
 *      3  I stood down: paused, Level 3 is at work, another health check runs, or somebody stopped the gateway
 */
import { fileURLToPath } from 'node:url'
import { afterRestart, cooldownLeftSec } from '../lib/gateway/backoff.ts'
import { creditFor } from '../lib/gateway/credit.ts'
import { type Examination, examine, isUp } from '../lib/gateway/examine.ts'
import { leaveStopped, recordHealthy, recordTrouble, standDown } from '../lib/gateway/follow-up.ts'
import { readRecord, refusalsDue, writeRecord } from '../lib/gateway/record.ts'
import type { RemedyResult } from '../lib/gateway/remedies.ts'
import { restartCannotHelp, TREATMENTS } from '../lib/gateway/treat.ts'
import { readWatchState, writeWatchState } from '../lib/gateway/watch-state.ts'
import { glanceAtPeers } from '../lib/services/look-after.ts'
import { DEED, EXIT, MARKER, oneLine, TIERS } from '../lib/tier/contract.ts'
import { currentIncident, downSec } from '../lib/tier/journal.ts'
import { redact } from '../lib/tier/redact.ts'
import { type Outcome, runTier, type TierRun, whyHandsOff } from '../lib/tier/run.ts'

await runTier({
  tier: 'healthcheck',
  help: `Level 2 of openclaw-self-healing: checks the OpenClaw Gateway over HTTP, restarts it up to three times, puts back
the last known-good config, and starts Level 3 (Claude Code) when it has been down for five minutes.
Started every 300 s by launchd or systemd; can be run by hand at any time.`,
  redact,
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  const outcome = await tend(run)
  // 7. Whatever became of the gateway: the watchers watch each other.
  await glanceAtPeers(run, 'healthcheck')
  return outcome
}

async function tend(run: TierRun): Promise<Outcome> {
  const { settings, journal, dryRun } = run

  // 1. HTTP check.
  let seen = await look(run, false)
  if (isUp(seen.verdict)) return healthy(run, seen)
  if (seen.verdict !== 'stopped-on-purpose') seen = await look(run, true)
  if (isUp(seen.verdict)) return healthy(run, seen)
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  if (dryRun) {
    journal.warn(`${seen.verdict}: ${seen.evidence}`)
    journal.info(`dry run: level 2 would now: ${TREATMENTS[seen.verdict].level2}`)
    return { code: EXIT.down, verdict: seen.verdict }
  }
  // What a healthy tick never needs is loaded here and below, not at every start.
  const { confirmFailure, pauseFor, waitUntilUp } = await import('../lib/gateway/wait.ts')
  run.markAtWork()
  recordTrouble(settings, Date.now())

  // One timeout is a busy moment; what another level has confirmed already need not be confirmed again.
  if (seen.verdict === 'hung' && !currentIncident(settings)) {
    seen = await confirmFailure(run, options(run, true), seen, false)
    if (isUp(seen.verdict)) return healthy(run, seen)
    if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  }

  // 2. A gateway that is on its way is left alone for as long as it may take.
  if (TREATMENTS[seen.verdict].level2 === 'wait') {
    const limitSec = patienceSec(run, seen)
    journal.info(`${seen.verdict}: ${seen.evidence}; waiting up to ${Math.ceil(limitSec)} s`)
    seen = await waitUntilUp(settings, options(run, true), limitSec, run.signal)
    if (isUp(seen.verdict)) return recovered(run, seen)
    if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  }

  // 3. Up to three retries, 30 s apart, each with the remedy that the table names.
  const retries = settings.healthCheckMaxRetries
  for (let retry = 1; retry <= retries; retry++) {
    const handsOff = await whyHandsOff(settings, 'healthcheck')
    if (handsOff) return standDown(run, handsOff, seen)
    journal.warn(MARKER.down(seen.verdict, seen.evidence))
    if (restartCannotHelp(seen.verdict)) {
      journal.warn(`no retries: ${TREATMENTS[seen.verdict].because}`)
      break
    }
    journal.warn(`retry ${retry}/${retries}: ${TREATMENTS[seen.verdict].level2}`)
    const treated = await treat(run, seen)
    if (treated === 'cannot') break
    seen = await waitUntilUp(settings, options(run, true), patienceSec(run, seen), run.signal)
    if (isUp(seen.verdict)) return recovered(run, seen, treated === 'done' ? TIERS.healthcheck.level : undefined)
    if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
    if (seen.process && treated !== 'waiting') {
      journal.warn(
        `${treated === 'failed' ? 'its' : 'a fresh'} process had its ${settings.startupGraceSec} s and is ${seen.verdict}; another restart would be the same`,
      )
      break
    }
    if (retry < retries) await pauseFor(settings.healthCheckRetryDelaySec, run.signal)
  }

  // 4. Still down: watch on until the gateway has been down for five minutes in all.
  const waitSec = settings.healthCheckEscalationWaitSec
  journal.warn(MARKER.down(seen.verdict, seen.evidence))
  for (let left = waitSec - downSec(run.settings); left > 0; left = waitSec - downSec(run.settings)) {
    journal.info(`down for ${Math.round(downSec(run.settings))} s; level 3 follows at ${waitSec} s`)
    await pauseFor(Math.min(left, settings.healthCheckRetryDelaySec), run.signal)
    const handsOff = await whyHandsOff(settings, 'healthcheck')
    if (handsOff) return standDown(run, handsOff, seen)
    seen = await look(run, false)
    if (isUp(seen.verdict)) return recovered(run, seen)
    if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  }

  // 5. A learned remedy, if there is an approved one for just this failure: then no doctor is needed.
  const handsOff = await whyHandsOff(settings, 'healthcheck')
  if (handsOff) return standDown(run, handsOff, seen)
  await keepEvidence(run, seen)
  // What is repaired is the file that its owner wrote: a failure is known again by what it looks like then.
  if (!seen.process) (await import('../lib/gateway/roll-back.ts')).giveBackConfig(run)
  const healed = await applyLearnedRemedy(run)
  if (healed) return healed

  // 6. Level 3, in the foreground: launchd ends a job's children with the job.
  journal.warn(MARKER.escalate(3, `down for ${Math.round(downSec(run.settings))} s, ${seen.verdict}: ${seen.evidence}`))
  const code = await runEmergencyRecovery(run)
  journal.info(`level 3 ended with exit code ${code}`)
  if (code !== EXIT.healthy)
    return { code: code === EXIT.stoodDown ? EXIT.stoodDown : EXIT.down, verdict: seen.verdict }
  await recordHealthy(run, await look(run, false), Date.now())
  return { code: EXIT.healthy, verdict: 'healthy' }
}

function options(run: TierRun, deep: boolean) {
  const record = readRecord(run.settings, run.dryRun)
  if (record.problem) run.journal.warn(record.problem)
  return { httpTimeoutSec: run.settings.healthCheckHttpTimeoutSec, record: record.value, deep }
}

function look(run: TierRun, deep: boolean): Promise<Examination> {
  return examine(run.settings, options(run, deep))
}

/**
 * Does what the table says for Level 2. `failed`: it was tried; `cannot`: nothing more can be done here; `waiting`:
 * nothing needed to be done.
 * Restarts are counted in the budget that Level 1 keeps, before they are done.
 */
async function treat(run: TierRun, seen: Examination): Promise<'done' | 'failed' | 'waiting' | 'cannot'> {
  const { settings, journal } = run
  const remedy = TREATMENTS[seen.verdict].level2
  if (remedy === 'wait') return 'waiting'

  const watch = readWatchState(settings, false).value
  const coolingSec = cooldownLeftSec(watch.backoff, Date.now(), settings.watchdogBackoffSec)
  // Putting a config back has a limit of its own: no config is put back twice for one failure.
  const isCooling = watch.backoff.crashes > settings.healthCheckMaxRetries && coolingSec > 0
  if (isCooling && remedy !== 'put back known-good config') {
    journal.warn(
      `no restart for another ${Math.ceil(coolingSec)} s: ${watch.backoff.crashes} were spent on this already`,
    )
    return 'cannot'
  }
  let isOnlyStart = remedy === 'start once'
  if (remedy === 'put back known-good config') {
    const { putBackKnownGood } = await import('../lib/gateway/roll-back.ts')
    const result = await putBackKnownGood(run, seen)
    if (result === 'cannot') return 'cannot'
    if (result === 'done') run.meter.add('configRollbacks')
    // What kept it down may have been passing: a network or a disk that came late.
    isOnlyStart = result === 'blameless'
  }
  if (isOnlyStart) {
    const record = readRecord(settings).value
    if (record.startedOnce) return 'cannot'
    writeRecord(settings, { ...record, startedOnce: true })
  }
  const { restart, start } = await import('../lib/gateway/remedies.ts')
  writeWatchState(settings, { ...watch, backoff: afterRestart(watch.backoff, Date.now()) })
  const result =
    remedy === 'restart'
      ? await restartAsAUser(run, seen)
      : seen.process
        ? await restart(settings, seen)
        : await start(settings, seen)
  if (!result) return 'waiting'
  say(run, result)
  return result.failure ? 'failed' : 'done'
}

/**
 * `openclaw gateway restart` first; where that does not work (no supervisor, a hung process) by our own means. Undefined
 * when it has failed and the gateway has come back meanwhile.
 */
async function restartAsAUser(run: TierRun, seen: Examination): Promise<RemedyResult | undefined> {
  const { restart, restartByCli } = await import('../lib/gateway/remedies.ts')
  const { waitUntilUp } = await import('../lib/gateway/wait.ts')
  const byCli = await restartByCli(run.settings, seen.service)
  seen = await (byCli.failure ? look(run, false) : waitUntilUp(run.settings, options(run, false), 5, run.signal))
  if (isUp(seen.verdict) || TREATMENTS[seen.verdict].level2 === 'wait') return byCli.failure ? undefined : byCli
  run.journal.info(`${byCli.done} did not bring it back${byCli.failure ? `: ${oneLine(byCli.failure)}` : ''}`)
  return restart(run.settings, seen)
}

function say(run: TierRun, result: RemedyResult): void {
  run.meter.add('restarts', { result: result.failure ? 'failed' : 'done' })
  if (result.failure) run.journal.error(`${result.done}: FAILED: ${oneLine(result.failure)}`)
  else run.journal.info(DEED.restart(result.done))
}

async function healthy(run: TierRun, seen: Examination): Promise<Outcome> {
  if (!run.dryRun) {
    await recordHealthy(run, seen, Date.now())
    const now = Date.now()
    if (refusalsDue(readRecord(run.settings).value, now)) {
      const { noticeRefusals } = await import('../lib/gateway/refusals.ts')
      await noticeRefusals(run, now)
    }
  }
  return { code: EXIT.healthy, verdict: 'healthy' }
}

/**
 * What was only waited for, and never was down, is no recovery.
 * @param level whose work it is, when that is plain; else told by whose restart the process came from
 */
async function recovered(run: TierRun, seen: Examination, level?: number): Promise<Outcome> {
  const incident = currentIncident(run.settings)
  if (incident) {
    const whose = level ?? creditFor(run.settings, seen, incident.since, Date.now())
    run.journal.info(MARKER.recovered(whose, downSec(run.settings)))
  }
  return healthy(run, seen)
}

/**
 * Makes the calls of instruments that healed this failure before, under the same policy as a doctor's. A remedy that
 * does not help is dropped. Returns how this run ends when the gateway is up then.
 */
async function applyLearnedRemedy(run: TierRun): Promise<Outcome | undefined> {
  const { settings, journal } = run
  const { approvedRemedy, describeRemedy, setStatus } = await import('../lib/doctor/learned.ts')
  const remedy = approvedRemedy(settings, await look(run, true), journal.warn)
  if (!remedy) return undefined
  const { openSession } = await import('../lib/doctor/session.ts')
  const { callInstrument } = await import('../lib/doctor/instruments.ts')
  const { isTreatment } = await import('../lib/doctor/conclusion.ts')
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
    ? await waitAfterStart(settings, options(run, true), settings.startupGraceSec, run.signal)
    : await look(run, true)
  if (isUp(after.verdict)) {
    close(true)
    return recovered(run, after, failure ? undefined : TIERS.healthcheck.level)
  }
  const rolledBack = close(false)
  setStatus(settings, remedy.fingerprint, 'dropped', ['approved', 'proposed'])
  const why = failure ?? `${after.verdict}: ${after.evidence}`
  journal.warn(
    MARKER.notice(`the learned remedy ${remedy.fingerprint} did not help and is dropped (${why})${rolledBack}`),
  )
  return undefined
}

/** Before Level 3 is called: what the machine looks like, for the doctor and for the human after it. */
async function keepEvidence(run: TierRun, seen: Examination): Promise<void> {
  const { hostFacts } = await import('../lib/gateway/host.ts')
  const { gatewayService } = await import('../lib/services/supervisor.ts')
  const service = seen.service ?? (await gatewayService(run.settings))
  run.journal.info(`evidence for level 3:\n${await hostFacts(run.settings, service)}`)
}

function patienceSec(run: TierRun, seen: Examination): number {
  if (seen.verdict === 'draining') return 330 + run.settings.startupGraceSec
  return seen.verdict === 'starting' ? seen.graceLeftSec : run.settings.startupGraceSec
}

/**
 * Runs Level 3 as a child process, through the launcher (which says so where even the marker is needed when it cannot
 * start), and passes its exit code on.
 */
async function runEmergencyRecovery(run: TierRun): Promise<number> {
  const { execa } = await import('execa')
  const launcher = fileURLToPath(new URL('./run-tier.sh', import.meta.url))
  const child = execa('sh', [launcher, 'emergency-recovery'], { stdio: 'inherit', reject: false })
  // Told to stop, we tell Level 3, which has a tmux session to end, and wait for it.
  run.onExit(async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await child
  })
  const { exitCode, signal } = await child
  if (exitCode !== undefined && exitCode <= EXIT.stoodDown && exitCode !== EXIT.unusable) return exitCode
  // Killed, or never begun (2 is also the shell's own code for that), it could not leave the marker itself.
  run.journal.error(MARKER.manual(`level 3 ended by ${signal ?? `exit code ${exitCode}`} before it was done`))
  return EXIT.down
}
