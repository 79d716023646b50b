#!/usr/bin/env -S npx tsx
import { afterHealthyTick, afterRestart, cooldownLeftSec } from '../lib/gateway/backoff.ts'
import { type Examination, examine, isUp } from '../lib/gateway/examine.ts'
import { attribute, leaveStopped, recordHealthy, recordTrouble, standDown } from '../lib/gateway/follow-up.ts'
import { type MemoryLevel, noticeMemory } from '../lib/gateway/memory.ts'
import { readRecord } from '../lib/gateway/record.ts'
import type { RemedyResult } from '../lib/gateway/remedies.ts'
import { TREATMENTS } from '../lib/gateway/treat.ts'
import { followWarnings } from '../lib/gateway/warnings.ts'
import { readWatchState, type WatchState, writeWatchState } from '../lib/gateway/watch-state.ts'
import { currentIncident } from '../lib/incidents/history.ts'
import { glanceAtPeers } from '../lib/services/look-after.ts'
import { DEED, EXIT, formatLine, MARKER, NEEDS_A_LOOK, oneLine, TIERS } from '../lib/tier/contract.ts'
import { noteEscalation } from '../lib/tier/journal.ts'
/**
 * Level 1, the watchdog: the first responder. Catches simple crashes (process died, hung, unresponsive).
 * Started by LaunchAgent com.openclaw.watchdog (Linux: a systemd user timer of that name) every 180 s.
 *
 * Exit 0  the gateway was healthy when I left, or I brought it back
 *      1  still down: Level 2's turn (the log says `ESCALATE to level 2: <why>`)
 *      2  unusable flags or settings, nothing was touched
 *      3  I stood down: paused, Level 2 or 3 is at work, another watchdog runs, a restart is cooling down, or
 *         somebody stopped the gateway deliberately
 */
import { redact } from '../lib/tier/redact.ts'
import { type Outcome, runTier, type TierRun, whyHandsOff } from '../lib/tier/run.ts'
import { shell } from '../lib/tier/shell.ts'

