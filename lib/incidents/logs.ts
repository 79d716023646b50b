/** The tiers' logs of a span as events in order of time. What is missing or damaged is counted and reported. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ALL_TIERS, localDay, type Marker, parseLine, parseMarker, TIERS, type TierName } from '../tier/contract.ts'
import { logFolders, readEnd } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

export type Span = { from: Date; to: Date }

export interface LogEvent {
  atMs: number
  /** As its line says: `atMs`, if no clock was set back since. */
  writtenMs: number
  /** When its run began; of a run without a last line: `atMs`. */
  beganMs: number
  tier: TierName
  log: string
  said: Marker
}

const NAME = new RegExp(`^(${ALL_TIERS.join('|')})-(\\d{4}-\\d\\d-\\d\\d)(?:-\\d{6})?\\.log(.*)$`)
/** Three times Level 2's interval. Between observations further apart it is unknown: neither up nor down. */
export const MAX_SILENCE_SEC = 900
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** More than fifty times the log of an ordinary day. */
const MAX_LOG_BYTES = 4_000_000
const MAX_LINE_CHARS = 2048
export const STOOD_DOWN = 'stood down'
const SAME_CLOCK_MS = 60_000
/** A clock that took the hour of one time zone for that of another. */
const MAX_AHEAD_MS = 14 * HOUR_MS

/** Also of two days before the span, in both log folders. Of a log over `maxBytes` the end is read. Never throws. */
export function readEvents(settings: Settings, span: Span, now: Date, tiers = ALL_TIERS, maxBytes = MAX_LOG_BYTES) {
  const { paths, notes } = findLogs(settings, span, tiers)
  const ranked: { event: LogEvent; isFirst: boolean }[] = []
  const logs = paths.map((path) => ({ path, ...readLog(path, maxBytes, notes) }))
  const lastMs = now.getTime() + 1000
  setBack(logs, lastMs)
  for (const { path, events, damaged } of logs) {
    let runBeganMs = Number.POSITIVE_INFINITY
    let healthyMs = 0
    const unusable = damaged + events.filter(({ atMs }) => atMs > lastMs).length
    if (unusable > 0) notes.push(`${path}: lines that are damaged, or from the future: ${unusable}`)
    for (const event of events) {
      const { atMs, said } = event
      if (atMs > Math.min(span.to.getTime(), lastMs)) continue
      // A run that stood down did so beside another run of the same tier.
      if (said.kind === 'run-ended' && said.verdict !== STOOD_DOWN) runBeganMs = atMs - said.seconds * 1000
      event.beganMs = Math.min(runBeganMs, atMs)
      if (isHealthyObservation(event)) healthyMs = atMs
      ranked.push({ event, isFirst: atMs === healthyMs })
    }
  }
  // Within one second, what a log says up to a healthy observation precedes what other logs say, but for the level that was
  // called in that second. Stable: the lines of one log keep their order, and a lower level comes before a higher one.
  const keyOf = (atMs: number, level: number | undefined) => `${atMs} ${level}`
  const called = new Set(
    ranked.flatMap(({ event: { atMs, said } }) => (said.kind === 'escalate' ? [keyOf(atMs, said.level)] : [])),
  )
  const rank = ({ event: { atMs, tier }, isFirst }: (typeof ranked)[number]) =>
    isFirst && !called.has(keyOf(atMs, TIERS[tier].level)) ? 0 : 1
  ranked.reverse().sort((a, b) => a.event.atMs - b.event.atMs || rank(a) - rank(b))
  return { events: ranked.map(({ event }) => event), notes }
}

export function isHealthyObservation({ said }: LogEvent): boolean {
  return said.kind === 'run-ended' ? said.verdict === 'healthy' : said.kind === 'recovered'
}

/** What a clock wrote before it was set back gets the times that it would have shown. @param logs newest event first */
function setBack(logs: readonly { events: LogEvent[] }[], lastMs: number): void {
  const changes = new Set<number>()
  for (const { events } of logs) {
    let [laterMs, byMs] = [lastMs, 0]
    for (const event of events) {
      const aheadMs = event.writtenMs - laterMs
      if (aheadMs <= 0) byMs = 0
      else if (aheadMs > byMs + SAME_CLOCK_MS) byMs = aheadMs
      // What is more is damage.
      if (byMs >= MAX_AHEAD_MS) [event.atMs, byMs] = [Number.POSITIVE_INFINITY, 0]
      else event.atMs = event.writtenMs - byMs
      changes.add(byMs)
      laterMs = Math.min(laterMs, event.atMs)
    }
  }
  // Several logs tell of one change of the clock; the one that was silent for the shortest time knows best.
  for (const event of logs.flatMap(({ events }) => events).filter(({ atMs, writtenMs }) => atMs < writtenMs)) {
    const mostMs = event.writtenMs - event.atMs + MAX_SILENCE_SEC * 1000
    event.atMs = event.writtenMs - Math.max(...[...changes].filter((ms) => ms <= mostMs))
  }
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
  if (since.length < days.size)
    notes.push(`there is no log${logs.length > 0 ? ` from before ${oldest}` : ''} ${keptFor}`)
  for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian']) {
    const missing = since.filter((day) => !logs.some((log) => log.tier === tier && log.day === day))
    if (missing.length > 0) notes.push(`no ${tier} log of ${missing.join(', ')}`)
  }
  return { paths: logs.map(({ path }) => path), notes }
}

function readLog(path: string, maxBytes: number, notes: string[]): { events: LogEvent[]; damaged: number } {
  const events: LogEvent[] = []
  let damaged = 0
  let text = ''
  try {
    const end = readEnd(path, maxBytes)
    text = end.text
    if (!end.isWhole && maxBytes === MAX_LOG_BYTES) notes.push(`${path}: only its last ${maxBytes / 1e6} MB were read`)
  } catch (error) {
    notes.push(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  for (const raw of text.split('\n')) {
    if (raw === '' || raw.startsWith(' ')) continue // a continuation
    const line = parseLine(raw.slice(0, MAX_LINE_CHARS))
    const said = line && parseMarker(line.text)
    const tier = ALL_TIERS.find((one) => one === line?.tier)
    const atMs = line?.at.getTime() ?? 0
    if (!line) damaged++
    if (said && tier) events.push({ atMs, writtenMs: atMs, beganMs: atMs, tier, log: path, said })
  }
  return { events: events.reverse(), damaged }
}
