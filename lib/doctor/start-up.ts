/** From the start of Claude Code to its input box: its questions are answered by their words, its troubles named. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { VisitOver } from './ending.ts'
import { readEvents } from './hook-events.ts'
import { findOption, type Option, readScreen, type Screen, stepsTo } from './screens.ts'
import type { Room } from './tmux.ts'

export interface StartUpOptions {
  settings: Settings
  /** The run's own folder. */
  folder: string
  say: (text: string) => void
  signal: AbortSignal
}

/**
 * Answers what Claude Code asks until its input box is there and its hooks have spoken.
 * @throws VisitOver when it cannot come to that
 */
export async function untilReady(room: Room, options: StartUpOptions): Promise<void> {
  const { settings, folder, signal, say } = options
  const begun = performance.now()
  let deadline = begun + (settings.claudeTrustTimeoutSec + settings.claudeStartupWaitSec) * 1000
  let last: Screen = { kind: 'unknown' }
  let readyLooks = 0
  for (; performance.now() < deadline; await delay(300, undefined, { signal })) {
    const { isOccupied, text } = await room.look()
    last = readScreen(text)
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
      // What is drawn first may be drawn anew, and what was typed into it is lost then.
      if (++readyLooks === READY_LOOKS)
        return say(`Claude Code is ready after ${((performance.now() - begun) / 1000).toFixed(1)} s`)
    }
    if (!isOccupied) throw new VisitOver('exited', `Claude Code ended at its start: ${lastWords(text)}`)
  }
  if (last.kind === 'ready' && readyLooks === 0)
    throw new VisitOver('unguarded', 'Claude Code started without the hooks of its settings, so without the guard')
  throw new VisitOver(
    'not-ready',
    `Claude Code was not ready in time; its screen: ${lastWords((await room.look()).text)}`,
  )
}

/** Looks in a row, 300 ms apart, for which the input box must have been there. */
const READY_LOOKS = 4

/** The words that answer a question, and the words that rule an option out. */
const ANSWERS = {
  trust: { want: /\byes\b|trust|proceed/i, not: /\bno\b|exit/i },
  // Its own login is what is meant to be used; a key of ours is handed over in another way.
  'api-key': { want: /^no\b/i, not: /^yes\b/i },
}

/** So many looks in a row, 200 ms apart, must show the same before a key is pressed. */
const SETTLED_LOOKS = 5

/**
 * Moves to the option that says what is wanted, one step at a time and looking after each, and confirms it: which one
 * is highlighted first differs between releases. Returns the chosen words; undefined when no option says it.
 *
 * Never hastily: 2.1.330 draws its trust question anew some 100 ms after it first appears, with "No, exit" highlighted
 * again, so that a Down pressed before is lost and an Enter after it would end Claude Code (measured).
 */
async function choose(room: Room, kind: keyof typeof ANSWERS, signal: AbortSignal): Promise<string | undefined> {
  const { want, not } = ANSWERS[kind]
  const optionsNow = async (): Promise<Option[]> => {
    const screen = readScreen((await room.look()).text)
    return screen.kind === kind ? screen.options : []
  }
  const settled = async (): Promise<Option[]> => {
    let options = await optionsNow()
    for (let alike = 1; alike < SETTLED_LOOKS; ) {
      await delay(200, undefined, { signal })
      const now = await optionsNow()
      alike = JSON.stringify(now) === JSON.stringify(options) ? alike + 1 : 1
      options = now
    }
    return options
  }
  let chosen: string | undefined
  for (let presses = 0; presses < 12; presses++) {
    const options = await settled()
    // The question is gone: it took the answer.
    if (options.length === 0) return chosen
    const index = findOption(options, want, not)
    if (index === undefined) return undefined
    const steps = stepsTo(options, index)
    if (steps === 0) chosen = options[index]!.label
    await room.press(steps === 0 ? 'Enter' : steps > 0 ? 'Down' : 'Up')
  }
  return undefined
}

/** The last lines with words in them, on one line. */
export function lastWords(text: string): string {
  const lines = text.split('\n').map((line) => line.trim())
  return (
    lines
      .filter((line) => /\w{3}/.test(line) && !line.startsWith('Pane is dead'))
      .slice(-4)
      .join(' / ') || 'empty'
  )
}
