/** The tiers' logs of a span as events in order of time. What is missing or damaged is counted and reported. */
import { isUtf8 } from 'node:buffer'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  ALL_TIERS,
  type LogLine,
  localDay,
  type Marker,
  oneLine,
  parseLine,
  parseMarker,
  TIERS,
  type TierName,
} from '../tier/contract.ts'
import { isOurLog, logFolders, readBytes } from '../tier/journal.ts'
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

const NAME = new RegExp(`^(${ALL_TIERS.join('|')})-(\\d{4}-\\d\\d-\\d\\d)(?:-\\d{6})?\\.log`)
const DAY_MS = 86_400_000
const LOOK_BACK_MS = 2 * DAY_MS
const MAX_LOG_BYTES = 16 * 1024 * 1024
/** The tiers cut what they quote to hundreds of characters. */
const MAX_LINE_BYTES = 2048
const MAX_EVENTS_PER_LOG = 20_000
/** The verdict of a run that did not look. */
export const STOOD_DOWN = 'stood down'
/** More in a log is damage. */
const MAX_RUN_SEC = 86_400

const DAMAGE = {
  odd: 'that no tier writes (damaged, or cut off)',
  fromTheFuture: 'from the future (the clock was set back)',
  outOfOrder: 'older than the one before (the clock was set back, or the log was edited)',
  tooMany: 'skipped: there are too many',
}
type Damage = Record<keyof typeof DAMAGE, number>

