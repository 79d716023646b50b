#!/usr/bin/env -S npx tsx
/**
 * Level 3, emergency recovery: the doctor. A coding agent (Claude Code, or what DOCTOR names) in a tmux terminal diagnoses
 * and repairs the gateway with instruments, and with nothing else. Started by Level 2 in the foreground, or by hand.
 *
 * Exit 0  the gateway is healthy (the doctor brought it back, or it came back otherwise)
 *      1  it is not, and the log says MANUAL INTERVENTION REQUIRED: Level 4 calls the human
 *      2  unusable flags or settings, nothing was touched
 *      3  not acting: paused, another doctor is at work, or the gateway was stopped on purpose
 */
import type { Doctor } from '../lib/agents/agent.ts'
import { DOCTORS } from '../lib/agents/doctors.ts'
import { writeBriefing } from '../lib/doctor/briefing.ts'
import { failureKey, learn, noteSession, readSessions, whyNoDoctor } from '../lib/doctor/memory.ts'
import { conclude, runDoctor, type SessionEnd } from '../lib/doctor/run-doctor.ts'
import { clearLeftSessions, openSession } from '../lib/doctor/session.ts'
import { type Examination, isUp } from '../lib/gateway/examine.ts'
import * as gateway from '../lib/gateway/follow-up.ts'
import { knownSecrets } from '../lib/gateway/secrets.ts'
import { TREATMENTS, type Verdict } from '../lib/gateway/treat.ts'
import { pauseFor, waitAfterStart, waitWhileOnItsWay } from '../lib/gateway/wait.ts'
import { currentIncident } from '../lib/incidents/history.ts'
import { describeLearnings, learningsPath, similarLearnings } from '../lib/incidents/learnings.ts'
import { DEED, EXIT, MARKER, NEEDS_ATTENTION, TIERS, wholeWords } from '../lib/tier/contract.ts'
import { isLock, takeLock } from '../lib/tier/lock.ts'
import { type Outcome, runTier, type TierRun, whyHandsOff } from '../lib/tier/run.ts'
import { findOnPath } from '../lib/tier/shell.ts'
import { tried } from '../lib/tier/state.ts'

const CANNOT_WORK: readonly SessionEnd['ending'][] = ['login', 'quota', 'service', 'instruments', 'exited', 'terminal']

