/** What is worth a message (a new incident, reminders of it, its end), of what happened since by the logs and the folders. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { historyOf, type Incident } from '../incidents/history.ts'
import { isHealthyObservation, readEvents } from '../incidents/logs.ts'
import { ABOUT_WATCHERS } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { tried } from '../tier/state.ts'
import type { Scope } from './alert.ts'
import { type Case, type Flaps, hash, type Ledger } from './ledger.ts'

type Call = { kind: 'call'; scope: Scope; at: Date; why: string; log: string }

/** `recovery`: an incident that needed no human. */
export type Happening =
  | Call
  | ({ scope: Scope; at: Date } & (
      | { kind: 'notice'; what: string }
      | { kind: 'goes-on' }
      | { kind: 'over'; recovery?: Incident }
    ))

/** `calls`: what a human has not heard of. `failedAt`: of what is flapping. */
export type News =
  | { kind: 'notice'; scope: Scope; what: string; recovery?: Incident }
  | (OfAnIncident & { kind: 'failure' | 'update' | 'reminder' | 'flapping' | 'resolved' | 'steady' })
type OfAnIncident = { scope: Scope; at: Date; calls: Call[]; open?: Case; failedAt?: string[] }
type Book = Ledger['book']

const HOUR_MS = 3_600_000
/** So many failures in so long a time are flapping, and so long a time without one is steady again. */
const FLAPPING_FAILURES = 4
const FLAPPING_MS = 2 * HOUR_MS
const FORGOTTEN_MS = 7 * 24 * HOUR_MS
const MAX_REASONS = 20

/** `goes-on` and a bare `over` may be given again; for a reminder the last sign of the failure is at most `freshSec` old. */
export function whatIsNew(before: Book, happenings: readonly Happening[], now: Date, freshSec: number) {
  const news: News[] = []
  const book = withoutFuture(before, now)
  book.cases = book.cases.filter(({ lastSeenAt }) => now.getTime() - Date.parse(lastSeenAt) < FORGOTTEN_MS)
  for (const one of happenings) take(book, one, news)
  for (const open of book.cases) remind(open, news, now, freshSec)
  book.histories = book.histories.filter((flaps) => isUnsteady(flaps, book, news, now))
  return { book, news }
}

/** A copy in which times in the future (a clock ran ahead) are now: else no observation could end that case. */
function withoutFuture(book: Book, now: Date): Book {
  const past = (_key: string, value: unknown) =>
    typeof value === 'string' && Date.parse(value) > now.getTime() ? now.toISOString() : value
  return JSON.parse(JSON.stringify(book), past) as Book
}

function take(book: Book, one: Happening, news: News[]): void {
  const { scope, at } = one
  const open = book.cases.find((other) => other.scope === scope)
  const flaps = flapsOf(book, scope)
  // That a watcher was revived is no news while the human knows that it needs reviving.
  const isKnown = open !== undefined && scope === 'watchers'
  if (one.kind === 'call') call(book, one, open, flaps, news)
  else if (one.kind === 'goes-on' || (one.kind === 'notice' && isKnown)) seen(open, at)
  else if (one.kind === 'notice') news.push({ kind: 'notice', scope, what: one.what })
  else if (open && at.getTime() > Date.parse(open.lastCallAt)) {
    book.cases = book.cases.filter((other) => other !== open)
    if (!flaps.isFlapping) news.push({ kind: 'resolved', scope, at, calls: [], open })
  } else if (!open && one.recovery) {
    failed(flaps, at, [], news)
    const { healedBy, downSec } = one.recovery
    const by = typeof healedBy === 'number' ? `level ${healedBy}` : 'itself or by hand'
    const what = `recovered by ${by} after ${Math.round(downSec)} s`
    if (!flaps.isFlapping) news.push({ kind: 'notice', scope, what, recovery: one.recovery })
  }
}

function call(book: Book, one: Call, open: Case | undefined, flaps: Flaps, news: News[]): void {
  const { scope, log } = one
  const at = one.at.toISOString()
  // Pids, seconds and counts differ each time.
  const reason = hash(one.why.replace(/\d+/g, '#'))
  const known = flaps.isFlapping ? flaps.calledFor : (open?.failures ?? [])
  const isKnown = known.includes(reason) || known.length >= MAX_REASONS
  const isInFlapping = !open && failed(flaps, one.at, [one], news)
  const current = open ?? { scope, log, openedAt: at, lastCallAt: at, lastSeenAt: at, failures: [], remindersSent: 0 }
  if (!open) book.cases.push(current)
  for (const reasons of [current.failures, flaps.calledFor]) if (!reasons.includes(reason)) reasons.push(reason)
  if (at > current.lastCallAt) Object.assign(current, { lastCallAt: at, log })
  seen(current, one.at)
  if (isKnown || isInFlapping) return
  const last = news.at(-1)
  if (last?.scope === scope && (last.kind === 'failure' || last.kind === 'update'))
    Object.assign(last, { at: one.at, calls: [...last.calls, one] })
  else news.push({ kind: open ? 'update' : 'failure', scope, at: one.at, calls: [one] })
}

/** True when from now on it is flapping. */
function failed(flaps: Flaps, at: Date, calls: Call[], news: News[]): boolean {
  flaps.failedAt = flaps.failedAt.filter((one) => at.getTime() - Date.parse(one) < FLAPPING_MS).slice(-50)
  flaps.failedAt.push(at.toISOString())
  if (flaps.isFlapping || flaps.failedAt.length < FLAPPING_FAILURES) return false
  Object.assign(flaps, { isFlapping: true, calledFor: [] })
  news.push({ kind: 'flapping', scope: flaps.scope, at, calls, failedAt: [...flaps.failedAt] })
  return true
}

