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
import { editingSec } from '../lib/gateway/config.ts'
import { type Examination, isUp } from '../lib/gateway/examine.ts'
import * as gateway from '../lib/gateway/follow-up.ts'
import { copyConfig, notePutBackInVain, rollBackConfig, undoRollBack } from '../lib/gateway/known-good.ts'
import { TREATMENTS } from '../lib/gateway/treat.ts'
import * as wait from '../lib/gateway/wait.ts'
import * as level1 from '../lib/gateway/watch-state.ts'
import { currentIncident, downSec, isFresh } from '../lib/incidents/history.ts'
import { glanceAtPeers } from '../lib/services/watchers.ts'
import { awakeSec } from '../lib/tier/awake.ts'
import { EXIT, MARKER, oneLine, TIERS } from '../lib/tier/contract.ts'
import { LAUNCHER, type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'
import { shell } from '../lib/tier/shell.ts'

await runTier({
  tier: 'healthcheck',
  help: `Level 2 of openclaw-self-healing: checks the OpenClaw Gateway over HTTP, restarts it up to three times, rolls its config
back to the last known-good one, and starts Level 3 (an AI doctor) when it has been down for five minutes, or at once
when it cannot come back by itself.
Started every 300 s by launchd or systemd; can be run by hand at any time.`,
  main: async (run) => {
    const outcome = await main(run)
    // 7. It says that it is healthy: does it also answer?
    if (outcome.verdict === 'healthy') {
      const { checkForSilence } = await import('../lib/gateway/silent.ts')
      // A check that fails makes no healthy gateway a failure.
      await checkForSilence(run).catch((error: unknown) => run.journal.error(`not known whether it answers: ${error}`))
    }
    // 8. Whatever became of the gateway: the watchers watch each other.
    await glanceAtPeers(run, 'healthcheck')
    return outcome
  },
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, journal } = run

  // 1. HTTP check.
  let seen = await gateway.check(run, true)
  const isSettled = () => isUp(seen.verdict) || seen.verdict === 'stopped-on-purpose'
  // One that was only waited for has not recovered: `by` is the level that healed it.
  const settled = (by?: number) =>
    isUp(seen.verdict) ? gateway.recordHealthy(run, seen, by) : gateway.leaveStopped(run, seen)
  if (isSettled()) return settled()
  if (run.dryRun) return gateway.dryRunEnds(run, seen, 2)
  const options = () => gateway.examineOptions(run, true)
  const handsOff = () => gateway.whyNotAct(run, 'healthcheck')
  run.markAtWork()
  const { knownSecrets } = await import('../lib/gateway/secrets.ts')
  run.secrets.push(...(await knownSecrets(settings)))
  await gateway.recordTrouble(run, seen)
  if (seen.verdict === 'hung' && !isFresh(currentIncident(settings))) {
    seen = await wait.confirmFailure(run, options(), seen)
    if (isSettled()) return settled()
  }

  // 2. A gateway that is starting or draining gets the time that it may take; so does a boot that makes progress.
  seen = await wait.waitWhileOnItsWay(run, options, seen)
  if (isSettled()) return settled()

  // 3. Up to three retries, 30 s apart, each with the remedy that the table names.
  const retries = settings.healthCheckMaxRetries
  let isFinal = false
  for (let retry = 1; retry <= retries; retry++) {
    const why = await handsOff()
    if (why) return gateway.standDown(run, why, seen)
    journal.warn(MARKER.down(seen.verdict, seen.evidence))
    const { level2: remedy, because } = TREATMENTS[seen.verdict]
    journal.warn(remedy === 'escalate' ? `no retries: ${because}` : `retry ${retry}/${retries}: ${remedy}`)
    const treated = await treat(run, seen)
    isFinal = treated === 'final'
    if (treated === 'cannot' || isFinal) break
    seen = await wait.waitUntilUp(settings, options(), wait.waitSec(settings, seen), run.signal)
    if (isSettled()) return settled(treated === 'done' ? TIERS.healthcheck.level : undefined)
    if (treated === 'editing' && awakeSec() < settings.healthCheckEscalationWaitSec) retry--
    if (treated === 'done') notePutBackInVain(settings)
    if (seen.process && ['done', 'failed'].includes(treated)) {
      journal.warn(`${seen.verdict} after ${settings.startupGraceSec} s; another restart would be the same`)
      break
    }
    if (retry < retries) await wait.pauseFor(settings.healthCheckRetryDelaySec, run.signal)
  }

  // 4. Still down: watch on until the gateway has been down for five minutes in all, whatever the clock says meanwhile; what cannot pass by itself is not waited for.
  journal.warn(MARKER.down(seen.verdict, seen.evidence))
  const cannotPass = isFinal || seen.verdict === 'broken-install' || TREATMENTS[seen.verdict].level3 === 'human'
  const isAtOnce = cannotPass && !seen.mayPass && !settings.alwaysWait
  const limitSec = isAtOnce ? 0 : settings.healthCheckEscalationWaitSec
  const beganSec = awakeSec() - downSec(settings)
  const downForSec = () => awakeSec() - beganSec
  for (;;) {
    const why = await handsOff()
    if (why) return gateway.standDown(run, why, seen)
    const leftSec = limitSec - downForSec()
    if (leftSec <= 0) break
    journal.info(`down for ${Math.round(downForSec())} s; level 3 follows at ${limitSec} s`)
    await wait.pauseFor(Math.min(leftSec, settings.healthCheckRetryDelaySec), run.signal)
    seen = await gateway.check(run, false)
    if (isSettled()) return settled()
  }

  // 5. A learned remedy, if there is an approved one for exactly this failure: then no doctor is needed.
  const { hostFacts } = await import('../lib/gateway/host.ts')
  journal.info(`evidence for level 3:\n${await hostFacts(settings, seen.service)}`)
  // One that is refused for what only a human can give has passed its config.
  if (!seen.process && TREATMENTS[seen.verdict].level3 !== 'human') undoRollBack(run)
  const healed = await applyLearnedRemedy(run)
  if (healed) return healed

  // 6. Level 3, in the foreground: launchd ends a job's children with the job.
  journal.warn(MARKER.escalate(3, `down for ${Math.round(downForSec())} s, ${seen.verdict}: ${seen.evidence}`))
  const code = await runEmergencyRecovery(run)
  journal.info(`level 3 ended with exit code ${code}`)
  if (code === EXIT.healthy) return gateway.recordHealthy(run, await gateway.check(run, false))
  return { code: code === EXIT.stoodDown ? EXIT.stoodDown : EXIT.down, verdict: seen.verdict }
}

type Treated = 'done' | 'failed' | 'waiting' | 'editing' | 'cannot' | 'final'

/** Does what the table says. `failed`: it was tried; `cannot`: this level can do no more; `final`: nor does waiting help; `waiting`: it is coming by itself. */
async function treat(run: TierRun, seen: Examination): Promise<Treated> {
  const { settings, journal } = run
  const remedy = TREATMENTS[seen.verdict].level2
  if (remedy === 'escalate') return 'cannot'
  if (remedy === 'wait') return 'waiting'

  const watch = level1.readWatchState(settings, false).value
  const coolingSec = level1.cooldownLeftSec(watch.backoff, Date.now(), settings.watchdogBackoffSec)
  let once = (remedy === 'start once' || remedy === 'finish migration') && remedy
  if (['put back known-good config', 'finish migration'].includes(remedy) && editingSec(settings) > 0) {
    journal.info('the config was just changed or is open in an editor; waiting for it to settle, for 60 s at most')
    const deadline = performance.now() + 60_000
    while (editingSec(settings) > 0 && performance.now() < deadline) await wait.pauseFor(1, run.signal)
    return 'editing'
  }
  if (remedy === 'put back known-good config') {
    const result = await rollBackConfig(run, seen)
    if (result === 'cannot') return 'cannot'
    if (result === 'edited') return 'editing'
    if (result === 'done') run.meter.add('configRollbacks')
    // What kept it down may have been passing: a network or a disk that came late.
    once = result === 'blameless' && 'start once'
  } else if (coolingSec > 0) {
    // Level 1's backoff holds here, too; with more crashes than retries, or a longer one, Level 3 comes first.
    const isLong = coolingSec > settings.healthCheckEscalationWaitSec
    journal.warn(level1.whyCooling(watch, settings)!)
    if (isLong || watch.backoff.crashes > settings.healthCheckMaxRetries) return 'cannot'
    await wait.pauseFor(coolingSec, run.signal)
    const now = await gateway.check(run, true)
    if (now.verdict !== seen.verdict || (await gateway.whyNotAct(run, 'healthcheck'))) return 'waiting'
  }
  const enough = gateway.noteStart(settings, seen, once)
  if (enough) {
    journal.warn(`${enough}; another start would be the same`)
    return 'final'
  }
  if (remedy === 'finish migration') await finishMigration(run, seen)
  level1.writeWatchState(settings, { ...watch, backoff: level1.afterRestart(watch.backoff, Date.now()) })
  const { restart } = await import('../lib/gateway/remedies.ts')
  // It knows no unit of another name, and none of the machine's own systemd.
  const { gatewayLabel, gatewayUnit } = await import('../lib/services/supervisor.ts')
  const { kind = 'none', name = '', scope = '--user' } = seen.service ?? {}
  const isOpenClawsOwn = [gatewayUnit(settings), gatewayLabel(settings)].includes(name) && scope === '--user'
  if (remedy !== 'restart' || kind === 'elsewhere' || !(isOpenClawsOwn || kind === 'none'))
    return gateway.logRemedy(run, await restart(settings, seen)) ? 'done' : 'failed'

  // `openclaw gateway restart`, as a user would (exit 2: still starting); under systemd it may drain for 330 s first.
  const $ = shell(settings, { timeoutSec: seen.service?.kind === 'systemd' ? wait.SYSTEMD_ACTION_TIMEOUT_SEC : 60 })
  const { code, failure } = await $`openclaw gateway restart`
  const hasFailed = code !== 0 && code !== 2
  const now = await wait.waitUntilUp(settings, gateway.examineOptions(run, false), hasFailed ? 0 : 5, run.signal)
  const isComing = isUp(now.verdict) || TREATMENTS[now.verdict].level2 === 'wait'
  if (isComing && hasFailed) return 'waiting'
  // It does not start a gateway that has no supervisor, nor end one that hangs.
  if (!isComing)
    journal.info(`openclaw gateway restart did not bring it back${hasFailed ? `: ${oneLine(failure!)}` : ''}`)
  // The command takes up to a minute: it may have been stopped meanwhile, and another run have gone on.
  const result =
    isComing || (await gateway.whyNotAct(run, 'healthcheck'))
      ? { done: 'openclaw gateway restart' }
      : await restart(settings, now)
  return gateway.logRemedy(run, result) ? 'done' : 'failed'
}

/** As OpenClaw documents it for a start that a migration keeps from becoming ready. */
async function finishMigration({ settings, journal }: TierRun, seen: Examination): Promise<void> {
  const { openclawCommand } = await import('../lib/gateway/host.ts')
  const copy = copyConfig(settings, 'before-doctor-fix')
  const $ = shell(settings, { timeoutSec: 600 })
  const { failure } = await $`${await openclawCommand(settings, seen.service)} doctor --fix --yes --non-interactive`
  const kept = copy ? `; the config as it was is kept as ${copy}` : ''
  if (failure) journal.error(`openclaw doctor --fix --yes --non-interactive: FAILED: ${oneLine(failure)}${kept}`)
  else journal.info(`openclaw doctor --fix --yes --non-interactive${kept}`)
}

/** Repeats the calls that healed this failure before, under the doctor's policy; drops them if they do not help. */
async function applyLearnedRemedy(run: TierRun): Promise<Outcome | undefined> {
  const { settings, journal } = run
  const { approvedRemedy, describeRemedy, setStatus } = await import('../lib/doctor/memory.ts')
  const remedy = approvedRemedy(settings, await gateway.check(run, true), journal.warn)
  if (!remedy) return undefined
  const { isTreatment, openSession } = await import('../lib/doctor/session.ts')
  const { callInstrument } = await import('../lib/doctor/instruments.ts')
  journal.warn(`learned remedy ${remedy.fingerprint}: ${describeRemedy(remedy)}`)
  const session = openSession(settings, 'healthcheck', journal.path)
  run.onExit(() => void session.end(false, run.hide))
  let failure: string | undefined
  for (const { name, args } of remedy.calls) {
    if (failure) break
    const { text, isError } = await callInstrument(session, name, args)
    failure = isError ? oneLine(text, 200) : undefined
  }
  const after = session.state.calls.some(isTreatment)
    ? await wait.waitAfterStart(settings, gateway.examineOptions(run, true), settings.startupGraceSec, run.signal)
    : await gateway.check(run, true)
  const hasHelped = isUp(after.verdict)
  const rolledBack = session.end(hasHelped, run.hide) ? '; its edits of the config were rolled back' : ''
  if (hasHelped) return gateway.recordHealthy(run, after, failure ? undefined : TIERS.healthcheck.level)
  setStatus(settings, remedy.fingerprint, 'dropped', ['approved', 'proposed'])
  const why = failure ?? `${after.verdict}: ${after.evidence}`
  const dropped = `the learned remedy ${remedy.fingerprint} did not help and is dropped (${why})${rolledBack}`
  journal.warn(MARKER.notice(dropped))
  return undefined
}

async function runEmergencyRecovery(run: TierRun): Promise<number> {
  const { execa } = await import('execa')
  const child = execa({ stdio: 'inherit', reject: false })`sh ${LAUNCHER} emergency-recovery`
  const ended = child.then(({ exitCode, signal }) => {
    if (exitCode !== undefined && exitCode <= EXIT.stoodDown && exitCode !== EXIT.unusable) return exitCode
    // Killed, or never begun (2 is also the shell's own code for that), Level 3 could not leave the marker itself.
    run.journal.error(MARKER.manual(`level 3 ended by ${signal ?? `exit code ${exitCode}`} before it was done`))
    return EXIT.down
  })
  // SIGTERM is passed on to Level 3, which has a tmux session to end.
  run.onExit(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await ended
  })
  return ended
}
