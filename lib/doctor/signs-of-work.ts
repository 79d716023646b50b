/** What can be seen from outside of whether the doctor works, is done, or cannot go on. */
import { statSync } from 'node:fs'
import { VisitOver } from './ending.ts'
import { type HookEvent, readEvents } from './hook-events.ts'
import { readScreen, type Screen, type Trouble, troubleOf } from './screens.ts'
import { lastWords } from './start-up.ts'
import type { Room } from './tmux.ts'

export interface SignOptions {
  /** The run's own folder. */
  folder: string
  /** The log in which the guard notes its decisions: when it grows, the doctor works. */
  logPath: string
}

/** What can be seen of the doctor's work from outside: its events, its screen, the guard's lines in the log. */
export class SignsOfWork {
  /** When something was last seen of it (performance.now()). */
  lastSign = performance.now()
  #options: SignOptions
  #events = 0
  #logBytes = 0
  #turns = 0

  constructor(options: SignOptions) {
    this.#options = options
  }

  async read(room: Room): Promise<{ turnEnded: boolean; over?: VisitOver; question?: string }> {
    const events = readEvents(this.#options.folder)
    const bytes = sizeOf(this.#options.logPath)
    const { isOccupied, text } = await room.look()
    const screen = readScreen(text)
    if (events.length !== this.#events || bytes !== this.#logBytes || screen.kind === 'working')
      this.lastSign = performance.now()
    this.#events = events.length
    this.#logBytes = bytes
    this.#turns = events.filter(({ kind }) => kind === 'Stop').length
    const exited = () => new VisitOver('exited', `Claude Code ended by itself: ${lastWords(text)}`)
    const over = overBecause(events, screen) ?? (isOccupied ? undefined : exited())
    return {
      turnEnded: this.#turns > 0 && screen.kind !== 'working',
      ...(over ? { over } : {}),
      ...(screen.kind === 'permission' ? { question: screen.detail } : {}),
    }
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
