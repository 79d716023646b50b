/** What can be seen from outside of whether the doctor works, is done, or cannot go on. */
import { statSync } from 'node:fs'
import { readTail } from '../tier/journal.ts'
import { VisitOver } from './ending.ts'
import { decisionsIn } from './guard-record.ts'
import { type HookEvent, readEvents } from './hook-events.ts'
import { readScreen, type Screen, type Trouble, troubleOf } from './screens.ts'
import { lastWords } from './start-up.ts'
import type { Room } from './tmux.ts'

export interface SignOptions {
  /** The run's own folder. */
  folder: string
  /** The log in which the guard notes its decisions. */
  logPath: string
}

/** Its events, its screen, the guard's lines in the log. */
export class SignsOfWork {
  /** When something was last seen of it (performance.now()). */
  lastSign = performance.now()
  #options: SignOptions
  #events = 0
  #logBytes = 0
  #decisions = 0

  constructor(options: SignOptions) {
    this.#options = options
  }

  async read(room: Room): Promise<{ turnEnded: boolean; over?: VisitOver; question?: string }> {
    const events = readEvents(this.#options.folder)
    const decisions = this.#countDecisions()
    const { isOccupied, text } = await room.look()
    const screen = readScreen(text)
    if (events.length !== this.#events || decisions !== this.#decisions || screen.kind === 'working')
      this.lastSign = performance.now()
    this.#events = events.length
    this.#decisions = decisions
    const turns = events.filter(({ kind }) => kind === 'Stop').length
    const exited = () => new VisitOver('exited', `Claude Code ended by itself: ${lastWords(text)}`)
    const over = overBecause(events, screen) ?? (isOccupied ? undefined : exited())
    return {
      turnEnded: turns > 0 && screen.kind !== 'working',
      ...(over ? { over } : {}),
      ...(screen.kind === 'permission' ? { question: screen.detail } : {}),
    }
  }

  /** The tier writes into that log, too, what it sees of the gateway: that is no work of the doctor's. */
  #countDecisions(): number {
    const bytes = sizeOf(this.#options.logPath)
    if (bytes === this.#logBytes) return this.#decisions
    this.#logBytes = bytes
    return decisionsIn(readTail(this.#options.logPath, 4 * 1024 * 1024)).length
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
