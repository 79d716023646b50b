/** What the logs of a span say, as compact events in order of time. */
import {
  type Deed,
  type LogLine,
  type Marker,
  oneLine,
  parseDeed,
  parseMarker,
  TIERS,
  type TierName,
} from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { logFilesOf, type Span } from './log-files.ts'
import { type Damage, isDamaged, readLog } from './log-lines.ts'

/** A marked line that is no run's first or last, or a deed. */
export type Said = Exclude<Marker, { kind: 'run-started' | 'run-ended' }> | Deed

export type LogEvent =
  /** A run's end; it began `seconds` before. */
  | { kind: 'run'; atMs: number; tier: TierName; verdict: string; exitCode: number; seconds: number }
  | { kind: 'start'; atMs: number; tier: TierName }
  | { kind: 'said'; atMs: number; tier: TierName; said: Said }

export interface LogReading {
  /** In order of time, also those of the two days before the span. */
  events: LogEvent[]
  damage: Damage[]
  /** What is missing, a sentence each. */
  notes: string[]
}

/**
 * A day of four tiers makes some 2500 events. So many more are remembered that no healthy week comes near it, and so
 * few that a log full of nonsense cannot fill the memory.
 */
const MAX_EVENTS = 1_000_000
const MAX_SAID_PER_LOG = 20_000
const MAX_CHARS = 300

export function readEvents(settings: Settings, span: Span, now: Date): LogReading {
  const { paths, notes } = logFilesOf(settings, span)
  const events: LogEvent[] = []
  const verdicts = new Map<string, string>()
  const damage = paths.map((path) => {
    let saidHere = 0
    let lastMs = 0
    return readLog(path, (line, found) => {
      if (line.at.getTime() < lastMs - 60_000) found.outOfOrder++
      lastMs = line.at.getTime()
      const event = eventOf(line, verdicts)
      if (!event) return
      if (event.atMs > now.getTime() + 1000) found.fromTheFuture++
      else if (event.atMs > span.to.getTime()) return
      else if (events.length >= MAX_EVENTS || (event.kind === 'said' && ++saidHere > MAX_SAID_PER_LOG)) found.tooMany++
      else events.push(event)
    })
  })
  // Stable: what one tier wrote within a second stays in its order.
  events.sort((a, b) => a.atMs - b.atMs)
  return { events, damage: damage.filter(isDamaged), notes }
}

function eventOf(line: LogLine, verdicts: Map<string, string>): LogEvent | undefined {
  if (!Object.hasOwn(TIERS, line.tier)) return undefined
  const [tier, atMs] = [line.tier as TierName, line.at.getTime()]
  const marker = parseMarker(line.text) ?? parseDeed(line.text)
  if (!marker) return undefined
  if (marker.kind === 'run-started') return { kind: 'start', atMs, tier }
  if (marker.kind !== 'run-ended') return { kind: 'said', atMs, tier, said: shortened(marker) }
  const verdict = oneLine(marker.verdict, 60)
  const known = verdicts.get(verdict)
  if (known === undefined && verdicts.size < 1000) verdicts.set(verdict, verdict)
  return { kind: 'run', atMs, tier, verdict: known ?? verdict, exitCode: marker.exitCode, seconds: marker.seconds }
}

function shortened(said: Said): Said {
  const short = (text: string) => oneLine(text, MAX_CHARS)
  switch (said.kind) {
    case 'down':
      return { ...said, verdict: oneLine(said.verdict, 40), evidence: short(said.evidence) }
    case 'escalate':
    case 'manual':
    case 'cannot-start':
      return { ...said, why: short(said.why) }
    case 'notice':
      return { ...said, what: short(said.what) }
    case 'restart':
      return { ...said, how: short(said.how) }
    case 'told':
      return { ...said, title: short(said.title) }
    default:
      return said
  }
}