await runTier({
  tier: 'emergency-recovery',
  help: `Level 3 of openclaw-self-healing: a coding agent, in a tmux terminal, diagnoses and repairs the OpenClaw Gateway with
instruments and nothing else, and writes a report. Started by Level 2; can be run by hand at any time.`,
  main: async (run) => {
    // Whatever ends this run before its verdict, a human is called.
    let isConcluded = run.dryRun
    const callHuman = () => {
      if (!isConcluded) run.journal.error(MARKER.manual('level 3 was stopped before it was done'))
      isConcluded = true
    }
    // At once: cleanup takes seconds, and a supervisor may not wait that long.
    run.signal.addEventListener('abort', callHuman)
    run.onExit(callHuman)
    run.secrets.push(...(await knownSecrets(run.settings)))
    const outcome = await main(run)
    isConcluded = true
    return outcome
  },
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, journal } = run

  // 0. What a killed run left behind goes, whatever is decided now.
  let seen = await gateway.check(run, true)
  if (!run.dryRun)
    for (const line of await clearLeftSessions(settings, isUp(seen.verdict), run.hide)) journal.warn(line)

  // 1. Is it down at all, and is it down for a reason that a doctor may treat?
  if (!run.dryRun) seen = await waitWhileOnItsWay(run, () => gateway.examineOptions(run, true), seen)
  if (isUp(seen.verdict)) return gateway.recordHealthy(run, seen)
  if (seen.verdict === 'stopped-on-purpose') return gateway.leaveStopped(run, seen)
  if (run.dryRun) return dryRunEnds(run, seen)
  run.markAtWork()
  const before = currentIncident(settings)?.last.verdict
  journal.warn(MARKER.down(seen.verdict, seen.evidence))

  // 2. OpenClaw's own update or repair comes first. What it leaves down is for Levels 1 and 2: it may only need a start.
  const first = seen
  seen = await waitWhile(run, seen, () => gateway.openclawsWork(settings))
  if (isUp(seen.verdict)) return gateway.recordHealthy(run, seen, 'outside')
  if (seen.verdict === 'stopped-on-purpose') return gateway.leaveStopped(run, seen)
  if (seen !== first && !(await gateway.openclawsWork(settings)))
    return gateway.standDown(run, "OpenClaw's own work is over; the next run of level 1 or 2 treats what it left", seen)
  seen = await startIfRepaired(run, before, seen)
  if (isUp(seen.verdict)) return gateway.recordHealthy(run, seen, 'outside')
  if (TREATMENTS[seen.verdict].level3 === 'human') return forHuman(run, seen)

  // 3. Is there a doctor, and may it be called?
  run.meter.set('doctorDailyLimit', settings.doctorMaxPerDay)
  const found = await findDoctors(run, seen)
  if ('refusal' in found) {
    run.meter.add('doctorRefused')
    return manual(run, seen, `no doctor was called: ${found.refusal}`)
  }
  const { doctors, past, failure } = found

  // 4. The doctor of another profile comes first, if it is at work: one at a time.
  let other: string | undefined
  seen = await waitWhile(run, seen, async () => (other = await otherDoctor(run)))
  if (isUp(seen.verdict)) return gateway.recordHealthy(run, seen, 'outside')
  if (other) return manual(run, seen, `no doctor was called: after ${settings.emergencyRecoveryTimeoutSec} s ${other}`)
  if (seen.verdict === 'stopped-on-purpose') return gateway.leaveStopped(run, seen)
  if (TREATMENTS[seen.verdict].level3 === 'human') return forHuman(run, seen)
  const handsOff = await whyHandsOff(settings, 'emergency-recovery')
  if (handsOff) return gateway.standDown(run, handsOff, seen)

  // 5. The diagnosis, and the briefing for the doctor.
  const session = openSession(settings, 'emergency-recovery', journal.path)
  let isConcluded = false
  run.onExit(() => {
    const isRolledBack = session.end(isConcluded, run.hide)
    if (isRolledBack) journal.warn("interrupted: rolled back the doctor's edits of the config")
  })
  journal.info('gathering the diagnosis')
  const { verdict, evidence } = seen
  const similar = similarLearnings(learningsPath(settings), verdict, evidence)
  const briefing = await writeBriefing(session, seen, describeLearnings(similar))

  // 6. The doctor in tmux; one that cannot work is followed by the next.
  const at = Date.now()
  noteSession(settings, past, { at, failure: '' })
  const begun = performance.now()
  let end: SessionEnd = { title: '', ending: 'exited', detail: 'no doctor was found', wasAtWork: false }
  for (const doctor of doctors) {
    journal.info(DEED.doctor(doctor.title, doctor.version, similar.length))
    end = await runDoctor(run, session, doctor, briefing)
    journal.info(`the session ended: ${end.ending}: ${end.detail}`)
    if (!CANNOT_WORK.includes(end.ending) || session.state.calls.some(({ acts }) => acts)) break
  }

  // 7. The verdict is the gateway's own answer; then the report, and what is to be remembered of it.
  seen = end.ending === 'recovered' ? await gateway.check(run, true) : await checkUntilSure(run)
  seen = await startIfRepaired(run, verdict, seen)
  isConcluded = true
  // One that was cut off has not failed: it is not held against the next.
  if (end.ending !== 'cut-off') tried(() => noteSession(settings, past, { at, failure }))
  const seconds = (performance.now() - begun) / 1000
  const { calls } = session.state
  run.meter.add('doctorVisits', { result: isUp(seen.verdict) ? 'recovered' : 'down' })
  for (const { decision } of calls)
    run.meter.add('doctorToolCalls', { decision: decision === 'refused' ? 'refused' : 'allowed' })
  const { byDoctor, why } = conclude(run, session, end, { verdict, evidence }, isUp(seen.verdict), seconds)
  if (isUp(seen.verdict)) {
    const learned = byDoctor && learn(settings, { verdict, evidence }, calls, journal.warn)
    if (learned) journal.info(MARKER.notice(`${NEEDS_ATTENTION}${learned}`))
    return await gateway.recordHealthy(run, seen, byDoctor ? TIERS['emergency-recovery'].level : 'outside')
  }
  const handsOffNow = await whyHandsOff(settings, 'emergency-recovery')
  if (handsOffNow) return gateway.standDown(run, handsOffNow, seen)
  journal.warn(MARKER.down(seen.verdict, seen.evidence))
  return manual(run, seen, `${why}; the gateway is ${seen.verdict}: ${seen.evidence}`)
}

