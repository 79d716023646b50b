/** How often a doctor may be called: a budget per day, and no second one for a failure that the first left unchanged. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { readConfig } from '../gateway/config.ts'
import type { Examination } from '../gateway/examine.ts'
import { localIso } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'

interface PastSession {
  at: number
  failure: string
}

const DAY_MS = 86_400_000

export function readSessions(settings: Settings, dryRun: boolean): StateRead<PastSession[]> {
  return readState(sessionsPath(settings), check, [], !dryRun)
}

/** Before it begins: a session that kills the machine counts, too. Throws when it cannot be written. */
export function noteSession(settings: Settings, past: readonly PastSession[], one: PastSession): void {
  const kept = past.filter(({ at }) => at > one.at - 7 * DAY_MS)
  writeState(sessionsPath(settings), [...kept, one])
}

export function failureKey(settings: Settings, seen: Examination): string {
  return `${fingerprintOf(seen)} ${readConfig(settings)?.hash ?? 'no config'}`
}

/** What makes a failure the same one: its verdict and its last words, without the numbers that differ every time. */
export function fingerprintOf({ verdict, evidence }: { verdict: string; evidence: string }): string {
  const words = evidence.replace(/\d+/g, '#')
  return createHash('sha256').update(`${verdict}\n${words}`).digest('hex').slice(0, 12)
}

/** Why no doctor may be called now, as a sentence; undefined when one may. */
export function whyNoDoctor(
  settings: Settings,
  sessions: readonly PastSession[],
  failure: string,
  nowMs: number,
): string | undefined {
  const today = sessions.filter(({ at }) => at <= nowMs && at > nowMs - DAY_MS)
  if (today.length >= settings.doctorMaxPerDay)
    return `the doctor was called ${today.length} times in 24 hours (DOCTOR_MAX_PER_DAY=${settings.doctorMaxPerDay})`
  const since = nowMs - settings.doctorSameFailureHours * 3_600_000
  const same = sessions.findLast((one) => one.failure === failure && one.at > since && one.at <= nowMs)
  return (
    same && `a doctor was called for this same failure at ${localIso(new Date(same.at))}, and nothing has changed since`
  )
}

function sessionsPath(settings: Settings): string {
  return join(settings.watchdogDir, 'doctor-visits.json')
}

function check(value: unknown): PastSession[] | undefined {
  if (!Array.isArray(value)) return undefined
  const isSession = (one: unknown) => isRecord(one) && typeof one.at === 'number' && typeof one.failure === 'string'
  return value.every(isSession) ? (value as PastSession[]) : undefined
}
