/**
 * The doctor's visit: Claude Code is started in its room, its questions are answered, the briefing is handed over, and
 * the gateway is looked at until it is well, the doctor is done, or the time is over. What counts as recovered is what
 * the gateway answers, never what stands on the screen.
 */
import { existsSync, statSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { type ClaudeCode, doctorEnv, prepareLaunch } from './claude-code.ts'
import { deliver } from './delivery.ts'
import { type HookEvent, readEvents } from './hook-events.ts'
import { keepRecording } from './recording.ts'
import { findOption, type Option, readScreen, type Screen, stepsTo, type Trouble, troubleOf } from './screens.ts'
import { openRoom, type Room } from './tmux.ts'

/** What the gateway is seen to be; `coming`: down, but on its way up, so that an end of the visit can wait. */
export interface Look {
  up: boolean
  coming: boolean
  text: string
}

export type Ending =
  /** Healthy three times in a row. */
  | 'recovered'
  /** It needs a login, has no quota left, or cannot reach its service. */
  | Trouble
  /** Never set up on this account. */
  | 'onboarding'
  /** It refused the settings that hold the guard, or did not take them over: it got no prompt. */
  | 'unguarded'
  | 'room'
  | 'not-ready'
  | 'not-delivered'
  | 'exited'
  /** It ended its turn, or sat there, and the gateway stayed down. */
  | 'idle'
  | 'questions'
  | 'time-limit'

export interface Visit {
  ending: Ending
  /** One line: what was seen. */
  detail: string
  /** The briefing arrived whole. */
  prompted: boolean
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
  /** The log in which the guard notes its decisions: when it grows, the doctor works. */
  logPath: string
  prompt: { order: string; briefing: string }
  redact: (text: string) => string
  look: () => Promise<Look>
  say: (text: string) => void
  signal: AbortSignal
  onExit: (cleanup: () => Promise<void>) => void
}

/** A visit that ended before its time; thrown inside this room only. */
class VisitOver extends Error {
  readonly ending: Ending
  constructor(ending: Ending, detail: string) {
    super(oneLine(detail, 300))
    this.ending = ending
  }
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
    await watch(room, options)
    return { ending: 'recovered', detail: `healthy ${HEALTHY_LOOKS} times in a row`, prompted }
  } catch (error) {
    if (!(error instanceof VisitOver)) throw error
    return { ending: error.ending, detail: error.message, prompted }
  } finally {
    await end()
  }
}

// --- until it is ready for a prompt

/** Answers what Claude Code asks until its input box is there and its hooks have spoken. */
async function untilReady(room: Room, { settings, folder, signal, say }: VisitOptions): Promise<void> {
  const begun = performance.now()
  let deadline = begun + (settings.claudeTrustTimeoutSec + settings.claudeStartupWaitSec) * 1000
  let last: Screen = { kind: 'unknown' }
  for (; performance.now() < deadline; await delay(300, undefined, { signal })) {
    const text = await room.screen()
    last = readScreen(text ?? '')
    if (last.kind === 'trouble') throw new VisitOver(last.trouble, last.detail)
    if (last.kind === 'onboarding')
      throw new VisitOver('onboarding', 'Claude Code was never set up on this account; run `claude` once by hand')
    if (last.kind === 'settings-refused')
      throw new VisitOver('unguarded', `Claude Code refuses the guard's settings: ${last.detail}`)
    if (last.kind === 'trust' || last.kind === 'api-key') {
      const answer = await choose(room, last.kind, signal)
      if (answer === undefined) throw new VisitOver('not-ready', `no answer was found for its ${last.kind} question`)
      say(`answered its ${last.kind} question with "${answer}"`)
      deadline = performance.now() + settings.claudeStartupWaitSec * 1000
    } else if (last.kind === 'ready' && readEvents(folder).some(({ kind }) => kind === 'SessionStart')) {
      return say(`Claude Code is ready after ${((performance.now() - begun) / 1000).toFixed(1)} s`)
    }
    if (!(await room.isOccupied())) throw new VisitOver('exited', `Claude Code ended at its start: ${lastWords(text)}`)
  }
  if (last.kind === 'ready')
    throw new VisitOver('unguarded', 'Claude Code started without the hooks of its settings, so without the guard')
  throw new VisitOver('not-ready', `Claude Code was not ready in time; its screen: ${lastWords(await room.screen())}`)
}

/** The words that answer a question, and the words that rule an option out. */
const ANSWERS = {
  trust: { want: /\byes\b|trust|proceed/i, not: /\bno\b|exit/i },
  // Its own login is what is meant to be used; a key of ours is handed over in another way.
  'api-key': { want: /^no\b/i, not: /^yes\b/i },
}

/**
 * Moves to the option that says what is wanted, one step at a time and looking after each, and confirms it: which one
 * is highlighted first differs between releases. Returns the chosen words; undefined when no option says it.
 */
