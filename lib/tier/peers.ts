/**
 * Who watches whom, and when one tier may call another dead. Pure bookkeeping on log files and lock files; what is done
 * about a dead peer is in lib/services.
 *
 * A watcher never compares a peer's heartbeat with the clock. It adds up the time that went by between its own ticks
 * while the heartbeat stood still, and only between ticks that came on time. So sleep, boot, a pause, a fresh install
 * and a clock that was set count for nothing: after each of them the watcher itself is late or new, and starts anew.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { TIERS, type TierName } from './contract.ts'
import { logFolders, logName } from './journal.ts'
import { readLock } from './lock.ts'
import type { Settings } from './settings.ts'
import { isRecord, readState, type StateRead, writeState } from './state.ts'

export type Watcher = 'watchdog' | 'healthcheck' | 'guardian'

/** Levels 1 and 2 watch each other, the guardian both, and Level 1 what cron runs. Level 3 has no schedule: it can only run for too long. */
export const WATCHES: Record<Watcher, readonly TierName[]> = {
  watchdog: ['healthcheck', 'monitor', 'guardian'],
  healthcheck: ['watchdog'],
  guardian: ['watchdog', 'healthcheck', 'emergency-recovery'],
}

/** What the installer leaves: while this file is there, the jobs are meant to run. */
export function receiptPath(settings: Settings): string {
  return join(settings.watchdogDir, 'receipt.json')
}

/** False before the installation and after a deliberate uninstall: then nobody is missed. */
export function isInstalled(settings: Settings): boolean {
  return statSync(receiptPath(settings), { throwIfNoEntry: false }) !== undefined
}

/** What a look at a peer's files tells. */
export interface Sighting {
  /** When it last wrote into its log, epoch milliseconds; 0: neither today nor yesterday. */
  heartbeatMs: number
  /** The run that its lock file names, dead or alive. */
  run: { pid: number; since: string } | undefined
}

/** What a watcher remembers of a peer. */
export interface PeerMemory {
  heartbeatMs: number
  /** For how long the heartbeat has stood still, in seconds of the watcher's own regular ticks. */
  silentSec: number
  /** How much of that came after the last revival. */
  silentSinceRevivalSec: number
  run: { pid: number; since: string; observedSec: number } | undefined
  /** Revivals since it was last steadily alive. */
  revivals: number
  /** For how long it was alive since the last revival, counted like `silentSec`. */
  aliveSec: number
  /** The human was called for this failure already. */
  humanCalled: boolean
}

export interface PeerBook {
  /** The watcher's own last tick, epoch milliseconds; 0: never. */
  lastTickMs: number
  peers: Partial<Record<TierName, PeerMemory>>
}

/**
 * A peer that looks dead. `silent`: it writes no log; `overdue`: one run of it lasts far longer than any may;
 * `unregistered`: launchd or systemd does not have its job (found by who asks them, not here).
 */
export interface Suspect {
  tier: TierName
  sign: 'silent' | 'overdue' | 'unregistered'
  /** For the log: `has written no log for 9 min (it is due every 3 min)`. */
  evidence: string
  pid: number | undefined
}

/** Stats a few files: today's and yesterday's log in both log folders, and the lock. */
export function sight(settings: Settings, tier: TierName, now: Date): Sighting {
  const days = [now, new Date(now.getTime() - 86_400_000)]
  const paths = logFolders(settings).flatMap((folder) => days.map((day) => join(folder, logName(tier, day))))
  const times = paths.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0)
  const holder = readLock(settings, tier)
  return {
    heartbeatMs: Math.round(Math.max(...times)),
    run: holder && { pid: holder.pid, since: holder.since },
  }
}

/** A tick counts as on time up to this many of its intervals after the one before it. */
const ON_TIME_INTERVALS = 1.5
/** A peer is late after this many of its intervals without a word: two missed runs, and half of one for busy machines. */
const LATE_INTERVALS = 2.5

/**
 * Brings the watcher's book up to date. Pure.
 * @returns the new book; who looks dead (nobody, unless this tick came on time after the one before it); and who was
 *   revived and has proven by now that it runs by itself again
 */
export function observe(
  book: PeerBook,
  watcher: Watcher,
  sightings: Partial<Record<TierName, Sighting>>,
  settings: Settings,
  nowMs: number,
): { book: PeerBook; suspects: Suspect[]; steady: TierName[]; onTime: boolean } {
  const gapSec = (nowMs - book.lastTickMs) / 1000
  const onTime = gapSec >= 0 && gapSec <= ON_TIME_INTERVALS * TIERS[watcher].intervalSec
  const peers: PeerBook['peers'] = {}
  const suspects: Suspect[] = []
  const steady: TierName[] = []
  for (const tier of WATCHES[watcher]) {
    const seen = sightings[tier]
    if (!seen) continue
    const before = book.peers[tier]
    const memory = remember(before, seen, onTime ? gapSec : undefined, TIERS[tier].intervalSec)
    peers[tier] = memory
    if (onTime && before) suspects.push(...judge(tier, memory, settings))
    if (before && before.revivals > 0 && memory.revivals === 0) steady.push(tier)
  }
  return { book: { lastTickMs: nowMs, peers }, suspects, steady, onTime }
}

