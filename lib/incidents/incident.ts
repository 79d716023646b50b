import { TIERS, type TierName } from '../tier/contract.ts'
import type { Said } from './logs.ts'

export interface Step {
  at: Date
  until: Date
  times: number
  tier: TierName
  said: Said | { kind: 'run-ended'; verdict: string; exitCode: number }
}

export class Incident {
  /** The first DOWN; without that line, reckoned from RECOVERED. */
  readonly begin: Date
  isBeginSeen = true
  readonly lastHealthy: Date | undefined
  end: Date | undefined
  lastSeen: Date
  verdict = 'unknown'
  evidence = ''
  /** `outside`: by itself or by hand; undefined: it goes on. */
  healedBy: number | 'outside' | undefined
  /** Time in which no tier looked does not count. */
  downSec = 0
  /** For a user: from `lastHealthy` if that is at most 900 s before `begin`, else from `begin`. */
  feltSec = 0
  unwatchedSec = 0
  stoppedSec = 0
  highestLevel = 0
  restarts = 0
  doctorRuns = 0
  manualCalls = 0
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

const MAX_STEPS = 200

const SAID = new WeakMap<Step[], Map<string, Step>>()

export function pushStep(steps: Step[], said: Step['said'], tier: TierName, atMs: number): boolean {
  const at = new Date(atMs)
  const known = SAID.get(steps) ?? new Map<string, Step>()
  SAID.set(steps, known)
  // Pids and seconds differ each time.
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

export function addSaying(incident: Incident, said: Said, tier: TierName, atMs: number): void {
  addStep(incident, said, tier, atMs)
  incident.lastSeen = new Date(atMs)
  const called = said.kind === 'manual' ? 4 : said.kind === 'escalate' ? said.level : 0
  incident.highestLevel = Math.max(incident.highestLevel, TIERS[tier].level ?? 0, called)
  if (said.kind === 'restart') incident.restarts++
  if (said.kind === 'doctor') incident.doctorRuns++
  if (said.kind === 'manual') incident.manualCalls++
}
