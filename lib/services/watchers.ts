/** The watchers watch each other: when a peer is dead, and what Levels 1 and 2 do about it. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT, oneLine, TIERS, type TierName } from '../tier/contract.ts'
import { lastHeartbeatMs } from '../tier/journal.ts'
import { lockHolder, longestRunSec } from '../tier/lock.ts'
import { commandOf } from '../tier/process-table.ts'
import { LAUNCHER, type TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, readState, shaped, writeState } from '../tier/state.ts'
import { isInstalled, readReceipt, receiptPath } from './receipt.ts'

type Watcher = 'watchdog' | 'healthcheck' | 'guardian'

const WATCHES: Record<Watcher, readonly TierName[]> = {
  watchdog: ['healthcheck', 'guardian'],
  healthcheck: ['watchdog'],
  guardian: ['watchdog', 'healthcheck', 'monitor', 'emergency-recovery'],
}

/** Three intervals of the slower watchers, for Level 1 too: short sleeps may leave its watcher on time and not itself. */
const DEAD_SEC = 3 * TIERS.guardian.intervalSec

/** How often in a row the guardian revived a tier. */
export type Row = { revivals: number; revivedAtMs: number }
export type Book = { lastTickMs: number; onTimeSinceMs: number; revived: Partial<Record<TierName, Row>> }

export type Suspect = { tier: TierName; evidence: string; pid?: number }

/** After a late tick (sleep, boot, pause, a clock that was set) the time on time begins again. */
export function tick(book: Book, watcher: Watcher, nowMs: number): Book {
  const gapSec = (nowMs - book.lastTickMs) / 1000
  const isOnTime = gapSec >= 0 && gapSec <= 1.5 * TIERS[watcher].intervalSec
  return { ...book, lastTickMs: nowMs, onTimeSinceMs: isOnTime ? book.onTimeSinceMs : nowMs }
}

/** How long ago that was; time in which the watcher was not on time does not count. */
export function secSince(ms: number, onTimeSinceMs: number, nowMs: number): number {
  // What lies so far in the future was written before the clock was set back, and the watcher has been on time since.
  return (nowMs - Math.max(ms > nowMs + 600_000 ? 0 : ms, onTimeSinceMs)) / 1000
}

/** When it last ran, or was installed. The guardian: when cron ran it, for Levels 1 and 2 do too. */
export function heartbeatMs(settings: Settings, tier: TierName): number {
  const lastMs = tier === 'guardian' ? readBook(settings, tier).value.lastTickMs : lastHeartbeatMs(settings, tier)
  return lastMs || statSync(receiptPath(settings)).mtimeMs
}

/** Notes a watcher's tick; false when it was late itself. Throws when that cannot be written. */
export function isOnTime({ settings, journal, dryRun }: TierRun, watcher: Watcher): boolean {
  const { value, problem } = readBook(settings, watcher, !dryRun)
  if (problem) journal.warn(problem)
  const book = tick(value, watcher, Date.now())
  if (!dryRun) writeBook(settings, watcher, book)
  return book.onTimeSinceMs < book.lastTickMs
}

export async function deadPeers(settings: Settings, watcher: Watcher): Promise<Suspect[]> {
  const dead: Suspect[] = []
  const { onTimeSinceMs } = readBook(settings, watcher).value
  for (const tier of WATCHES[watcher]) {
    const holder = await lockHolder(settings, tier)
    const run = holder?.pid === process.pid ? undefined : holder
    const isOfCron = tier === 'monitor' || tier === 'guardian'
    const isScheduled = tier !== 'emergency-recovery' && !(isOfCron && readReceipt(settings)?.cronLines.length === 0)
    const sec = secSince(run ? Date.parse(run.since) : heartbeatMs(settings, tier), onTimeSinceMs, Date.now())
    const [limitSec, what] = run ? [longestRunSec(settings, tier), 'been in one run'] : [DEAD_SEC, 'not run']
    if (sec > limitSec && (run || isScheduled))
      dead.push({ tier, evidence: `has ${what} for ${Math.round(sec / 60)} min`, pid: run?.pid })
  }
  return dead
}