await runTier({
  tier: 'watchdog',
  help: `Level 1 of openclaw-self-healing: looks at the OpenClaw Gateway once and restarts it when it is down.
Started every 180 s by launchd or systemd; can be run by hand at any time.`,
  redact,
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  const outcome = await tend(run)
  // 8. Whatever became of the gateway: the watchers watch each other.
  await glanceAtPeers(run, 'watchdog')
  return outcome
}

async function tend(run: TierRun): Promise<Outcome> {
  const { settings, journal, dryRun } = run
  const watch = readWatchState(settings, dryRun)
  const { value: record, problem } = readRecord(settings, dryRun)
  for (const trouble of [watch.problem, problem]) if (trouble) journal.warn(trouble)
  const look = { httpTimeoutSec: settings.watchdogHealthTimeoutSec, record, deep: false }

  // 1. Process check and HTTP health check.
  let seen = await examine(settings, look)
  if (isUp(seen.verdict)) return healthy(run, watch.value, seen)
  if (!dryRun) writeWatchState(settings, { ...watch.value, lastTickMs: Date.now() })
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  if (!dryRun) recordTrouble(settings, Date.now())

  // What a healthy tick never needs is loaded here, not at every start.
  const { confirmFailure, waitUntilUp } = await import('../lib/gateway/wait.ts')

  // 2. A failure is confirmed by further probes; a missing process needs no confirmation.
  if (!isOnItsWay(seen) && (seen.process || seen.portOwner)) {
    seen = await confirmFailure(run, look, seen, hasSlept(watch.value))
    if (isUp(seen.verdict)) return healthy(run, watch.value, seen)
  }

  // 3. A gateway that is on its way is left alone for as long as it may take; so is one that takes its place meanwhile.
  for (let round = 1; isOnItsWay(seen) && round <= 2; round++) {
    journal.info(`${seen.verdict}: ${seen.evidence}; waiting up to ${Math.ceil(waitSec(run, seen))} s`)
    if (dryRun) return dryRunEnds(run, seen, 'wait')
    const before = seen
    const now = { ...look, record: readRecord(settings).value }
    seen = await waitUntilUp(settings, now, waitSec(run, seen), run.signal)
    if (isUp(seen.verdict)) return recovered(run, watch.value, seen, undefined)
    if (seen.verdict === before.verdict && seen.process?.pid === before.process?.pid) break
  }
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  journal.warn(MARKER.down(seen.verdict, seen.evidence))

  // 4. What a restart cannot help goes on to Level 2 at once.
  const remedy = TREATMENTS[seen.verdict].level1
  if (dryRun) return dryRunEnds(run, seen, remedy)
  if (isOnItsWay(seen) && seen.process && seen.graceLeftSec > 0)
    return escalate(run, seen, `it keeps starting anew (${seen.evidence}); a boot is never cut short`)
  if (remedy === 'hand on') return escalate(run, seen, `${TREATMENTS[seen.verdict].because}; a restart cannot help`)

  // 5. Exponential backoff: 10 → 30 → 60 → 600 s between restarts.
  const coolingSec = cooldownLeftSec(watch.value.backoff, Date.now(), settings.watchdogBackoffSec)
  if (coolingSec > 0) {
    journal.warn(
      `no restart for another ${Math.ceil(coolingSec)} s: ${watch.value.backoff.crashes} crashes, the last restart has to cool down`,
    )
    return { code: EXIT.stoodDown, verdict: seen.verdict }
  }

  const handsOff = await whyHandsOff(settings, 'watchdog')
  if (handsOff) return standDown(run, handsOff, seen)

  // 6. Graceful restart by signal, or through the supervisor. It is counted before it is done, so that a watchdog that
  //    is killed in the middle does not forget it.
  const spent: WatchState = {
    ...watch.value,
    backoff: afterRestart(watch.value.backoff, Date.now()),
    lastTickMs: Date.now(),
  }
  writeWatchState(settings, spent)
  await keepEvidence(run, seen)
  const after = await restartAndWait(run, look, seen)
  seen = after.seen

  // 7. Verify recovery, else escalate to Level 2.
  if (isUp(seen.verdict)) return recovered(run, spent, seen, after.worked ? TIERS.watchdog.level : undefined)
  return escalate(run, seen, `${seen.verdict} after a restart: ${seen.evidence}`)
}

/** `worked`: something was done that did not fail; whatever comes up after failures alone is not our work. */
async function restartAndWait(
  run: TierRun,
  look: Parameters<typeof examine>[1],
  seen: Examination,
): Promise<{ seen: Examination; worked: boolean }> {
  const { settings, journal } = run
  const { waitUntilUp } = await import('../lib/gateway/wait.ts')
  const { restart, restartBySignal, start } = await import('../lib/gateway/remedies.ts')
  let worked = false
  const wait = async (limitSec: number) => ({
    seen: await waitUntilUp(settings, { ...look, record: readRecord(settings).value }, limitSec, run.signal),
    worked,
  })
  const say = (result: RemedyResult) => {
    run.meter.add('restarts', { result: result.failure ? 'failed' : 'done' })
    if (result.failure) journal.error(`${result.done}: FAILED: ${oneLine(result.failure)}`)
    else journal.info(DEED.restart(result.done))
    worked ||= !result.failure
  }

  if (TREATMENTS[seen.verdict].level1 === 'signal, else restart') {
    const signalled = await restartBySignal(settings, seen, look.record)
    if (signalled) {
      say(signalled)
      const after = await wait(settings.stopGraceSec)
      if (isUp(after.seen.verdict)) return after
      if (after.seen.verdict === 'starting' || after.seen.verdict === 'draining') return wait(settings.startupGraceSec)
      seen = after.seen
    }
  }
  say(seen.process ? await restart(settings, seen) : await start(settings, seen))
  return wait(settings.startupGraceSec)
}

/** 1a. Healthy: crash counter decays, memory thresholds, warnings, known-good config. */
async function healthy(run: TierRun, watch: WatchState, seen: Examination): Promise<Outcome> {
  const { settings, journal, dryRun } = run
  const nowMs = Date.now()
  const memory = noticeMemory(watch.memory, seen.process?.memoryMb ?? 0, {
    warnMb: settings.watchdogMemoryWarnMb,
    criticalMb: settings.watchdogMemoryCriticalMb,
  })
  if (memory.notice) (memory.level === 'ok' ? journal.info : journal.warn)(memory.notice)
  const wrong = warningsOf(run, seen, memory.level)
  measure(run, seen, wrong.length)
  const warnings = followWarnings(watch.warnings, wrong, nowMs)
  for (const begun of warnings.begun) journal.warn(begun)
  for (const over of warnings.over) journal.info(`over: ${over}`)
  if (!dryRun) {
    const backoff = afterHealthyTick(watch.backoff, nowMs, settings.watchdogCrashDecayHours)
    // Said before it is written down: a watchdog that is killed between the two says it twice rather than never.
    for (const due of warnings.due)
      journal.warn(
        MARKER.notice(`${NEEDS_A_LOOK}the gateway is up, but for ten minutes or more: ${due}; no restart helps that`),
      )
    writeWatchState(settings, {
      ...watch,
      backoff,
      memory: memory.level,
      warnings: warnings.standing,
      lastTickMs: nowMs,
    })
    await recordHealthy(run, seen, nowMs)
  }
  // An orphan is up: for the incident it is as good as healthy.
  return { code: EXIT.healthy, verdict: 'healthy' }
}

/** What is wrong with it although it is up. */
function warningsOf(run: TierRun, seen: Examination, memory: MemoryLevel): string[] {
  return [
    ...(seen.verdict === 'orphan' ? [seen.evidence] : []),
    ...seen.warnings,
    ...(memory === 'critical' ? [`its memory stays over ${run.settings.watchdogMemoryCriticalMb} MB`] : []),
  ]
}

function measure({ settings, meter }: TierRun, seen: Examination, warnings: number): void {
  const MEBIBYTE = 1024 * 1024
  meter.setOnly('gatewayInfo', { version: oneLine(seen.version ?? 'unknown', 40) })
  if (seen.process) meter.set('gatewayMemory', seen.process.memoryMb * MEBIBYTE)
  meter.set('gatewayMemoryLimit', settings.watchdogMemoryWarnMb * MEBIBYTE, { level: 'warning' })
  meter.set('gatewayMemoryLimit', settings.watchdogMemoryCriticalMb * MEBIBYTE, { level: 'critical' })
  meter.set('gatewayWarnings', warnings)
}

async function recovered(
  run: TierRun,
  watch: WatchState,
  seen: Examination,
  level: number | undefined,
): Promise<Outcome> {
  const incident = currentIncident(run.settings)
  if (incident || level !== undefined) {
    const whose = level ?? (incident && attribute(run.settings, incident, seen))
    run.journal.info(MARKER.recovered(whose, incident?.downSec ?? 0))
  }
  await recordHealthy(run, seen, Date.now())
  writeWatchState(run.settings, { ...watch, lastTickMs: Date.now() })
  return { code: EXIT.healthy, verdict: 'healthy' }
}

function escalate(run: TierRun, seen: Examination, why: string): Outcome {
  run.journal.warn(MARKER.escalate(2, why))
  noteEscalation(run.settings, formatLine(new Date(), 'watchdog', 'WARN', MARKER.escalate(2, why)))
  return { code: EXIT.down, verdict: seen.verdict }
}

function dryRunEnds(run: TierRun, seen: Examination, remedy: string): Outcome {
  run.journal.info(`dry run: level 1 would now: ${remedy}`)
  return { code: EXIT.down, verdict: seen.verdict }
}

/** Before a hung process is ended: what it looked like, for whoever wants to know why. */
async function keepEvidence(run: TierRun, seen: Examination): Promise<void> {
  if (seen.verdict !== 'hung' || !seen.process) return
  const $ = shell(run.settings)
  const ps = await $`ps -o pid,stat,pcpu,rss,etime,command -p ${seen.process.pid}`
  run.journal.info(`evidence before the restart:\n${ps.stdout.trim()}`)
}

/** True when this tick comes much later than it should: the machine slept, and then everything is late, not dead. */
function hasSlept(watch: WatchState): boolean {
  return watch.lastTickMs > 0 && Date.now() - watch.lastTickMs > 3 * TIERS.watchdog.intervalSec * 1000
}

function isOnItsWay(seen: Examination): boolean {
  return TREATMENTS[seen.verdict].level1 === 'wait'
}

/** A drain may take 330 s under systemd (TimeoutStopSec of OpenClaw's unit), and the boot comes after it. */
function waitSec(run: TierRun, seen: Examination): number {
  return seen.verdict === 'draining' ? 330 + run.settings.startupGraceSec : seen.graceLeftSec
}
