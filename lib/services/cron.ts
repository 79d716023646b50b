/** The user's crontab: only the lines between each profile's two marker lines are ours. */
import { ALL_TIERS, TIERS, type TierName } from '../tier/contract.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { type Answer, shell } from '../tier/shell.ts'

const MARKER = /^# (BEGIN|END) openclaw-self-healing(?: ([A-Za-z0-9_-]+))?$/
const CALLS_LAUNCHER = /\/scripts\/run-tier\.sh'? ([a-z-]+)/

const inWords = ({ failure = '', stderr }: Answer) =>
  /operation not permitted|interrupted system call/i.test(stderr)
    ? `${failure}; on a Mac: it asks for consent the first time, and System Settings > Privacy & Security > Full Disk Access must list the terminal`
    : failure

/** As latin1, for it may hold any bytes; `''`: there is none. */
export async function readCrontab(settings: Settings): Promise<{ text: string } | { failure: string }> {
  const answer = await shell(settings, { timeoutSec: 20, encoding: 'latin1' })`crontab -l`
  if (answer.code === 0) return { text: answer.stdout }
  // The second is busybox's.
  return /no crontab for|can't open/i.test(answer.stderr) ? { text: '' } : { failure: inWords(answer) }
}

/** Changes the crontab and reads it back. Returns what was there before. Throws. */
export async function editCrontab(settings: Settings, edit: (text: string) => string): Promise<string> {
  const before = await readCrontab(settings)
  if ('failure' in before) throw new Error(before.failure)
  const text = edit(before.text)
  if (text === before.text) return text
  const $ = shell(settings, { timeoutSec: 120, encoding: 'latin1', input: text })
  const answer = text === '' ? await $`crontab -r` : await $`crontab -`
  if (answer.failure) throw new Error(inWords(answer))
  const after = await readCrontab(settings)
  if ('failure' in after || after.text !== text) throw new Error('the crontab was written, but holds something else')
  return before.text
}

/** A new block goes to the top, where no `PATH=` of the user's applies to it. */
export function withBlock(text: string, lines: readonly string[], profile = DEFAULT_PROFILE): string {
  const name = profile === DEFAULT_PROFILE ? '' : ` ${profile}`
  const marked = [`# BEGIN openclaw-self-healing${name}`, ...lines, `# END openclaw-self-healing${name}`]
  const block = marked.map((line) => `${Buffer.from(line).toString('latin1')}\n`).join('')
  const rest = withoutBlock(text, profile)
  if (text.includes(block) && rest.length + block.length === text.length) return text
  // crontab(1) refuses a text without a line break at its end.
  return block + rest + (rest === '' || rest.endsWith('\n') ? '' : '\n')
}

export function withoutBlock(text: string, profile = DEFAULT_PROFILE): string {
  let inside = false
  return linesOf(text)
    .filter((line) => {
      const marker = MARKER.exec(line.trimEnd())
      if (!marker) return !(inside && CALLS_LAUNCHER.test(line))
      const isOurs = (marker[2] ?? DEFAULT_PROFILE) === profile
      inside = isOurs && marker[1] === 'BEGIN'
      return !isOurs
    })
    .join('')
}

export function cronTiers(text: string, profile = DEFAULT_PROFILE): TierName[] {
  const profileOf = (line: string) => /\sOPENCLAW_PROFILE='?([A-Za-z0-9_-]+)'?\s/.exec(line)?.[1] ?? DEFAULT_PROFILE
  const lines = linesOf(text).filter((line) => !line.trimStart().startsWith('#') && profileOf(line) === profile)
  const scripts = lines.map((line) => CALLS_LAUNCHER.exec(line)?.[1])
  return ALL_TIERS.filter((tier) => scripts.includes(TIERS[tier].script))
}

const linesOf = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? []
