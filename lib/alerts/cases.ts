/**
 * Which failures are one and the same. A case is opened by the first call for a human and stays open until the gateway
 * (or, for the watchers, the guardian's run) was seen healthy; whatever is said again in between is the same failure.
 */
import { createHash } from 'node:crypto'
import { isHealthyObservation } from '../tier/contract.ts'
import { isRecord } from '../tier/state.ts'
import type { Scope, Sighting } from './sightings.ts'

export interface Case {
  scope: Scope
  /** ISO time of the first call for a human. */
  openedAt: string
  /** ISO time of the last one. */
  lastCallAt: string
  /** What was called already, see `sameness`. */
  failures: string[]
}

/** More different failures than this in one incident are not told apart any more. */
const MAX_FAILURES = 20

/**
 * Brings the cases up to date with what was seen, in order of time.
 * @returns the open cases, and the calls that are news: the first of a case, and others with another reason
 */
export function updateCases(
  before: readonly Case[],
  sightings: readonly Sighting[],
): { cases: Case[]; news: Sighting[] } {
  let cases = [...before]
  const news: Sighting[] = []
  for (const sighting of sightings) {
    const open = cases.find(({ scope }) => scope === sighting.scope)
    if (open && endsCase(sighting, open)) cases = cases.filter((one) => one !== open)
    if (sighting.marker.kind !== 'manual') continue
    const failure = sameness(sighting.marker.why)
    const at = sighting.at.toISOString()
    const isKnown = open && (open.failures.includes(failure) || open.failures.length >= MAX_FAILURES)
    if (!isKnown) news.push(sighting)
    const failures = isKnown ? open.failures : [...(open?.failures ?? []), failure]
    const updated: Case = { scope: sighting.scope, openedAt: open?.openedAt ?? at, lastCallAt: at, failures }
    cases = [...cases.filter((one) => one !== open), updated]
  }
  return { cases, news }
}

/** Pids, seconds and counts differ each time that the same thing is said. A hash: the text may hold secrets. */
function sameness(why: string): string {
  return createHash('sha256').update(why.replace(/\d+/g, '#')).digest('hex').slice(0, 16)
}

function endsCase({ tier, marker, at }: Sighting, open: Case): boolean {
  if (at.getTime() < Date.parse(open.lastCallAt)) return false
  // The guardian's exit code 0 says that all watchers are well; of the gateway it knows nothing.
  if (tier === 'guardian') return marker.kind === 'run-ended' && marker.exitCode === 0
  return isHealthyObservation(marker)
}

export function checkCase(value: unknown): Case | undefined {
  if (!isRecord(value)) return undefined
  const { scope, openedAt, lastCallAt, failures } = value
  if (scope !== 'gateway' && scope !== 'watchers') return undefined
  if (!isTime(openedAt) || !isTime(lastCallAt) || !Array.isArray(failures)) return undefined
  return { scope, openedAt, lastCallAt, failures: failures.filter((one) => typeof one === 'string') }
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}
