/** Level 1's memory between runs: restart backoff, memory threshold crossed, warnings that hold. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'

interface Backoff {
  crashes: number
  lastCrashMs: number
  lastRestartMs: number
}

export const NO_CRASHES: Backoff = { crashes: 0, lastCrashMs: 0, lastRestartMs: 0 }

export function afterRestart(backoff: Backoff, nowMs: number): Backoff {
  return { crashes: backoff.crashes + 1, lastCrashMs: nowMs, lastRestartMs: nowMs }
}

export function afterHealthyTick(backoff: Backoff, nowMs: number, decayHours: number): Backoff {
  const quiet = nowMs - backoff.lastCrashMs >= decayHours * 3_600_000
  return { ...backoff, crashes: quiet ? 0 : Math.max(0, backoff.crashes - 1) }
}

/** Seconds until the next restart is allowed: the n-th step of `stepsSec` after the n-th crash. */
export function cooldownLeftSec(backoff: Backoff, nowMs: number, stepsSec: readonly number[]): number {
  if (backoff.crashes === 0) return 0
  const stepSec = stepsSec[Math.min(backoff.crashes, stepsSec.length) - 1] ?? 0
  // A restart in the future: the clock was set back.
  const sinceSec = (nowMs - backoff.lastRestartMs) / 1000
  return sinceSec < 0 ? 0 : Math.max(0, stepSec - sinceSec)
}

/** Why no restart is allowed now, as a log line. */
export function whyCooling({ backoff }: WatchState, { watchdogBackoffSec }: Settings): string | undefined {
  const leftSec = Math.ceil(cooldownLeftSec(backoff, Date.now(), watchdogBackoffSec))
  return leftSec > 0
    ? `cooling down: next restart in ${leftSec} s at the earliest (${backoff.crashes} crashes)`
    : undefined
}

type MemoryLevel = 'ok' | 'warning' | 'critical'

interface StandingWarning {
  text: string
  sinceMs: number
  told: boolean
}

export interface WatchState {
  backoff: Backoff
  memory: MemoryLevel
  warnings: StandingWarning[]
  /** Epoch milliseconds of the last tick: tells a sleep from an outage. */
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

export function memoryLevel(before: MemoryLevel, memoryMb: number, warnMb: number, criticalMb: number) {
  const level: MemoryLevel = memoryMb >= criticalMb ? 'critical' : memoryMb >= warnMb ? 'warning' : 'ok'
  const at = { ok: `below ${warnMb} MB again`, warning: `over ${warnMb} MB`, critical: `over ${criticalMb} MB` }[level]
  const notice = level === before ? undefined : `memory ${level}: the gateway uses ${memoryMb} MB, ${at}`
  return { level, notice }
}

/** A channel that reconnects or a config that is being edited needs no notice. */
const STANDING_MS = 600_000

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
    const since = Math.min(sinceMs, nowMs)
    const isDue = !told && nowMs - since >= STANDING_MS
    if (isDue) due.push(text)
    return { text, sinceMs: since, told: told || isDue }
  })
  return { standing, begun, over, due }
}
