/** The uninstallation: what has a name of ours, and what the receipt says beyond that. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
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
import { launcherRecord, ourJobs, removeEmptyFolders, sha256 } from './plan.ts'

const OTHER_FILES = ['recovery-learnings.md', 'escalations.log', 'alerts.json']

/** The steps of an uninstallation; `last` are done when all before succeeded. Undefined: nothing is installed. */
export async function planRemoval(settings: Settings, purge: boolean) {
  const { home, profile, watchdogDir, memoryDir } = settings
  const receipt = readReceiptOrRest(settings)
  const change: Change = { stop: new Map(), files: new Map(), start: new Map() }
  for (const { scheduler, label, main, files: ofJob } of ourJobs(settings)) {
    // A job of this name may be the bash version's or, where we are not installed, another program's.
    const isOurs =
      receipt?.scheduler === scheduler
        ? !isItsFile(main)
        : readFile(main)?.content.includes('/scripts/run-tier.sh') !== false
    const files = Object.keys(ofJob).filter((path) => existsSync(path))
    if (!isOurs || (files.length === 0 && !(await isLoaded(settings, label)))) continue
    change.stop.set(label, main)
    for (const path of files) change.files.set(path, undefined)
  }
  for (const { path, aside, label, wasLoaded } of findSetAside(settings, receipt)) {
    if (existsSync(path) && !change.files.has(path))
      throw new Error(`${path} is there, and what was set aside for us is ${aside}: keep one of them`)
    change.files.set(path, readFile(aside)).set(aside, undefined)
    if (wasLoaded && label) change.start.set(label, path)
  }
  const crontab = await readCrontab(settings)
  const edit = (text: string) => {
    const rest = withoutBlock(text, profile)
    return profile === DEFAULT_PROFILE ? withItsLines(rest) : rest
  }
  if ('text' in crontab ? edit(crontab.text) !== crontab.text : receipt?.cronLines.length)
    change.crontab = { text: 'take our lines out of the crontab', edit }

  const remove = (path: string): Step => ({
    text: `remove ${tilde(path, home)}`,
    act: () => rmSync(path, { recursive: true, force: true }),
  })
  const steps = stepsOf(settings, change)
  // A tier that is running would write new files.
  steps.splice(change.stop.size, 0, { text: 'end the tiers that are running', act: () => endTiers(settings) })
  for (const entry of receipt?.entries ?? [])
    if (entry.kind === 'linger' && otherInstallations(settings).length === 0) {
      const act = async () => must(await shell(settings)`loginctl disable-linger`)
      steps.push({ text: 'switch lingering off', act })
    } else if (entry.kind === 'kept-file' && existsSync(entry.path)) {
      // OpenClaw reads this file too: what was added to it since is not ours to delete.
      const isOurs = sha256(readFileSync(entry.path)) === entry.sha256
      const why = purge ? 'it was changed since it was written' : '--purge removes it'
      steps.push(purge && isOurs ? remove(entry.path) : { text: `keep ${tilde(entry.path, home)} (${why})` })
    }
  if (steps.length === 1 && !existsSync(watchdogDir)) return undefined

  const removeState = async () => {
    // What a killed doctor's run left in HOME; another profile's doctor may hold it.
    const taken = await takeDoctorLock(settings).catch(() => undefined)
    if (taken && isLock(taken)) taken.release()
    rmSync(watchdogDir, { recursive: true, force: true })
  }
  // The log folder may hold other files (OpenClaw's memory).
  const names = purge && existsSync(memoryDir) ? readdirSync(memoryDir) : []
  const logs = names.filter((name) => isOurLog(name) || OTHER_FILES.includes(name)).map((name) => join(memoryDir, name))
  const outside = [launcherRecord(settings), ...ALL_TIERS.map((tier) => metricsPath(settings, tier))].filter(
    (path) => !path.startsWith(`${watchdogDir}/`) && existsSync(path),
  )
  const last = [...outside.map(remove), { ...remove(watchdogDir), act: removeState }, ...logs.map(remove)]
  last.push({ text: 'remove the folders of it that are empty now', act: () => removeEmptyFolders(settings) })
  return { steps, last }
}

/** Removes everything. Returns what could not be removed; then the receipt stays, for the next attempt. */
export async function uninstall(settings: Settings, plan: Record<'steps' | 'last', Step[]>, say: (step: Step) => void) {
  // The watchers see no receipt, and revive no job.
  if (existsSync(receiptPath(settings))) renameSync(receiptPath(settings), leavingPath(settings))
  const failures = await tryAll(plan.steps, say)
  return failures.length > 0 ? failures : tryAll(plan.last, say)
}

async function endTiers(settings: Settings): Promise<void> {
  for (const tier of ALL_TIERS) {
    const holder = await lockHolder(settings, tier)
    if (holder) tried(() => process.kill(holder.pid, 'SIGTERM'))
    for (const deadline = performance.now() + 60_000; await lockHolder(settings, tier); await delay(200))
      if (performance.now() > deadline) throw new Error(`the ${tier} (pid ${holder?.pid}) still runs after 60 s`)
  }
}
