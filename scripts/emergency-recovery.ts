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
import { chosenDoctors } from '../lib/agents/choice.ts'
import { knownSecrets } from '../lib/alerts/secrets.ts'
import { writeBriefing } from '../lib/doctor/briefing.ts'
import { learn } from '../lib/doctor/learned.ts'
import { failureKey, noteSession, readSessions, whyNoDoctor } from '../lib/doctor/limits.ts'
import {
  changesTried,
  conclude,
  isByDoctor,
  learningsPath,
  runDoctor,
  type SessionEnd,
  whyNotHealed,
} from '../lib/doctor/run-doctor.ts'
import { clearLeftSessions, openSession } from '../lib/doctor/session.ts'
import { type Examination, isUp } from '../lib/gateway/examine.ts'
import { check, examineOptions, leaveStopped, recordHealthy, standDown } from '../lib/gateway/follow-up.ts'
import { ownTriage } from '../lib/gateway/processes.ts'
import { TREATMENTS } from '../lib/gateway/treat.ts'
import { DRAIN_SEC, pauseFor, waitUntilUp } from '../lib/gateway/wait.ts'
import { describeLearnings, similarLearnings } from '../lib/incidents/learnings.ts'
import { DEED, EXIT, MARKER, NEEDS_ATTENTION, TIERS, wholeWords } from '../lib/tier/contract.ts'
import { isLock, takeDoctorLock } from '../lib/tier/lock.ts'
import { pauseReason } from '../lib/tier/pause.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'
import { shell } from '../lib/tier/shell.ts'

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
  let seen = await check(run, true)
  if (!run.dryRun)
    for (const line of await clearLeftSessions(settings, isUp(seen.verdict), run.hide)) journal.warn(line)

  // 1. Is it down at all, and is it down for a reason that a doctor may treat?
  if (!run.dryRun && TREATMENTS[seen.verdict].level3 === 'wait') {
    journal.info(`${seen.verdict}: ${seen.evidence}; waiting for it`)
    seen = await waitUntilUp(settings, examineOptions(run, true), DRAIN_SEC + settings.startupGraceSec, run.signal)
  }
  if (isUp(seen.verdict)) return recordHealthy(run, seen)
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  if (run.dryRun) return dryRunEnds(run, seen)
  run.markAtWork()
  journal.warn(MARKER.down(seen.verdict, seen.evidence))
  if (TREATMENTS[seen.verdict].level3 === 'human') return forHuman(run, seen)

  // 2. Is there a doctor, and may it be called?
  run.meter.set('doctorDailyLimit', settings.doctorMaxPerDay)
  const doctors = await findDoctors(run)
  if ('failure' in doctors) return noDoctor(run, seen, doctors.failure)
  const past = readSessions(settings, false)
  if (past.problem) journal.warn(past.problem)
  const failure = failureKey(settings, seen)
  const refusal = whyNoDoctor(settings, past.value, failure, Date.now())
  if (refusal) return noDoctor(run, seen, refusal)

  // 3. OpenClaw's own repair comes first, if it is at work, and so does the doctor of another profile: one at a time.
  seen = await waitWhile(run, seen, () => ownTriage(settings))
  let other: string | undefined
  seen = await waitWhile(run, seen, async () => (other = await otherDoctor(run)))
  if (isUp(seen.verdict)) return recordHealthy(run, seen, 'outside')
  if (other) return manual(run, seen, `no doctor was called: after ${settings.emergencyRecoveryTimeoutSec} s ${other}`)
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  if (TREATMENTS[seen.verdict].level3 === 'human') return forHuman(run, seen)
  const pause = pauseReason(settings)
  if (pause) return standDown(run, pause, seen)

  // 4. The diagnosis, and the briefing for the doctor.
  const session = openSession(settings, 'emergency-recovery', journal.path)
  let isConcluded = false
  run.onExit(() => {
    session.reload()
    if (!isConcluded && session.rollBackEdits()) journal.warn("cut short: rolled back the doctor's edits of the config")
    session.close(run.hide)
  })
  journal.info('gathering the diagnosis')
  const { verdict, evidence } = seen
  const similar = similarLearnings(learningsPath(session), verdict, evidence)
  const briefing = await writeBriefing(session, seen, describeLearnings(similar))

  // 5. The doctor in tmux; one that cannot work is followed by the next.
  noteSession(settings, past.value, { at: Date.now(), failure })
  const begun = performance.now()
  let end: SessionEnd = { title: '', ending: 'exited', detail: 'no doctor was found', wasAtWork: false }
  for (const doctor of doctors) {
    journal.info(DEED.doctor(doctor.title, doctor.version, similar.length))
    end = await runDoctor(run, session, doctor, briefing)
    session.reload()
    journal.info(`the session ended: ${end.ending}: ${end.detail}`)
    if (!CANNOT_WORK.includes(end.ending) || session.state.calls.some(({ acts }) => acts)) break
  }

  // 6. The verdict is the gateway's own answer; then the report, and what is to be remembered of it.
  seen = end.ending === 'recovered' ? await check(run, true) : await checkUntilSure(run)
  isConcluded = true
  const seconds = (performance.now() - begun) / 1000
  const { calls } = session.state
  run.meter.add('doctorVisits', { result: isUp(seen.verdict) ? 'recovered' : 'down' })
  for (const { decision } of calls)
    run.meter.add('doctorToolCalls', { decision: decision === 'refused' ? 'refused' : 'allowed' })
  for (const line of conclude(run, session, end, { verdict, evidence }, isUp(seen.verdict), seconds)) journal.info(line)
  if (isUp(seen.verdict)) {
    const byDoctor = isByDoctor(calls, end)
    const learned = byDoctor && learn(settings, { verdict, evidence }, calls, journal.warn)
    if (learned) journal.info(MARKER.notice(`${NEEDS_ATTENTION}${learned}`))
    return await recordHealthy(run, seen, byDoctor ? TIERS['emergency-recovery'].level : 'outside')
  }
  journal.warn(changesTried(calls))
  const pauseNow = pauseReason(settings)
  if (pauseNow) return standDown(run, pauseNow, seen)
  const wanted = session.state.report?.humanNeeded
  const why = `${whyNotHealed(end)}${wanted ? `; the doctor says: ${wanted}` : ''}`
  return manual(run, seen, `${why}; the gateway is ${seen.verdict}: ${seen.evidence}`)
}

