/** The recording of a visit: raw while it goes on, a readable and redacted text afterwards. */
import { readFileSync } from 'node:fs'
import { cleanText } from '../tier/contract.ts'
import { writeFileAtomic } from '../tier/state.ts'
import type { Room } from './tmux.ts'

/**
 * Takes down everything that was shown, closes the room, and puts the readable text in the place of the raw recording.
 * tmux itself is asked for the text, because it has put the pieces together that a terminal program paints one over the
 * other; only when it is gone the escape sequences are taken out of the raw recording.
 */
export async function keepRecording(room: Room, path: string, redact: (text: string) => string): Promise<void> {
  const story = await room.story()
  await room.close()
  const text = story?.trim() ? story : rawText(path)
  const lines = cleanText(text)
    .split('\n')
    .map((line) => line.trimEnd())
  writeFileAtomic(path, `${redact(lines.join('\n')).trim()}\n`)
}

function rawText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
