/** The tiers' logs of a span as events in order of time. What is missing or damaged is counted and reported. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ALL_TIERS, localDay, type Marker, oneLine, parseLine, parseMarker, type TierName } from '../tier/contract.ts'
import { logFolders, readBytes, wholeLines } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

export interface Span {
  from: Date
  to: Date
}

export type Said = Exclude<Marker, { kind: 'run-started' | 'run-ended' }>

export type LogEvent = {
  atMs: number
  tier: TierName
  log: string
  /** When its run began; of a run without a last line: `atMs`. */
  beganMs: number
  /** Its log goes on with earlier times: the clock was ahead, and has been set back since. */
  isAhead: boolean
} & ({ kind: 'start'; pid: number } | { kind: 'run'; verdict: string; exitCode: number } | { kind: 'said'; said: Said })

const NAME = new RegExp(`^(${ALL_TIERS.join('|')})-(\\d{4}-\\d\\d-\\d\\d)(?:-\\d{6})?\\.log(.*)$`)
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** More than fifty times the log of an ordinary day. */
const MAX_LOG_BYTES = 4_000_000
/** The tiers cut what they quote to hundreds of characters. */
const MAX_LINE_CHARS = 2048
export const STOOD_DOWN = 'stood down'
const MAX_RUN_SEC = 86_400

/** Also of two days before the span, in both log folders. Of a log over `maxBytes` the end is read. Never throws. */
export function readEvents(
  settings: Settings,
  span: Span,
  now: Date,
  tiers: readonly TierName[] = ALL_TIERS,
  maxBytes = MAX_LOG_BYTES,
): { events: LogEvent[]; notes: string[] } {
  const { paths, notes } = findLogs(settings, span, tiers)
  const ranked: { event: LogEvent; rank: number }[] = []
  for (const path of paths) {
    let runBeganMs = Number.POSITIVE_INFINITY
    let laterMs = Number.POSITIVE_INFINITY
    let healthyMs = 0
    for (const event of readLog(path, maxBytes, now, notes).reverse()) {
      if (event.atMs > span.to.getTime()) continue
      event.isAhead = event.atMs > laterMs + 60_000
      laterMs = Math.min(laterMs, event.atMs)
      // A run that stood down did so beside another run of the same tier.
      if (event.kind === 'run' && event.verdict !== STOOD_DOWN) runBeganMs = event.beganMs
      event.beganMs = Math.min(runBeganMs, event.atMs)
      // Within one second, what a log says up to a healthy observation precedes what other logs say.
      if (isHealthyObservation(event)) healthyMs = event.atMs
      ranked.push({ event, rank: event.atMs === healthyMs ? 0 : 1 })
    }
  }
  // Stable: the lines of one log keep their order.
  ranked.reverse().sort((a, b) => a.event.atMs - b.event.atMs || a.rank - b.rank)
  return { events: ranked.map(({ event }) => event), notes }
}

export function isHealthyObservation(event: LogEvent): boolean {
  return event.kind === 'run' ? event.verdict === 'healthy' : event.kind === 'said' && event.said.kind === 'recovered'
}

/** Without what a clock that was ahead says of a time that came only later: it would end what began after it was set back. */
export function withoutAhead(events: readonly LogEvent[]): LogEvent[] {
  return events.filter((one) => !one.isAhead || (one.kind === 'said' && one.said.kind !== 'recovered'))
}

function findLogs(settings: Settings, { from, to }: Span, tiers: readonly TierName[]) {
  const first = localDay(new Date(from.getTime() - 2 * DAY_MS))
  // The next day's too: another time zone was in force when that log was begun.
  const last = localDay(new Date(to.getTime() + DAY_MS))
  const logs: { path: string; tier?: string; day: string }[] = []
  const notes: string[] = []
  for (const [i, folder] of logFolders(settings).entries()) {
    try {
      for (const name of readdirSync(folder).sort()) {
        const [, tier, day = '', rest] = NAME.exec(name) ?? []
        if (!tiers.includes(tier as TierName) || day < first || day > last) continue
        if (rest === '') logs.push({ path: join(folder, name), tier, day })
        else notes.push(`${join(folder, name)} is not read: it was renamed or packed`)
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // The fallback folder is there only when it was needed.
      if (i === 0 || code !== 'ENOENT') notes.push(`the log folder ${folder} cannot be read (${code})`)
    }
  }
  const days = new Set<string>()
  // Just after midnight the day's logs need not be there.
  for (let ms = from.getTime(); ms < to.getTime() - HOUR_MS; ms += HOUR_MS) days.add(localDay(new Date(ms)))
  const oldest = logs.map(({ day }) => day).sort()[0] ?? last
  const since = [...days].filter((day) => day >= oldest)
  const keptFor = `(logs are kept for ${settings.logRetentionDays} days)`
  if (since.length < days.size) notes.push(`there is no log from before ${oldest} ${keptFor}`)
  for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian']) {
    const missing = since.filter((day) => !logs.some((log) => log.tier === tier && log.day === day))
    if (missing.length > 0) notes.push(`no ${tier} log of ${missing.join(', ')}`)
  }
  return { paths: logs.map(({ path }) => path), notes }
}

function readLog(path: string, maxBytes: number, now: Date, notes: string[]): LogEvent[] {
  let text: string
  let skipped: number
  try {
    const stat = statSync(path)
    // Opening a pipe would wait for its writer.
    if (!stat.isFile()) throw Object.assign(new Error(), { code: 'it is no file' })
    skipped = Math.max(0, stat.size - maxBytes)
    text = readBytes(path, skipped, stat.size).toString('utf8')
  } catch (error) {
    notes.push(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
    return []
  }
  const events: LogEvent[] = []
  let unusable = 0
  for (const raw of (skipped > 0 ? wholeLines(text) : text).split('\n')) {
    if (raw === '' || raw.startsWith(' ')) continue // a continuation
    const line = parseLine(raw.slice(0, MAX_LINE_CHARS))
    const marker = line && parseMarker(line.text)
    const tier = ALL_TIERS.find((one) => one === line?.tier)
    const atMs = line?.at.getTime() ?? Number.POSITIVE_INFINITY
    if (atMs > now.getTime() + 1000) unusable++
    else if (marker && tier) events.push(eventOf(marker, { atMs, tier, log: path, beganMs: atMs, isAhead: false }))
  }
  if (unusable > 0) notes.push(`${path}: lines that are damaged, or from the future: ${unusable}`)
  if (skipped > 0 && maxBytes === MAX_LOG_BYTES) notes.push(`${path}: only its last ${maxBytes / 1e6} MB were read`)
  return events
}

function eventOf(marker: Marker, common: Pick<LogEvent, 'atMs' | 'tier' | 'log' | 'beganMs' | 'isAhead'>): LogEvent {
  if (marker.kind === 'run-started') return { ...common, kind: 'start', pid: marker.pid }
  if (marker.kind !== 'run-ended') return { ...common, kind: 'said', said: marker }
  const beganMs = common.atMs - Math.min(marker.seconds, MAX_RUN_SEC) * 1000
  return { ...common, beganMs, kind: 'run', verdict: oneLine(marker.verdict, 60), exitCode: marker.exitCode }
}