async function choose(room: Room, kind: keyof typeof ANSWERS, signal: AbortSignal): Promise<string | undefined> {
  const { want, not } = ANSWERS[kind]
  const optionsNow = async (): Promise<Option[]> => {
    const screen = readScreen((await room.screen()) ?? '')
    return screen.kind === kind ? screen.options : []
  }
  let options = await optionsNow()
  for (let presses = 0; presses < 12; presses++) {
    const index = findOption(options, want, not)
    if (index === undefined) return undefined
    const steps = stepsTo(options, index)
    const { label } = options[index]!
    const before = JSON.stringify(options)
    await room.press(steps === 0 ? 'Enter' : steps > 0 ? 'Down' : 'Up')
    for (let waits = 0; waits < 15 && JSON.stringify(options) === before; waits++) {
      await delay(200, undefined, { signal })
      options = await optionsNow()
    }
    if (steps === 0 && JSON.stringify(options) !== before) return label
  }
  return undefined
}

function lastWords(text: string | undefined): string {
  const lines = (text ?? '').split('\n').map((line) => line.trim())
  return (
    lines
      .filter((line) => /\w{3}/.test(line) && !line.startsWith('Pane is dead'))
      .slice(-4)
      .join(' / ') || 'empty'
  )
}

// --- while it works

/** Looks at the gateway and at the doctor until the gateway is well. Throws `VisitOver` for every other end. */
async function watch(room: Room, options: VisitOptions): Promise<void> {
  const { settings, signal, say } = options
  const intervalMs = settings.emergencyRecoveryCheckIntervalSec * 1000
  // While it is being confirmed that it stays up, a minute between looks would only cost time.
  const confirmMs = Math.min(intervalMs, 10_000)
  const deadline = performance.now() + settings.emergencyRecoveryTimeoutSec * 1000
  const signs = new SignsOfWork(options)
  let healthy = 0
  let nextLook = performance.now() + intervalMs
  let refusedQuestions = 0
  let ended = false
  let lastSaid = ''
  for (;;) {
    await delay(Math.min(1000, intervalMs, confirmMs), undefined, { signal })
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
      const look = await options.look()
      healthy = look.up ? healthy + 1 : 0
      if (look.text !== lastSaid) say(`gateway: ${(lastSaid = look.text)}`)
      if (healthy >= HEALTHY_LOOKS) return await untilReported(room, options, signs)
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

/** What can be seen of the doctor's work from outside: its events, its screen, the guard's lines in the log. */
class SignsOfWork {
  /** When something was last seen of it (performance.now()). */
  lastSign = performance.now()
  #options: VisitOptions
  #events = 0
  #logBytes = 0
  #turns = 0

  constructor(options: VisitOptions) {
    this.#options = options
  }

  async read(room: Room): Promise<{ turnEnded: boolean; over?: VisitOver; question?: string }> {
    const events = readEvents(this.#options.folder)
    const bytes = sizeOf(this.#options.logPath)
    const text = await room.screen()
    const screen = readScreen(text ?? '')
    if (events.length !== this.#events || bytes !== this.#logBytes || screen.kind === 'working')
      this.lastSign = performance.now()
    this.#events = events.length
    this.#logBytes = bytes
    this.#turns = events.filter(({ kind }) => kind === 'Stop').length
    const over = overBecause(events, screen) ?? (await this.#exited(room, text))
    return {
      turnEnded: this.#turns > 0 && screen.kind !== 'working',
      ...(over ? { over } : {}),
      ...(screen.kind === 'permission' ? { question: screen.detail } : {}),
    }
  }

  async #exited(room: Room, text: string | undefined): Promise<VisitOver | undefined> {
    if (await room.isOccupied()) return undefined
    return new VisitOver('exited', `Claude Code ended by itself: ${lastWords(text)}`)
  }
}

/** The doctor cannot go on, as its events or its screen tell. */
function overBecause(events: readonly HookEvent[], screen: Screen): VisitOver | undefined {
  const last = events.at(-1)
  if (last?.kind === 'StopFailure')
    return new VisitOver(
      TROUBLE_OF_ERROR[last.error] ?? troubleOf(last.message) ?? 'service',
      last.message || last.error,
    )
  const trouble = screen.kind === 'trouble' ? screen : screen.kind === 'ready' ? screen.trouble : undefined
  return trouble && new VisitOver(trouble.trouble, trouble.detail)
}

/** Claude Code's own words for why a turn failed (2.1.330). */
const TROUBLE_OF_ERROR: Readonly<Record<string, Trouble>> = {
  authentication_failed: 'login',
  oauth_org_not_allowed: 'login',
  billing_error: 'quota',
  rate_limit: 'quota',
  usage_limit_reached: 'quota',
  overloaded: 'service',
  server_error: 'service',
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch {
    return 0
  }
}
