/** Level 1's memory between runs: restart backoff, and warnings that hold. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { readState, shaped, writeState } from '../tier/state.ts'
import type { Warning } from './judge.ts'

export const NO_CRASHES = { crashes: 0, lastRestartMs: 0 }
type Backoff = typeof NO_CRASHES

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

export function whyCooling({ backoff }: WatchState, { watchdogBackoffSec }: Settings): string | undefined {
  const leftSec = Math.ceil(cooldownLeftSec(backoff, Date.now(), watchdogBackoffSec))
  if (leftSec === 0) return undefined
  return `cooling down: next restart in ${leftSec} s at the earliest (${backoff.crashes} crashes)`
}

const STANDING = { kind: '', text: '', sinceMs: 0, told: false }
/** `lastTickMs`, epoch milliseconds, tells a sleep from an outage. */
const FIRST_TICK = { backoff: NO_CRASHES, warnings: [] as (typeof STANDING)[], lastTickMs: 0 }

export type WatchState = typeof FIRST_TICK

export function readWatchState(settings: Settings, dryRun: boolean) {
  return readState(watchStatePath(settings), check, FIRST_TICK, !dryRun)
}

export function writeWatchState(settings: Settings, state: WatchState): void {
  writeState(watchStatePath(settings), state)
}

const watchStatePath = (settings: Settings) => join(settings.watchdogDir, 'watchdog.json')

/** In a file of 1.x the warnings have no kinds: they begin again. */
function check(value: unknown): WatchState | undefined {
  const { warnings } = shaped({ warnings: [STANDING] })(value) ?? FIRST_TICK
  const state = shaped({ backoff: NO_CRASHES, lastTickMs: 0 })(value)
  return state && { ...state, warnings }
}

/** A channel that reconnects needs no notice. */
const STANDING_MS = 600_000
export const TOLD_AT_ONCE = ['crash-looping', 'broken-config']

/** Which warnings hold now, which are new, which are gone, and which have stood for ten minutes and are due a notice; by kind, whatever their words. */
export function followWarnings(before: WatchState['warnings'], now: readonly Warning[], nowMs: number) {
  const standing = now.map(({ kind, text }) => {
    const known = before.find((one) => one.kind === kind)
    const sinceMs = Math.min(known?.sinceMs ?? nowMs, nowMs)
    const isDue = nowMs - sinceMs >= STANDING_MS || TOLD_AT_ONCE.includes(kind)
    return { known, warning: { kind, text, sinceMs, told: known?.told || isDue } }
  })
  return {
    standing: standing.map(({ warning }) => warning),
    begun: standing.flatMap(({ known, warning }) => (known ? [] : warning)),
    due: standing.flatMap(({ known, warning }) => (warning.told && !known?.told ? warning : [])),
    gone: before.filter(({ kind }) => !now.some((one) => one.kind === kind)),
  }
}