/** @param gapSec since the last tick; undefined when that was not on time: then all counting starts anew. */
function remember(
  before: PeerMemory | undefined,
  seen: Sighting,
  gapSec: number | undefined,
  intervalSec: number | undefined,
): PeerMemory {
  const moved = before === undefined || seen.heartbeatMs !== before.heartbeatMs
  const sameRun = before?.run !== undefined && before.run.pid === seen.run?.pid && before.run.since === seen.run.since
  const aliveSec = moved ? (before?.aliveSec ?? 0) + (gapSec ?? 0) : (before?.aliveSec ?? 0)
  // One sign of life after a revival proves the revival, not that the peer runs by itself again.
  const steady = intervalSec !== undefined && aliveSec > LATE_INTERVALS * intervalSec
  return {
    heartbeatMs: seen.heartbeatMs,
    silentSec: moved || gapSec === undefined ? 0 : before.silentSec + gapSec,
    silentSinceRevivalSec: moved || gapSec === undefined ? 0 : before.silentSinceRevivalSec + gapSec,
    run: seen.run && { ...seen.run, observedSec: sameRun ? before.run!.observedSec + (gapSec ?? 0) : 0 },
    revivals: steady ? 0 : (before?.revivals ?? 0),
    aliveSec: steady ? 0 : aliveSec,
    humanCalled: steady ? false : (before?.humanCalled ?? false),
  }
}

/** A long silence may be a long run, so both signs may come at once; whether the run is alive decides which holds. */
function judge(tier: TierName, memory: PeerMemory, settings: Settings): Suspect[] {
  const suspects: Suspect[] = []
  const limitSec = longestRunSec(settings, tier)
  if (memory.run && memory.run.observedSec > limitSec) {
    const evidence = `has been in one run for ${minutes(memory.run.observedSec)} (the longest may take ${minutes(limitSec)})`
    suspects.push({ tier, sign: 'overdue', evidence, pid: memory.run.pid })
  }
  const { intervalSec } = TIERS[tier]
  // One that was revived and has not written since has used up its patience.
  const patience = memory.revivals > 0 && memory.aliveSec === 0 ? 1 : LATE_INTERVALS
  if (intervalSec !== undefined && memory.silentSinceRevivalSec > patience * intervalSec) {
    const evidence = `has written no log for ${minutes(memory.silentSec)} (it is due every ${minutes(intervalSec)})`
    suspects.push({ tier, sign: 'silent', evidence, pid: memory.run?.pid })
  }
  return suspects
}

/** The peer was revived, or it was tried. */
export function afterRevival(memory: PeerMemory): PeerMemory {
  return { ...memory, silentSinceRevivalSec: 0, run: undefined, aliveSec: 0, revivals: memory.revivals + 1 }
}

/** A restart through systemd may take this long: OpenClaw's unit has TimeoutStopSec=330. */
const SLOWEST_RESTART_SEC = 400
/** A run that is half as long again as the longest that its own limits allow hangs. */
const FAR_OVER = 1.5

/** Seconds after which one run of the tier counts as hanging, from the limits that the tier keeps itself. */
export function longestRunSec(settings: Settings, tier: TierName): number {
  const boot = settings.startupGraceSec
  const doctor =
    settings.doctorStartupWaitSec +
    // OpenClaw's own triage is waited for as long as the doctor may work, and so is the doctor of another profile; a
    // drain and a boot come before that, and another boot behind it.
    3 * settings.emergencyRecoveryTimeoutSec +
    330 +
    2 * settings.startupGraceSec +
    settings.emergencyRecoveryReportWaitSec +
    300
  const limitSec = {
    watchdog:
      settings.watchdogMaxRetries * (settings.watchdogHealthTimeoutSec + settings.watchdogRetryDelaySec) +
      SLOWEST_RESTART_SEC +
      settings.stopGraceSec +
      330 +
      4 * boot,
    healthcheck:
      settings.healthCheckMaxRetries * (2 * SLOWEST_RESTART_SEC + boot + settings.healthCheckRetryDelaySec) +
      settings.healthCheckEscalationWaitSec +
      doctor,
    'emergency-recovery': doctor,
    monitor: 300,
    guardian: 300,
  }[tier]
  return limitSec * FAR_OVER
}

function minutes(sec: number): string {
  return `${Math.round(sec / 60)} min`
}

/** Reads what the watcher remembers; a damaged book is kept aside (not in a dry run) and begun anew. */
export function readPeerBook(settings: Settings, watcher: Watcher, dryRun: boolean): StateRead<PeerBook> {
  return readState(bookPath(settings, watcher), checkBook, { lastTickMs: 0, peers: {} }, !dryRun)
}

export function writePeerBook(settings: Settings, watcher: Watcher, book: PeerBook): void {
  writeState(bookPath(settings, watcher), book)
}

function bookPath(settings: Settings, watcher: Watcher): string {
  return join(settings.watchdogDir, `peers-${watcher}.json`)
}

function checkBook(value: unknown): PeerBook | undefined {
  if (!isRecord(value) || !isAmount(value.lastTickMs) || !isRecord(value.peers)) return undefined
  const peers: PeerBook['peers'] = {}
  for (const [tier, memory] of Object.entries(value.peers)) {
    if (!(tier in TIERS) || !isRecord(memory)) return undefined
    const { heartbeatMs, silentSec, silentSinceRevivalSec, revivals, aliveSec, run } = memory
    if (![heartbeatMs, silentSec, silentSinceRevivalSec, revivals, aliveSec].every(isAmount)) return undefined
    if (run !== undefined && !(isRecord(run) && isAmount(run.pid) && isAmount(run.observedSec))) return undefined
    peers[tier as TierName] = {
      heartbeatMs: heartbeatMs as number,
      silentSec: silentSec as number,
      silentSinceRevivalSec: silentSinceRevivalSec as number,
      run: run && { pid: Number(run.pid), since: String(run.since), observedSec: Number(run.observedSec) },
      revivals: revivals as number,
      aliveSec: aliveSec as number,
      humanCalled: memory.humanCalled === true,
    }
  }
  return { lastTickMs: value.lastTickMs, peers }
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}
