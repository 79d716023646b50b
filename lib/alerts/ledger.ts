/** What Level 4 remembers. Written before anything is sent: killed at any moment, the next run finds the lines or the alert. */
import { lstatSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, tried, writeState } from '../tier/state.ts'
import type { Alert, Scope } from './alert.ts'

const CASE = {
  ...{ scope: 'gateway' as Scope, openedAt: '', lastCallAt: '', lastSeenAt: '', log: '', remindersSent: 0 },
  failures: [''],
}

/** `calledFor`: the reasons that were sent while it is flapping. */
const FLAPS = { scope: 'gateway' as Scope, failedAt: [''], isFlapping: false, calledFor: [''] }

/** `isBeingSent` at the start of a run: the last one died meanwhile. */
export const NOT_TRIED = { done: false, uncertainTries: 0, isBeingSent: false, notBeforeMs: 0 }

/** `fingerprint`: of its address; with another one it is another channel. */
export const NO_PROBLEM = { fingerprint: '', notBeforeMs: 0, problem: '', isGone: false }

const ALERT = {
  ...{ kind: 'failure', scope: undefined, writtenAt: '', host: '', title: '', lead: '', whys: [''] },
  ...{ downSince: undefined, lastHealthy: undefined, verdict: undefined, evidence: undefined, finding: undefined },
  ...{ tried: [{ who: '', what: '' }], todo: [''], log: { path: '', lines: [''] } },
}

/** Times are ISO. Types and checks are made from this pattern, see `like`. */
const LEDGER = {
  saved: 0,
  readAt: '',
  told: [''],
  /** 1.x has taken the events up to here. */
  toldUntil: '',
  book: { cases: [CASE], histories: [FLAPS] },
  outbox: [{ id: '', alert: ALERT, deliveries: { '*': NOT_TRIED } }],
  channels: { '*': NO_PROBLEM },
  digestUntil: '',
}

export type Case = typeof CASE
export type Flaps = typeof FLAPS
export type Delivery = typeof NOT_TRIED
export type ChannelState = typeof NO_PROBLEM
export interface QueuedAlert {
  id: string
  alert: Alert
  deliveries: Record<string, Delivery>
}
export interface Ledger extends Omit<typeof LEDGER, 'outbox' | 'channels'> {
  outbox: QueuedAlert[]
  channels: Record<string, ChannelState>
}

const BLANK = like(LEDGER, {}) as unknown as Ledger

export function readLedger(settings: Settings, dryRun: boolean): { ledger: Ledger; problems: string[] } {
  const copies = ledgerPaths(settings)
    .filter(isOurOwn)
    .map((path) => readState<Ledger | undefined>(path, checkLedger, undefined, !dryRun))
  const ledger = copies
    .flatMap(({ value }) => value ?? [])
    .reduce((newest, copy) => (copy.saved > newest.saved ? copy : newest), BLANK)
  return { ledger, problems: copies.flatMap(({ problem }) => problem ?? []) }
}

export function saveLedger(settings: Settings, ledger: Ledger): Ledger | undefined {
  const next = { ...ledger, saved: ledger.saved + 1 }
  const paths = ledgerPaths(settings)
  for (const [i, path] of paths.entries()) {
    try {
      writeState(path, next)
      if (!isOurOwn(path)) continue
      for (const older of paths.slice(i + 1)) if (isOurOwn(older)) rmSync(older)
      return next
    } catch {}
  }
  return undefined
}

function ledgerPaths(settings: Settings): string[] {
  const temporary = join(tmpdir(), `openclaw-self-healing-${process.getuid?.() ?? 0}`)
  return [settings.watchdogDir, settings.memoryDir, temporary].map((folder) => join(folder, 'alerts.json'))
}

function isOurOwn(path: string): boolean {
  const uids = tried(() => [lstatSync(path).uid, lstatSync(dirname(path)).uid])
  return uids !== undefined && (!path.startsWith(tmpdir()) || uids.every((uid) => uid === process.getuid?.()))
}

function checkLedger(value: unknown): Ledger | undefined {
  if (!isRecord(value) || !Number.isSafeInteger(value.saved) || !Array.isArray(value.outbox)) return undefined
  const ledger = like(LEDGER, value) as unknown as Ledger
  for (const { alert } of ledger.outbox) if (!alert.log?.path) delete alert.log
  const outbox = ledger.outbox.filter(({ id, alert }) => id && alert.title)
  const readAt = isRecord(value.positions) ? readByFirstVersion(value.positions) : undefined
  return { ...ledger, outbox, ...(readAt && { readAt, toldUntil: readAt }) }
}

/** 1.x kept how many bytes of each log it had read. */
function readByFirstVersion(positions: Record<string, unknown>): string {
  const times = Object.entries(positions).flatMap(([path, end]) => {
    try {
      const lines = readFileSync(path).subarray(0, Number(end)).subarray(-65_536).toString('utf8').split('\n')
      return lines.map((line) => parseLine(line)?.at.getTime() ?? 0).filter((atMs) => atMs <= Date.now())
    } catch {
      return []
    }
  })
  return new Date(Math.max(0, ...times)).toISOString()
}

/** `*` stands for any key, undefined for an optional string. */
function like<T>(pattern: T, value: unknown): T {
  if (pattern === undefined) return (typeof value === 'string' ? value : undefined) as T
  if (Array.isArray(pattern)) return (Array.isArray(value) ? value.map((one) => like(pattern[0], one)) : []) as T
  if (!isRecord(pattern)) return typeof value === typeof pattern ? (value as T) : pattern
  const given = isRecord(value) ? value : {}
  const keys = Object.keys('*' in pattern ? given : pattern)
  return Object.fromEntries(keys.map((key) => [key, like(pattern['*'] ?? pattern[key], given[key])])) as T
}
