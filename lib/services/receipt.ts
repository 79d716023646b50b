/** The installation's receipt: what was put on this machine, so that it can be revived, shown and taken away again. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, writeState } from '../tier/state.ts'

/** One thing that the uninstallation undoes. Each can be undone twice, or when it was never done. */
export type Entry =
  /** A folder that was not there before: removed when it is empty. */
  | { kind: 'folder'; path: string }
  /** A file of ours. */
  | { kind: 'file'; path: string }
  /** A file of ours that people may have filled since (`.env`): removed only by --purge, and only if it is unchanged. */
  | { kind: 'kept-file'; path: string; sha256: string }
  /**
   * A file of somebody else's that was moved out of the way; its job is loaded again if it was loaded (undefined: that is
   * not known any more).
   */
  | { kind: 'set-aside'; path: string; aside: string; label: string | undefined; wasLoaded: boolean | undefined }
  | { kind: 'launchd-job'; label: string; plist: string }
  | { kind: 'systemd-timer'; unit: string }
  /** Lingering was switched on for this user. */
  | { kind: 'linger' }
  /** Our crontab block; `existed`: the user had a crontab before. */
  | { kind: 'cron-block'; existed: boolean }
  /** Foreign crontab lines that were commented out. */
  | { kind: 'cron-commented' }

export interface Receipt {
  /** ISO time of the (last) installation. */
  installedAt: string
  /** The checkout whose scripts the jobs run. */
  root: string
  /** Who starts Level 1 and Level 2. */
  scheduler: 'launchd' | 'systemd' | 'cron'
  /** What the profiles must not share, so that the next one that is installed can tell. Absent in receipts of before. */
  memoryDir?: string
  gatewayPort?: number
  /** The lines between the crontab's marker lines. */
  cronLines: string[]
  /** In the order in which it was done; undone backwards. */
  entries: Entry[]
}

/** What the installer leaves: while this file is there, the jobs are meant to run. */
export function receiptPath(settings: Settings): string {
  return join(settings.watchdogDir, 'receipt.json')
}

/** False before the installation and from the beginning of an uninstallation on: then no job is missed. */
export function isInstalled(settings: Settings): boolean {
  return existsSync(receiptPath(settings))
}

/** The receipt, or undefined when nothing is installed or the receipt cannot be read. Changes nothing. */
export function readReceipt(settings: Settings): Receipt | undefined {
  return readReceiptAt(receiptPath(settings))
}

/**
 * While this is there, an uninstallation has begun, or a first installation failed and was not wholly taken back: peers
 * see no receipt, so nobody revives what is being removed.
 */
export function leavingPath(settings: Settings): string {
  return join(settings.watchdogDir, 'receipt.leaving.json')
}

/** The receipt, or what an interrupted uninstallation has left of it. */
export function readReceiptOrRest(settings: Settings): Receipt | undefined {
  return readReceipt(settings) ?? readReceiptAt(leavingPath(settings))
}

/** The receipt in that file. Changes nothing. */
export function readReceiptAt(path: string): Receipt | undefined {
  return readState<Receipt | undefined>(path, check, undefined, false).value
}

export function writeReceipt(settings: Settings, receipt: Receipt): void {
  writeReceiptAt(receiptPath(settings), receipt)
}

export function writeReceiptAt(path: string, receipt: Receipt): void {
  writeState(path, receipt)
}

function check(value: unknown): Receipt | undefined {
  if (!isRecord(value) || typeof value.installedAt !== 'string' || typeof value.root !== 'string') return undefined
  if (!Array.isArray(value.entries) || !Array.isArray(value.cronLines)) return undefined
  if (!['launchd', 'systemd', 'cron'].includes(String(value.scheduler))) return undefined
  if (!value.entries.every((entry) => isRecord(entry) && typeof entry.kind === 'string')) return undefined
  if (!value.cronLines.every((line) => typeof line === 'string')) return undefined
  return value as unknown as Receipt
}
