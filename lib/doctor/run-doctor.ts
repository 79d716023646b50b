/** One doctor at work, until the gateway is healthy (by its own answer, never by what the doctor says), or it is over. */
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Doctor, DoctorEvent } from '../agents/agent.ts'
import { isGatewayCommand } from '../gateway/processes.ts'
import { type Launch, openTerminal, STREAM, type Terminal } from '../services/terminal.ts'
import { cleanText, oneLine } from '../tier/contract.ts'
import { readFrom, readTail } from '../tier/journal.ts'
import { pauseReason } from '../tier/pause.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { tried } from '../tier/state.ts'
import { readable, readSession } from './session.ts'

/** How a session ends, and what that means for the alert. `%`: the doctor's name. */
export const ENDINGS = {
  recovered: 'the gateway was healthy for a while and is not any more',
  finished: '% has finished, and the gateway is not healthy',
  login: '% is not signed in',
  quota: '% has no quota or credit left',
  service: '% cannot reach its service',
  instruments: '% was not connected to its instruments',
  exited: '% ended early',
  idle: '% showed no sign of work',
  'time-limit': 'the time of % was over',
  paused: 'everything was paused while % was at work',
  terminal: 'the tmux session of % is gone',
} as const

type Ending = keyof typeof ENDINGS

/** `coming`: down, but on its way up, so that an end of the session can wait. */
interface Check {
  up: boolean
  coming: boolean
  text: string
}

export interface SessionEnd {
  /** Of the doctor. */
  title: string
  ending: Ending
  detail: string
  wasAtWork: boolean
  /** When the gateway was first seen healthy and stayed so (epoch milliseconds). */
  healthySince?: number
  costUsd?: number
}

interface SessionOptions {
  run: TierRun
  doctor: Doctor
  launch: Launch
  folder: string
  briefing: string
  recordingPath: string
  hide: (text: string) => string
  check: () => Promise<Check>
}

const HEALTHY_CHECKS = 3

/** Thrown inside the session when it ends before the gateway is healthy. */
class Over extends Error {
  readonly ending: Ending
  constructor(ending: Ending, detail: string) {
    super(oneLine(detail, 300))
    this.ending = ending
  }
}

/** Runs one session to its end, after which nothing of the doctor goes on. Throws the abort of `signal`. */
export async function runDoctor(options: SessionOptions): Promise<SessionEnd> {
  const { run, doctor, folder, recordingPath, launch } = options
  const { title } = doctor
  writeFileSync(join(folder, STREAM.briefing), options.briefing, { mode: 0o600 })
  writeFileSync(recordingPath, '', { mode: 0o600, flag: 'a' })
  const terminal = await openTerminal(run.settings, launch, folder, recordingPath, isGatewayCommand)
  if ('failure' in terminal) return { title, ending: 'terminal', detail: terminal.failure, wasAtWork: false }
  run.onExit(() => terminal.close())
  const work = new Work(options, terminal)
  const end = (ending: Ending, detail: string): SessionEnd => ({
    ...{ title, ending, detail, wasAtWork: work.isConnected, costUsd: work.costUsd },
  })
  try {
    const healthySince = await watch(work, options)
    return { ...end('recovered', `healthy ${HEALTHY_CHECKS} times in a row`), healthySince }
  } catch (error) {
    if (!(error instanceof Over)) throw error
    return end(error.ending, error.message)
  } finally {
    // What it says last, before and while it is ended, belongs into the recording.
    await work.read().catch(() => {})
    await terminal.close()
    await work.read().catch(() => {})
  }
}

