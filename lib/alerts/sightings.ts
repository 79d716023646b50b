/** What the tiers' logs say that a human should hear of: read on from where the last run stopped. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { ABOUT_WATCHERS, type Marker, parseLine, parseMarker, TIERS, type TierName } from '../tier/contract.ts'
import { recentLogs } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

/**
 * What a failure is about: the gateway, the watchers themselves (the guardian says so, Level 1 of what cron runs), or the
 * folders without which no tier can say anything (Level 4 looks).
 */
export type Scope = 'gateway' | 'watchers' | 'disk'

export function isScope(value: unknown): value is Scope {
  return value === 'gateway' || value === 'watchers' || value === 'disk'
}

/** A marked line of a tier's log. */
export interface Sighting {
  scope: Scope
  tier: TierName
  /** The log's path. */
  log: string
  at: Date
  marker: Marker
}

/** How many bytes of which log (by path) have been read and acted upon. */
export type ReadPositions = Record<string, number>

export interface Reading {
  /** In order of time. Empty when there is nothing that matters. */
  sightings: Sighting[]
  positions: ReadPositions
}

// The monitor's own log is not among them: what concerns itself, it says itself.
const READ_TIERS = ['watchdog', 'healthcheck', 'emergency-recovery', 'guardian'] as const

const MANUAL = 'MANUAL INTERVENTION REQUIRED'
/** The words with which lines that matter begin; `RECOVERED` counts because what recovers too often is flapping. */
const WORDS = [MANUAL, 'RECOVERED by', 'NOTICE ']

/** Our logs are far from this; what is in front of the last 16 MiB of new text is passed over. */
const MAX_BYTES = 16 * 1024 * 1024

/**
 * Reads what was added to the logs that were written since `since`.
 *
 * A tick on which nothing happened costs no more than a search for the markers' words in the new bytes. Lines are only
 * taken apart when one was found, or when `everything` is asked for (a failure is open, and its end would be news). Only a line of ours whose text begins with the marker counts: in a continuation line it is a quotation.
 */
export function readSightings(
  settings: Settings,
  positions: ReadPositions,
  since: Date,
  everything: boolean,
  now: Date,
): Reading {
  const withinSec = (now.getTime() - since.getTime()) / 1000
  const added = recentLogs(settings, READ_TIERS, withinSec, now).map((path) => readAdded(path, positions[path] ?? 0))
  if (!everything && !added.some(({ bytes }) => WORDS.some((word) => bytes.includes(word))))
    return { sightings: [], positions }
  const sightings = added
    .flatMap(({ path, bytes }) => markedLinesOf(path, bytes.toString('utf8')))
    .filter(({ at }) => at.getTime() >= since.getTime())
    .sort((a, b) => a.at.getTime() - b.at.getTime())
  // A log that was not written lately is forgotten; should it be written again, the age of its lines is looked at.
  return { sightings, positions: Object.fromEntries(added.map(({ path, end }) => [path, end])) }
}

interface Added {
  path: string
  bytes: Buffer
  end: number
}

function readAdded(path: string, position: number): Added {
  const nothing = { path, bytes: Buffer.alloc(0), end: position }
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return nothing
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) return nothing
    // Shorter than before: it was replaced.
    const from = Math.max(position <= stat.size ? position : 0, stat.size - MAX_BYTES)
    const buffer = Buffer.alloc(stat.size - from)
    const bytes = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, from))
    const end = endOfLines(bytes)
    return { path, bytes: bytes.subarray(0, end), end: from + end }
  } catch {
    return nothing
  } finally {
    closeSync(fd)
  }
}

/**
 * Where the next reading shall go on. A last line without its end is being written right now, or was cut off by a
 * full disk: it is left for the next time, unless it calls for a human already.
 */
function endOfLines(bytes: Buffer): number {
  const end = bytes.lastIndexOf(0x0a) + 1
  return bytes.subarray(end).includes(MANUAL) ? bytes.length : end
}

function markedLinesOf(path: string, text: string): Sighting[] {
  return text.split('\n').flatMap((raw) => {
    const line = parseLine(raw)
    const marker = line && parseMarker(line.text)
    if (!line || !marker || !(line.tier in TIERS)) return []
    const tier = line.tier as TierName
    return [{ scope: scopeOf(tier, marker), tier, log: path, at: line.at, marker }]
  })
}

function scopeOf(tier: TierName, marker: Marker): Scope {
  if (marker.kind === 'manual') return marker.why.startsWith(ABOUT_WATCHERS) ? 'watchers' : 'gateway'
  if (marker.kind === 'notice') return marker.what.startsWith(ABOUT_WATCHERS) ? 'watchers' : 'gateway'
  return tier === 'guardian' ? 'watchers' : 'gateway'
}
