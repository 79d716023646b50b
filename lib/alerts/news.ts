/** What is worth a message: a new incident, reminders of it, and its end. */
import type { Incident } from '../incidents/history.ts'
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

export type News = { scope: Scope } & (
  | { kind: 'failure' | 'update'; calls: Call[] }
  | { kind: 'reminder'; open: Case }
  | { kind: 'resolved'; open: Case; at: Date }
  | { kind: 'flapping'; failedAt: string[]; calls: Call[] }
  | { kind: 'steady'; since: string }
  | { kind: 'notice'; what: string }
)
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
  const isUseful = ({ openedAt, lastCallAt, lastSeenAt }: Case) =>
    Date.parse(openedAt) > 0 && Date.parse(lastCallAt) > 0 && now.getTime() - Date.parse(lastSeenAt) < FORGOTTEN_MS
  book.cases = book.cases.filter(isUseful)
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
    if (!flaps.isFlapping) news.push({ kind: 'resolved', scope, open, at })
  } else if (!open && one.recovery) {
    failed(flaps, at, [], news)
    const { healedBy, downSec } = one.recovery
    const by = typeof healedBy === 'number' ? `level ${healedBy}` : 'itself or by hand'
    const what = `recovered by ${by} after ${Math.round(downSec)} s`
    if (!flaps.isFlapping) news.push({ kind: 'notice', scope, what })
  }
}

function call(book: Book, one: Call, open: Case | undefined, flaps: Flaps, news: News[]): void {
  const { scope, log } = one
  const at = one.at.toISOString()
  // Pids, seconds and counts differ each time.
  const reason = hash(one.why.replace(/\d+/g, '#'))
  const told = flaps.isFlapping ? flaps.calledFor : (open?.failures ?? [])
  const isTold = told.includes(reason) || told.length >= MAX_REASONS
  const isInFlapping = !open && failed(flaps, one.at, [one], news)
  const current = open ?? { scope, log, openedAt: at, lastCallAt: at, lastSeenAt: at, failures: [], remindersSent: 0 }
  if (!open) book.cases.push(current)
  for (const reasons of [current.failures, flaps.calledFor]) if (!reasons.includes(reason)) reasons.push(reason)
  if (at > current.lastCallAt) Object.assign(current, { lastCallAt: at, log })
  seen(current, one.at)
  if (isTold || isInFlapping) return
  const last = news.at(-1)
  if (last?.scope === scope && (last.kind === 'failure' || last.kind === 'update')) last.calls.push(one)
  else news.push({ kind: open ? 'update' : 'failure', scope, calls: [one] })
}

/** True when from now on it is flapping. */
function failed(flaps: Flaps, at: Date, calls: Call[], news: News[]): boolean {
  flaps.failedAt = flaps.failedAt.filter((one) => at.getTime() - Date.parse(one) < FLAPPING_MS).slice(-50)
  flaps.failedAt.push(at.toISOString())
  if (flaps.isFlapping || flaps.failedAt.length < FLAPPING_FAILURES) return false
  Object.assign(flaps, { isFlapping: true, calledFor: [] })
  news.push({ kind: 'flapping', scope: flaps.scope, failedAt: [...flaps.failedAt], calls })
  return true
}

function remind(open: Case, news: News[], now: Date, freshSec: number): void {
  const hours = (now.getTime() - Date.parse(open.openedAt)) / HOUR_MS
  const due = hours < 1 ? 0 : hours < 6 ? 1 : 2 + Math.floor(hours / 24)
  if (due <= open.remindersSent || now.getTime() - Date.parse(open.lastSeenAt) > freshSec * 1000) return
  open.remindersSent = due
  const isToldAnyway = news.some(({ kind, scope }) => scope === open.scope && kind !== 'notice')
  if (!isToldAnyway) news.push({ kind: 'reminder', scope: open.scope, open })
}

function isUnsteady(flaps: Flaps, book: Book, news: News[], now: Date): boolean {
  const since = flaps.failedAt.at(-1)
  flaps.failedAt = flaps.failedAt.filter((one) => now.getTime() - Date.parse(one) < FLAPPING_MS)
  if (flaps.failedAt.length > 0) return true
  const isDown = book.cases.some(({ scope }) => scope === flaps.scope)
  if (flaps.isFlapping && !isDown && since) news.push({ kind: 'steady', scope: flaps.scope, since })
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