/** The doctors that can be called, in the order of `DOCTOR`; or why there is none. */
async function findDoctors({ settings, journal }: TierRun) {
  const $ = shell(settings)
  const tmux = await $`command -v tmux`
  if (tmux.code !== 0) return { failure: 'tmux is not installed (not on the PATH)' }
  const found: (Doctor & { version: string })[] = []
  const failures: string[] = []
  for (const doctor of chosenDoctors(settings)) {
    const is = await doctor.find(settings)
    if ('version' in is) found.push({ ...doctor, version: is.version })
    else failures.push(is.failure)
  }
  if (found.length === 0) return { failure: failures.join('; ') }
  for (const why of failures) journal.warn(`skipped: ${why}`)
  return found
}

/** Waits while something else is at work, at most as long as one session may take. */
async function waitWhile(
  run: TierRun,
  seen: Examination,
  isAtWork: () => Promise<string | undefined>,
): Promise<Examination> {
  const { settings, journal } = run
  const deadline = performance.now() + settings.emergencyRecoveryTimeoutSec * 1000
  let waited = false
  for (let at = await isAtWork(); at && performance.now() < deadline; at = await isAtWork()) {
    if (!waited) journal.info(`${at}; waiting, one at a time`)
    waited = true
    await pauseFor(settings.emergencyRecoveryCheckIntervalSec, run.signal)
    const now = await check(run, false)
    if (isUp(now.verdict)) return now
  }
  return waited ? check(run, true) : seen
}

async function otherDoctor({ settings, journal, onExit }: TierRun): Promise<string | undefined> {
  try {
    const taken = await takeDoctorLock(settings)
    if (!isLock(taken)) return `the doctor of the profile ${taken.profile} (pid ${taken.pid}) is still at work`
    onExit(() => taken.release())
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    journal.warn(`whether the doctor of another profile is at work is not known (${code}); going on`)
  }
  return undefined
}

/** The gateway may be healthy all the same; then it must stay so for three checks. */
async function checkUntilSure(run: TierRun): Promise<Examination> {
  for (let checks = 1; ; checks++) {
    const seen = await check(run, true)
    if (!isUp(seen.verdict) || checks === 3) return seen
    await pauseFor(Math.min(run.settings.emergencyRecoveryCheckIntervalSec, 10), run.signal)
  }
}

async function dryRunEnds(run: TierRun, seen: Examination): Promise<Outcome> {
  const { settings, journal } = run
  journal.warn(`${seen.verdict}: ${seen.evidence}`)
  const doctors = await findDoctors(run)
  const refusal =
    'failure' in doctors
      ? doctors.failure
      : whyNoDoctor(settings, readSessions(settings, true).value, failureKey(settings, seen), Date.now())
  const remedy = TREATMENTS[seen.verdict].level3
  const would = remedy === 'doctor' && refusal ? `call no doctor (${refusal}) and call the human` : remedy
  journal.info(`dry run: level 3 would now: ${would}`)
  return { code: EXIT.down, verdict: seen.verdict }
}

function noDoctor(run: TierRun, seen: Examination, why: string): Outcome {
  run.meter.add('doctorRefused')
  return manual(run, seen, `no doctor was called: ${why}`)
}

function forHuman(run: TierRun, seen: Examination): Outcome {
  return manual(run, seen, `${seen.verdict}: ${seen.evidence} (${TREATMENTS[seen.verdict].because})`)
}

function manual(run: TierRun, seen: Examination, why: string): Outcome {
  run.journal.error(MARKER.manual(wholeWords(why, 600)))
  return { code: EXIT.down, verdict: seen.verdict }
}
