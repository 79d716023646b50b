/**
 * Which failures are one and the same, and what is worth a message: pure, a line of a log at a time.
 *
 * A case is opened by the first call for a human and stays open until what it is about was seen well again; what is
 * said again in between is the same failure, and is only brought to mind: after 1 h, 6 h, and then daily.
 */
import { createHash } from 'node:crypto'
import { isHealthyObservation } from '../tier/contract.ts'
import type { Scope, Sighting } from './sightings.ts'

export interface Case {
  scope: Scope
  /** ISO time of the first call for a human. */
  openedAt: string
  /** ISO time of the last one. */
  lastCallAt: string
  /** ISO time of the last line that says that it goes on. */
  lastSeenAt: string
  /** The log with the last call. */
  log: string
  /** What was called already, see `sameness`. */
  failures: string[]
  remindersSent: number
}

/** How often something failed lately. */
export interface History {
  scope: Scope
  /** ISO times of the failures of the last two hours, whoever ended them. */
  failedAt: string[]
  /** It comes and goes, and that was told: its coming and going is no news until it has been steady. */
  isFlapping: boolean
  /** The calls for a human that were told since it is flapping, see `sameness`: what is not among them is told. */
  calledFor: string[]
}

/** What Level 4 knows of the failures. */
export interface CaseBook {
  cases: Case[]
  histories: History[]
}

export type News =
  /** A first call for a human, or (`update`) a call for another reason in a case that is known. */
  | { kind: 'failure' | 'update'; scope: Scope; calls: Sighting[] }
  | { kind: 'reminder'; scope: Scope; open: Case }
  | { kind: 'resolved'; scope: Scope; open: Case; endedBy: Sighting }
  | { kind: 'flapping'; scope: Scope; failedAt: string[]; calls: Sighting[] }
  /** It was flapping and is steady since. */
  | { kind: 'steady'; scope: Scope; since: string }
  /** Something that needs nobody: a recovery, a config put back, a watcher revived. */
  | { kind: 'notice'; scope: Scope; what: string }

const HOUR_MS = 3_600_000
/** So many failures in so long a time are flapping, and so long a time without one is steady again. */
const FLAPPING_FAILURES = 4
const FLAPPING_MS = 2 * HOUR_MS
/** A case of which nothing was heard for so long is closed without a word. */
const FORGOTTEN_MS = 7 * 24 * HOUR_MS
/** More different failures than this in one incident, or while it is flapping, are not told apart any more. */
const MAX_FAILURES = 20

/**
 * Brings the book up to date with what was seen, in order of time.
 * @param freshSec how recent the last sign of a failure must be for a reminder of it
 */
export function updateCases(
  before: CaseBook,
  sightings: readonly Sighting[],
  now: Date,
  freshSec: number,
): { book: CaseBook; news: News[] } {
  const news: News[] = []
  const known = withoutFuture(before, now)
  let book: CaseBook = {
    cases: known.cases.filter((one) => now.getTime() - Date.parse(one.lastSeenAt) < FORGOTTEN_MS),
    histories: known.histories,
  }
  for (const sighting of sightings)
    book = take(book, sighting.at.getTime() > now.getTime() ? { ...sighting, at: now } : sighting, news)
  book = remind(book, news, now, freshSec)
  return { book: settle(book, news, now), news }
}

/**
 * What was written by a clock that ran ahead counts as from now. Left in the future, a call could be ended by no later
 * observation, and the next outage would be taken for the same one.
 */
function withoutFuture({ cases, histories }: CaseBook, now: Date): CaseBook {
  const past = (time: string) => (Date.parse(time) > now.getTime() ? now.toISOString() : time)
  return {
    cases: cases.map((one) => ({
      ...one,
      openedAt: past(one.openedAt),
      lastCallAt: past(one.lastCallAt),
      lastSeenAt: past(one.lastSeenAt),
      // Those that were sent belong to the time that did not come.
      remindersSent: past(one.openedAt) === one.openedAt ? one.remindersSent : 0,
    })),
    histories: histories.map((history) => ({ ...history, failedAt: history.failedAt.map(past) })),
  }
}

function take(book: CaseBook, sighting: Sighting, news: News[]): CaseBook {
  const { scope, marker } = sighting
  const open = book.cases.find((one) => one.scope === scope)
  if (marker.kind === 'manual') return call(book, sighting, marker.why, open, news)
  if (marker.kind === 'notice' && !(open && goesOn(sighting))) news.push({ kind: 'notice', scope, what: marker.what })
  if (open && endsCase(sighting, open)) {
    if (!isFlapping(book, scope)) news.push({ kind: 'resolved', scope, open, endedBy: sighting })
    return { ...book, cases: book.cases.filter((one) => one !== open) }
  }
  if (open) return { ...book, cases: replace(book.cases, lasting(open, sighting)) }
  if (marker.kind !== 'recovered') return book
  const who = marker.level === undefined ? 'by itself or by hand' : `by level ${marker.level}`
  const after = failed(book, sighting, [], news)
  if (!isFlapping(after, scope))
    news.push({ kind: 'notice', scope, what: `recovered ${who} after ${marker.seconds} s` })
  return after
}

function call(book: CaseBook, sighting: Sighting, why: string, open: Case | undefined, news: News[]): CaseBook {
  const { scope, log } = sighting
  const at = sighting.at.toISOString()
  const failure = sameness(why)
  if (!open) {
    const after = failed(book, sighting, [sighting], news)
    if (!wasToldFlapping(after, scope, failure)) news.push({ kind: 'failure', scope, calls: [sighting] })
    const opened = { scope, openedAt: at, lastCallAt: at, lastSeenAt: at, log, failures: [failure], remindersSent: 0 }
    return { ...noteCall(after, scope, failure), cases: [...after.cases, opened] }
  }
  const isKnown = open.failures.includes(failure) || open.failures.length >= MAX_FAILURES
  const failures = isKnown ? open.failures : [...open.failures, failure]
  if (!isKnown && !wasToldFlapping(book, scope, failure)) addCall(sighting, news)
  const cases = replace(book.cases, { ...lasting(open, sighting), lastCallAt: at, log, failures })
  return { ...noteCall(book, scope, failure), cases }
}

