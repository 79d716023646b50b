/**
 * The doctor's visit: Claude Code is started in its room, its questions are answered, the briefing is handed over, and
 * the gateway is looked at until it is well, the doctor is done, or the time is over. What counts as recovered is what
 * the gateway answers, never what stands on the screen.
 */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { pauseReason } from '../tier/pause.ts'
import type { Settings } from '../tier/settings.ts'
import { type ClaudeCode, doctorEnv, prepareLaunch } from './claude-code.ts'
import { deliver } from './delivery.ts'
import { type Ending, VisitOver } from './ending.ts'
import { readEvents } from './hook-events.ts'
import { keepRecording } from './recording.ts'
import { SignsOfWork } from './signs-of-work.ts'
import { untilReady } from './start-up.ts'
import { openRoom, type Room } from './tmux.ts'

/** What the gateway is seen to be; `coming`: down, but on its way up, so that an end of the visit can wait. */
export interface Look {
  up: boolean
  coming: boolean
  text: string
}

export interface Visit {
  ending: Ending
  /** One line: what was seen. */
  detail: string
  /** The briefing arrived whole. */
  prompted: boolean
  /** When the gateway was first seen well and stayed so (epoch milliseconds). */
  healthySince?: number
}

export interface VisitOptions {
  settings: Settings
  claude: ClaudeCode
  /** The run's own folder (0700). */
  folder: string
  /** Claude Code's working folder: empty, and always the same, so that its trust question is asked once. */
  cwd: string
  contextPath: string
  recordingPath: string
  reportPath: string
  /** The log in which the guard notes its decisions. */
  logPath: string
  prompt: { order: string; briefing: string }
  redact: (text: string) => string
  /** Looks at the gateway, and starts it where nobody else would. */
  look: (doctor: { isDone: boolean }) => Promise<Look>
  say: (text: string) => void
  signal: AbortSignal
  onExit: (cleanup: () => Promise<void>) => void
}

const HEALTHY_LOOKS = 3

/**
 * Runs one visit to its end. Whatever happens, the session is recorded and the room is cleared.
 * @throws only the abort of `signal` and what the file system throws
 */
export async function visit(options: VisitOptions): Promise<Visit> {
  const { settings, claude, folder, contextPath } = options
  const room = await openRoom({
    folder,
    socket: `openclaw-doctor-${process.pid}`,
    program: 'claude',
    args: prepareLaunch(settings, claude, folder, contextPath),
    cwd: options.cwd,
    env: doctorEnv(settings),
    recordingPath: options.recordingPath,
  })
  if ('failure' in room) return { ending: 'room', detail: room.failure, prompted: false }
  let ending: Promise<void> | undefined
  const end = () => (ending ??= keepRecording(room, options.recordingPath, options.redact))
  options.onExit(end)
  let prompted = false
  try {
    await untilReady(room, options)
    const delivered = await deliver(room, options.prompt, () => readEvents(folder), options.signal)
    if (delivered.failure) throw new VisitOver('not-delivered', delivered.failure)
    prompted = true
    options.say(`the prompt was delivered (${options.prompt.briefing.length} characters)`)
    const healthySince = await watch(room, options)
    return { ending: 'recovered', detail: `healthy ${HEALTHY_LOOKS} times in a row`, prompted, healthySince }
  } catch (error) {
    if (!(error instanceof VisitOver)) throw error
    return { ending: error.ending, detail: error.message, prompted }
  } finally {
    await end()
  }
}

/** Looks at the gateway and at the doctor until the gateway is well. Throws `VisitOver` for every other end. */
async function watch(room: Room, options: VisitOptions): Promise<number> {
  const { settings, signal, say } = options
  const intervalMs = settings.emergencyRecoveryCheckIntervalSec * 1000
  // While it is being confirmed that it stays up, a minute between looks would only cost time.
  const confirmMs = Math.min(intervalMs, 10_000)
  const deadline = performance.now() + settings.emergencyRecoveryTimeoutSec * 1000
  const signs = new SignsOfWork(options)
  let healthy = 0
  let healthySince = 0
  let nextLook = performance.now() + intervalMs
  let refusedQuestions = 0
  let ended = false
  let lastSaid = ''
  for (;;) {
    await delay(Math.min(1000, intervalMs, confirmMs), undefined, { signal })
    const pause = pauseReason(settings)
    if (pause) throw new VisitOver('paused', pause)
    const state = await signs.read(room)
    if (state.question !== undefined) {
      if (++refusedQuestions > 3) throw new VisitOver('questions', `it keeps asking: ${state.question}`)
      say(`refused a question that the guard should have answered: ${state.question}`)
      await room.press('Escape')
    }
    // At its end the verdict is the gateway's, not the doctor's: one look at once.
    if ((state.over || state.turnEnded) && !ended) nextLook = 0
    ended = state.over !== undefined || state.turnEnded
    if (performance.now() >= nextLook) {
      const look = await options.look({ isDone: ended })
      if (look.up && healthy === 0) healthySince = Date.now()
      healthy = look.up ? healthy + 1 : 0
      // Ages and times differ at every look, and are no news.
      const gist = look.text.replace(/\d+/g, '#')
      if (gist !== lastSaid) say(`gateway: ${look.text}`)
      lastSaid = gist
      if (healthy >= HEALTHY_LOOKS) {
        await untilReported(room, options, signs)
        return healthySince
      }
      nextLook = performance.now() + (healthy > 0 || look.coming ? confirmMs : intervalMs)
      const idle = performance.now() - signs.lastSign > settings.emergencyRecoveryIdleLimitSec * 1000
      if (!look.up && !look.coming) {
        if (state.over) throw state.over
        if (idle) throw new VisitOver('idle', state.turnEnded ? 'it ended its work' : 'it shows no sign of work')
      }
    }
    if (performance.now() >= deadline && healthy === 0)
      throw new VisitOver('time-limit', `${settings.emergencyRecoveryTimeoutSec} s`)
  }
}

/** The gateway is well: the doctor gets a little time to write the report and to end by himself. */
async function untilReported(room: Room, options: VisitOptions, signs: SignsOfWork): Promise<void> {
  const deadline = performance.now() + options.settings.emergencyRecoveryReportWaitSec * 1000
  for (;;) {
    const { turnEnded, over } = await signs.read(room)
    if (turnEnded || over) return
    if (performance.now() >= deadline) {
      const there = existsSync(options.reportPath) ? 'its report is there' : 'there is no report'
      return options.say(`the doctor was still at work when the time for the report was over; ${there}`)
    }
    await delay(500, undefined, { signal: options.signal })
  }
}