/** What goes wrong here is only logged: the work of Levels 1 and 2 is the gateway. */
export async function glanceAtPeers(run: TierRun, watcher: 'watchdog' | 'healthcheck'): Promise<void> {
  const { settings, journal, dryRun, signal } = run
  if (dryRun || signal.aborted || !isInstalled(settings)) return
  const launch = async (why: string, ...words: string[]) => {
    journal.warn(`running ${words.join(' ')}: ${why}`)
    const { code, failure } = await shell(settings, { timeoutSec: 300 })`sh ${LAUNCHER} ${words}`
    if (code !== EXIT.healthy) journal.warn(oneLine(failure ?? ''))
  }
  try {
    const peer = watcher === 'watchdog' ? 'healthcheck' : 'watchdog'
    const isLate = secSince(heartbeatMs(settings, peer), 0, Date.now()) > 1.5 * TIERS[peer].intervalSec
    if (isLate && readReceipt(settings)?.scheduler === 'launchd') await kickIfPended(run, peer)
    const dead = isOnTime(run, watcher) ? await deadPeers(settings, watcher) : []
    // A guardian that hangs holds the lock that the next one needs.
    for (const { tier, pid } of dead) if (tier === 'guardian' && pid) await endRun(run, tier, pid)
    // The commands that revive stand in the guardian's script, which calls a human when they do not help.
    const found = dead.map(({ tier, evidence }) => `${tier} ${evidence}`).join('; ')
    if (found) await launch(found, TIERS.guardian.script, `--${watcher}`)
    // By the clock alone: in an outage the monitor must not be missing.
    const isCronLate = secSince(heartbeatMs(settings, 'guardian'), 0, Date.now()) > 2.5 * TIERS.guardian.intervalSec
    if (watcher === 'healthcheck' && isCronLate) await launch('cron has not run the guardian', TIERS.monitor.script)
  } catch (error) {
    journal.warn(`the peers could not be checked: ${oneLine(String(error))}`)
  }
}

/** In an on-demand-only domain launchd starts what is asked for: a job that it pends is asked for at once. */
export async function kickIfPended({ settings, journal }: TierRun, tier: 'watchdog' | 'healthcheck'): Promise<void> {
  const { explained, launchdJob, launchdTarget } = await import('./launchd.ts')
  const { jobName } = await import('./supervisor.ts')
  const name = jobName(settings, tier)
  const job = await launchdJob(settings, name)
  const kicked = job?.pended && explained(await shell(settings)`launchctl kickstart ${launchdTarget(name)}`)
  if (kicked) journal.warn(`${tier}: ${job.detail}; launchctl kickstart: ${oneLine(kicked.failure ?? 'done')}`)
}

/** Ends a run that hangs, as long as the pid is that tier's own node. */
export async function endRun({ settings, journal }: TierRun, tier: TierName, pid: number): Promise<void> {
  const { endProcess } = await import('./bare.ts')
  const ours = new RegExp(`node.* .*[ /]${TIERS[tier].script}\\.ts(?:\\s|$)`)
  const isOurs = async () => ours.test((await commandOf(settings, pid)) ?? '')
  const isGone = await endProcess(settings, pid, settings.stopGraceSec, isOurs)
  journal[isGone ? 'warn' : 'error'](`${tier} hung and ${isGone ? 'was' : 'could not be'} ended (pid ${pid})`)
}

const bookPath = ({ watchdogDir }: Settings, watcher: Watcher) => join(watchdogDir, `peers-${watcher}.json`)
export const writeBook = (settings: Settings, watcher: Watcher, book: Book) =>
  writeState(bookPath(settings, watcher), book)

/** A damaged one is kept aside where `keepAside`; one of version 1.x counts as none. */
export function readBook(settings: Settings, watcher: Watcher, keepAside = false) {
  const fresh: Book = { lastTickMs: 0, onTimeSinceMs: 0, revived: {} }
  const check = (value: unknown) => shaped(fresh)(value) ?? (isRecord(value) ? fresh : undefined)
  return readState(bookPath(settings, watcher), check, fresh, keepAside)
}
