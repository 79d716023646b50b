#!/usr/bin/env -S npx tsx
/**
 * Level 3, emergency recovery: the doctor. Claude Code in a tmux terminal diagnoses and repairs the gateway inside
 * guardrails that are enforced before every tool call. Started by Level 2 in the foreground, or by hand.
 *
 * Exit 0  the gateway is healthy (the doctor, somebody else or it itself brought it back)
 *      1  it is not, and the log says MANUAL INTERVENTION REQUIRED: Level 4 calls the human
 *      2  unusable flags or settings, nothing was touched
 *      3  I stood down: paused, another doctor is at work, or somebody stopped the gateway
 */
import { redact } from '../lib/alerts/redact.ts'
import { type Account, changesTried, isCredit, keepAccount, whyNotHealed } from '../lib/doctor/account.ts'
import { BareStarter, isBare } from '../lib/doctor/bare-start.ts'
import { ORDER, writeBriefing } from '../lib/doctor/briefing.ts'
import { describeCases, readCases, similarCases } from '../lib/doctor/casebook.ts'
import { type ClaudeCode, findClaude } from '../lib/doctor/claude-code.ts'
import { diagnose } from '../lib/doctor/diagnosis.ts'
import { decisionsIn } from '../lib/doctor/guard-record.ts'
import { knownSecrets } from '../lib/doctor/known-secrets.ts'
import { failureKey, noteVisit, readVisits, whyNoDoctor } from '../lib/doctor/limits.ts'
import { ownTriage } from '../lib/doctor/own-triage.ts'
import { closeRun, dismissLeftDoctors, openRun } from '../lib/doctor/run-files.ts'
import { visit } from '../lib/doctor/session.ts'
import { waitForTurn } from '../lib/doctor/turn.ts'
import { type Examination, examine, isUp } from '../lib/gateway/examine.ts'
import { leaveStopped, recordHealthy, standDown } from '../lib/gateway/follow-up.ts'
import { readRecord } from '../lib/gateway/record.ts'
import { TREATMENTS } from '../lib/gateway/treat.ts'
import { pauseFor, waitUntilUp } from '../lib/gateway/wait.ts'
import { DEED, EXIT, MARKER, oneLine, TIERS } from '../lib/tier/contract.ts'
import { downSec, readTail } from '../lib/tier/journal.ts'
import { pauseReason } from '../lib/tier/pause.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'
import { openShell } from '../lib/tier/shell.ts'

/** Secrets of the config are known once it was read; until then those of the settings have to do. */
let secretsOfConfig: string[] = []
const hide = (text: string, secrets: readonly string[] = []) => redact(text, [...secrets, ...secretsOfConfig])

