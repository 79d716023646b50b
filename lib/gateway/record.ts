/** What the tiers remember of the gateway between runs, and how often its process has ended: counted, because it may be up at every
 * check. Times are epoch milliseconds; 0: never. */
import { join } from 'node:path'
import { restartsSince } from '../incidents/history.ts'
import type { Service } from '../services/supervisor.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, writeState } from '../tier/state.ts'
import { readGatewayLogs } from './logs.ts'
import type { ProcessInfo } from './processes.ts'

export type GatewayRecord = ReturnType<typeof recordOf>

export function readRecord(settings: Settings, dryRun = false) {
  const check = (value: unknown) => (isRecord(value) ? recordOf(value) : undefined)
  return readState(recordPath(settings), check, recordOf({}), !dryRun)
}

export function writeRecord(settings: Settings, record: GatewayRecord): void {
  writeState(recordPath(settings), record)
}

/** Seconds since trouble was first seen; 0: there is none. */
export function troubleSecOf({ troubleSinceMs }: GatewayRecord): number {
  return troubleSinceMs > 0 ? (Date.now() - troubleSinceMs) / 1000 : 0
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
    // In the future: the clock was set back, by how much is not known.
    lastHealthyMs: time(value.lastHealthyMs) > Date.now() ? Date.now() - 600_000 : time(value.lastHealthyMs),
    pid: pid(value.pid),
    version: text(value.version),
    startedPid: pid(value.startedPid),
    configHash: text(value.configHash),
    /** Of the config that would be refused at the next start: what is wrong. */
    refusedConfigHash: text(value.refusedConfigHash),
    refusal: text(value.refusal),
    configHealthySinceMs: past(value.configHealthySinceMs),
    troubleSinceMs: past(value.troubleSinceMs),
    troubleSeenMs: past(value.troubleSeenMs),
    /** Hashes of the known-good configs that were put back since then, and where the replaced one is kept. */
    putBack: texts(value.putBack),
    replacedConfig: text(value.replacedConfig),
    /** It did not come up on one of them. */
    putBackInVain: value.putBackInVain === true,
    /** When its processes ended, within the last hour; and of the last count: its process, the time, its supervisor's number. */
    deaths: (Array.isArray(value.deaths) ? value.deaths : []).map(past).filter((ms) => ms > Date.now() - 3_600_000),
    seenPid: pid(value.seenPid),
    countedMs: past(value.countedMs),
    /** Who supervised its process when that was first seen healthy, in words; and that there was one before, if there is none. */
    supervisor: text(value.supervisor),
    lostSupervisor: text(value.lostSupervisor),
    supervisorStarts: typeof value.supervisorStarts === 'number' ? value.supervisorStarts : undefined,
    stoppedSinceMs: past(value.stoppedSinceMs),
    stopTold: value.stopTold === true,
    /** Of this incident: what is done once, and the last words (what has digits as `#`) after which it was started; how often. */
    starts: (isRecord(value.starts) ? value.starts : {}) as Record<string, number>,
    outOfMemoryMs: time(value.outOfMemoryMs),
    outOfMemoryToldMs: time(value.outOfMemoryToldMs),
  }
}

export function deathsWithin({ deaths }: GatewayRecord, minutes: number): number {
  return deaths.filter((ms) => ms > Date.now() - minutes * 60_000).length
}

type Seen = { process: ProcessInfo | undefined; service: Service | undefined }

/** The record with what ended since the last count, unasked: by its supervisor's count, else one where its process is another or gone. */
export async function countDeaths(settings: Settings, record: GatewayRecord, seen: Seen) {
  const { process, service } = seen
  const nowMs = Date.now()
  const { supervisorStarts: before, seenPid, countedMs } = record
  const starts = service?.starts ?? before
  const isGone = seenPid !== undefined && process?.pid !== seenPid
  const all = before !== undefined && service?.starts !== undefined ? service.starts - before : isGone ? 1 : 0
  const ended = all > 0 ? Math.max(0, all - (await askedSince(settings, countedMs, service))) : 0
  // Nothing says when: they are spread over the time in which nothing looked.
  const sinceMs = Math.max(countedMs, nowMs - 3_600_000)
  const times = Array.from({ length: Math.min(ended, 100) }, (_, i) => nowMs - (i * (nowMs - sinceMs)) / ended)
  const deaths = [...record.deaths, ...times.reverse()].slice(-100)
  return { record: { ...record, supervisorStarts: starts, seenPid: process?.pid, countedMs: nowMs, deaths }, ended }
}

/** Under a supervisor OpenClaw ends for a restart of its own, and for an update (2026.9.6). */
const RESTARTS_ITSELF = /^(?:\[gateway\] )?restart mode: (?!in-process)/
const ASKED_BEFORE_MS = 10_000

/** How often it was restarted on purpose: by itself, by a lifecycle command, or by a tier. */
async function askedSince(settings: Settings, countedMs: number, service: Service | undefined): Promise<number> {
  const sinceMs = countedMs - ASKED_BEFORE_MS
  const said = (await readGatewayLogs(settings, sinceMs, service)).flatMap(({ lines }) => lines)
  const byItself = said.filter(
    ({ text, ms = 0, from }) => from === 'logger' && ms >= sinceMs && RESTARTS_ITSELF.test(text),
  )
  const byCommand = lifecycles(settings).filter(({ ms }) => ms >= sinceMs)
  return byItself.length + byCommand.length + restartsSince(settings, new Date(sinceMs)).length
}

/** OpenClaw's lifecycle log: `[<time>] openclaw gateway lifecycle source=cli action=stop …`. */
function lifecycles(settings: Settings): { action: string; at: string; ms: number }[] {
  const log = readTail(join(settings.stateDir, 'logs', 'gateway-restart.log'), 64 * 1024)
  const lines = log.matchAll(/^\[([^\]]+)\] openclaw gateway lifecycle .*action=([a-z-]+)/gm)
  return [...lines].map(([, at = '', action = '']) => ({ action, at, ms: Date.parse(at) }))
}

export const lastLifecycle = (settings: Settings) => lifecycles(settings).findLast(({ ms }) => !Number.isNaN(ms))
