/** The uninstallation: what has a name of ours, and what the receipt says beyond that. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { readCrontab, withoutBlock } from '../services/cron.ts'
import { leavingPath, otherInstallations, readReceiptOrRest, receiptPath } from '../services/receipt.ts'
import { ALL_TIERS } from '../tier/contract.ts'
import { isOurLog } from '../tier/journal.ts'
import { isLock, lockHolder, takeDoctorLock } from '../tier/lock.ts'
import { metricsPath } from '../tier/metrics.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { tried } from '../tier/state.ts'
import { findSetAside, isItsFile, withItsLines } from './bash-version.ts'
import { type Change, isLoaded, must, readFile, type Step, stepsOf, tilde, tryAll } from './change.ts'
import { launcherRecord, ourFolders, ourJobs, removeIfEmpty, sha256 } from './plan.ts'

const OTHER_FILES = ['recovery-learnings.md', 'escalations.log', 'alerts.json']

/** The steps of an uninstallation; `last` are done when all before succeeded. Undefined: nothing is installed. */
export async function planRemoval(
  settings: Settings,
  purge: boolean,
): Promise<{ steps: Step[]; last: Step[] } | undefined> {
  const { home, profile, watchdogDir, memoryDir } = settings
  const receipt = readReceiptOrRest(settings)
  const change: Change = { stop: new Map(), files: new Map(), start: new Map() }
  for (const { scheduler, label, main, second } of ourJobs(settings)) {
    // A job of this name may be the bash version's or, where we are not installed, another program's.
    const isOurs =
      receipt?.scheduler === scheduler
        ? !isItsFile(main)
        : readFile(main)?.content.includes('/scripts/run-tier.sh') !== false
    const files = [main, second].filter((path) => existsSync(path))
    if (!isOurs || (files.length === 0 && !(await isLoaded(settings, label)))) continue
    change.stop.set(label, main)
    for (const path of files) change.files.set(path, undefined)
  }
  const { files: setAside, others } = findSetAside(settings, receipt)
  const hints: string[] = []
  for (const { path, aside, label, wasLoaded } of setAside) {
    if (existsSync(path) && !change.files.has(path)) others.push(aside)
    else change.files.set(path, readFile(aside)).set(aside, undefined)
    if (wasLoaded && label) change.start.set(label, path)
    else if (wasLoaded === undefined && path.endsWith('.plist'))
      hints.push(`  launchctl bootstrap gui/$(id -u) ${tilde(path, home)}`)
    else if (wasLoaded === undefined && path.endsWith('.timer')) hints.push(`  systemctl --user enable --now ${label}`)
  }
  const crontab = await readCrontab(settings)
  const edit = (text: string) => {
    const rest = withoutBlock(text, profile)
    return profile === DEFAULT_PROFILE ? withItsLines(rest) : rest
  }
  if ('text' in crontab ? edit(crontab.text) !== crontab.text : receipt?.cronLines.length)
    change.crontab = { line: 'take our lines out of the crontab', edit }

  const steps = stepsOf(settings, change)
  // A tier that is running would write new files.
  steps.splice(change.stop.size, 0, { lines: ['end the tiers that are running'], act: () => endTiers(settings) })
  if (hints.length > 0)
    steps.push({ lines: ['what was loaded is not known without the receipt; to load it:', ...hints] })
  for (const entry of receipt?.entries ?? [])
    if (entry.kind === 'linger') steps.push(lingerStep(settings))
    else if (entry.kind === 'kept-file' && existsSync(entry.path)) steps.push(keptFileStep(entry, purge, home))
  if (others.length > 0) {
    const why = `it still holds ${others.join(', ')}: put it where it belongs`
    steps.push({ lines: [`look into ${watchdogDir}/set-aside`], act: () => Promise.reject(new Error(why)) })
  }
  if (steps.length === 1 && !existsSync(watchdogDir)) return undefined

  const last = [launcherRecord(settings), ...ALL_TIERS.map((tier) => metricsPath(settings, tier))]
    .filter((path) => !path.startsWith(`${watchdogDir}/`) && existsSync(path))
    .map((path) => removal(path, home))
  last.push({ ...removal(watchdogDir, home), act: () => removeState(settings) })
  // The log folder may hold other files (OpenClaw's memory).
  for (const name of purge && existsSync(memoryDir) ? readdirSync(memoryDir) : [])
    if (isOurLog(name) || OTHER_FILES.includes(name)) last.push(removal(join(memoryDir, name), home))
  const prune = async () => {
    for (const made of ourFolders(settings))
      for (let folder = made; folder.startsWith(`${home}/`); folder = dirname(folder)) removeIfEmpty(folder)
  }
  last.push({ lines: ['remove the folders of it that are empty now'], act: prune })
  return { steps, last }
}

/** Removes everything. Returns what could not be removed; then the receipt stays, for the next attempt. */
export async function uninstall(settings: Settings, purge: boolean, say: (step: Step) => void): Promise<string[]> {
  const plan = await planRemoval(settings, purge)
  // The watchers see no receipt, and revive no job.
  if (existsSync(receiptPath(settings))) renameSync(receiptPath(settings), leavingPath(settings))
  const failures = await tryAll(plan?.steps ?? [], say)
  return failures.length > 0 ? failures : tryAll(plan?.last ?? [], say)
}

function removal(path: string, home: string): Step {
  return { lines: [`remove ${tilde(path, home)}`], act: async () => rmSync(path, { recursive: true, force: true }) }
}

async function removeState(settings: Settings): Promise<void> {
  // What a killed doctor's run left in HOME; another profile's doctor may hold it.
  const taken = await takeDoctorLock(settings).catch(() => undefined)
  if (taken && isLock(taken)) taken.release()
  rmSync(settings.watchdogDir, { recursive: true, force: true })
}

function keptFileStep({ path, sha256: written }: { path: string; sha256: string }, purge: boolean, home: string): Step {
  if (!purge) return { lines: [`keep ${tilde(path, home)} (--purge removes it)`] }
  // OpenClaw reads this file too: what was added to it since is not ours to delete.
  if (sha256(readFileSync(path)) === written) return removal(path, home)
  return { lines: [`keep ${tilde(path, home)}: it was changed since it was written`] }
}

async function endTiers(settings: Settings): Promise<void> {
  for (const tier of ALL_TIERS) {
    const holder = await lockHolder(settings, tier)
    if (holder) tried(() => process.kill(holder.pid, 'SIGTERM'))
    for (const deadline = performance.now() + 60_000; await lockHolder(settings, tier); await delay(200))
      if (performance.now() > deadline) throw new Error(`the ${tier} (pid ${holder?.pid}) still runs after 60 s`)
  }
}

function lingerStep(settings: Settings): Step {
  const [other] = otherInstallations(settings)
  if (other) return { lines: [`leave lingering on, for the profile ${other.profile}`] }
  return { lines: ['switch lingering off'], act: async () => must(await shell(settings)`loginctl disable-linger`) }
}