await runTier({
  tier: 'emergency-recovery',
  help: `Level 3 of openclaw-self-healing: Claude Code, in a tmux terminal, diagnoses and repairs the OpenClaw Gateway inside
enforced guardrails, and writes a report. Started by Level 2; can be run by hand at any time.`,
  redact: hide,
  main: async (run) => {
    secretsOfConfig = knownSecrets(run.settings)
    // Whatever ends this run before its verdict (a signal, a bug), the human hears of it.
    let isConcluded = run.dryRun
    const conclude = () => {
      if (!isConcluded) run.journal.error(MARKER.manual('level 3 was stopped before it was done'))
      isConcluded = true
    }
    // A signal: at once, for the tidying up takes seconds and a supervisor may not wait that long.
    run.signal.addEventListener('abort', conclude)
    run.onExit(conclude)
    const outcome = await main(run)
    isConcluded = true
    return outcome
  },
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, journal } = run

  // 0. Nobody watches a doctor whose run was killed: whatever is decided now, he goes.
  const left = run.dryRun ? 0 : await dismissLeftDoctors(settings)
  if (left > 0) journal.warn(`cleared the room of ${left} doctor that an earlier run left behind`)

  // 1. Is it down at all, and is it down for a reason that a doctor may treat?
  let seen = await look(run)
  if (!run.dryRun && TREATMENTS[seen.verdict].level3 === 'wait') {
    journal.info(`${seen.verdict}: ${seen.evidence}; waiting for it`)
    seen = await waitUntilUp(settings, options(run, true), 330 + settings.startupGraceSec, run.signal)
  }
  if (isUp(seen.verdict)) return healthy(run, seen)
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  if (run.dryRun) return await say(run, seen)
  run.markAtWork()
  journal.warn(MARKER.down(seen.verdict, seen.evidence))
  if (TREATMENTS[seen.verdict].level3 === 'human')
    return manual(run, seen, `${seen.verdict}: ${seen.evidence} (${TREATMENTS[seen.verdict].because})`)

  // 2. Is there a doctor, and may he be called?
  run.meter.set('doctorDailyLimit', settings.doctorMaxPerDay)
  const claude = await findDoctor(run)
  if ('failure' in claude) return noDoctor(run, seen, claude.failure)
  const visits = readVisits(settings, false)
  if (visits.problem) journal.warn(visits.problem)
  const failure = failureKey(settings, seen)
  const refusal = whyNoDoctor(settings, visits.value, failure, Date.now())
  if (refusal) return noDoctor(run, seen, refusal)

  // 3. OpenClaw's own repair comes first, if it is at work.
  const afterTriage = await waitForOwnTriage(run, seen)
  if (isUp(afterTriage.verdict)) return recovered(run, afterTriage, false)
  seen = afterTriage

  // 4. One doctor at a time on this machine: gateways of several profiles may be down for one reason.
  const turn = await waitForTurn(run, seen, (deep) => options(run, deep))
  if ('failure' in turn) return manual(run, seen, `no doctor was called: ${turn.failure}`)
  seen = turn.seen
  if (isUp(seen.verdict)) return recovered(run, seen, turn.byRestart)
  if (seen.verdict === 'stopped-on-purpose') return leaveStopped(run, seen)
  if (TREATMENTS[seen.verdict].level3 === 'human')
    return manual(run, seen, `${seen.verdict}: ${seen.evidence} (${TREATMENTS[seen.verdict].because})`)

  let pause = pauseReason(settings)
  if (pause) return standDown(run, pause, seen)

  // 5. The diagnosis, and the briefing for the doctor.
  const files = await openRun(settings, journal.path, seen)
  run.onExit(() => closeRun(settings, files, hide))
  journal.info('gathering the diagnosis')
  const cases = similarCases(readCases(files.casebookPath), seen.verdict, seen.evidence)
  const briefing = writeBriefing({
    settings,
    stamp: files.stamp,
    verdict: seen.verdict,
    evidence: hide(oneLine(seen.evidence, 300), settings.secrets),
    downSec: downSec(run.settings),
    isBare: isBare(seen),
    findings: await diagnose(settings, seen),
    pastCases: describeCases(cases),
    reportPath: files.reportPath,
    redact: (text) => hide(text, settings.secrets),
  })

  // 6. Claude Code in tmux: trust question, prompt, up to 30 minutes of work, a look at the gateway every 30 s.
  noteVisit(settings, visits.value, { at: Date.now(), failure })
  const begun = performance.now()
  const starter = new BareStarter(settings, journal.path)
  journal.info(DEED.doctor(claude.version.join('.'), cases.length))
  const result = await visit({
    settings,
    claude,
    folder: files.folder,
    cwd: files.workFolder,
    contextPath: files.contextPath,
    recordingPath: files.recordingPath,
    reportPath: files.reportPath,
    logPath: journal.path,
    prompt: { order: ORDER, briefing },
    redact: (text) => hide(text, settings.secrets),
    look: async ({ isDone }) => {
      const now = await look(run, false)
      const started = await starter.after(now, isDone)
      if (started) journal.info(DEED.restartForDoctor(started))
      const coming = started !== undefined || now.verdict === 'starting' || now.verdict === 'draining'
      return { up: isUp(now.verdict), coming, text: oneLine(`${now.verdict}: ${now.evidence}`, 160) }
    },
    say: (text) => journal.info(text),
    signal: run.signal,
    onExit: run.onExit,
  })
  journal.info(`the visit ended: ${result.ending}: ${result.detail}`)

  // 7. The verdict is the gateway's own answer; then the report, and what is to be remembered of it.
  seen = result.ending === 'recovered' ? await look(run) : await lookUntilSure(run)
  const decisions = decisionsIn(readTail(journal.path, 4 * 1024 * 1024))
  const account: Account = {
    visit: result,
    decisions,
    seconds: (performance.now() - begun) / 1000,
    isUp: isUp(seen.verdict),
  }
  run.meter.add('doctorVisits', { result: account.isUp ? 'recovered' : 'down' })
  for (const { allow } of decisions) run.meter.add('doctorToolCalls', { decision: allow ? 'allowed' : 'refused' })
  for (const line of keepAccount(files, account, (text) => hide(text, settings.secrets))) journal.info(line)
  if (account.isUp) return recovered(run, seen, isCredit(account))
  journal.warn(changesTried(decisions))
  pause = pauseReason(settings)
  if (pause) return standDown(run, pause, seen)
  return manual(run, seen, `${whyNotHealed(result)}; the gateway is ${seen.verdict}: ${seen.evidence}`)
}

