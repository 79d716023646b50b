/** One doctor at work, until the gateway is healthy (by its own answer, never by what the doctor says), or it is over; and what follows. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Doctor, DoctorEvent } from '../agents/agent.ts'
import { isUp } from '../gateway/examine.ts'
import { check } from '../gateway/follow-up.ts'
import { isGatewayCommand } from '../gateway/processes.ts'
import { TREATMENTS } from '../gateway/treat.ts'
import type { Failure } from '../incidents/history.ts'
import { addLearning, learningsPath } from '../incidents/learnings.ts'
import { openTerminal, STREAM, type Terminal } from '../services/terminal.ts'
import { cleanText, localIso, oneLine, wholeWords } from '../tier/contract.ts'
import { readFrom, readTail } from '../tier/journal.ts'
import { type TierRun, whyHandsOff } from '../tier/run.ts'
import { tried, writeFileAtomic } from '../tier/state.ts'
import { INSTRUMENTS } from './instruments.ts'
import { describeCall, type InstrumentCall, isTreatment, readable, readSession, type Session } from './session.ts'

/** How a session ends, and what that means for the alert. `%`: the doctor's name. */
const ENDINGS = {
  recovered: 'the gateway was healthy for a while and is not any more',
  finished: '% has finished, and the gateway is not healthy',
  login: '% is not signed in',
  quota: '% has no quota or credit left',
  service: '% cannot reach its service',
  instruments: '% was not connected to its instruments',
  exited: '% ended early',
  idle: '% showed no sign of work',
  'time-limit': 'the time of % was over',
  'cut-off': 'everything was paused, or another run took over, while % was at work',
  terminal: 'the tmux session of % is gone',
} as const

type Ending = keyof typeof ENDINGS

export interface SessionEnd {
  title: string
  ending: Ending
  detail: string
  wasAtWork: boolean
  /** When the gateway was first seen healthy and stayed so (epoch milliseconds). */
  healthySince?: number
  costUsd?: number
}

const HEALTHY_CHECKS = 3

type End = Pick<SessionEnd, 'ending' | 'detail' | 'healthySince'>

const over = (ending: Ending, detail: string): End => ({ ending, detail: oneLine(detail, 300) })

/** Runs one session to its end, after which nothing of the doctor goes on. Throws the abort of `signal`. */
export async function runDoctor(run: TierRun, session: Session, doctor: Doctor, briefing: string): Promise<SessionEnd> {
  const { settings, journal } = run
  const { title } = doctor
  const { folder } = session.context
  const recordingPath = session.pathBeside(`${doctor.name}-session`, '.log')
  journal.info(`recording: ${recordingPath}`)
  const server = serverOf(session)
  const launch = doctor.prepare({ settings, folder, server, instruments: Object.keys(INSTRUMENTS) })
  writeFileSync(join(folder, STREAM.briefing), briefing, { mode: 0o600 })
  writeFileSync(recordingPath, '', { mode: 0o600, flag: 'a' })
  const terminal = await openTerminal(settings, launch, folder, recordingPath, isGatewayCommand)
  if (terminal.failure !== undefined) return { title, ending: 'terminal', detail: terminal.failure, wasAtWork: false }
  run.onExit(() => terminal.close())
  const work = follow(run, folder, doctor, terminal, recordingPath)
  try {
    const end = await watch(work, run)
    return { title, ...end, wasAtWork: work.isConnected, costUsd: work.costUsd }
  } finally {
    // What it says last, before and while it is ended, belongs into the recording.
    await work.read().catch(() => {})
    await terminal.close()
    await work.read().catch(() => {})
  }
}

/** The instruments' server, run as this script is run. */
function serverOf({ contextPath }: Session) {
  const script = fileURLToPath(new URL('../../scripts/doctor-tools.ts', import.meta.url))
  const isPlain = 'typescript' in process.features && process.features.typescript
  const loader = isPlain ? [] : ['--import', import.meta.resolve('tsx')]
  return { command: process.execPath, args: [...loader, script, contextPath] }
}

