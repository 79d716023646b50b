/** Level 1's own memory between runs: restart budget, memory threshold crossed, warnings that hold. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'
import { type Backoff, NO_CRASHES } from './backoff.ts'

export type MemoryLevel = 'ok' | 'warning' | 'critical'

export interface StandingWarning {
  text: string
  sinceMs: number
  /** A notice was given. */
  told: boolean
}

export interface WatchState {
  backoff: Backoff
  memory: MemoryLevel
  warnings: StandingWarning[]
  /** Epoch milliseconds of the last tick that looked at the gateway: tells a sleep from an outage. */
  lastTickMs: number
}

const FIRST_TICK: WatchState = { backoff: NO_CRASHES, memory: 'ok', warnings: [], lastTickMs: 0 }
const KEPT_WARNINGS = 50

export function readWatchState(settings: Settings, dryRun: boolean): StateRead<WatchState> {
  return readState(watchStatePath(settings), check, FIRST_TICK, !dryRun)
}

export function writeWatchState(settings: Settings, state: WatchState): void {
  writeState(watchStatePath(settings), state)
}

function watchStatePath(settings: Settings): string {
  return join(settings.watchdogDir, 'watchdog.json')
}

function check(value: unknown): WatchState | undefined {
  if (!isRecord(value) || !isRecord(value.backoff)) return undefined
  const { crashes, lastCrashMs, lastRestartMs } = value.backoff
  const numbers = [crashes, lastCrashMs, lastRestartMs, value.lastTickMs]
  if (!numbers.every((n) => typeof n === 'number' && Number.isFinite(n) && n >= 0)) return undefined
  return {
    backoff: { crashes, lastCrashMs, lastRestartMs } as Backoff,
    memory: value.memory === 'warning' || value.memory === 'critical' ? value.memory : 'ok',
    warnings: checkWarnings(value.warnings),
    lastTickMs: value.lastTickMs as number,
  }
}

function checkWarnings(value: unknown): StandingWarning[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, KEPT_WARNINGS).flatMap((one: unknown) => {
    if (!isRecord(one) || typeof one.text !== 'string' || typeof one.sinceMs !== 'number') return []
    return [{ text: one.text, sinceMs: one.sinceMs, told: one.told === true }]
  })
}

/** The memory level now; `notice` when it crossed a threshold since the last tick. */
export function memoryLevel(before: MemoryLevel, memoryMb: number, warnMb: number, criticalMb: number) {
  const level: MemoryLevel = memoryMb >= criticalMb ? 'critical' : memoryMb >= warnMb ? 'warning' : 'ok'
  const at = { ok: `below ${warnMb} MB again`, warning: `over ${warnMb} MB`, critical: `over ${criticalMb} MB` }[level]
  const notice = level === before ? undefined : `memory ${level}: the gateway uses ${memoryMb} MB, ${at}`
  return { level, notice }
}

/** What passes by itself before (a channel that reconnects, a config being edited) needs no notice. */
const STANDING_MS = 600_000

/** Pids and counts in a text change from tick to tick. */
const fingerprint = (text: string): string => text.replace(/\d+/g, '#')

/** Which warnings hold now, which are new, which are over, and which have stood for ten minutes and are due a notice. */
export function followWarnings(before: readonly StandingWarning[], texts: readonly string[], nowMs: number) {
  const known = new Map(before.map((warning) => [fingerprint(warning.text), warning]))
  const present = new Set(texts.map(fingerprint))
  const begun = texts.filter((text) => !known.has(fingerprint(text)))
  const over = before.filter(({ text }) => !present.has(fingerprint(text))).map(({ text }) => text)
  const due: string[] = []
  const standing = texts.slice(0, KEPT_WARNINGS).map((text) => {
    const { sinceMs = nowMs, told = false } = known.get(fingerprint(text)) ?? {}
    // A clock that was set back begins the wait again.
    const since = Math.min(sinceMs, nowMs)
    const isDue = !told && nowMs - since >= STANDING_MS
    if (isDue) due.push(text)
    return { text, sinceMs: since, told: told || isDue }
  })
  return { standing, begun, over, due }
}
