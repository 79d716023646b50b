/** The watchers watch each other: when a peer is dead, and what Levels 1 and 2 do about it. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT, oneLine, TIERS, type TierName } from '../tier/contract.ts'
import { lastHeartbeat } from '../tier/journal.ts'
import { lockHolder, longestRunSec, readLock } from '../tier/lock.ts'
import { LAUNCHER, type TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, readState, writeState } from '../tier/state.ts'
import { isInstalled, readReceipt, receiptPath } from './receipt.ts'

type Watcher = 'watchdog' | 'healthcheck' | 'guardian'

const WATCHES: Record<Watcher, readonly TierName[]> = {
  watchdog: ['healthcheck', 'guardian'],
  healthcheck: ['watchdog'],
  guardian: ['watchdog', 'healthcheck', 'monitor', 'emergency-recovery'],
}

/**
 * Three intervals of the slower watchers, for Level 1 too: after short sleeps that leave its watcher on time it may be
 * late by 12 min without being dead.
 */
const DEAD_SEC = 3 * TIERS.guardian.intervalSec

export interface Book {
  lastTickMs: number
  onTimeSinceMs: number
  revived: Partial<Record<TierName, { revivals: number; revivedAtMs: number; isHumanCalled: boolean }>>
}

export interface Suspect {
  tier: TierName
  evidence: string
  pid?: number
}

/** After a late tick (sleep, boot, pause, a clock that was set) the time on time begins again. */
export function tick(book: Book, watcher: Watcher, nowMs: number): Book {
  const gapSec = (nowMs - book.lastTickMs) / 1000
  const isOnTime = gapSec >= 0 && gapSec <= 1.5 * TIERS[watcher].intervalSec
  return { ...book, lastTickMs: nowMs, onTimeSinceMs: isOnTime ? book.onTimeSinceMs : nowMs }
}

/** Time in which the watcher was not on time does not count. NaN: there is no run. */
export function judge(
  tier: TierName,
  limitSec: number,
  times: { heartbeatMs: number; runSinceMs: number; onTimeSinceMs: number; nowMs: number },
): { silent?: string; hangs?: string } {
  // What lies so far in the future was written before the clock was set back, and the watcher has been on time since.
  const past = (ms: number) => (ms > times.nowMs + 600_000 ? 0 : ms)
  const secSince = (ms: number) => (times.nowMs - Math.max(past(ms), times.onTimeSinceMs)) / 1000
  const [silentSec, runSec] = [secSince(times.heartbeatMs), secSince(times.runSinceMs)]
  const isSilent = TIERS[tier].intervalSec !== undefined && silentSec > DEAD_SEC
  return {
    silent: isSilent ? `has not run for ${Math.round(silentSec / 60)} min` : undefined,
    hangs: runSec > limitSec ? `has been in one run for ${Math.round(runSec / 60)} min` : undefined,
  }
}

/** 0: never. Of the guardian: when cron last ran it, for Levels 1 and 2 start it too. */
export function heartbeatMs(settings: Settings, tier: TierName): number {
  if (tier === 'guardian') return readBook(settings, 'guardian', false).value.lastTickMs
  return lastHeartbeat(settings, tier)?.getTime() ?? 0
}

/** `named`: only these, which another watcher found dead. Throws when its state cannot be written. */
export async function lookAtPeers({ settings, journal, dryRun }: TierRun, watcher: Watcher, named: TierName[] = []) {
  const nowMs = Date.now()
  const { value, problem } = readBook(settings, watcher, !dryRun)
  if (problem) journal.warn(problem)
  const isAsked = named.length > 0
  const book = isAsked ? value : tick(value, watcher, nowMs)
  if (!isAsked && !dryRun) writeBook(settings, watcher, book)
  const isOnTime = isAsked || book.onTimeSinceMs < nowMs
  const suspects: Suspect[] = []
  for (const tier of isAsked ? named : isOnTime ? WATCHES[watcher] : []) {
    const runSinceMs = Date.parse(readLock(settings, tier)?.since ?? '')
    const onTimeSinceMs = isAsked ? statSync(receiptPath(settings)).mtimeMs : book.onTimeSinceMs
    const times = { heartbeatMs: heartbeatMs(settings, tier), runSinceMs, onTimeSinceMs, nowMs }
    const { silent, hangs } = judge(tier, longestRunSec(settings, tier), times)
    if (!silent && !hangs) continue
    const holder = await lockHolder(settings, tier)
    const pid = holder?.pid === process.pid ? undefined : holder?.pid
    const isOfCron = tier === 'monitor' || tier === 'guardian'
    if (pid && hangs) suspects.push({ tier, evidence: hangs, pid })
    else if (!pid && silent && !(isOfCron && readReceipt(settings)?.cronLines.length === 0))
      suspects.push({ tier, evidence: silent })
  }
  return { book, isOnTime, suspects, nowMs }
}

