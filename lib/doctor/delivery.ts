/** Handing over the briefing, and making sure that it arrived. */
import { setTimeout as delay } from 'node:timers/promises'
import type { HookEvent } from './hook-events.ts'
import { readScreen } from './screens.ts'
import type { Room } from './tmux.ts'

export interface Prompt {
  /**
   * One short line that is typed. 2.1.330 marks pasted text as such for the model and tells it to follow instructions
   * in it only where the user's own words ask for that: these are the user's own words.
   */
  order: string
  /** The briefing, which is pasted. */
  briefing: string
}

/** The Enter is pressed again when nothing happens; more often than this it is not a question of timing. */
const MAX_ENTERS = 3

/**
 * Types the order, pastes the briefing, presses Enter as a key of its own (with the text in one go it would be taken for
 * a line break of the paste), and waits until Claude Code reports the prompt that it got.
 * @param events what the hooks reported so far
 * @returns `failure`: why the prompt did not arrive, or not whole
 */
export async function deliver(
  room: Room,
  prompt: Prompt,
  events: () => HookEvent[],
  signal: AbortSignal,
): Promise<{ failure?: string }> {
  const wait = (ms: number) => delay(ms, undefined, { signal })
  const input = async () => {
    const screen = readScreen((await room.look()).text)
    return screen.kind === 'ready' ? screen.input : ''
  }
  /** Up to 5 s, for it takes text in at its own pace. */
  const untilInput = async (isAsWanted: (text: string) => boolean) => {
    for (let waits = 0; waits < 25; waits++) {
      if (isAsWanted(await input())) return true
      await wait(200)
    }
    return false
  }
  const typedEnd = prompt.order.trim().slice(-20)
  await room.type(prompt.order)
  if (!(await untilInput((text) => flat(text).includes(flat(typedEnd)))))
    return { failure: 'what was typed did not appear in its input box' }
  const before = await input()
  await room.paste(prompt.briefing)
  if (!(await untilInput((text) => text !== '' && text !== before)))
    return { failure: 'what was pasted did not appear in its input box' }

  for (let enters = 0; enters < MAX_ENTERS; enters++) {
    await wait(700)
    await room.press('Enter')
    for (let waits = 0; waits < 50; waits++) {
      await wait(200)
      const submitted = events().findLast((event) => event.kind === 'UserPromptSubmit')
      if (submitted) return isWhole(submitted.prompt, prompt) ? {} : { failure: 'the prompt did not arrive whole' }
    }
  }
  return { failure: `it did not take the prompt, though Enter was pressed ${MAX_ENTERS} times` }
}

/** The same words in the same order; blanks may differ (a tab arrives as four), and a paste may stand in a tag. */
function isWhole(arrived: string, { order, briefing }: Prompt): boolean {
  const text = flat(arrived)
  return text.includes(flat(order)) && text.includes(flat(briefing))
}

function flat(text: string): string {
  return text.replace(/\s+/g, '')
}
