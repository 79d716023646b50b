/** The uninstallation: the receipt, backwards. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { readCrontab, withoutBlock } from '../services/cron.ts'
import { jobName, jobPlist } from '../services/jobs.ts'
import { type Entry, leavingPath, readReceiptOrRest, receiptPath } from '../services/receipt.ts'
import { systemctl } from '../services/systemd.ts'
import { TIERS, type TierName } from '../tier/contract.ts'
import { isOurLog } from '../tier/journal.ts'
import { isLock, lockHolder, takeDoctorLock } from '../tier/lock.ts'
import { metricsPath } from '../tier/metrics.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { filesSetAside, findSetAside, putBackSetAside, whetherLoaded } from './bash-version.ts'
import { holdsCommentedOut, putCommentedBack, removeCronBlock } from './cron-jobs.ts'
import { removeIfEmpty, sha256, tilde } from './files.ts'
import { unload } from './launchd-jobs.ts'
import { handOver } from './neighbours.ts'
import { endService, loginctl, removeTimer, unitFolder } from './systemd-jobs.ts'

/** What has to be undone: the receipt, the rest of an interrupted uninstallation, or what can be found without either. */
export async function entriesToUndo(settings: Settings): Promise<Entry[]> {
  return readReceiptOrRest(settings)?.entries ?? (await traces(settings))
}

/**
 * Our jobs and crontab lines, found by their names and by whom they start, and what of the bash version was set aside: for
 * a receipt that was lost.
 */
async function traces(settings: Settings): Promise<Entry[]> {
  const tiers = ['watchdog', 'healthcheck'] as const
  const crontab = await readCrontab(settings)
  // The bash version has a job that is called like one of ours.
  const startsOurs = (path: string) => existsSync(path) && readFileSync(path, 'latin1').includes('/scripts/run-tier.sh')
  const plists = tiers.map((tier) => jobPlist(settings, tier)).filter(startsOurs)
  const units = tiers
    .map((tier) => join(unitFolder(settings), jobName(settings, tier)))
    .filter((unit) => startsOurs(`${unit}.service`))
  // Other profiles leave the bash version's lines alone.
  const hasCommentedOut = settings.profile === DEFAULT_PROFILE && 'text' in crontab && holdsCommentedOut(crontab)
  return [
    // In front, for it is undone last: a file of ours may be in its place.
    ...findSetAside(settings),
    ...(hasCommentedOut ? [{ kind: 'cron-commented' as const }] : []),
    ...[...plists, ...units.flatMap((unit) => [`${unit}.service`, `${unit}.timer`])].map((path) => ({
      kind: 'file' as const,
      path,
    })),
    ...plists.map((plist) => ({ kind: 'launchd-job' as const, label: basename(plist, '.plist'), plist })),
    ...units.map((unit) => ({ kind: 'systemd-timer' as const, unit: `${basename(unit)}.timer` })),
    ...('failure' in crontab || withoutBlock(crontab.text, settings.profile) === crontab.text
      ? []
      : [{ kind: 'cron-block' as const, existed: false }]),
  ]
}

/**
 * Undoes everything, saying line by line what was done. Returns what could not be undone; then the receipt stays, and
 * the uninstallation can be run again.
 */
export async function uninstall(
  settings: Settings,
  entries: readonly Entry[],
  purge: boolean,
  say: (line: string) => void,
): Promise<string[]> {
  if (existsSync(receiptPath(settings))) renameSync(receiptPath(settings), leavingPath(settings))
  const failures: string[] = []
  const attempt = async (entry: Entry, act: () => Promise<unknown>) => {
    try {
      const line = await act()
      if (typeof line === 'string') say(line)
    } catch (error) {
      failures.push(`${describe(entry)}: ${(error as Error).message}`)
    }
  }
  const undoAll = async (which: (entry: Entry) => boolean) => {
    for (const entry of entries.filter(which).reverse()) await attempt(entry, () => undo(settings, entry, purge))
  }
  const isSchedule = ({ kind }: Entry) => ['cron-block', 'launchd-job', 'systemd-timer'].includes(kind)
  // First nobody is started any more, then nobody runs any more, then the files go: a tier would write new ones.
  await undoAll(isSchedule)
  // Level 1, ended in mid-run, has failed in systemd's eyes, which then starts Level 2 (OnFailure=), stopped or not.
  for (const entry of entries)
    if (entry.kind === 'systemd-timer') await attempt(entry, () => endService(settings, entry.unit))
  for (const tier of Object.keys(TIERS) as TierName[]) await endTier(settings, tier, say)
  await undoAll((entry) => !isSchedule(entry) && entry.kind !== 'folder')
  if (entries.some(({ kind }) => kind === 'systemd-timer')) await systemctl(settings, ['daemon-reload'])
  const stillAside = filesSetAside(settings)
  if (failures.length === 0 && stillAside.length > 0)
    failures.push(
      `${join(settings.watchdogDir, 'set-aside')} still holds ${stillAside.join(', ')}, of which the receipt knows nothing: put it where it belongs`,
    )
  if (failures.length > 0) return failures

  for (const path of (Object.keys(TIERS) as TierName[]).map((tier) => metricsPath(settings, tier))) {
    if (path.startsWith(`${settings.watchdogDir}/`) || !existsSync(path)) continue
    rmSync(path)
    say(`removed ${tilde(path, settings.home)}`)
  }
  await clearDoctorLock(settings)
  rmSync(settings.watchdogDir, { recursive: true, force: true })
  say(`removed ${tilde(settings.watchdogDir, settings.home)} (state, kept configs)`)
  if (purge) purgeLogs(settings, say)
  await undoAll(({ kind }) => kind === 'folder')
  return failures
}