/** Also of two days before the span, in both log folders. Of a log over `maxBytes` the end is read. Never throws. */
export function readEvents(
  settings: Settings,
  span: Span,
  now: Date,
  tiers: readonly TierName[] = ALL_TIERS,
  maxBytes = MAX_LOG_BYTES,
): { events: LogEvent[]; notes: string[] } {
  const { paths, notes } = logFilesOf(settings, span, tiers)
  const ranked: { event: LogEvent; rank: number }[] = []
  for (const path of paths) {
    const own: LogEvent[] = []
    let lastMs = 0
    const trouble = readLog(path, maxBytes, (line, damage) => {
      const atMs = line.at.getTime()
      if (atMs < lastMs - 60_000) damage.outOfOrder++
      lastMs = atMs
      const event = eventOf(line, path)
      if (event && atMs > now.getTime() + 1000) damage.fromTheFuture++
      else if (event && own.length >= MAX_EVENTS_PER_LOG) damage.tooMany++
      else if (event && atMs <= span.to.getTime()) own.push(event)
    })
    if (trouble) notes.push(trouble)
    let runBeganMs = Number.POSITIVE_INFINITY
    let laterMs = Number.POSITIVE_INFINITY
    let healthyMs = 0
    for (const event of own.toReversed()) {
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

function logFilesOf(settings: Settings, span: Span, tiers: readonly TierName[]): { paths: string[]; notes: string[] } {
  const first = localDay(new Date(span.from.getTime() - LOOK_BACK_MS))
  // The next day's too: another time zone was in force when that log was begun.
  const last = localDay(new Date(span.to.getTime() + DAY_MS))
  const paths: string[] = []
  const notes: string[] = []
  const daysOf = new Map<string, Set<string>>()
  for (const [i, folder] of logFolders(settings).entries()) {
    let names: string[]
    try {
      names = readdirSync(folder).sort()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error)
      // The fallback folder is there only when it was needed.
      if (i === 0 || code !== 'ENOENT') notes.push(`the log folder ${folder} cannot be read (${code})`)
      continue
    }
    for (const name of names) {
      const [, tier, day = ''] = NAME.exec(name) ?? []
      if (!tiers.includes(tier as TierName) || day < first || day > last) continue
      if (!isOurLog(name) || !name.endsWith('.log')) {
        notes.push(`${join(folder, name)} is not read: it was renamed or packed`)
        continue
      }
      paths.push(join(folder, name))
      daysOf.set(tier!, (daysOf.get(tier!) ?? new Set()).add(day))
    }
  }
  return { paths, notes: [...notes, ...missingDays(settings, span, daysOf)] }
}

function missingDays(settings: Settings, span: Span, daysOf: Map<string, Set<string>>): string[] {
  const wanted = daysIn(span)
  const oldest = [...daysOf.values()].flatMap((days) => [...days]).sort()[0]
  if (oldest === undefined) return wanted.length > 0 ? ['there is no log of these days at all'] : []
  const isCut = span.to.getTime() - settings.logRetentionDays * DAY_MS > span.from.getTime()
  const why = isCut ? ` (logs are kept for ${settings.logRetentionDays} days)` : ''
  const notes = wanted.some((day) => day < oldest) ? [`there is no log from before ${oldest}${why}`] : []
  for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian']) {
    const missing = wanted.filter((day) => day >= oldest && !daysOf.get(tier)?.has(day))
    if (missing.length > 0) notes.push(`no ${tier} log of ${missing.join(', ')}`)
  }
  return notes
}

/** Days of which the span holds an hour or more: just after midnight logs need not be there. */
function daysIn({ from, to }: Span): string[] {
  const quarters: Record<string, number> = {}
  for (let ms = from.getTime(); ms < to.getTime(); ms += 900_000) {
    const day = localDay(new Date(ms))
    quarters[day] = (quarters[day] ?? 0) + Math.min(1, (to.getTime() - ms) / 900_000)
  }
  return Object.keys(quarters).filter((day) => quarters[day]! >= 4)
}

function readLog(path: string, maxBytes: number, take: (line: LogLine, damage: Damage) => void): string | undefined {
  const damage: Damage = { odd: 0, fromTheFuture: 0, outOfOrder: 0, tooMany: 0 }
  let bytes: Buffer
  let skipped: number
  try {
    const stat = statSync(path)
    if (!stat.isFile()) return `${path} cannot be read (it is no file)`
    skipped = Math.max(0, stat.size - maxBytes)
    bytes = readBytes(path, skipped, stat.size)
  } catch (error) {
    return `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`
  }
  // A log that is read from the middle begins with half a line.
  for (let from = skipped > 0 ? bytes.indexOf(0x0a) + 1 : 0, end = 0; from < bytes.length; from = end + 1) {
    end = bytes.indexOf(0x0a, from)
    if (end < 0) end = bytes.length
    if (end === from || bytes[from] === 0x20) continue // a continuation
    const raw = bytes.subarray(from, Math.min(end, from + MAX_LINE_BYTES))
    const line = parseLine(raw.toString('utf8'))
    if (!line || end - from > MAX_LINE_BYTES || !isUtf8(raw)) damage.odd++
    if (line) take(line, damage)
  }
  const troubles = (Object.keys(DAMAGE) as (keyof Damage)[])
    .filter((kind) => damage[kind] > 0)
    .map((kind) => `${damage[kind]} line${damage[kind] === 1 ? '' : 's'} ${DAMAGE[kind]}`)
  if (skipped > 0 && maxBytes === MAX_LOG_BYTES) troubles.push(`the first ${Math.round(skipped / 1e6)} MB skipped`)
  return troubles.length > 0 ? `${path}: ${troubles.join(', ')}` : undefined
}

function eventOf(line: LogLine, log: string): LogEvent | undefined {
  const marker = parseMarker(line.text)
  if (!marker || !Object.hasOwn(TIERS, line.tier)) return undefined
  const atMs = line.at.getTime()
  const common = { atMs, tier: line.tier as TierName, log, beganMs: atMs, isAhead: false }
  if (marker.kind === 'run-started') return { ...common, kind: 'start', pid: marker.pid }
  if (marker.kind !== 'run-ended') return { ...common, kind: 'said', said: marker }
  const beganMs = atMs - Math.min(marker.seconds, MAX_RUN_SEC) * 1000
  return { ...common, beganMs, kind: 'run', verdict: oneLine(marker.verdict, 60), exitCode: marker.exitCode }
}