/** The doctors that can and may be called for this failure, in the order of `DOCTOR`; or why there is none. */
async function findDoctors({ settings, journal, dryRun }: TierRun, seen: Examination) {
  if (!findOnPath('tmux', settings.childEnv.PATH)) return { refusal: 'tmux is not installed (not on the PATH)' }
  const doctors: (Doctor & { version: string })[] = []
  const failures: string[] = []
  for (const name of settings.doctors) {
    const doctor = DOCTORS[name]
    const is = await doctor.find(settings)
    if ('version' in is) doctors.push({ ...doctor, version: is.version })
    else failures.push(is.failure)
  }
  if (doctors.length === 0) return { refusal: failures.join('; ') }
  for (const why of failures) journal.warn(`skipped: ${why}`)
  const { value: past, problem } = readSessions(settings, dryRun)
  if (problem) journal.warn(problem)
  const failure = failureKey(settings, seen)
  const refusal = whyNoDoctor(settings, past, failure, Date.now())
  return refusal ? { refusal } : { doctors, past, failure }
}

/** Waits while something else is at work, at most as long as one session may take. */
async function waitWhile(run: TierRun, seen: Examination, isAtWork: () => Promise<string | undefined>) {
  const { settings, journal } = run
  const deadline = performance.now() + settings.emergencyRecoveryTimeoutSec * 1000
  let waited = false
  for (let at = await isAtWork(); at && performance.now() < deadline; at = await isAtWork()) {
    if (!waited) journal.info(`${at}; waiting, one at a time`)
    waited = true
    await pauseFor(settings.emergencyRecoveryCheckIntervalSec, run.signal)
    const now = await gateway.check(run, false)
    if (isUp(now.verdict)) return now
  }
  return waited ? gateway.check(run, true) : seen
}

async function otherDoctor({ settings, journal, onExit }: TierRun): Promise<string | undefined> {
  try {
    const taken = await takeLock(settings, 'doctor')
    if (!isLock(taken)) return `the doctor of the profile ${taken.profile} (pid ${taken.pid}) is still at work`
    onExit(() => taken.release())
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    journal.warn(`whether the doctor of another profile is at work is not known (${code}); going on`)
  }
  return undefined
}

/** It may be starting, which is waited for, or be healthy all the same; then it must stay so for three checks. */
async function checkUntilSure(run: TierRun): Promise<Examination> {
  let seen = await waitWhileOnItsWay(run, () => gateway.examineOptions(run, true), await gateway.check(run, true))
  for (let checks = 1; isUp(seen.verdict) && checks < 3; checks++) {
    await pauseFor(Math.min(run.settings.emergencyRecoveryCheckIntervalSec, 10), run.signal)
    seen = await gateway.check(run, true)
  }
  return seen
}

/** When the cause was removed meanwhile (a person edited the config), one start is left to do. */
async function startIfRepaired(run: TierRun, before: string | undefined, seen: Examination): Promise<Examination> {
  const { settings, signal } = run
  const wasHopeless = TREATMENTS[before as Verdict]?.level1 === 'escalate'
  const isStartable = TREATMENTS[seen.verdict].level1 === 'start' && seen.verdict !== 'unknown'
  if (!wasHopeless || !isStartable || (await whyHandsOff(settings, 'emergency-recovery'))) return seen
  const { start } = await import('../lib/gateway/remedies.ts')
  gateway.logRemedy(run, await start(settings, seen))
  return waitAfterStart(settings, gateway.examineOptions(run, true), settings.startupGraceSec, signal)
}

async function dryRunEnds(run: TierRun, seen: Examination): Promise<Outcome> {
  run.journal.warn(`${seen.verdict}: ${seen.evidence}`)
  const found = await findDoctors(run, seen)
  const remedy = TREATMENTS[seen.verdict].level3
  const isRefused = remedy === 'doctor' && 'refusal' in found
  const would = isRefused ? `call no doctor (${found.refusal}) and call the human` : remedy
  run.journal.info(`dry run: level 3 would now: ${would}`)
  return { code: EXIT.down, verdict: seen.verdict }
}

function forHuman(run: TierRun, seen: Examination): Outcome {
  return manual(run, seen, `${seen.verdict}: ${seen.evidence}; ${TREATMENTS[seen.verdict].because}`)
}

function manual(run: TierRun, seen: Examination, why: string): Outcome {
  run.journal.error(MARKER.manual(wholeWords(why, 600)))
  return { code: EXIT.down, verdict: seen.verdict }
}
