/**
 * What Level 4 remembers between runs: how far the logs were read, which failures are open, and the outbox.
 *
 * An alert and the reading that it came from are written in one file in one go, before anything is sent: killed at any
 * moment, the next run either reads the same lines again or finds the alert in the outbox. So an alert is never lost.
 * Sent twice it can only be when the run dies between the service's taking it and our writing that down; Discord has
 * nothing against that for webhooks (`enforce_nonce` is for bots, discord/discord-api-docs#6647), so the second one
 * says that it may be a repetition.
 */
import { lstatSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, writeState } from '../tier/state.ts'
import { type Alert, checkAlert } from './alert.ts'
import type { Case, CaseBook, History } from './cases.ts'
import { isScope, type ReadPositions } from './sightings.ts'

/** An alert on its way. */
export interface Envelope {
  id: string
  alert: Alert
  /** By channel; a channel that is not named has not been tried. */
  deliveries: Record<string, Delivery>
}

/** How far one alert has come through one channel. */
export interface Delivery {
  done: boolean
  /** Tries whose outcome is unknown: it may have arrived. */
  uncertainTries: number
  /** Set while a request is under way. Found set at the start of a run, the run that set it has died meanwhile. */
  isBeingSent: boolean
  /** Epoch milliseconds before which it is not tried again. */
  notBeforeMs: number
}

/** What the last answer of a channel was. */
export interface ChannelState {
  /** Of its address: with another address it is another channel. */
  fingerprint: string
  /** Epoch milliseconds before which it is left alone. */
  notBeforeMs: number
  /** Why it did not take the last message; empty when it did. */
  problem: string
  /** It said that it will take nothing any more. */
  isGone: boolean
}

export interface Ledger {
  /** Counts up: of two copies the one with the higher number is the newer. */
  saved: number
  positions: ReadPositions
  book: CaseBook
  outbox: Envelope[]
  channels: Record<string, ChannelState>
  /** ISO time up to which the last weekly digest told; empty: none was written yet. */
  digestUntil: string
}

const BLANK: Ledger = {
  saved: 0,
  positions: {},
  book: { cases: [], histories: [] },
  outbox: [],
  channels: {},
  digestUntil: '',
}

/** Reads the newest copy. Damaged ones are kept aside (not in a dry run), and said in `problems`. */
export function readLedger(settings: Settings, dryRun: boolean): { ledger: Ledger; problems: string[] } {
  const copies = ledgerPaths(settings)
    .filter(isOurOwn)
    .map((path) => readState<Ledger | undefined>(path, checkLedger, undefined, !dryRun))
  const ledger = copies
    .flatMap(({ value }) => value ?? [])
    .reduce((newest, copy) => (copy.saved > newest.saved ? copy : newest), BLANK)
  return { ledger, problems: copies.flatMap(({ problem }) => problem ?? []) }
}

/**
 * Writes the ledger to the first place that takes it, and takes older copies away.
 * @returns the ledger as it was saved; undefined when it could be saved nowhere
 */
export function saveLedger(settings: Settings, ledger: Ledger): Ledger | undefined {
  const next = { ...ledger, saved: ledger.saved + 1 }
  const paths = ledgerPaths(settings)
  for (const [i, path] of paths.entries()) {
    try {
      writeState(path, next)
      if (!isOurOwn(path)) continue
      for (const older of paths.slice(i + 1)) if (isOurOwn(older)) rmSync(older)
      return next
    } catch {
      // The next place. That this one cannot be written is noticed, and said, by the look at the disk.
    }
  }
  return undefined
}

/**
 * In the state folder; where that cannot be written (when, of all times, there is something to say) in the log folder,
 * else in a folder of our own for temporary files.
 */
function ledgerPaths(settings: Settings): string[] {
  const temporary = join(tmpdir(), `openclaw-self-healing-${process.getuid?.() ?? 0}`)
  return [settings.watchdogDir, settings.memoryDir, temporary].map((folder) => join(folder, 'alerts.json'))
}

/** There, and nobody else's, nor in a folder of somebody else: in `/tmp` anybody could have laid one ready. */
function isOurOwn(path: string): boolean {
  try {
    const uids = [lstatSync(path).uid, lstatSync(dirname(path)).uid]
    return !path.startsWith(tmpdir()) || uids.every((uid) => uid === process.getuid?.())
  } catch {
    return false
  }
}

function checkLedger(value: unknown): Ledger | undefined {
  if (!isRecord(value) || !Number.isSafeInteger(value.saved) || !isRecord(value.positions)) return undefined
  if (!isRecord(value.book) || !Array.isArray(value.outbox)) return undefined
  return {
    saved: Number(value.saved),
    positions: recordOf(value.positions, (end) => (Number.isSafeInteger(end) ? Number(end) : undefined)),
    book: { cases: listOf(value.book.cases, checkCase), histories: listOf(value.book.histories, checkHistory) },
    outbox: listOf(value.outbox, checkEnvelope),
    channels: recordOf(value.channels, checkChannelState),
    digestUntil: text(value.digestUntil),
  }
}

function checkCase(value: unknown): Case | undefined {
  if (!isRecord(value) || !isScope(value.scope)) return undefined
  const { scope, openedAt, lastCallAt, lastSeenAt } = value
  if (!isTime(openedAt) || !isTime(lastCallAt) || !isTime(lastSeenAt)) return undefined
  return {
    scope,
    openedAt,
    lastCallAt,
    lastSeenAt,
    log: text(value.log),
    failures: listOf(value.failures, checkText),
    remindersSent: count(value.remindersSent),
  }
}

function checkHistory(value: unknown): History | undefined {
  if (!isRecord(value) || !isScope(value.scope)) return undefined
  const failedAt = listOf(value.failedAt, (one) => (isTime(one) ? one : undefined))
  const calledFor = listOf(value.calledFor, checkText)
  return { scope: value.scope, failedAt, isFlapping: value.isFlapping === true, calledFor }
}

function checkEnvelope(value: unknown): Envelope | undefined {
  if (!isRecord(value) || typeof value.id !== 'string') return undefined
  const alert = checkAlert(value.alert)
  return alert && { id: value.id, alert, deliveries: recordOf(value.deliveries, checkDelivery) }
}

function checkDelivery(value: unknown): Delivery | undefined {
  if (!isRecord(value)) return undefined
  return {
    done: value.done === true,
    uncertainTries: count(value.uncertainTries),
    isBeingSent: value.isBeingSent === true,
    notBeforeMs: count(value.notBeforeMs),
  }
}

function checkChannelState(value: unknown): ChannelState | undefined {
  if (!isRecord(value)) return undefined
  return {
    fingerprint: text(value.fingerprint),
    notBeforeMs: count(value.notBeforeMs),
    problem: text(value.problem),
    isGone: value.isGone === true,
  }
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

function listOf<T>(value: unknown, check: (item: unknown) => T | undefined): T[] {
  return (Array.isArray(value) ? value : []).map(check).filter((item): item is T & {} => item !== undefined)
}

function recordOf<T>(value: unknown, check: (item: unknown) => T | undefined): Record<string, T> {
  const entries = Object.entries(isRecord(value) ? value : {}).map(([key, item]) => [key, check(item)] as const)
  return Object.fromEntries(entries.filter((entry): entry is [string, T] => entry[1] !== undefined))
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0
}

function checkText(value: unknown): string | undefined {
  return text(value) || undefined
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