function options(run: TierRun, deep: boolean) {
  const record = readRecord(run.settings, run.dryRun)
  if (record.problem) run.journal.warn(record.problem)
  return { httpTimeoutSec: run.settings.healthCheckHttpTimeoutSec, record: record.value, deep }
}

function look(run: TierRun, deep = true): Promise<Examination> {
  return examine(run.settings, options(run, deep))
}

/** Claude Code and the terminal that it needs, or which of them is missing. */
async function findDoctor({ settings }: TierRun): Promise<ClaudeCode | { failure: string }> {
  const $ = await openShell(settings)
  const tmux = await $`command -v tmux`
  return tmux.exitCode === 0 ? findClaude(settings) : { failure: 'tmux is not installed (not on the PATH)' }
}

/** A visit that ended otherwise may still have left a healthy gateway; then it must stay so for three looks, too. */
async function lookUntilSure(run: TierRun): Promise<Examination> {
  for (let looks = 1; ; looks++) {
    const seen = await look(run)
    if (!isUp(seen.verdict) || looks === 3) return seen
    await pauseFor(Math.min(run.settings.emergencyRecoveryCheckIntervalSec, 10), run.signal)
  }
}

async function say(run: TierRun, seen: Examination): Promise<Outcome> {
  run.journal.warn(`${seen.verdict}: ${seen.evidence}`)
  const claude = await findDoctor(run)
  const refusal =
    'failure' in claude
      ? claude.failure
      : whyNoDoctor(run.settings, readVisits(run.settings, true).value, failureKey(run.settings, seen), Date.now())
  const remedy = TREATMENTS[seen.verdict].level3
  const would = remedy === 'doctor' && refusal ? `call no doctor (${refusal}) and call the human` : remedy
  run.journal.info(`dry run: level 3 would now: ${would}`)
  return { code: EXIT.down, verdict: seen.verdict }
}

/** Waits while OpenClaw's own triage works, looking at the gateway meanwhile. Returns the last examination. */
async function waitForOwnTriage(run: TierRun, seen: Examination): Promise<Examination> {
  const { settings, journal } = run
  const deadline = performance.now() + settings.emergencyRecoveryTimeoutSec * 1000
  let last = seen
  let said = false
  for (let at = await ownTriage(settings); at && performance.now() < deadline; at = await ownTriage(settings)) {
    if (!said) journal.info(`${at}; waiting for it`)
    said = true
    await pauseFor(settings.emergencyRecoveryCheckIntervalSec, run.signal)
    last = await look(run, false)
    if (isUp(last.verdict)) return last
  }
  return said ? look(run) : last
}

function noDoctor(run: TierRun, seen: Examination, why: string): Outcome {
  run.meter.add('doctorRefused')
  return manual(run, seen, `no doctor was called: ${why}`)
}

function manual(run: TierRun, seen: Examination, why: string): Outcome {
  run.journal.error(MARKER.manual(oneLine(why, 600)))
  return { code: EXIT.down, verdict: seen.verdict }
}

async function recovered(run: TierRun, seen: Examination, credit: boolean): Promise<Outcome> {
  run.journal.info(MARKER.recovered(credit ? TIERS['emergency-recovery'].level : undefined, downSec(run.settings)))
  return healthy(run, seen)
}

async function healthy(run: TierRun, seen: Examination): Promise<Outcome> {
  if (!run.dryRun) await recordHealthy(run, seen, Date.now())
  return { code: EXIT.healthy, verdict: 'healthy' }
}