/** Checks the gateway and the doctor until the gateway is healthy, and returns since when. Throws `Over` for every other end. */
async function watch(work: Work, options: SessionOptions): Promise<number> {
  const { settings, signal, journal } = options.run
  const intervalMs = settings.emergencyRecoveryCheckIntervalSec * 1000
  // While it is being confirmed that it stays up, a minute between checks would only cost time.
  const confirmMs = Math.min(intervalMs, 10_000)
  const deadline = performance.now() + settings.emergencyRecoveryTimeoutSec * 1000
  let [healthy, healthySince, wasOver, lastSaid] = [0, 0, false, '']
  let nextCheck = performance.now() + intervalMs
  for (;;) {
    await delay(Math.min(1000, intervalMs, confirmMs), undefined, { signal })
    const over = await work.read()
    const pause = pauseReason(settings)
    if (pause) throw new Over('paused', pause)
    // At its end the verdict is the gateway's, not the doctor's: one check at once.
    if (over && !wasOver) nextCheck = 0
    wasOver = over !== undefined
    if (performance.now() >= nextCheck) {
      const check = await options.check()
      if (check.up && healthy === 0) healthySince = Date.now()
      healthy = check.up ? healthy + 1 : 0
      // Ages and times differ at every check, and are no news.
      const summary = check.text.replace(/\d+/g, '#')
      if (summary !== lastSaid) journal.info(`gateway: ${check.text}`)
      lastSaid = summary
      if (healthy >= HEALTHY_CHECKS) {
        await untilReported(work, options.run)
        return healthySince
      }
      nextCheck = performance.now() + (healthy > 0 || check.coming ? confirmMs : intervalMs)
      if (over && !check.up && !check.coming) throw over
    }
    if (performance.now() >= deadline && healthy === 0 && !work.isActing)
      throw new Over('time-limit', `${settings.emergencyRecoveryTimeoutSec} s`)
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

class Work {
  isConnected = false
  isActing = false
  costUsd: number | undefined
  #options: SessionOptions
  #terminal: Terminal
  #over: Over | undefined
  #startedAt = performance.now()
  #lastSign = performance.now()
  #calls = 0
  #seen: Record<string, { at: number; rest: string }> = {}

  constructor(options: SessionOptions, terminal: Terminal) {
    this.#options = options
    this.#terminal = terminal
  }

  /** Reads on, makes what is new readable, and returns why the session is over, if it is. */
  async read(): Promise<Over | undefined> {
    const { doctor, folder, run } = this.#options
    // Asked first: what was written before the end is read after it.
    const state = await this.#terminal.state()
    for (const line of this.#newLines(STREAM.events))
      for (const event of tried(() => doctor.read(line)) ?? []) this.#take(event)
    for (const line of this.#newLines(STREAM.errors)) {
      this.#show(`! ${line}`)
      for (const event of doctor.readError?.(line) ?? []) this.#take(event)
    }
    const { calls } = readSession(folder)
    const running = calls.filter(({ decision }) => decision === 'started')
    if (calls.length !== this.#calls || running.length > 0) this.#lastSign = performance.now()
    this.#calls = calls.length
    this.isActing = running.some(({ acts }) => acts)
    this.#over ??= this.#ending(state, run.settings)
    return this.#over
  }

  #ending(state: Awaited<ReturnType<Terminal['state']>>, settings: Settings): Over | undefined {
    const secondsSince = (at: number) => (performance.now() - at) / 1000
    const { doctorStartupWaitSec, emergencyRecoveryIdleLimitSec } = settings
    const quietSec = secondsSince(this.#lastSign)
    if (state === 'gone') return new Over('terminal', 'its tmux session has gone')
    if (state === 'ended') return new Over('exited', this.#lastWords())
    if (!this.isConnected && secondsSince(this.#startedAt) > doctorStartupWaitSec)
      return new Over('instruments', `not connected within ${doctorStartupWaitSec} s`)
    if (quietSec > emergencyRecoveryIdleLimitSec) return new Over('idle', `nothing for ${Math.round(quietSec)} s`)
    return undefined
  }

  #take(event: DoctorEvent): void {
    this.#lastSign = performance.now()
    if (event.kind === 'connected') this.isConnected = true
    if (event.kind === 'trouble') this.#over ??= new Over(event.trouble, event.detail)
    if (event.kind === 'finished') {
      this.costUsd = event.costUsd
      this.#over ??= new Over('finished', 'it ended its work')
    }
    this.#show(linesOf(event, this.#options.doctor.title))
  }

  #show(text: string): void {
    appendFileSync(this.#options.recordingPath, `${this.#options.hide(readable(cleanText(text)))}\n`)
  }

  #lastWords(): string {
    const rests = Object.values(this.#seen).map(({ rest }) => rest)
    const errors = () => oneLine(readTail(join(this.#options.folder, STREAM.errors), 2000), 300)
    return rests.join(' ').trim() || errors() || 'it said nothing'
  }

  #newLines(name: string): string[] {
    const seen = (this.#seen[name] ??= { at: 0, rest: '' })
    const { text, end } = readFrom(join(this.#options.folder, name), seen.at)
    seen.at = end
    const lines = (seen.rest + text).split('\n')
    seen.rest = lines.pop()!.slice(-1_000_000)
    return lines.filter((line) => line.trim() !== '')
  }
}

function linesOf(event: DoctorEvent, title: string): string {
  switch (event.kind) {
    case 'connected':
      return `${title} is connected to its instruments.`
    case 'said':
      return `\n${event.text}`
    case 'called':
      return `\n> ${event.text}`
    case 'answered':
      return event.text.split('\n').slice(0, 40).join('\n').replace(/^/gm, '  ')
    case 'trouble':
      return `\n! ${event.detail}`
    case 'finished':
      return '\nDone.'
  }
}
