/** The bash version of this system, recognised by the names of its scripts: set aside, for two watchdogs would fight. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readCrontab } from '../services/cron.ts'
import type { Entry, Receipt } from '../services/receipt.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { filesIn } from '../tier/state.ts'
import { agentsFolder, isLoaded, tilde, unitFolder } from './change.ts'

const ITS_SCRIPTS =
  /\/(?:gateway-watchdog|gateway-healthcheck|emergency-recovery|launchd-guardian|watchdog-guardian)[\w.-]*\.sh\b/
const SET_ASIDE = '# set aside by openclaw-self-healing: '

type SetAside = Extract<Entry, { kind: 'set-aside' }>

export type BashVersion = NonNullable<Awaited<ReturnType<typeof findBashVersion>>>

/** Looks for the bash version's jobs; undefined when there are none. It knows the gateway without a profile only. */
export async function findBashVersion(settings: Settings) {
  if (settings.profile !== DEFAULT_PROFILE) return undefined
  const services = shownIn(unitFolder(settings)).filter((path) => path.endsWith('.service') && isItsFile(path))
  const timers = services.map((path) => path.replace(/service$/, 'timer')).filter((path) => existsSync(path))
  const plists = shownIn(agentsFolder(settings)).filter((path) => path.endsWith('.plist') && isItsFile(path))
  const files: SetAside[] = []
  for (const path of [...plists, ...timers, ...services]) {
    const [label, aside] = [labelIn(path), join(setAsideFolder(settings), basename(path))]
    files.push({ kind: 'set-aside', path, aside, label, wasLoaded: await isLoaded(settings, label) })
  }
  const crontab = await readCrontab(settings)
  const lines = 'text' in crontab ? crontab.text.split('\n').filter(isItsLine) : []
  const found = [...files.map(({ path }) => tilde(path, settings.home)), ...lines]
  return found.length > 0 ? { found, files } : undefined
}

const shownIn = (folder: string): string[] => filesIn(folder, (name) => !name.startsWith('.')).sort()

export function isItsFile(path: string): boolean {
  // latin1: a property list may be binary, and then holds its strings byte by byte.
  const content = existsSync(path) ? readFileSync(path, 'latin1') : ''
  return ITS_SCRIPTS.test(content) && !content.includes('/scripts/run-tier.sh')
}

/** The label in a property list, or its file's name where none can be read (a binary one); a unit's name. */
function labelIn(path: string): string {
  const label = /<key>Label<\/key>\s*<string>([^<]+)<\/string>/.exec(readFileSync(path, 'latin1'))?.[1]
  return label ?? basename(path, '.plist')
}

const setAsideFolder = ({ watchdogDir }: Settings): string => join(watchdogDir, 'set-aside')

/** What lies in the folder for it. Whether it was loaded stands in the receipt; where that is lost, it probably was. */
export function findSetAside(settings: Settings, receipt: Receipt | undefined): SetAside[] {
  return shownIn(setAsideFolder(settings)).map((aside) => {
    const known = receipt?.entries.find((entry) => entry.kind === 'set-aside' && entry.aside === aside)
    if (known?.kind === 'set-aside') return known
    const isPlist = aside.endsWith('.plist')
    const path = join(isPlist ? agentsFolder(settings) : unitFolder(settings), basename(aside))
    const wasLoaded = isPlist ? isItsFile(aside) : aside.endsWith('.timer')
    return { kind: 'set-aside', path, aside, label: labelIn(aside), wasLoaded }
  })
}

const isItsLine = (line: string): boolean => ITS_SCRIPTS.test(line) && !line.trimStart().startsWith('#')

export function withoutItsLines(text: string): string {
  return text.replace(/^.+$/gm, (line) => (isItsLine(line) ? SET_ASIDE + line : line))
}

export function withItsLines(text: string): string {
  return text.replace(/^.+$/gm, (line) => (line.startsWith(SET_ASIDE) ? line.slice(SET_ASIDE.length) : line))
}
