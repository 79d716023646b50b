/** Level 1's own memory between runs: restart budget, thresholds crossed, warnings said. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'
import { type Backoff, NO_CRASHES } from './backoff.ts'
import type { MemoryLevel } from './memory.ts'
import { checkWarnings, type StandingWarning } from './warnings.ts'

export interface WatchState {
  backoff: Backoff
  memory: MemoryLevel
  /** Warnings that were said and still hold. */
  warnings: StandingWarning[]
  /** Epoch milliseconds of the last tick that looked at the gateway: tells a sleep from an outage. */
  lastTickMs: number
}

const FIRST_TICK: WatchState = { backoff: NO_CRASHES, memory: 'ok', warnings: [], lastTickMs: 0 }

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