function remind(open: Case, news: News[], now: Date, freshSec: number): void {
  const hours = (now.getTime() - Date.parse(open.openedAt)) / HOUR_MS
  const due = hours < 1 ? 0 : hours < 6 ? 1 : 2 + Math.floor(hours / 24)
  if (due <= open.remindersSent || now.getTime() - Date.parse(open.lastSeenAt) > freshSec * 1000) return
  open.remindersSent = due
  const isToldAnyway = news.some(({ kind, scope }) => scope === open.scope && kind !== 'notice')
  if (!isToldAnyway) news.push({ kind: 'reminder', scope: open.scope, at: now, calls: [], open })
}

function isUnsteady(flaps: Flaps, book: Book, news: News[], now: Date): boolean {
  const since = flaps.failedAt.at(-1)
  flaps.failedAt = flaps.failedAt.filter((one) => now.getTime() - Date.parse(one) < FLAPPING_MS)
  if (flaps.failedAt.length > 0) return true
  const isDown = book.cases.some(({ scope }) => scope === flaps.scope)
  if (flaps.isFlapping && !isDown && since)
    news.push({ kind: 'steady', scope: flaps.scope, at: new Date(since), calls: [] })
  return false
}

function seen(open: Case | undefined, at: Date): void {
  if (open && at.toISOString() > open.lastSeenAt) open.lastSeenAt = at.toISOString()
}

function flapsOf(book: Book, scope: Scope): Flaps {
  let flaps = book.histories.find((one) => one.scope === scope)
  if (!flaps) book.histories.push((flaps = { scope, failedAt: [], isFlapping: false, calledFor: [] }))
  return flaps
}

const DAY_MS = 86_400_000
/** Keys of earlier readings are kept too: after a jump of the clock they count again. */
const MAX_KEYS = 300

/** @param isPaused only notices are taken, and the rest is left for later */
export function readHappenings(settings: Settings, ledger: Ledger, now: Date, isPaused: boolean) {
  const since = readSince(settings, ledger, now)
  const opened = ledger.book.cases.map(({ openedAt }) => Date.parse(openedAt) || now.getTime())
  const span = { from: new Date(Math.min(since, ...opened)), to: now }
  const read = readEvents(settings, span, now)
  const history = historyOf(read, span)
  const taken = new Set(ledger.told)
  const keys: string[] = []
  const happenings: Happening[] = []
  // What concerns the monitor itself, it says itself.
  for (const event of read.events.filter(({ atMs, tier }) => atMs >= since && tier !== 'monitor')) {
    const { atMs, writtenMs, said, tier, log } = event
    const at = new Date(atMs)
    if (isPaused && said.kind !== 'notice') continue
    const isNew = (text: string) => {
      // By the time that was written: that of an event may be known better later.
      const key = hash(`${writtenMs} ${text}`)
      const isTaken = taken.has(key) || atMs <= Date.parse(ledger.toldUntil)
      taken.add(key)
      keys.push(key)
      return !isTaken
    }
    const text = said.kind === 'manual' ? said.why : said.kind === 'notice' ? said.what : undefined
    // The guardian also calls because of Level 3: only what it says of the watchers is about them.
    const isAboutWatchers = text === undefined ? tier === 'guardian' : text.startsWith(ABOUT_WATCHERS)
    const scope: Scope = isAboutWatchers ? 'watchers' : 'gateway'
    const exitCode = said.kind === 'run-ended' ? said.exitCode : undefined
    if (said.kind === 'manual' && isNew(said.why)) happenings.push({ kind: 'call', scope, at, why: said.why, log })
    if (said.kind === 'notice' && isNew(said.what)) happenings.push({ kind: 'notice', scope, at, what: said.what })
    if (scope === 'watchers' ? exitCode === 0 : isHealthyObservation(event)) {
      const healed = history.incidents.find(({ end, manualCalls }) => manualCalls === 0 && end?.getTime() === atMs)
      happenings.push({ kind: 'over', scope, at, recovery: healed && isNew('recovery') ? healed : undefined })
    } else if (exitCode === 1 || said.kind === 'down' || said.kind === 'escalate')
      happenings.push({ kind: 'goes-on', scope, at })
  }
  return { happenings, history, told: [...new Set([...ledger.told.slice(-MAX_KEYS), ...keys])] }
}

/** Lines count for EMERGENCY_ALERT_WINDOW minutes, or from the last reading on, at most a day back. */
function readSince({ alertWindowMin }: Settings, { readAt }: Ledger, now: Date): number {
  const window = now.getTime() - alertWindowMin * 60_000
  const last = Date.parse(readAt)
  return last <= now.getTime() ? Math.min(window, Math.max(last, now.getTime() - DAY_MS)) : window
}

/** Our folders that cannot be written, e.g. `/home/u/openclaw/memory: ENOSPC: no space left on device`. */
export function unwritableFolders(settings: Settings): string[] {
  return [settings.watchdogDir, settings.memoryDir].flatMap((folder) => {
    const path = join(folder, '.can-be-written')
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      writeFileSync(path, Buffer.alloc(16 * 1024), { mode: 0o600 })
      return []
    } catch (error) {
      return [`${folder}: ${(error as Error).message.split(',')[0]}`]
    } finally {
      // On a full disk half of it would take what the state files need.
      tried(() => rmSync(path, { force: true }))
    }
  })
}
