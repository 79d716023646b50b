/** One run at a time: a lock that names its holder. */
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { TIERS, type TierName } from './contract.ts'
import { readTail } from './journal.ts'
import type { Settings } from './settings.ts'
import { shell } from './shell.ts'
import { isRecord, tried, writeFileAtomic } from './state.ts'

type LockName = TierName | 'setup'

export interface LockHolder {
  pid: number
  tier: LockName
  since: string
  /** True while the holder treats the gateway: lower tiers do not act. */
  atWork: boolean
  /** OpenClaw's profile, for the one lock that all profiles share. */
  profile?: string
}

export interface Lock {
  markAtWork(): void
  release(): void
}

/** Takes the tier's lock, also from a dead holder. Returns the lock or its living holder. Throws when it cannot be written. */
export async function takeLock(settings: Settings, tier: LockName): Promise<Lock | LockHolder> {
  const path = lockPath(settings, tier)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  return take(settings, path, { tier, atWork: false })
}

/** One doctor at a time for all profiles, whose gateways share a package. */
export function takeDoctorLock(settings: Settings): Promise<Lock | LockHolder> {
  const path = join(settings.home, '.openclaw-doctor.lock')
  return take(settings, path, { tier: 'emergency-recovery', atWork: true, profile: settings.profile })
}

type What = Omit<LockHolder, 'pid' | 'since'>

async function take(settings: Settings, path: string, what: What): Promise<Lock | LockHolder> {
  const holder = { pid: process.pid, since: new Date().toISOString(), ...what }
  const temporary = join(dirname(path), `.${holder.tier}.lock.${process.pid}`)
  try {
    // Within: on a full disk it may leave an empty file.
    writeFileSync(temporary, JSON.stringify(holder), { mode: 0o600 })
    for (;;) {
      try {
        // link(2) fails when the name exists, and the lock is never seen empty.
        linkSync(temporary, path)
        return {
          markAtWork: () => writeFileAtomic(path, JSON.stringify({ ...holder, atWork: true })),
          release: () => {
            if (readHolder(path)?.pid === process.pid) rmSync(path, { force: true })
          },
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const other = readHolder(path)
      if (other && (await isAlive(other, settings))) return other
      // One that cannot be read is not taken over: its holder may be at work. Throws.
      if (!other && existsSync(path)) readFileSync(path)
      removeStale(path, other)
    }
  } finally {
    rmSync(temporary, { force: true })
  }
}

export const readLock = (settings: Settings, tier: LockName): LockHolder | undefined =>
  readHolder(lockPath(settings, tier))

export async function lockHolder(settings: Settings, tier: LockName): Promise<LockHolder | undefined> {
  const holder = readLock(settings, tier)
  return holder && (await isAlive(holder, settings)) ? holder : undefined
}

/** Seconds after which a run of the tier hangs: half as long again as its own limits add up to. */
export function longestRunSec(settings: Settings, tier: TierName): number {
  const restartSec = 400 + settings.startupGraceSec
  const doctorSec = 3 * settings.emergencyRecoveryTimeoutSec + 2 * restartSec + 600
  const retrySec = 2 * restartSec + settings.healthCheckRetryDelaySec
  const limitSec = {
    watchdog: 4 * restartSec,
    healthcheck: settings.healthCheckMaxRetries * retrySec + settings.healthCheckEscalationWaitSec + doctorSec,
    'emergency-recovery': doctorSec,
    monitor: 300,
    guardian: 300,
  }[tier]
  return 1.5 * limitSec
}

export const isLock = (taken: Lock | LockHolder): taken is Lock => 'release' in taken

const lockPath = (settings: Settings, tier: LockName): string => join(settings.watchdogDir, `${tier}.lock`)

/** Removes the lock of `stale` only: a fresh lock that replaced it meanwhile is put back. */
function removeStale(path: string, stale: LockHolder | undefined): void {
  const aside = `${path}.stale.${process.pid}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if (JSON.stringify(readHolder(aside)) !== JSON.stringify(stale)) tried(() => linkSync(aside, path))
  rmSync(aside, { recursive: true, force: true })
}

/** The pid exists and its command line is that script: pids are reused. */
async function isAlive(holder: LockHolder, settings: Settings): Promise<boolean> {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM: it runs as another user, as after sudo.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  const ps = await shell(settings, { timeoutSec: 5 })`ps -o command= -p ${holder.pid}`
  // Unknown counts as alive: two at once are worse than one too few.
  if (ps.missing || ps.timedOut) return true
  const script = holder.tier === 'setup' ? 'install' : TIERS[holder.tier].script
  return new RegExp(`(?:^|[\\s/])${script}\\.ts(?:\\s|$)`, 'm').test(ps.stdout)
}

function readHolder(path: string): LockHolder | undefined {
  const value: unknown = tried(() => JSON.parse(readTail(path, 4096)))
  if (!isRecord(value) || !Number.isInteger(value.pid) || Number(value.pid) <= 0) return undefined
  const isOurs = typeof value.tier === 'string' && (value.tier in TIERS || value.tier === 'setup')
  return isOurs ? (value as unknown as LockHolder) : undefined
}
