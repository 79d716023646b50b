/** The tiers' logs of a span as events in order of time. What is missing or damaged is counted and said, never guessed. */
import { isUtf8 } from 'node:buffer'
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Deed,
  isHealthyObservation,
  type LogLine,
  localDay,
  type Marker,
  oneLine,
  parseDeed,
  parseLine,
  parseMarker,
  TIERS,
  type TierName,
} from '../tier/contract.ts'
import { isOurLog, logFolders } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

export interface Span {
  from: Date
  to: Date
}

/** A marked line that is no run's first or last, or a deed. */
export type Said = Exclude<Marker, { kind: 'run-started' | 'run-ended' }> | Deed

export type LogEvent = { atMs: number; tier: TierName } & (
  | { kind: 'start'; pid: number }
  /** A run's end; it began `seconds` before. */
  | { kind: 'run'; verdict: string; exitCode: number; seconds: number }
  | { kind: 'said'; said: Said }
)

const NAME = new RegExp(`^(${Object.keys(TIERS).join('|')})-(\\d{4}-\\d\\d-\\d\\d)(?:-\\d{6})?\\.log`)
const DAY_MS = 86_400_000
/** What began so long before the span may reach into it. */
const LOOK_BACK_MS = 2 * DAY_MS
const PIECE_BYTES = 64 * 1024
/** The tiers cut what they quote to hundreds of characters. */
const MAX_LINE_BYTES = 16 * 1024
/** A log of a day is below 1 MB. Of a longer one than this the end is read. */
const MAX_LOG_BYTES = 256 * 1024 * 1024
/** A year of healthy days fits; a log full of nonsense does not fill the memory. */
const MAX_EVENTS = 1_000_000
const MAX_SAID_PER_LOG = 20_000
const MAX_CHARS = 300

/** What may be wrong with lines, as the report says it. */
const DAMAGE = {
  odd: 'that no tier writes (damaged, or cut off)',
  notUtf8: 'with bytes that are no text',
  overlong: 'longer than any of ours',
  fromTheFuture: 'from the future (the clock was set back)',
  outOfOrder: 'older than the one before (the clock was set back, or the log was edited)',
  tooMany: 'skipped: there are too many',
}
type Damage = Record<keyof typeof DAMAGE, number>

/**
 * Reads the logs of the span and of two days before it, in the log folder and in the fallback folder. Never throws.
 * @param maxBytes of each log; of a longer one the end is read
 * @returns events in order of time, and a sentence for everything that is missing or damaged
 */
export function readEvents(
  settings: Settings,
  span: Span,
  now: Date,
  tiers = Object.keys(TIERS) as readonly TierName[],
  maxBytes = MAX_LOG_BYTES,
): { events: LogEvent[]; notes: string[] } {
  const { paths, notes } = logFilesOf(settings, span, tiers)
  const ranked: { event: LogEvent; rank: number }[] = []
  const verdicts = new Map<string, string>()
  for (const path of paths) {
    const first = ranked.length
    let saidHere = 0
    let lastMs = 0
    const trouble = readLog(path, maxBytes, (line, damage) => {
      if (line.at.getTime() < lastMs - 60_000) damage.outOfOrder++
      lastMs = line.at.getTime()
      const event = eventOf(line, verdicts)
      if (!event) return
      if (event.atMs > now.getTime() + 1000) damage.fromTheFuture++
      else if (event.atMs > span.to.getTime()) return
      else if (ranked.length >= MAX_EVENTS || (event.kind === 'said' && ++saidHere > MAX_SAID_PER_LOG)) damage.tooMany++
      else ranked.push({ event, rank: 1 })
    })
    if (trouble) notes.push(trouble)
    // Lines have whole seconds. Within one, what a log says up to a healthy sighting precedes what other logs say.
    for (let i = ranked.length - 1, healthyMs = 0; i >= first; i--) {
      const one = ranked[i]!
      if (isHealthySighting(one.event)) healthyMs = one.event.atMs
      if (one.event.atMs === healthyMs) one.rank = 0
    }
  }
  ranked.sort((a, b) => a.event.atMs - b.event.atMs || a.rank - b.rank)
  return { events: ranked.map(({ event }) => event), notes }
}

function isHealthySighting(event: LogEvent): boolean {
  if (event.kind === 'run') return isHealthyObservation({ ...event, kind: 'run-ended' })
  return event.kind === 'said' && event.said.kind === 'recovered'
}