/** Returns what was done, or undefined when there was nothing to do (any more). */
async function undo(settings: Settings, entry: Entry, purge: boolean): Promise<string | undefined> {
  const { home } = settings
  switch (entry.kind) {
    case 'folder':
      if (!existsSync(entry.path)) return undefined
      removeIfEmpty(entry.path)
      if (!existsSync(entry.path)) return `removed the empty folder ${tilde(entry.path, home)}`
      if (isShared(settings, entry.path)) handOver(settings, entry)
      return undefined
    case 'file':
      if (!existsSync(entry.path)) return undefined
      rmSync(entry.path)
      return `removed ${tilde(entry.path, home)}`
    case 'kept-file':
      return undoKeptFile(entry, purge, home)
    case 'set-aside':
      if (!existsSync(entry.aside)) return undefined
      await putBackSetAside(settings, entry)
      return `put ${tilde(entry.path, home)} back${whetherLoaded(entry, home)}`
    case 'launchd-job':
      await unload(settings, entry.label)
      return `unloaded ${entry.label}`
    case 'systemd-timer':
      await removeTimer(settings, entry.unit)
      return `stopped and disabled ${entry.unit}`
    case 'linger': {
      const heir = handOver(settings, entry)
      if (heir) return `left lingering on, for the profile ${heir}`
      const { failure } = await loginctl(settings, 'disable-linger')
      if (failure) throw new Error(failure)
      return 'switched lingering off'
    }
    case 'cron-block':
      await removeCronBlock(settings, entry.existed)
      return 'took our lines out of the crontab'
    case 'cron-commented':
      await putCommentedBack(settings)
      return "brought the bash version's crontab lines back"
  }
}

/** Folders of launchd's and systemd's that we made hold the jobs of all profiles. */
function isShared({ stateDir, memoryDir }: Settings, path: string): boolean {
  return ![stateDir, memoryDir].some((own) => `${own}/`.startsWith(`${path}/`) || path.startsWith(`${own}/`))
}

function undoKeptFile(entry: Extract<Entry, { kind: 'kept-file' }>, purge: boolean, home: string): string | undefined {
  const path = tilde(entry.path, home)
  if (!existsSync(entry.path)) return undefined
  if (!purge) return `kept ${path} (--purge removes it)`
  // OpenClaw reads this file too: what was added to it since is not ours to delete.
  if (sha256(readFileSync(entry.path)) !== entry.sha256) return `kept ${path}: it was changed since it was written`
  rmSync(entry.path)
  return `removed ${path}`
}

/** The entry in one line, for lists. */
export function describe(entry: Entry): string {
  const { kind, ...rest } = entry
  return [kind, ...Object.values(rest).filter((value) => typeof value === 'string')].join(' ')
}

/** A run that is going on is told to stop, which lets it tidy up, and waited for. */
async function endTier(settings: Settings, tier: TierName, say: (line: string) => void): Promise<void> {
  const holder = await lockHolder(settings, tier)
  if (!holder) return
  try {
    process.kill(holder.pid, 'SIGTERM')
  } catch {
    // It ended in the meantime.
  }
  for (const deadline = performance.now() + 60_000; performance.now() < deadline; await delay(200)) {
    if (!(await lockHolder(settings, tier))) {
      say(`ended the ${tier} that was running`)
      return
    }
  }
  say(`the ${tier} (pid ${holder.pid}) still runs after SIGTERM and 60 s; it will write its last lines when it ends`)
}

/** What a killed doctor's run left in HOME goes; one that another profile's doctor holds is his. */
async function clearDoctorLock(settings: Settings): Promise<void> {
  // Where HOME cannot be written, there is none.
  const taken = await takeDoctorLock(settings).catch(() => undefined)
  if (taken && isLock(taken)) taken.release()
}

/** The log folder may hold other people's files (OpenClaw's memory): only ours go. */
function purgeLogs(settings: Settings, say: (line: string) => void): void {
  if (!existsSync(settings.memoryDir)) return
  const others = ['recovery-learnings.md', 'escalations.log', 'alerts.json']
  const ours = readdirSync(settings.memoryDir).filter((name) => isOurLog(name) || others.includes(name))
  for (const name of ours) rmSync(join(settings.memoryDir, name), { force: true })
  say(`removed ${ours.length} files from ${tilde(settings.memoryDir, settings.home)}`)
}