async function watch(work: Work, run: TierRun): Promise<End> {
  const { settings, signal, journal } = run
  const intervalMs = settings.emergencyRecoveryCheckIntervalSec * 1000
  // While it is being confirmed that it stays up, a minute between checks would only cost time.
  const confirmMs = Math.min(intervalMs, 10_000)
  const deadline = performance.now() + settings.emergencyRecoveryTimeoutSec * 1000
  let [healthy, healthySince, lastVerdict] = [0, 0, '']
  let nextCheck = performance.now() + intervalMs
  let end: End | undefined
  for (;;) {
    await delay(Math.min(1000, confirmMs), undefined, { signal })
    const wasOver = end !== undefined
    end = await work.read()
    const handsOff = await whyHandsOff(settings, 'emergency-recovery')
    if (handsOff) return over('cut-off', handsOff)
    // At its end the verdict is the gateway's, not the doctor's: one check at once.
    if (end && !wasOver) nextCheck = 0
    if (performance.now() >= nextCheck) {
      const { verdict, evidence } = await check(run, false)
      // Down, but on its way up: an end of the session can wait.
      const isComing = TREATMENTS[verdict].level3 === 'wait'
      if (isUp(verdict) && healthy === 0) healthySince = Date.now()
      healthy = isUp(verdict) ? healthy + 1 : 0
      if (verdict !== lastVerdict) journal.info(`gateway: ${wholeWords(`${verdict}: ${evidence}`, 160)}`)
      lastVerdict = verdict
      if (healthy >= HEALTHY_CHECKS) {
        await untilReported(work, run)
        return { ...over('recovered', `healthy ${HEALTHY_CHECKS} times in a row`), healthySince }
      }
      nextCheck = performance.now() + (healthy > 0 || isComing ? confirmMs : intervalMs)
      if (end && healthy === 0 && !isComing) return end
    }
    if (performance.now() >= deadline && healthy === 0 && !work.isActing)
      return over('time-limit', `${settings.emergencyRecoveryTimeoutSec} s`)
  }
}

/** The gateway is healthy: the doctor gets a little time to write the report and to end by itself. */
async function untilReported(work: Work, { settings, journal, signal }: TierRun): Promise<void> {
  const deadline = performance.now() + settings.emergencyRecoveryReportWaitSec * 1000
  while (!(await work.read())) {
    // Half an installation would be worse than none.
    if (performance.now() >= deadline && !work.isActing)
      return journal.info('the doctor was still at work when the time for the report was over')
    await delay(500, undefined, { signal })
  }
}

type Work = ReturnType<typeof follow>

function follow(run: TierRun, folder: string, doctor: Doctor, terminal: Terminal, recordingPath: string) {
  const { doctorStartupWaitSec, emergencyRecoveryIdleLimitSec } = run.settings
  const startedAt = performance.now()
  const readTo: Record<string, number> = {}
  let [lastSign, calls] = [startedAt, 0]
  let end: End | undefined

  const show = (text: string) => appendFileSync(recordingPath, `${run.hide(readable(cleanText(text)))}\n`)
  const newLines = (name: string): string[] => {
    const { text, end: to } = readFrom(join(folder, name), readTo[name] ?? 0)
    readTo[name] = to
    return text.split('\n').filter((line) => line.trim() !== '')
  }
  const lastWords = (): string => {
    const [events, errors] = [STREAM.events, STREAM.errors].map((name) => readTail(join(folder, name), 2000))
    const unfinished = [events, errors].map((text) => text?.split('\n').at(-1))
    return unfinished.join(' ').trim() || errors?.trim() || 'it said nothing'
  }
  const take = (event: DoctorEvent): void => {
    lastSign = performance.now()
    if (event.kind === 'connected') work.isConnected = true
    if (event.kind === 'trouble') end ??= over(event.trouble, event.detail)
    if (event.kind === 'finished') {
      work.costUsd = event.costUsd
      end ??= over('finished', 'it ended its work')
    }
    show(linesOf(event, doctor.title))
  }
  const work = {
    isConnected: false,
    isActing: false,
    costUsd: undefined as number | undefined,
    /** Reads on, makes what is new readable, and returns why the session is over, if it is. */
    read: async (): Promise<End | undefined> => {
      // Asked first: what was written before the end is read after it.
      const state = await terminal.state()
      for (const line of newLines(STREAM.events)) for (const event of tried(() => doctor.read(line)) ?? []) take(event)
      for (const line of newLines(STREAM.errors)) {
        show(`! ${line}`)
        for (const event of doctor.readError?.(line) ?? []) take(event)
      }
      const { calls: all } = readSession(folder)
      const running = all.filter(({ decision }) => decision === 'started')
      const now = performance.now()
      if (all.length !== calls || running.length > 0) lastSign = now
      calls = all.length
      work.isActing = running.some(({ acts }) => acts)
      const quietSec = (now - lastSign) / 1000
      if (state === 'gone') end ??= over('terminal', 'its tmux session has gone')
      if (state === 'ended') end ??= over('exited', lastWords())
      if (!work.isConnected && (now - startedAt) / 1000 > doctorStartupWaitSec)
        end ??= over('instruments', `not connected within ${doctorStartupWaitSec} s`)
      if (quietSec > emergencyRecoveryIdleLimitSec) end ??= over('idle', `nothing for ${Math.round(quietSec)} s`)
      return end
    },
  }
  return work
}

