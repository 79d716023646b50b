/** The installations of this user's other profiles: what they share with this one, and must not. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Entry, type Receipt, readReceiptAt, writeReceiptAt } from '../services/receipt.ts'
import { DEFAULT_PROFILE, parseProfile } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'

export interface Neighbour {
  profile: string
  receiptPath: string
  receipt: Receipt
}

/** The other profiles for which setup was run, by their receipts; those with a state folder elsewhere are not found. */
export function neighbours(settings: Settings): Neighbour[] {
  return readdirSync(settings.home)
    .flatMap((name) => {
      const m = /^\.openclaw(?:-(.+))?$/.exec(name)
      const profile = m && parseProfile(m[1] ?? DEFAULT_PROFILE)
      const receiptPath = join(settings.home, name, 'watchdog', 'receipt.json')
      if (!profile || profile === settings.profile || !existsSync(receiptPath)) return []
      const receipt = readReceiptAt(receiptPath)
      return receipt ? [{ profile, receiptPath, receipt }] : []
    })
    .sort((a, b) => (a.profile < b.profile ? -1 : 1))
}

/** Why this profile cannot be installed beside the others, one line each: each would treat the other's gateway. */
export function clashes(settings: Settings, gatewayPort: number): string[] {
  return neighbours(settings).flatMap(({ profile, receipt }) => [
    ...(receipt.memoryDir === settings.memoryDir
      ? [
          `OPENCLAW_MEMORY_DIR: ${settings.memoryDir} is where the profile ${profile} has its logs; give this one its own`,
        ]
      : []),
    ...(receipt.gatewayPort === gatewayPort
      ? [
          `port ${gatewayPort} is that of the profile ${profile}'s gateway; OPENCLAW_GATEWAY_PORT in .env (or --port, without one) says which is this one's`,
        ]
      : []),
  ])
}

/**
 * What was made for all profiles by the first that was installed (lingering, folders of the service manager) is undone by
 * the last one that is uninstalled. Returns the profile that takes it over; undefined: there is none.
 */
export function handOver(settings: Settings, entry: Entry): string | undefined {
  const [heir] = neighbours(settings)
  if (!heir) return undefined
  const isKnown = heir.receipt.entries.some((one) => JSON.stringify(one) === JSON.stringify(entry))
  // In front, for it is undone last.
  if (!isKnown) writeReceiptAt(heir.receiptPath, { ...heir.receipt, entries: [entry, ...heir.receipt.entries] })
  return heir.profile
}
