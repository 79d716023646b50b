/** What Level 4 remembers. Written before anything is sent: killed at any moment, the next run finds the lines or the alert. */
import { createHash, randomUUID } from 'node:crypto'
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, tried, writeState } from '../tier/state.ts'
import { ALERT, type Alert, DETAILS, type Scope } from './alert.ts'

const CASE = {
  ...{ scope: 'gateway' as Scope, openedAt: '', lastCallAt: '', lastSeenAt: '', log: '', remindersSent: 0 },
  failures: [''],
}

/** `calledFor`: the reasons that were sent while it is flapping. */
const FLAPS = { scope: 'gateway' as Scope, failedAt: [''], isFlapping: false, calledFor: [''] }

/** Of an alert through a channel. `uncertainTries`: it is not known whether these arrived. */
export const NOT_TRIED = { done: false, uncertainTries: 0, notBeforeMs: 0 }

/** `fingerprint`: of what identifies it; with another one it is another channel. */
export const NO_PROBLEM = { fingerprint: '', notBeforeMs: 0, isGone: false }

/** Times are ISO. Types and checks are made from this pattern, see `like`. */
const LEDGER = {
  saved: 0,
  readAt: '',
  told: [''],
  /** 1.x has taken the events up to here. */
  toldUntil: '',
  book: { cases: [CASE], histories: [FLAPS] },
  outbox: [{ id: '', alert: { ...ALERT, ...DETAILS } as Alert, deliveries: { '*': NOT_TRIED } as ByChannel<Delivery> }],
  channels: { '*': NO_PROBLEM } as ByChannel<typeof NO_PROBLEM>,
  digestUntil: '',
}

export type Case = typeof CASE
export type Flaps = typeof FLAPS
export type Delivery = typeof NOT_TRIED
export type Ledger = typeof LEDGER
type ByChannel<T> = Record<string, T>

export function readLedger(settings: Settings, dryRun: boolean): { ledger: Ledger; problems: string[] } {
  const copies = ledgerPaths(settings).map((path) =>
    readState<Ledger | undefined>(path, (value) => checkLedger(value, path), undefined, !dryRun),
  )
  const [newest] = copies.flatMap(({ value }) => value ?? []).sort((a, b) => b.saved - a.saved)
  const ledger = newest ?? like(LEDGER, {})
  return { ledger, problems: copies.flatMap(({ problem }) => problem ?? []) }
}

/** False when it can be written nowhere. */
export function saveLedger(settings: Settings, ledger: Ledger): boolean {
  ledger.saved++
  const [path, ...others] = ledgerPaths(settings)
  const write = (to: string) => tried(() => [writeState(to, ledger)]) !== undefined
  if (!write(path!)) return others.some(write)
  for (const other of others) tried(() => rmSync(other, { force: true }))
  return true
}

/** The second one is for when the first cannot be written. */
function ledgerPaths({ watchdogDir, memoryDir }: Settings): string[] {
  return [...new Set([watchdogDir, memoryDir])].map((folder) => join(folder, 'alerts.json'))
}

function checkLedger(value: unknown, path: string): Ledger | undefined {
  if (!isRecord(value) || !Number.isSafeInteger(value.saved) || !Array.isArray(value.outbox)) return undefined
  const ledger = like(LEDGER, value)
  for (const { alert } of ledger.outbox) {
    if (!alert.log?.path) delete alert.log
    if (!alert.issue?.entry) delete alert.issue
    for (const name of Object.keys(DETAILS) as (keyof typeof DETAILS)[]) if (alert[name] === '') delete alert[name]
  }
  ledger.outbox = ledger.outbox.filter(({ id, alert }) => id && alert.title)
  // 1.x: it had read the logs when it wrote this.
  if (value.positions)
    ledger.readAt = ledger.toldUntil = new Date(Math.min(statSync(path).mtimeMs, Date.now())).toISOString()
  return ledger
}

/** `*` stands for any key. */
function like<T>(pattern: T, value: unknown): T {
  if (Array.isArray(pattern)) return (Array.isArray(value) ? value.map((one) => like(pattern[0], one)) : []) as T
  if (!isRecord(pattern)) return typeof value === typeof pattern ? (value as T) : pattern
  const given = isRecord(value) ? value : {}
  const keys = Object.keys('*' in pattern ? given : pattern)
  return Object.fromEntries(keys.map((key) => [key, like(pattern['*'] ?? pattern[key], given[key])])) as T
}

export const hash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16)

export const queued = (alert: Alert): Ledger['outbox'][number] => ({ id: randomUUID(), alert, deliveries: {} })
