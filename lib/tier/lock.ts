/** One run at a time: a lock that names its holder. */
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { TIERS, type TierName } from './contract.ts'
import { readTail } from './journal.ts'
import { commandOf } from './process-table.ts'
import type { Settings } from './settings.ts'
import { isRecord, tried, writeFileAtomic } from './state.ts'

/** `doctor`: one doctor at a time for all profiles, whose gateways share a package. */
type LockName = TierName | 'setup' | 'doctor'

export interface LockHolder {
  pid: number
  tier: TierName | 'setup'
  since: string
  /** True while the holder treats the gateway: lower tiers do not act. */
  atWork: boolean
  profile?: string
}

export type Lock = Exclude<Awaited<ReturnType<typeof takeLock>>, LockHolder>

const BEAT_MS = 5000
const SILENT_MS = 60_000

/** Takes a lock, also from a dead holder. Returns the lock or its living holder. Throws when it cannot be written. */
export async function takeLock(settings: Settings, name: LockName) {
  const path = lockPath(settings, name)
  fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const { pid } = process
  const tier = name === 'doctor' ? 'emergency-recovery' : name
  const holder: LockHolder = { pid, tier, since: new Date().toISOString(), atWork: false, profile: settings.profile }
  const temporary = join(dirname(path), `.${holder.tier}.lock.${process.pid}`)
  try {
    // Within: on a full disk it may leave an empty file.
    fs.writeFileSync(temporary, JSON.stringify(holder), { mode: 0o600 })
    for (;;) {
      try {
        // link(2) fails when the name exists, and the lock is never seen empty.
        fs.linkSync(temporary, path)
        const ifMine = (act: () => void) => readHolder(path)?.pid === process.pid && act()
        const touch = () => fs.utimesSync(path, new Date(), new Date())
        const beat = setInterval(() => tried(() => ifMine(touch)), BEAT_MS).unref()
        return {
          markAtWork: () => void ifMine(() => writeFileAtomic(path, JSON.stringify({ ...holder, atWork: true }))),
          release: () => {
            clearInterval(beat)
            ifMine(() => fs.rmSync(path, { force: true }))
          },
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const other = readHolder(path)
      if (other && (await isAlive(other, settings, path))) return other
      // One that cannot be read is not taken over: its holder may be at work. Throws.
      if (!other && fs.existsSync(path)) fs.readFileSync(path)
      removeStale(path, other)
    }
  } finally {
    fs.rmSync(temporary, { force: true })
  }
}

export const readLock = (settings: Settings, tier: LockName): LockHolder | undefined =>
  readHolder(lockPath(settings, tier))

/** The living holder. `clears`: the lock of one that has died, is stopped or hangs goes; if that goes on, it notices. */
export async function lockHolder(settings: Settings, name: LockName, clears = false): Promise<LockHolder | undefined> {
  const path = lockPath(settings, name)
  const holder = readHolder(path)
  if (!holder || (await isAlive(holder, settings, path))) return holder
  if (clears) removeStale(path, holder)
  return undefined
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

const lockPath = ({ home, watchdogDir }: Settings, name: LockName): string =>
  name === 'doctor' ? join(home, '.openclaw-doctor.lock') : join(watchdogDir, `${name}.lock`)

/** Removes the lock of `stale` only: a fresh lock that replaced it meanwhile is put back. */
function removeStale(path: string, stale: LockHolder | undefined): void {
  const aside = `${path}.stale.${process.pid}`
  try {
    fs.renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if (JSON.stringify(readHolder(aside)) !== JSON.stringify(stale)) tried(() => fs.linkSync(aside, path))
  fs.rmSync(aside, { recursive: true, force: true })
}

/** The pid exists, its command line is that script (pids are reused), and it is neither stopped nor hangs. */
async function isAlive(holder: LockHolder, settings: Settings, path: string): Promise<boolean> {
  let isOthers = false
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM: it runs as another user, as after sudo, and may be hidden.
    isOthers = (error as NodeJS.ErrnoException).code === 'EPERM'
    if (!isOthers) return false
  }
  const command = await commandOf(settings, holder.pid)
  const script = holder.tier === 'setup' ? 'install' : TIERS[holder.tier].script
  // Unknown counts as alive while it beats: two at once are worse than one too few.
  const mayBeIt = command
    ? new RegExp(`(?:^|[\\s/])${script}\\.ts(?:\\s|$)`).test(command)
    : command === undefined || isOthers
  return mayBeIt && !(await isSilent(path))
}

/** Its holder has not touched the lock for a minute, nor while this waits: after a sleep, or when the clock was set, all are late. */
async function isSilent(path: string): Promise<boolean> {
  const touchedMs = () => tried(() => fs.statSync(path).mtimeMs)
  const lastMs = touchedMs()
  if (lastMs === undefined || Math.abs(Date.now() - lastMs) < SILENT_MS) return false
  const deadline = performance.now() + 2.5 * BEAT_MS
  while (touchedMs() === lastMs && performance.now() < deadline) await delay(250)
  return touchedMs() === lastMs
}

function readHolder(path: string): LockHolder | undefined {
  const value: unknown = tried(() => JSON.parse(readTail(path, 4096)))
  if (!isRecord(value) || !Number.isInteger(value.pid) || Number(value.pid) <= 0) return undefined
  const isOurs = typeof value.tier === 'string' && (value.tier in TIERS || value.tier === 'setup')
  return isOurs ? (value as unknown as LockHolder) : undefined
}
