#!/usr/bin/env -S npx tsx
/**
 * Level 1, the watchdog. Catches simple crashes (the process died, hangs, does not respond).
 * Started by LaunchAgent com.openclaw.watchdog (Linux: a systemd user timer of that name) every 180 s, and at once when
 * its pulse, `run-tier.sh gateway-watchdog --pulse`, gets no answer of the gateway's.
 *
 * Exit 0  the gateway is healthy, or was brought back
 *      1  still down: Level 2's turn (the log says `ESCALATE to level 2: <why>`)
 *      2  unusable flags or settings, nothing was touched
 *      3  not acting: paused, another tier is at work, a restart is cooling down, or it was stopped on purpose
 */
import { type Examination, examine, isUp, type Warning } from '../lib/gateway/examine.ts'
import {
  dryRunEnds,
  examineOptions,
  leaveStopped,
  logRemedy,
  noteStart,
  recordHealthy,
  recordTrouble,
  standDown,
  whyNotAct,
} from '../lib/gateway/follow-up.ts'
import { describeProcess } from '../lib/gateway/processes.ts'
import { leavePulse } from '../lib/gateway/pulse.ts'
import { readRecord } from '../lib/gateway/record.ts'
import type { RemedyResult } from '../lib/gateway/remedies.ts'
import { TREATMENTS } from '../lib/gateway/treat.ts'
import { confirmFailure, isOnItsWay, waitUntilUp, waitWhileOnItsWay } from '../lib/gateway/wait.ts'
import {
  afterHealthyTick,
  afterRestart,
  followWarnings,
  readWatchState,
  TOLD_AT_ONCE,
  type WatchState,
  whyCooling,
  writeWatchState,
} from '../lib/gateway/watch-state.ts'
import { glanceAtPeers } from '../lib/services/watchers.ts'
import { EXIT, formatLine, MARKER, NEEDS_ATTENTION, oneLine, TIERS } from '../lib/tier/contract.ts'
import { noteEscalation } from '../lib/tier/journal.ts'
import { listProcesses } from '../lib/tier/process-table.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'
import { shell } from '../lib/tier/shell.ts'

const MEBIBYTE = 1024 * 1024

await runTier({
  tier: 'watchdog',
  help: `Level 1 of openclaw-self-healing: checks the OpenClaw Gateway once and restarts it when it is down.
Started every 180 s by launchd or systemd; can be run by hand at any time.`,
  main: async (run) => {
    const startedMs = Date.now()
    const outcome = await main(run)
    if (!run.dryRun) leavePulse(run.settings, startedMs, outcome)
    // 8. Whatever became of the gateway: the watchers watch each other.
    await glanceAtPeers(run, 'watchdog')
    return outcome
  },
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, journal, dryRun } = run
  const { value: watch, problem } = readWatchState(settings, dryRun)
  if (problem) journal.warn(problem)
  const options = () => ({ ...examineOptions(run, false), httpTimeoutSec: settings.watchdogHealthTimeoutSec })

  // 1. Process check and HTTP health check.
  let seen = await examine(settings, options())
  if (isUp(seen.verdict)) return healthy(run, watch, seen)
  if (!dryRun) writeWatchState(settings, { ...watch, lastTickMs: Date.now() })
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  if (dryRun) return dryRunEnds(run, seen, 1)
  await recordTrouble(run, seen)

  const wait = (limitSec: number) => waitUntilUp(settings, options(), limitSec, run.signal)

  // 2. A failure is confirmed by further probes; a missing process needs no confirmation.
  if (!isOnItsWay(seen) && (seen.process || seen.portOwner)) {
    seen = await confirmFailure(run, options(), seen, hasSlept(watch))
    if (isUp(seen.verdict)) return healthy(run, watch, seen)
  }

  // 3. A gateway that is starting or draining gets the time that it may take; so does a boot that makes progress.
  seen = await waitWhileOnItsWay(run, options, seen)
  if (isUp(seen.verdict)) return healthy(run, watch, seen)
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  journal.warn(MARKER.down(seen.verdict, seen.evidence))

  // 4. What a restart cannot help is escalated at once.
  const { level1: remedy, because } = TREATMENTS[seen.verdict]
  if (isOnItsWay(seen) && seen.process && seen.graceLeftSec > 0)
    return escalate(run, seen, `it is in a restart loop (${seen.evidence}); startup is not interrupted`)
  if (remedy === 'escalate') return escalate(run, seen, because)

  // 5. Exponential backoff: 10 → 30 → 60 → 600 s between restarts.
  const handsOff = whyCooling(watch, settings) ?? (await whyNotAct(run, 'watchdog'))
  if (handsOff) return standDown(run, handsOff, seen)

  const enough = noteStart(settings, seen, remedy === 'start once' && remedy)
  if (enough) return escalate(run, seen, `${enough}; another start would be the same`)

  // 6. Graceful restart by signal, or through the supervisor. Counted first: a watchdog that is killed remembers it.
  const spent = { ...watch, backoff: afterRestart(watch.backoff, Date.now()), lastTickMs: Date.now() }
  writeWatchState(settings, spent)
  if (seen.verdict === 'hung' && seen.process) {
    const [it] = await listProcesses(settings, [seen.process.pid])
    if (it)
      journal.info(
        `evidence before the restart: ${describeProcess(it)}, state ${it.state}, ${it.cpuSec} s of CPU time in ${it.ageSec} s, ${it.memoryMb} MB`,
      )
  }
  const isSignalled = remedy === 'signal, else restart' && (await restartBySignal(run, seen))
  if (isSignalled) seen = await wait(settings.stopGraceSec)
  const isComing = isUp(seen.verdict) || (isSignalled && isOnItsWay(seen))
  const isRestarted = !isComing && logRemedy(run, await restart(run, seen))
  if (!isUp(seen.verdict)) seen = await wait(settings.startupGraceSec)

  // 7. Verify recovery, else escalate to Level 2.
  const level = isSignalled || isRestarted ? TIERS.watchdog.level : undefined
  if (isUp(seen.verdict)) return healthy(run, spent, seen, level)
  return escalate(run, seen, `${seen.verdict} after a restart: ${seen.evidence}`)
}

