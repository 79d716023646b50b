/** What the tiers remember of the gateway between runs. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'

export interface PatientRecord {
  /** Epoch milliseconds of the last healthy sighting; 0: never seen healthy. */
  lastHealthyMs: number
  /** The process that was healthy then: one that was healthy once is no longer starting up. */
  pid: number | undefined
  version: string | undefined
  /** The bare process that a tier started last. */
  startedPid: number | undefined
  /** Since when it is healthy on the config `configHash`, epoch milliseconds. */
  configHash: string | undefined
  configHealthySinceMs: number
  /** First sighting of the trouble that is going on, epoch milliseconds; 0: none. */
  troubleSinceMs: number
  /** Hashes of the known-good configs that were put back since then. */
  putBack: string[]
  /** Where the replaced config is kept: it comes back when they do not help. */
  replacedConfig: string | undefined
  /** The one start that such a trouble is allowed was spent. */
  startedOnce: boolean
  /** Epoch milliseconds of the last death by lack of memory, and of the last notice of it; 0: never. */
  outOfMemoryMs: number
  outOfMemoryToldMs: number
  /** Epoch milliseconds of the last check for refused clients, and whether its notice was given. */
  refusalsLookMs: number
  refusalsTold: boolean
}

const NEVER_SEEN: PatientRecord = {
  lastHealthyMs: 0,
  pid: undefined,
  version: undefined,
  startedPid: undefined,
  configHash: undefined,
  configHealthySinceMs: 0,
  troubleSinceMs: 0,
  putBack: [],
  replacedConfig: undefined,
  startedOnce: false,
  outOfMemoryMs: 0,
  outOfMemoryToldMs: 0,
  refusalsLookMs: 0,
  refusalsTold: false,
}

/** Reads the record; a damaged one is kept aside (not in a dry run) and begun anew. */
export function readRecord(settings: Settings, dryRun = false): StateRead<PatientRecord> {
  return readState(recordPath(settings), check, NEVER_SEEN, !dryRun)
}

export function writeRecord(settings: Settings, record: PatientRecord): void {
  writeState(recordPath(settings), record)
}

export const REFUSALS_EVERY_MS = 3_600_000

/** True when it is time to look for refused clients again. */
export function refusalsDue({ refusalsLookMs }: PatientRecord, nowMs: number): boolean {
  return nowMs - refusalsLookMs >= REFUSALS_EVERY_MS || nowMs < refusalsLookMs
}

function recordPath(settings: Settings): string {
  return join(settings.watchdogDir, 'gateway.json')
}

function check(value: unknown): PatientRecord | undefined {
  if (!isRecord(value)) return undefined
  const time = (x: unknown) => (typeof x === 'number' && Number.isFinite(x) && x >= 0 ? x : 0)
  // What a clock noted that ran ahead counts from now on.
  const past = (x: unknown) => Math.min(time(x), Date.now())
  const pid = (x: unknown) => (Number.isInteger(x) && Number(x) > 0 ? Number(x) : undefined)
  const text = (x: unknown) => (typeof x === 'string' ? x : undefined)
  return {
    lastHealthyMs: time(value.lastHealthyMs),
    pid: pid(value.pid),
    version: text(value.version),
    startedPid: pid(value.startedPid),
    configHash: text(value.configHash),
    configHealthySinceMs: past(value.configHealthySinceMs),
    troubleSinceMs: past(value.troubleSinceMs),
    putBack: Array.isArray(value.putBack) ? value.putBack.filter((hash) => typeof hash === 'string') : [],
    replacedConfig: text(value.replacedConfig),
    startedOnce: value.startedOnce === true,
    outOfMemoryMs: time(value.outOfMemoryMs),
    outOfMemoryToldMs: time(value.outOfMemoryToldMs),
    refusalsLookMs: time(value.refusalsLookMs),
    refusalsTold: value.refusalsTold === true,
  }
}
