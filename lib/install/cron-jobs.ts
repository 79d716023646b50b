/** Level 4's monitor and the guardian in the user's crontab. */
import { type Crontab, readCrontab, withBlock, withoutBlock, withoutBlocks, writeCrontab } from '../services/cron.ts'
import type { Settings } from '../tier/settings.ts'
import type { Step } from './step.ts'

/** What macOS may have against it, for the message. */
const CONSENT =
  process.platform === 'darwin'
    ? '. macOS asks for your consent in a dialog the first time; System Settings > Privacy & Security > Full Disk Access must list the terminal'
    : ''

/** The step that puts our lines into the crontab, or undefined when they are there. Throws when it cannot be read. */
export async function cronStep(settings: Settings, lines: readonly string[]): Promise<Step | undefined> {
  const planned = await read(settings)
  if (withBlock(planned.text, lines, settings.profile) === planned.text) return undefined
  let before = planned
  return {
    lines: [
      `crontab: ${withoutBlock(planned.text, settings.profile) === planned.text ? 'add' : 'change'} our block, leave the rest as it is`,
      ...lines.map((line) => `  ${line}`),
    ],
    entries: [{ kind: 'cron-block', existed: hasUsersOwn(planned) }],
    apply: async () => {
      // Read again: somebody may have edited it since the plan was made.
      before = await read(settings)
      const text = withBlock(before.text, lines, settings.profile)
      await write(settings, { text, exists: true })
      if ((await read(settings)).text !== text) throw new Error('the crontab was written, and yet holds something else')
    },
    rollback: async () => {
      if ((await read(settings)).text !== before.text) await write(settings, before)
    },
  }
}

/** False when there is none, or only what other profiles put there: then the last of them takes the crontab with it. */
function hasUsersOwn({ exists, text }: Crontab): boolean {
  return exists && (text === '' || withoutBlocks(text) !== '')
}

/** Takes our block out again. @param existed the user had a crontab before the installation */
export async function removeCronBlock(settings: Settings, existed: boolean): Promise<void> {
  const before = await read(settings)
  const text = withoutBlock(before.text, settings.profile)
  if (text !== before.text) await write(settings, { text, exists: text !== '' || existed })
}

/** A foreign line that was taken out of service stands behind this. */
const SET_ASIDE = '# set aside by openclaw-self-healing: '

/** A step that comments the given lines out. */
export function commentOutStep(settings: Settings, isMeant: (line: string) => boolean, count: number): Step {
  return {
    lines: [`crontab: comment out ${count} ${count === 1 ? 'line' : 'lines'} of the bash version`],
    entries: [{ kind: 'cron-commented' }],
    apply: () => editLines(settings, (line) => (isMeant(line) ? `${SET_ASIDE}${line}` : line)),
    rollback: () => putCommentedBack(settings),
  }
}

/** True when the crontab holds lines that were commented out. */
export function holdsCommentedOut({ text }: Crontab): boolean {
  return text.split('\n').some((line) => line.startsWith(SET_ASIDE))
}

/** Brings the commented-out lines back. */
export async function putCommentedBack(settings: Settings): Promise<void> {
  await editLines(settings, (line) => (line.startsWith(SET_ASIDE) ? line.slice(SET_ASIDE.length) : line))
}

async function editLines(settings: Settings, edit: (line: string) => string): Promise<void> {
  const before = await read(settings)
  const text = before.text.split('\n').map(edit).join('\n')
  if (text !== before.text) await write(settings, { text, exists: true })
}

async function read(settings: Settings) {
  const crontab = await readCrontab(settings)
  if ('failure' in crontab) throw new Error(crontab.failure)
  return crontab
}

async function write(settings: Settings, crontab: { text: string; exists: boolean }): Promise<void> {
  const failure = await writeCrontab(settings, crontab)
  if (failure) throw new Error(`${failure}${CONSENT}`)
}