/** Asks a gateway that answers HTTP to restart itself; false when it cannot be asked. */
async function restartBySignal(run: TierRun, seen: Examination): Promise<boolean> {
  const { settings } = run
  const { process: target } = seen
  if (!target || !seen.answersHttp) return false
  const { isSameGateway, restartSignal } = await import('../lib/gateway/remedies.ts')
  const $ = shell(settings, { timeoutSec: 30 })
  const record = readRecord(settings).value
  const known = seen.version ?? (record.pid === target.pid ? record.version : undefined)
  const version = known ?? (await $`openclaw --version`).stdout
  const signal = restartSignal(version)
  if (signal === undefined || !(await isSameGateway(settings, target))) return false
  const { failure } = await $`kill -${signal} ${target.pid}`
  return logRemedy(run, { done: `kill -${signal} ${target.pid} (version ${oneLine(version, 40)})`, failure })
}

async function restart({ settings }: TierRun, seen: Examination): Promise<RemedyResult> {
  const { endHung, restart: restartElse } = await import('../lib/gateway/remedies.ts')
  const { process: target, service } = seen
  // `launchctl bootstrap` or `kickstart`, `systemctl --user restart`, `reset-failed` and `start`, or `openclaw gateway run`.
  if (!target || service?.kind !== 'launchd' || !service.loaded) return restartElse(settings, seen)
  const { name } = service
  const { explained, launchdJob, launchdTarget } = await import('../lib/services/launchd.ts')
  // It waits for the old process (OpenClaw's plist: ExitTimeOut 20).
  const $ = shell(settings, { timeoutSec: 45 })
  const asked = $`launchctl kickstart -k ${launchdTarget(name)}`.then(explained)
  const { done, failure } = await endHung(settings, target, `launchctl kickstart -k ${name}`, asked)
  // launchd goes on with it although launchctl was given up; what it cannot set up is seen at the next look.
  const now = failure ? await launchdJob(settings, name) : undefined
  const isUnderWay = now?.restarting || (now?.pid ?? target.pid) !== target.pid
  return { done, failure: isUnderWay ? undefined : failure }
}

/** 1a. Healthy: crash counter decays (unless this level restarted it), memory thresholds, warnings, known-good config. */
async function healthy(run: TierRun, watch: WatchState, seen: Examination, level?: number): Promise<Outcome> {
  const { settings, journal, meter } = run
  const nowMs = Date.now()
  const orphan = seen.verdict === 'orphan' ? [{ kind: 'orphan', text: seen.evidence }] : []
  const warnings = [...orphan, ...seen.warnings]
  const { standing, begun, due, gone } = followWarnings(watch.warnings, warnings, nowMs)
  // Over the lower limit of its memory it is only logged.
  const isTold = ({ kind }: Warning) => kind !== 'memory warning'
  for (const { text } of begun) journal.warn(text)
  for (const { text } of gone) journal.info(`no longer: ${text}`)

  meter.setOnly('gatewayInfo', { version: oneLine(seen.version ?? 'unknown', 40) })
  if (seen.process) meter.set('gatewayMemory', seen.process.memoryMb * MEBIBYTE)
  meter.set('gatewayMemoryLimit', settings.watchdogMemoryWarnMb * MEBIBYTE, { level: 'warning' })
  meter.set('gatewayMemoryLimit', settings.watchdogMemoryCriticalMb * MEBIBYTE, { level: 'critical' })
  meter.set('gatewayWarnings', warnings.filter(isTold).length)
  const outcome = await recordHealthy(run, seen, level)
  if (run.dryRun) return outcome

  for (const { kind, text } of due.filter(isTold)) {
    const what = `the gateway is up, but ${TOLD_AT_ONCE.includes(kind) ? '' : 'for 10 min: '}${text}`
    journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what}; a restart will not fix this: see \`openclaw status\``))
  }
  const decayed = afterHealthyTick(watch.backoff, nowMs, settings.watchdogCrashDecayHours)
  const backoff = level === undefined ? decayed : watch.backoff
  writeWatchState(settings, { backoff, warnings: standing, lastTickMs: nowMs })
  return outcome
}

function escalate(run: TierRun, seen: Examination, why: string): Outcome {
  run.journal.warn(MARKER.escalate(2, why))
  noteEscalation(run.settings, formatLine(new Date(), 'watchdog', 'WARN', MARKER.escalate(2, why)))
  return { code: EXIT.down, verdict: seen.verdict }
}

/** This tick comes much later than it should: everything is late, not dead. */
function hasSlept(watch: WatchState): boolean {
  return watch.lastTickMs > 0 && Date.now() - watch.lastTickMs > 3 * TIERS.watchdog.intervalSec * 1000
}
