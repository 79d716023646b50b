/**
 * The bash version of this system, if it is installed: two watchdogs on one gateway would fight. It is recognised by the
 * names of its scripts, whatever its jobs are called (`ai.openclaw.watchdog`, `openclaw-watchdog.timer`, …).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readCrontab } from '../services/cron.ts'
import { launchdJob } from '../services/launchd.ts'
import type { Entry } from '../services/receipt.ts'
import { systemctl, systemdUnit } from '../services/systemd.ts'
import type { Settings } from '../tier/settings.ts'
import { commentOutStep } from './cron-jobs.ts'
import { moveFile, tilde } from './files.ts'
import { load, unload } from './launchd-jobs.ts'
import type { Step } from './step.ts'
import { must, unitFolder } from './systemd-jobs.ts'

const ITS_SCRIPTS =
  /\/(?:gateway-watchdog|gateway-healthcheck|emergency-recovery|launchd-guardian|watchdog-guardian)[\w.-]*\.sh\b/

export interface BashVersion {
  /** What was found, for the question and the plan. */
  found: string[]
  steps: Step[]
}

/** Looks for the bash version's jobs; undefined when there are none. */
export async function findBashVersion(settings: Settings): Promise<BashVersion | undefined> {
  const agents = join(settings.home, 'Library', 'LaunchAgents')
  const plists = filesWithItsScripts(agents, '.plist')
  const services = filesWithItsScripts(unitFolder(settings), '.service')
  const crontab = await readCrontab(settings)
  const cronLines = 'failure' in crontab ? [] : crontab.text.split('\n').filter(isItsCronLine)
  if (plists.length + services.length + cronLines.length === 0) return undefined
  const steps = [
    ...(await Promise.all(plists.map((path) => launchdStep(settings, path)))),
    ...(await Promise.all(services.map((path) => systemdStep(settings, path)))),
    ...(cronLines.length > 0 ? [commentOutStep(settings, isItsCronLine, cronLines.length)] : []),
  ]
  return { found: [...plists, ...services].map((path) => tilde(path, settings.home)).concat(cronLines), steps }
}

function isItsCronLine(line: string): boolean {
  return ITS_SCRIPTS.test(line) && !line.trimStart().startsWith('#')
}

function filesWithItsScripts(folder: string, ending: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name))
    .filter((path) => {
      // latin1: a property list may be binary, and then holds its strings byte by byte.
      const content = readFileSync(path, 'latin1')
      return ITS_SCRIPTS.test(content) && !content.includes('/scripts/run-tier.sh')
    })
}

type SetAside = Extract<Entry, { kind: 'set-aside' }>

async function launchdStep(settings: Settings, path: string): Promise<Step> {
  const label = labelOf(path)
  const wasLoaded = (await launchdJob(settings, label))?.loaded === true
  const entry = setAside(settings, path, label, wasLoaded)
  return {
    lines: [`set the bash version's ${tilde(path, settings.home)} aside${wasLoaded ? ', unload it' : ''}`],
    entries: [entry],
    apply: async () => {
      await unload(settings, label)
      moveFile(path, entry.aside)
    },
    rollback: () => putBackSetAside(settings, entry),
  }
}

/** The label in a property list; its file's name where none can be read (a binary one). */
function labelOf(plist: string): string {
  return (
    /<key>Label<\/key>\s*<string>([^<]+)<\/string>/.exec(readFileSync(plist, 'utf8'))?.[1] ?? basename(plist, '.plist')
  )
}

async function systemdStep(settings: Settings, service: string): Promise<Step> {
  const timer = service.replace(/\.service$/, '.timer')
  const unit = basename(timer)
  const hasTimer = existsSync(timer)
  const wasLoaded = hasTimer && (await systemdUnit(settings, unit))?.activeState === 'active'
  const entries = [
    setAside(settings, service, undefined, false),
    ...(hasTimer ? [setAside(settings, timer, unit, wasLoaded)] : []),
  ]
  return {
    lines: [`set the bash version's ${tilde(service, settings.home)} ${hasTimer ? 'and its timer ' : ''}aside`],
    entries,
    apply: async () => {
      if (hasTimer) await must(settings, ['disable', '--now', unit])
      await must(settings, ['stop', basename(service)])
      for (const { path, aside } of entries) moveFile(path, aside)
      await must(settings, ['daemon-reload'])
    },
    rollback: async () => {
      for (const entry of entries) await putBackSetAside(settings, entry)
    },
  }
}

function setAside(settings: Settings, path: string, label: string | undefined, wasLoaded?: boolean): SetAside {
  const aside = join(setAsideFolder(settings), basename(path))
  return { kind: 'set-aside', path, aside, label, wasLoaded }
}

function setAsideFolder({ watchdogDir }: Settings): string {
  return join(watchdogDir, 'set-aside')
}

/** What lies in the folder of what was set aside. */
export function filesSetAside(settings: Settings): string[] {
  const folder = setAsideFolder(settings)
  // Names with a dot in front are the file manager's.
  return existsSync(folder) ? readdirSync(folder).filter((name) => !name.startsWith('.')) : []
}

/** What was set aside, found by looking, for a receipt that was lost: whether a job was loaded stood in that alone. */
export function findSetAside(settings: Settings): SetAside[] {
  return filesSetAside(settings).flatMap((name) => {
    const inUnits = join(unitFolder(settings), name)
    if (name.endsWith('.plist')) {
      const label = labelOf(join(setAsideFolder(settings), name))
      return [setAside(settings, join(settings.home, 'Library', 'LaunchAgents', name), label)]
    }
    if (name.endsWith('.timer')) return [setAside(settings, inUnits, name)]
    return name.endsWith('.service') ? [setAside(settings, inUnits, undefined, false)] : []
  })
}

/** Moves a file that was set aside back to its place, and loads its job again if it was loaded. */
export async function putBackSetAside(settings: Settings, { path, aside, label, wasLoaded }: SetAside): Promise<void> {
  const isPlist = path.endsWith('.plist')
  if (existsSync(aside)) {
    if (existsSync(path)) throw new Error(`${path} exists again; what was set aside stays at ${aside}`)
    moveFile(aside, path)
    if (!isPlist) await systemctl(settings, ['daemon-reload'])
  }
  if (!wasLoaded || label === undefined || !existsSync(path)) return
  if (isPlist) await load(settings, label, path)
  else await must(settings, ['enable', '--now', label])
}

/** The job of a file that was put back, for the line that says so. */
export function whetherLoaded({ path, label, wasLoaded }: SetAside, home: string): string {
  if (wasLoaded) return ' and loaded it'
  if (wasLoaded === false || label === undefined) return ''
  const command = path.endsWith('.plist')
    ? `launchctl bootstrap gui/$(id -u) ${tilde(path, home)}`
    : `systemctl --user enable --now ${label}`
  return `; whether it was loaded stood in the receipt, which was lost: \`${command}\` loads it`
}