function logFilesOf(settings: Settings, span: Span, tiers: readonly TierName[]): { paths: string[]; notes: string[] } {
  const first = localDay(new Date(span.from.getTime() - LOOK_BACK_MS))
  const last = localDay(span.to)
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

/** The local days of which the span holds an hour or more: just after midnight today's logs need not be there. */
function daysIn({ from, to }: Span): string[] {
  const quarters: Record<string, number> = {}
  for (let ms = from.getTime(); ms < to.getTime(); ms += 900_000) {
    const day = localDay(new Date(ms))
    quarters[day] = (quarters[day] ?? 0) + Math.min(1, (to.getTime() - ms) / 900_000)
  }
  return Object.keys(quarters).filter((day) => quarters[day]! >= 4)
}

/** Gives every line of ours to `take`, in the order of the file; returns what was wrong with the others, as a sentence. */
function readLog(path: string, maxBytes: number, take: (line: LogLine, damage: Damage) => void): string | undefined {
  const damage: Damage = { odd: 0, notUtf8: 0, overlong: 0, fromTheFuture: 0, outOfOrder: 0, tooMany: 0 }
  let skipped = 0
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const stat = fstatSync(fd)
    if (!stat.isFile()) return `${path} cannot be read (it is no file)`
    skipped = Math.max(0, stat.size - maxBytes)
    // The bytes that are there now: a log that grows while it is read would otherwise never end.
    for (const bytes of linesOf(fd, skipped, stat.size, damage)) {
      if (bytes.length === 0 || bytes[0] === 0x20) continue // a continuation
      const text = bytes[0] === 0x5b ? bytes.toString('utf8') : ''
      const line = parseLine(text)
      if (!line) damage.odd++
      // A tier that quotes such bytes writes U+FFFD itself.
      else if (text.includes('\ufffd') && !isUtf8(bytes)) damage.notUtf8++
      if (line) take(line, damage)
    }
  } catch (error) {
    return `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
  const troubles = (Object.keys(DAMAGE) as (keyof Damage)[])
    .filter((kind) => damage[kind] > 0)
    .map((kind) => `${damage[kind]} line${damage[kind] === 1 ? '' : 's'} ${DAMAGE[kind]}`)
  if (skipped > 0 && maxBytes === MAX_LOG_BYTES) troubles.push(`the first ${Math.round(skipped / 1e6)} MB skipped`)
  return troubles.length > 0 ? `${path}: ${troubles.join(', ')}` : undefined
}

/** Lines as bytes, without their line break; none is longer than `MAX_LINE_BYTES`. */
function* linesOf(fd: number, from: number, to: number, damage: Damage): Generator<Buffer> {
  const piece = Buffer.alloc(PIECE_BYTES)
  let rest: Buffer = Buffer.alloc(0)
  // The first line of a log that is begun in the middle is half a line.
  let isCut = from > 0
  for (let position = from; position < to; ) {
    const length = readSync(fd, piece, 0, Math.min(piece.length, to - position), position)
    if (length === 0) break
    position += length
    let start = 0
    for (let end = piece.indexOf(0x0a); end !== -1 && end < length; end = piece.indexOf(0x0a, start)) {
      if (!isCut) yield Buffer.concat([rest, piece.subarray(start, end)])
      rest = Buffer.alloc(0)
      isCut = false
      start = end + 1
    }
    rest = Buffer.concat([rest, piece.subarray(start, length)])
    if (rest.length <= MAX_LINE_BYTES) continue
    if (!isCut) {
      damage.overlong++
      yield rest.subarray(0, MAX_LINE_BYTES)
    }
    rest = Buffer.alloc(0)
    isCut = true
  }
  // A last line without its end is being written right now, or was cut off by a full disk.
  if (rest.length > 0 && !isCut) yield rest
}

/** @param verdicts the same word is kept once: a piece of a line would keep the whole line in memory */
function eventOf(line: LogLine, verdicts: Map<string, string>): LogEvent | undefined {
  if (!Object.hasOwn(TIERS, line.tier)) return undefined
  const [tier, atMs] = [line.tier as TierName, line.at.getTime()]
  const marker = parseMarker(line.text) ?? parseDeed(line.text)
  if (!marker) return undefined
  if (marker.kind === 'run-started') return { kind: 'start', atMs, tier, pid: marker.pid }
  if (marker.kind !== 'run-ended') return { kind: 'said', atMs, tier, said: shortened(marker) }
  const verdict = oneLine(marker.verdict, 60)
  if (verdicts.size < 1000 && !verdicts.has(verdict)) verdicts.set(verdict, verdict)
  const { exitCode, seconds } = marker
  return { kind: 'run', atMs, tier, verdict: verdicts.get(verdict) ?? verdict, exitCode, seconds }
}

function shortened(said: Said): Said {
  const short = Object.entries(said).map(([key, value]) => [
    key,
    typeof value === 'string' && key !== 'kind' ? oneLine(value, key === 'verdict' ? 40 : MAX_CHARS) : value,
  ])
  return Object.fromEntries(short) as Said
}