/** Flapping silences what comes and goes, the same call among it; that nobody ever heard of a call is another matter. */
function wasToldFlapping(book: CaseBook, scope: Scope, failure: string): boolean {
  const { isFlapping, calledFor } = historyOf(book, scope)
  return isFlapping && (calledFor.includes(failure) || calledFor.length >= MAX_FAILURES)
}

function noteCall(book: CaseBook, scope: Scope, failure: string): CaseBook {
  const history = historyOf(book, scope)
  if (!history.isFlapping || wasToldFlapping(book, scope, failure)) return book
  return withHistory(book, { ...history, calledFor: [...history.calledFor, failure] })
}

/** Several reasons in one run are one message. */
function addCall(sighting: Sighting, news: News[]): void {
  const last = news.at(-1)
  const same = last && (last.kind === 'failure' || last.kind === 'update') && last.scope === sighting.scope
  if (same) last.calls.push(sighting)
  else news.push({ kind: 'update', scope: sighting.scope, calls: [sighting] })
}

function failed(book: CaseBook, { scope, at }: Sighting, calls: Sighting[], news: News[]): CaseBook {
  const history = historyOf(book, scope)
  const recent = history.failedAt.filter((one) => at.getTime() - Date.parse(one) < FLAPPING_MS)
  const failedAt = [...recent, at.toISOString()].slice(-50)
  const begins = !history.isFlapping && failedAt.length >= FLAPPING_FAILURES
  if (!begins) return withHistory(book, { ...history, failedAt })
  news.push({ kind: 'flapping', scope, failedAt, calls })
  // The news of the flapping tells these calls too.
  const calledFor = calls.flatMap(({ marker }) => (marker.kind === 'manual' ? [sameness(marker.why)] : []))
  return withHistory(book, { scope, failedAt, isFlapping: true, calledFor })
}

function remind(book: CaseBook, news: News[], now: Date, freshSec: number): CaseBook {
  const cases = book.cases.map((open) => {
    const due = remindersDue(now.getTime() - Date.parse(open.openedAt))
    const isFresh = now.getTime() - Date.parse(open.lastSeenAt) <= freshSec * 1000
    if (due <= open.remindersSent || !isFresh) return open
    const isToldAnyway = news.some(({ kind, scope }) => scope === open.scope && kind !== 'notice')
    if (!isToldAnyway) news.push({ kind: 'reminder', scope: open.scope, open })
    return { ...open, remindersSent: due }
  })
  return { ...book, cases }
}

/** After 1 h, after 6 h, and then daily. */
function remindersDue(openMs: number): number {
  if (openMs < HOUR_MS) return 0
  if (openMs < 6 * HOUR_MS) return 1
  return 2 + Math.floor(openMs / (24 * HOUR_MS))
}

function settle(book: CaseBook, news: News[], now: Date): CaseBook {
  const histories = book.histories.flatMap((history) => {
    const failedAt = history.failedAt.filter((one) => now.getTime() - Date.parse(one) < FLAPPING_MS)
    if (failedAt.length > 0) return [{ ...history, failedAt }]
    const isDown = book.cases.some(({ scope }) => scope === history.scope)
    const since = history.failedAt.at(-1)
    if (history.isFlapping && !isDown && since) news.push({ kind: 'steady', scope: history.scope, since })
    return []
  })
  return { ...book, histories }
}

function isFlapping(book: CaseBook, scope: Scope): boolean {
  return historyOf(book, scope).isFlapping
}

function historyOf(book: CaseBook, scope: Scope): History {
  return book.histories.find((one) => one.scope === scope) ?? { scope, failedAt: [], isFlapping: false, calledFor: [] }
}

function withHistory(book: CaseBook, history: History): CaseBook {
  return { ...book, histories: [...book.histories.filter(({ scope }) => scope !== history.scope), history] }
}

function replace(cases: readonly Case[], by: Case): Case[] {
  return cases.map((one) => (one.scope === by.scope ? by : one))
}

function lasting(open: Case, sighting: Sighting): Case {
  const isLater = sighting.at.getTime() > Date.parse(open.lastSeenAt)
  return goesOn(sighting) && isLater ? { ...open, lastSeenAt: sighting.at.toISOString() } : open
}

/** Says that what is open goes on. What is noticed of the watchers while they are, is that they were tried to be revived. */
function goesOn({ scope, marker }: Sighting): boolean {
  if (marker.kind === 'run-ended') return marker.exitCode === 1
  if (marker.kind === 'notice') return scope === 'watchers'
  return marker.kind === 'down' || marker.kind === 'escalate' || marker.kind === 'manual'
}

function endsCase({ scope, marker, at }: Sighting, open: Case): boolean {
  if (at.getTime() < Date.parse(open.lastCallAt)) return false
  // The guardian's exit code 0 says that all watchers are well; of the gateway it knows nothing.
  if (scope !== 'gateway') return marker.kind === 'run-ended' && marker.exitCode === 0
  return isHealthyObservation(marker)
}

/** Pids, seconds and counts differ each time that the same thing is said. A hash: the text may hold secrets. */
function sameness(why: string): string {
  return createHash('sha256').update(why.replace(/\d+/g, '#')).digest('hex').slice(0, 16)
}
