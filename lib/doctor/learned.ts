/** Learned remedies: the calls that healed one failure twice. Approved, Level 2 makes them before it calls a doctor. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Examination } from '../gateway/examine.ts'
import { localIso, oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readState, type StateRead, writeState } from '../tier/state.ts'
import type { Arguments } from './instrument.ts'
import { fingerprintOf } from './limits.ts'
import { type InstrumentCall, isTreatment } from './session.ts'

/** `seen`: it healed once. `proposed`: twice; it needs a human decision. `dropped`: it was applied and did not help. */
type RemedyStatus = 'seen' | 'proposed' | 'approved' | 'rejected' | 'dropped'

export interface LearnedRemedy {
  fingerprint: string
  verdict: string
  evidence: string
  calls: { name: string; args: Arguments }[]
  status: RemedyStatus
  healed: number
  at: string
}

const HEALINGS_FOR_A_PROPOSAL = 2

export function readRemedies(settings: Settings, keepAside = true): StateRead<LearnedRemedy[]> {
  return readState(remediesPath(settings), check, [], keepAside)
}

/** The approved remedy for a failure. With LEARNED_REMEDIES=off all that was learned is deleted. */
export function approvedRemedy(
  settings: Settings,
  seen: Examination,
  warn: (problem: string) => void,
): LearnedRemedy | undefined {
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
export function learn(
  settings: Settings,
  seen: { verdict: string; evidence: string },
  calls: readonly InstrumentCall[],
  warn: (problem: string) => void,
): string | undefined {
  if (settings.learnedRemedies === 'off') return undefined
  const did = calls.filter(isTreatment).map(({ name, args }) => ({ name, args }))
  if (did.length === 0 || did.length > 5) return undefined
  const fingerprint = fingerprintOf(seen)
  const { value: all, problem } = readRemedies(settings)
  if (problem) warn(problem)
  const same = all.find((one) => one.fingerprint === fingerprint && JSON.stringify(one.calls) === JSON.stringify(did))
  // What a human rejected, or what failed once, is not proposed again.
  if (same?.status === 'rejected' || same?.status === 'dropped') return undefined
  const healed = (same?.healed ?? 0) + 1
  const isEnough = healed >= HEALINGS_FOR_A_PROPOSAL && (same === undefined || same.status === 'seen')
  const status: RemedyStatus = isEnough
    ? settings.learnedRemedies === 'on'
      ? 'approved'
      : 'proposed'
    : (same?.status ?? 'seen')
  const { verdict } = seen
  const evidence = oneLine(seen.evidence, 300)
  const one = { fingerprint, verdict, evidence, calls: did, status, healed, at: localIso(new Date()) }
  writeState(remediesPath(settings), [...all.filter((other) => other !== same), one])
  if (!isEnough) return undefined
  const what = `${describeRemedy(one)} healed "${verdict}" ${healed} times`
  return status === 'approved'
    ? `a remedy was learned: ${what}; Level 2 applies it from now on (LEARNED_REMEDIES=on)`
    : `a remedy was learned: ${what}; approve it with \`npm run learned approve ${fingerprint}\`, and Level 2 applies it before it calls a doctor`
}

/** Sets the status of the remedy that has one of `from`, earlier ones first, and returns it; undefined: there is none. */
export function setStatus(
  settings: Settings,
  fingerprint: string,
  status: RemedyStatus,
  from: readonly RemedyStatus[],
): LearnedRemedy | undefined {
  const all = readRemedies(settings).value
  const one = from.flatMap((old) => all.filter((it) => it.fingerprint === fingerprint && it.status === old))[0]
  if (!one) return undefined
  const changed = { ...one, status, at: localIso(new Date()) }
  writeState(
    remediesPath(settings),
    all.map((other) => (other === one ? changed : other)),
  )
  return changed
}

export function describeRemedy({ calls }: Pick<LearnedRemedy, 'calls'>): string {
  return calls
    .map(({ name, args }) => [name, ...Object.values(args).map((value) => JSON.stringify(value))].join(' '))
    .join(', ')
}

function remediesPath(settings: Settings): string {
  return join(settings.watchdogDir, 'learned-remedies.json')
}

function check(value: unknown): LearnedRemedy[] | undefined {
  if (!Array.isArray(value)) return undefined
  const isCall = (call: unknown) => isRecord(call) && typeof call.name === 'string' && isRecord(call.args)
  const isRemedy = (one: unknown) =>
    isRecord(one) &&
    ['fingerprint', 'verdict', 'evidence', 'at'].every((name) => typeof one[name] === 'string') &&
    Array.isArray(one.calls) &&
    one.calls.every(isCall)
  return value.every(isRemedy) ? (value as LearnedRemedy[]) : undefined
}
