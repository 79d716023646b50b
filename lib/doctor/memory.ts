/** What is remembered of doctors. How often one was called: a budget per day, and no second one for a failure that the first left
 * unchanged. And remedies: the calls that healed one failure twice. Approved, Level 2 makes them before it calls a doctor. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { readConfig } from '../gateway/config.ts'
import { type Failure, fingerprintOf } from '../incidents/history.ts'
import { localIso, oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { readState, shaped, writeState } from '../tier/state.ts'
import type { Arguments } from './instrument.ts'
import { describeCall, type InstrumentCall, isTreatment } from './session.ts'

const SESSIONS = [{ at: 0, failure: '' }]
type PastSession = (typeof SESSIONS)[number]

const DAY_MS = 86_400_000

export function readSessions(settings: Settings, dryRun: boolean) {
  return readState(sessionsPath(settings), shaped(SESSIONS), [], !dryRun)
}

/** Before it begins, without a failure: one that kills the machine counts for the day, too. Throws when it cannot be written. */
export function noteSession(settings: Settings, past: readonly PastSession[], one: PastSession): void {
  const kept = past.filter(({ at }) => at > one.at - 7 * DAY_MS)
  writeState(sessionsPath(settings), [...kept, one])
}

export function failureKey(settings: Settings, seen: Failure): string {
  return `${fingerprintOf(seen)} ${readConfig(settings)?.hash ?? 'no config'}`
}

export function whyNoDoctor(settings: Settings, sessions: readonly PastSession[], failure: string, nowMs: number) {
  // The clock may have been set back since.
  const isWithin = ({ at }: PastSession, ms: number) => Math.abs(nowMs - at) < ms
  const today = sessions.filter((one) => isWithin(one, DAY_MS))
  if (today.length >= settings.doctorMaxPerDay)
    return `the doctor was called ${today.length} times in 24 hours (DOCTOR_MAX_PER_DAY=${settings.doctorMaxPerDay})`
  const sameMs = settings.doctorSameFailureHours * 3_600_000
  const same = sessions.findLast((one) => one.failure === failure && isWithin(one, sameMs))
  if (!same) return undefined
  return `a doctor was called for this same failure at ${localIso(new Date(same.at))}, and nothing has changed since`
}

const sessionsPath = ({ watchdogDir }: Settings): string => join(watchdogDir, 'doctor-visits.json')

/** `seen`: it healed once. `proposed`: twice; it needs a human decision. `dropped`: it was applied and did not help. */
type RemedyStatus = 'seen' | 'proposed' | 'approved' | 'rejected' | 'dropped'

const REMEDY = {
  ...{ fingerprint: '', verdict: '', evidence: '', at: '', healed: 0, status: 'seen' as RemedyStatus },
  calls: [{ name: '', args: {} as Arguments }],
}
export type LearnedRemedy = typeof REMEDY
type Warn = (problem: string) => void

export function readRemedies(settings: Settings, keepAside = true) {
  return readState(remediesPath(settings), shaped([REMEDY]), [], keepAside)
}

/** The approved remedy for a failure. With LEARNED_REMEDIES=off all that was learned is deleted. */
export function approvedRemedy(settings: Settings, seen: Failure, warn: Warn): LearnedRemedy | undefined {
  if (settings.learnedRemedies === 'off') {
    rmSync(remediesPath(settings), { force: true })
    return undefined
  }
  const fingerprint = fingerprintOf(seen)
  const { value, problem } = readRemedies(settings)
  if (problem) warn(problem)
  const statuses = settings.learnedRemedies === 'on' ? ['approved', 'proposed'] : ['approved']
  return value.find((one) => one.fingerprint === fingerprint && statuses.includes(one.status))
}

/** Learns from a session that healed the gateway. Returns a sentence when a remedy is proposed or approved by this. */
export function learn(settings: Settings, seen: Failure, calls: readonly InstrumentCall[], warn: Warn) {
  const { learnedRemedies: mode } = settings
  const did = calls.filter(isTreatment).map(({ name, args }) => ({ name, args }))
  if (mode === 'off' || did.length === 0 || did.length > 5) return undefined
  const fingerprint = fingerprintOf(seen)
  const { value: all, problem } = readRemedies(settings)
  if (problem) warn(problem)
  const same = all.find((one) => one.fingerprint === fingerprint && JSON.stringify(one.calls) === JSON.stringify(did))
  // What a human rejected, or what failed once, is not proposed again.
  if (same?.status === 'rejected' || same?.status === 'dropped') return undefined
  const healed = (same?.healed ?? 0) + 1
  const before = same?.status ?? 'seen'
  const isEnough = healed >= 2 && before === 'seen'
  const status: RemedyStatus = !isEnough ? before : mode === 'on' ? 'approved' : 'proposed'
  const evidence = oneLine(seen.evidence, 300)
  const one = { fingerprint, verdict: seen.verdict, evidence, calls: did, status, healed, at: localIso(new Date()) }
  writeState(remediesPath(settings), [...all.filter((other) => other !== same), one])
  if (!isEnough) return undefined
  const what = `a remedy was learned: ${describeRemedy(one)} healed "${seen.verdict}" ${healed} times`
  if (mode === 'on') return `${what}; Level 2 applies it from now on (LEARNED_REMEDIES=on)`
  return `${what}; approve it with \`npm run learned approve ${fingerprint}\`, and Level 2 applies it before it calls a doctor`
}

/** Sets the status of the remedy that has one of `from`, earlier ones first, and returns it; undefined: there is none. */
export function setStatus(settings: Settings, fingerprint: string, status: RemedyStatus, from: RemedyStatus[]) {
  const all = readRemedies(settings).value
  const one = from.flatMap((old) => all.filter((it) => it.fingerprint === fingerprint && it.status === old))[0]
  if (!one) return undefined
  Object.assign(one, { status, at: localIso(new Date()) })
  writeState(remediesPath(settings), all)
  return one
}

export const describeRemedy = ({ calls }: Pick<LearnedRemedy, 'calls'>): string => calls.map(describeCall).join(', ')

const remediesPath = ({ watchdogDir }: Settings): string => join(watchdogDir, 'learned-remedies.json')
