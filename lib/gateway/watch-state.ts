/** Level 1's memory between runs: restart backoff, and warnings that hold. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'

interface Backoff {
  crashes: number
  lastRestartMs: number
}

export const NO_CRASHES: Backoff = { crashes: 0, lastRestartMs: 0 }

export function afterRestart({ crashes }: Backoff, nowMs: number): Backoff {
  return { crashes: crashes + 1, lastRestartMs: nowMs }
}

export function afterHealthyTick({ crashes, lastRestartMs }: Backoff, nowMs: number, decayHours: number): Backoff {
  const isQuiet = nowMs - lastRestartMs >= decayHours * 3_600_000
  return { crashes: isQuiet ? 0 : Math.max(0, crashes - 1), lastRestartMs }
}

/** Seconds until the next restart is allowed: the n-th step of `stepsSec` after the n-th crash. */
export function cooldownLeftSec({ crashes, lastRestartMs }: Backoff, nowMs: number, stepsSec: readonly number[]) {
  const stepSec = crashes === 0 ? 0 : (stepsSec[Math.min(crashes, stepsSec.length) - 1] ?? 0)
  // A restart in the future: the clock was set back.
  const sinceSec = (nowMs - lastRestartMs) / 1000
  return sinceSec < 0 ? 0 : Math.max(0, stepSec - sinceSec)
}

/** Why no restart is allowed now, as a log line. */
export function whyCooling({ backoff }: WatchState, { watchdogBackoffSec }: Settings): string | undefined {
  const leftSec = Math.ceil(cooldownLeftSec(backoff, Date.now(), watchdogBackoffSec))
  if (leftSec === 0) return undefined
  return `cooling down: next restart in ${leftSec} s at the earliest (${backoff.crashes} crashes)`
}

interface StandingWarning {
  text: string
  sinceMs: number
  told: boolean
}

export interface WatchState {
  backoff: Backoff
  warnings: StandingWarning[]
  /** Epoch milliseconds of the last tick: tells a sleep from an outage. */
  lastTickMs: number
}

export function readWatchState(settings: Settings, dryRun: boolean): StateRead<WatchState> {
  const firstTick = { backoff: NO_CRASHES, warnings: [], lastTickMs: 0 }
  return readState(watchStatePath(settings), check, firstTick, !dryRun)
}

export function writeWatchState(settings: Settings, state: WatchState): void {
  writeState(watchStatePath(settings), state)
}

const watchStatePath = (settings: Settings) => join(settings.watchdogDir, 'watchdog.json')

function check(value: unknown): WatchState | undefined {
  if (!isRecord(value) || !isRecord(value.backoff)) return undefined
  const { lastTickMs, warnings } = value
  const { crashes, lastRestartMs } = value.backoff
  const isCount = (n: unknown): n is number => typeof n === 'number' && Number.isFinite(n) && n >= 0
  const isWarning = (one: unknown): one is StandingWarning =>
    isRecord(one) && typeof one.text === 'string' && typeof one.sinceMs === 'number'
  if (!isCount(crashes) || !isCount(lastRestartMs) || !isCount(lastTickMs)) return undefined
  const standing = Array.isArray(warnings) ? warnings.filter(isWarning) : []
  return { backoff: { crashes, lastRestartMs }, warnings: standing, lastTickMs }
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
  const standing = texts.map((text) => {
    const { sinceMs = nowMs, told = false } = known.get(fingerprint(text)) ?? {}
    const since = Math.min(sinceMs, nowMs)
    const isDue = !told && nowMs - since >= STANDING_MS
    if (isDue) due.push(text)
    return { text, sinceMs: since, told: told || isDue }
  })
  return { standing, begun, over, due }
}
