/** An incident as the logs tell it, step by step. */
import { TIERS, type TierName } from '../tier/contract.ts'
import type { Said } from './logs.ts'

/** Who did what when. The same thing said again is counted, not repeated. */
export interface Step {
  at: Date
  /** When it was said last. */
  until: Date
  times: number
  tier: TierName
  said: Said | { kind: 'run-ended'; verdict: string; exitCode: number }
}

export class Incident {
  /** The first DOWN. When that line is missing: as the RECOVERED line reckons, see `isBeginSeen`. */
  readonly begin: Date
  isBeginSeen = true
  /** When it was last seen healthy before `begin`; undefined: not in these logs, or it was stopped on purpose since. */
  readonly lastHealthy: Date | undefined
  /** The next healthy sighting; undefined: it goes on. */
  end: Date | undefined
  /** The last line about it. */
  lastSeen: Date
  /** What it was, by the most telling DOWN of it. */
  verdict = 'unknown'
  /** Text from outside, one line. */
  evidence = ''
  /** Which level ended it; `outside`: none of them, it recovered by itself or by hand; undefined: it goes on. */
  healedBy: number | 'outside' | undefined
  /** How long it was seen down: time in which no tier looked does not count. */
  downSec = 0
  /** What a user may have felt: from `lastHealthy` (else, or when that is over 900 s before, from `begin`) to `lastSeen`. */
  feltSec = 0
  /** How much of the time no tier looked, or the gateway was stopped on purpose. */
  unwatchedSec = 0
  stoppedSec = 0
  /** The highest level that was called. */
  highestLevel = 0
  restarts = 0
  doctorRuns = 0
  /** How often a human was called (MANUAL INTERVENTION REQUIRED). */
  manualCalls = 0
  /** Messages about it that were delivered, one for each channel. */
  alerts = 0
  /** The first of `MAX_STEPS`; `stepsLeftOut` more were not kept. */
  readonly steps: Step[] = []
  stepsLeftOut = 0

  constructor(beginMs: number, healthyMs: number | undefined) {
    this.begin = new Date(beginMs)
    this.lastSeen = this.begin
    this.lastHealthy = healthyMs === undefined ? undefined : new Date(healthyMs)
  }
}

/** An incident that lasts for days repeats itself; a log full of nonsense does not fill the memory. */
const MAX_STEPS = 200

const SAID = new WeakMap<Step[], Map<string, Step>>()

/** False when there are too many already. */
export function pushStep(steps: Step[], said: Step['said'], tier: TierName, atMs: number): boolean {
  const at = new Date(atMs)
  const known = SAID.get(steps) ?? new Map<string, Step>()
  SAID.set(steps, known)
  // The same verdict again is no news, whatever pid or how many seconds it is said with this time.
  const words = said.kind === 'down' ? `down ${said.verdict}` : JSON.stringify(said).replace(/\d+/g, '#')
  const before = known.get(`${tier} ${words}`)
  if (before) {
    before.times++
    before.until = at
    return true
  }
  if (steps.length >= MAX_STEPS) return false
  const step = { at, until: at, times: 1, tier, said }
  steps.push(step)
  known.set(`${tier} ${words}`, step)
  return true
}

export function addStep(incident: Incident, said: Step['said'], tier: TierName, atMs: number): void {
  if (!pushStep(incident.steps, said, tier, atMs)) incident.stepsLeftOut++
}

/** What a watcher said about it. */
export function addSaying(incident: Incident, said: Said, tier: TierName, atMs: number): void {
  addStep(incident, said, tier, atMs)
  incident.lastSeen = new Date(atMs)
  const called = said.kind === 'manual' ? 4 : said.kind === 'escalate' ? said.level : 0
  incident.highestLevel = Math.max(incident.highestLevel, TIERS[tier].level ?? 0, called)
  if (said.kind === 'restart') incident.restarts++
  if (said.kind === 'doctor') incident.doctorRuns++
  if (said.kind === 'manual') incident.manualCalls++
}