/** What goes wrong here is only logged: the work of Levels 1 and 2 is the gateway. */
export async function glanceAtPeers(run: TierRun, watcher: 'watchdog' | 'healthcheck'): Promise<void> {
  const { settings, journal, dryRun, signal } = run
  if (signal.aborted || !isInstalled(settings)) return
  const launch = async (why: string, ...words: string[]) => {
    if (dryRun) return journal.info(`dry run: would run ${words.join(' ')}: ${why}`)
    journal.warn(`running ${words.join(' ')}: ${why}`)
    const { code, failure } = await shell(settings, { timeoutSec: 300 })`sh ${LAUNCHER} ${words}`
    if (code !== EXIT.healthy) journal.warn(oneLine(failure ?? ''))
  }
  try {
    const { suspects: all } = await lookAtPeers(run, watcher)
    const hung = all.find(({ tier, pid }) => tier === 'guardian' && pid !== undefined)
    // It holds the lock that any other guardian needs; cron starts the next one.
    if (hung && !dryRun) await endRun(run, 'guardian', hung.pid!)
    const suspects = all.filter((one) => one !== hung)
    // The commands that revive stand in the guardian's script, which calls a human when they do not help.
    const found = suspects.map(({ tier, evidence }) => `${tier} ${evidence}`).join('; ')
    if (found) await launch(found, TIERS.guardian.script, ...suspects.map(({ tier }) => `--${tier}`))

    if (watcher === 'watchdog') return
    // By the clock alone: in an outage the monitor must not be missing.
    const lateSec = (tier: TierName) =>
      (Date.now() - (heartbeatMs(settings, tier) || statSync(receiptPath(settings)).mtimeMs)) / 1000
    const isCronDead = lateSec('guardian') > 2.5 * TIERS.guardian.intervalSec
    if (isCronDead || lateSec('monitor') > 5 * TIERS.monitor.intervalSec)
      await launch('cron has not run it or the guardian', TIERS.monitor.script)
  } catch (error) {
    journal.warn(`the peers could not be checked: ${oneLine(String(error))}`)
  }
}

/** Ends a run that hangs, as long as `ps` says that the pid is that tier's own node. */
export async function endRun({ settings, journal }: TierRun, tier: TierName, pid: number): Promise<void> {
  const ours = new RegExp(`^ *[^Z ]\\S* .*node.* .*[ /]${TIERS[tier].script}\\.ts(?:\\s|$)`)
  const isOurs = async () => ours.test((await shell(settings)`ps -o stat=,command= -p ${pid}`).stdout)
  journal.warn(`${tier} hangs: ending its run (pid ${pid})`)
  const { endProcess } = await import('./bare.ts')
  await endProcess(settings, pid, settings.stopGraceSec, isOurs)
}

/** What is no JSON is kept aside with a warning; a file of version 1.x is replaced silently. */
function readBook(settings: Settings, watcher: Watcher, keepAside: boolean) {
  const fresh: Book = { lastTickMs: 0, onTimeSinceMs: 0, revived: {} }
  const check = (value: unknown) => {
    if (!isRecord(value)) return undefined
    const isOurs = Number.isFinite(value.lastTickMs) && Number.isFinite(value.onTimeSinceMs) && isRecord(value.revived)
    return isOurs ? (value as unknown as Book) : fresh
  }
  return readState(bookPath(settings, watcher), check, fresh, keepAside)
}

export const writeBook = (settings: Settings, watcher: Watcher, book: Book) =>
  writeState(bookPath(settings, watcher), book)
const bookPath = ({ watchdogDir }: Settings, watcher: Watcher) => join(watchdogDir, `peers-${watcher}.json`)
