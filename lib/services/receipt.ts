/**
 * The installation's receipt: what is to be known about it beside the names of its jobs, which are fixed. While it is
 * there, the jobs are meant to run.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_PROFILE, parseProfile } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState } from '../tier/state.ts'

/** What cannot be found again by its name. Receipts of 1.x list jobs, files and folders, too. */
export type Entry =
  /** The `.env` that setup wrote: removed only by --purge, and only if it is unchanged. */
  | { kind: 'kept-file'; path: string; sha256: string }
  /** A file of the bash version that was moved away; its job is started again if it was loaded. */
  | { kind: 'set-aside'; path: string; aside: string; label?: string; wasLoaded?: boolean }
  /** Lingering was switched on for this user. */
  | { kind: 'linger' }
  /** Whether the user had a crontab before. */
  | { kind: 'cron-block'; existed: boolean }

export interface Receipt {
  /** ISO time of the (last) installation. */
  installedAt: string
  /** The checkout whose scripts the jobs run. */
  root: string
  /** Who starts Level 1 and Level 2. */
  scheduler: 'launchd' | 'systemd' | 'cron'
  /** What no other profile may use. Absent in the oldest receipts. */
  memoryDir?: string
  gatewayPort?: number
  /** The lines between the crontab's marker lines. */
  cronLines: string[]
  entries: Entry[]
}

/** While this file is there, the jobs are meant to run. */
export function receiptPath(settings: Settings): string {
  return join(settings.watchdogDir, 'receipt.json')
}

/** The receipt, or undefined when nothing is installed or the receipt cannot be read. Changes nothing. */
export function readReceipt(settings: Settings): Receipt | undefined {
  return readReceiptAt(receiptPath(settings))
}

/** The receipt during an uninstallation, and after a failed one: the watchers see none then, and revive no job. */
export function leavingPath(settings: Settings): string {
  return join(settings.watchdogDir, 'receipt.leaving.json')
}

/** The receipt, or what an interrupted uninstallation has left of it. */
export function readReceiptOrRest(settings: Settings): Receipt | undefined {
  return readReceipt(settings) ?? readReceiptAt(leavingPath(settings))
}

/** The installations of this user's other profiles; one with a state folder elsewhere is not found. */
export function otherInstallations({ home, profile }: Settings): { profile: string; receipt: Receipt }[] {
  if (!existsSync(home)) return []
  return readdirSync(home)
    .sort()
    .flatMap((name) => {
      const m = /^\.openclaw(?:-(.+))?$/.exec(name)
      const other = m && parseProfile(m[1] ?? DEFAULT_PROFILE)
      if (!other || other === profile) return []
      const receipt = readReceiptAt(join(home, name, 'watchdog', 'receipt.json'))
      return receipt ? [{ profile: other, receipt }] : []
    })
}

function readReceiptAt(path: string): Receipt | undefined {
  return readState<Receipt | undefined>(path, check, undefined, false).value
}

function check(value: unknown): Receipt | undefined {
  if (!isRecord(value) || typeof value.installedAt !== 'string' || typeof value.root !== 'string') return undefined
  if (!Array.isArray(value.entries) || !Array.isArray(value.cronLines)) return undefined
  if (!['launchd', 'systemd', 'cron'].includes(String(value.scheduler))) return undefined
  if (!value.entries.every((entry) => isRecord(entry) && typeof entry.kind === 'string')) return undefined
  if (!value.cronLines.every((line) => typeof line === 'string')) return undefined
  return value as unknown as Receipt
}
