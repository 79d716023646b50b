/** What the tiers remember of the gateway between runs. Times are epoch milliseconds; 0: never. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'

export type GatewayRecord = ReturnType<typeof recordOf>

export function readRecord(settings: Settings, dryRun = false): StateRead<GatewayRecord> {
  const check = (value: unknown) => (isRecord(value) ? recordOf(value) : undefined)
  return readState(recordPath(settings), check, recordOf({}), !dryRun)
}

export function writeRecord(settings: Settings, record: GatewayRecord): void {
  writeState(recordPath(settings), record)
}

export const REFUSALS_EVERY_MS = 3_600_000

export function refusalsDue({ refusalsLookMs }: GatewayRecord, nowMs: number): boolean {
  return nowMs - refusalsLookMs >= REFUSALS_EVERY_MS || nowMs < refusalsLookMs
}

const recordPath = (settings: Settings) => join(settings.watchdogDir, 'gateway.json')

function recordOf(value: Record<string, unknown>) {
  const time = (x: unknown) => (typeof x === 'number' && Number.isFinite(x) && x >= 0 ? x : 0)
  // A clock that ran ahead may have written times of the future.
  const past = (x: unknown) => Math.min(time(x), Date.now())
  const pid = (x: unknown) => (Number.isInteger(x) && Number(x) > 0 ? Number(x) : undefined)
  const text = (x: unknown) => (typeof x === 'string' ? x : undefined)
  const texts = (x: unknown) => (Array.isArray(x) ? x.filter((one): one is string => typeof one === 'string') : [])
  return {
    lastHealthyMs: time(value.lastHealthyMs),
    pid: pid(value.pid),
    version: text(value.version),
    startedPid: pid(value.startedPid),
    configHash: text(value.configHash),
    configHealthySinceMs: past(value.configHealthySinceMs),
    troubleSinceMs: past(value.troubleSinceMs),
    /** Hashes of the known-good configs that were put back since then, and where the replaced one is kept. */
    putBack: texts(value.putBack),
    replacedConfig: text(value.replacedConfig),
    startedOnce: value.startedOnce === true,
    outOfMemoryMs: time(value.outOfMemoryMs),
    outOfMemoryToldMs: time(value.outOfMemoryToldMs),
    refusalsLookMs: time(value.refusalsLookMs),
    refusalsTold: value.refusalsTold === true,
  }
}