function linesOf(event: DoctorEvent, title: string): string {
  if (event.kind === 'connected') return `${title} is connected to its instruments.`
  if (event.kind === 'said') return `\n${event.text}`
  if (event.kind === 'called') return `\n> ${event.text}`
  if (event.kind === 'trouble') return `\n! ${event.detail}`
  if (event.kind === 'finished') return '\nDone.'
  return event.text.split('\n').slice(0, 40).join('\n').replace(/^/gm, '  ')
}

const brief = (call: InstrumentCall) => oneLine(describeCall(call).replaceAll('"', ''), 200).replaceAll('`', "'")

/** Rolls back edits that did not help, completes report and learnings, logs it. Returns whose recovery it was, or why there is none. */
export function conclude(run: TierRun, session: Session, end: SessionEnd, before: Failure, isUp: boolean, sec: number) {
  const { hide, journal } = run
  const { report, configAfter, calls } = session.state
  const { reportPath } = session
  const [did, refused] = [calls.filter(isTreatment), calls.filter(({ decision }) => decision === 'refused')]
  // Only by what can heal, done before the gateway was healthy.
  const byDoctor = isUp && did.some(({ at }) => at <= (end.healthySince ?? Number.POSITIVE_INFINITY))
  const why = `${ENDINGS[end.ending].replace('%', end.title)} (${end.detail})`
  const said: string[] = []
  if (!isUp) {
    const keeps = report?.keepConfigEdits
    if (keeps) said.push(`the doctor's edits of the config stay: ${oneLine(keeps, 200)}`)
    else if (session.rollBackEdits()) said.push("rolled back the doctor's edits of the config: they did not help")
    else if (configAfter !== undefined)
      said.push('the config was written by another hand since: no edit was rolled back')
  }
  const how = byDoctor ? 'recovered by the doctor' : 'recovered by itself or from outside'
  const outcome = hide(isUp ? how : `not recovered: ${why}`)
  try {
    if (end.wasAtWork) {
      const written = existsSync(reportPath) ? readFileSync(reportPath, 'utf8').trim() : ''
      const text = [
        written || '# Emergency recovery\n\nThe doctor left no report.',
        '',
        '## Outcome as seen from outside',
        '',
        `- ${outcome}`,
        `- the session of ${end.title} ended: ${end.ending} (${end.detail}), after ${Math.round(sec)} s`,
        `- ${calls.length} calls of instruments, ${refused.length} of them refused`,
        ...refused.map((one) => `  - refused \`${brief(one)}\`: ${one.why}`),
        ...(end.costUsd === undefined ? [] : [`- cost: $${end.costUsd.toFixed(2)}, as it says itself`]),
        ...said.map((line) => `- ${line}`),
      ].join('\n')
      writeFileAtomic(reportPath, `${hide(text)}\n`)
      said.push(`report: ${reportPath}${report ? '' : ' (the doctor wrote none)'}`)
      const evidence = hide(oneLine(before.evidence, 300))
      const learning = { at: localIso(new Date()), verdict: before.verdict, evidence, outcome, seconds: sec, report }
      addLearning(learningsPath(session.settings), learning)
    }
  } catch (error) {
    said.push(`the report could not be completed: ${oneLine(String(error))}`)
  }
  for (const line of said) journal.info(line)
  const named = (some: readonly InstrumentCall[]) => oneLine(some.map(brief).join('; '), 400)
  const tried = did.length > 0 ? `the doctor tried: ${named(did)}` : 'the doctor changed nothing'
  const forbidden = refused.length > 0 ? `; it was refused ${refused.length} calls: ${named(refused)}` : ''
  if (!isUp) journal.warn(`${tried}${forbidden}`)
  return { byDoctor, why: report?.humanNeeded ? `${why}; the doctor says: ${report.humanNeeded}` : why }
}
