/**
 * The history of a span of days, from the tiers' logs alone: how often each tier ran, every incident, and how long the
 * gateway was up, down, stopped on purpose, or watched by nobody. What the logs do not tell is said, never guessed.
 */
import { TIERS, type TierName } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { type LogEvent, readEvents } from './events.ts'
import type { Incident, Step } from './incident.ts'
import type { Span } from './log-files.ts'
import type { Damage } from './log-lines.ts'
import { type Story, type Stretch, tellStory } from './story.ts'

export interface TierRuns {
  /** Runs that were begun in the span. */
  started: number
  /** Runs that ended in the span, by exit code. */
  ended: Record<number, number>
  /** Runs without a last line: killed, cut off by a power failure, or their line is damaged. */
  unfinished: number
  last: { at: Date; verdict: string; exitCode: number } | undefined
}

export interface Uptime {
  upSec: number
  downSec: number
  stoppedSec: number
  /** Nobody watched. */
  unknownSec: number
  /** Of it: between an outage's first DOWN and the next healthy look. */
  unknownInIncidentsSec: number
  /** Of the time in which it was up or down; undefined when nobody watched at all. */
  percent: number | undefined
  /** The same if each outage had begun right after the last healthy look before it, and gone on while nobody watched. */
  worstPercent: number | undefined
}

export interface History {
  span: Span
  runs: Record<TierName, TierRuns>
  /** Oldest first; also one that began before the span and reaches into it. */
  incidents: Incident[]
  /** The whole span without gaps. */
  stretches: Stretch[]
  uptime: Uptime
  /** Messages that were delivered in the span, one for each channel. */
  delivered: number
  /** Calls for a human and notices that belong to no incident. */
  remarks: Step[]
  /** What is missing among the logs, a sentence each. */
  notes: string[]
  damage: Damage[]
}

/** The last `days` times 24 hours. */
export function lastDays(days: number, now = new Date()): Span {
  return { from: new Date(now.getTime() - days * 86_400_000), to: now }
}

/**
 * Reads the logs of the memory folder and of the fallback folder. Synchronous; a week of logs is a few MB. Never throws
 * for what is in a log or for one that cannot be read: that is in `notes` and `damage`.
 */
export function readHistory(settings: Settings, span: Span, now = new Date()): History {
  const { events, damage, notes } = readEvents(settings, span, now)
  const story = tellStory(events, span)
  const { incidents, stretches, remarks } = story
  const inSpan = events.filter(({ atMs }) => atMs >= span.from.getTime())
  return {
    span,
    runs: countRuns(inSpan, span),
    incidents,
    stretches,
    uptime: uptimeOf(story),
    delivered: inSpan.filter((event) => event.kind === 'said' && event.said.kind === 'told').length,
    remarks,
    notes,
    damage,
  }
}

/** A run that was begun so recently may still be at work. */
const LONGEST_RUN_MS = 3_600_000

function countRuns(events: readonly LogEvent[], span: Span): Record<TierName, TierRuns> {
  const blank = (): TierRuns => ({ started: 0, ended: {}, unfinished: 0, last: undefined })
  const runs = Object.fromEntries(Object.keys(TIERS).map((tier) => [tier, blank()])) as Record<TierName, TierRuns>
  for (const event of events) {
    const mine = runs[event.tier]
    if (event.kind === 'start') {
      mine.started++
      if (span.to.getTime() - event.atMs > LONGEST_RUN_MS) mine.unfinished++
    }
    if (event.kind !== 'run') continue
    const { atMs, verdict, exitCode } = event
    mine.ended[exitCode] = (mine.ended[exitCode] ?? 0) + 1
    mine.last = { at: new Date(atMs), verdict, exitCode }
    const beganMs = atMs - event.seconds * 1000
    if (beganMs >= span.from.getTime() && span.to.getTime() - beganMs > LONGEST_RUN_MS) mine.unfinished--
  }
  for (const mine of Object.values(runs)) mine.unfinished = Math.max(0, mine.unfinished)
  return runs
}

function uptimeOf({ stretches, unsureSec, unknownInIncidentsSec }: Story): Uptime {
  const seconds = { up: 0, down: 0, stopped: 0, unknown: 0 }
  for (const { from, to, condition } of stretches) seconds[condition] += (to.getTime() - from.getTime()) / 1000
  const watched = seconds.up + seconds.down
  const percentOf = (up: number, of: number) => (watched > 0 ? (100 * Math.max(0, up)) / of : undefined)
  return {
    upSec: seconds.up,
    downSec: seconds.down,
    stoppedSec: seconds.stopped,
    unknownSec: seconds.unknown,
    unknownInIncidentsSec,
    percent: percentOf(seconds.up, watched),
    worstPercent: percentOf(seconds.up - unsureSec, watched + unknownInIncidentsSec),
  }
}
