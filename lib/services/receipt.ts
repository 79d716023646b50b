/** The installation's receipt. While it is there, the jobs are meant to run. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_PROFILE, parseProfile } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { namesIn, readState, shaped } from '../tier/state.ts'

/** Receipts of 1.x have more kinds, for what is now found by its name. `wasLoaded`: it is loaded again. */
export type Entry =
  | { kind: 'kept-file'; path: string; sha256: string }
  | { kind: 'set-aside'; path: string; aside: string; label?: string; wasLoaded?: boolean }
  | { kind: 'linger' }

const SCHEDULERS = ['launchd', 'systemd', 'cron'] as const
const RECEIPT = {
  ...{ installedAt: '', root: '', cronLines: [''] },
  ...{ scheduler: 'cron' as (typeof SCHEDULERS)[number], entries: [{} as Entry] },
}
export type Receipt = typeof RECEIPT & { memoryDir?: string; gatewayPort?: number }

export const receiptPath = ({ watchdogDir }: Settings) => join(watchdogDir, 'receipt.json')
/** The receipt during an uninstallation and after a failed one: the watchers see none, and revive no job. */
export const leavingPath = ({ watchdogDir }: Settings) => join(watchdogDir, 'receipt.leaving.json')

export const isInstalled = (settings: Settings) => existsSync(receiptPath(settings))

export function readReceipt(settings: Settings, path = receiptPath(settings)): Receipt | undefined {
  const receipt = readState<Receipt | undefined>(path, shaped(RECEIPT), undefined, false).value
  return receipt && SCHEDULERS.includes(receipt.scheduler) ? receipt : undefined
}

export function readReceiptOrRest(settings: Settings): Receipt | undefined {
  return readReceipt(settings) ?? readReceipt(settings, leavingPath(settings))
}

/** One with a state folder elsewhere is not found. */
export function otherInstallations(settings: Settings): { profile: string; receipt: Receipt }[] {
  const found: { profile: string; receipt: Receipt }[] = []
  for (const name of namesIn(settings.home).sort()) {
    const m = /^\.openclaw(?:-(.+))?$/.exec(name)
    const profile = m && parseProfile(m[1] ?? DEFAULT_PROFILE)
    const receipt = profile ? readReceipt(settings, join(settings.home, name, 'watchdog', 'receipt.json')) : undefined
    if (receipt && profile && profile !== settings.profile) found.push({ profile, receipt })
  }
  return found
}
