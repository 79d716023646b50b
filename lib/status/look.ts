/** One look at everything: the gateway, the tiers, the doctor's budget, the last incidents. Changes nothing. */
import { hostname } from 'node:os'
import { readLedger } from '../alerts/ledger.ts'
import { readVisits } from '../doctor/limits.ts'
import { cooldownLeftSec } from '../gateway/backoff.ts'
import type { Verdict } from '../gateway/examination.ts'
import { examine, isUp } from '../gateway/examine.ts'
import { readRecord } from '../gateway/record.ts'
import { readWatchState } from '../gateway/watch-state.ts'
import { type History, lastDays, readHistory } from '../incidents/history.ts'
import type { Incident } from '../incidents/incident.ts'
import { otherInstallations, readReceipt } from '../services/receipt.ts'
import { oneLine } from '../tier/contract.ts'
import { currentIncident } from '../tier/journal.ts'
import { pauseReason } from '../tier/pause.ts'
import { redact } from '../tier/redact.ts'
import type { Settings } from '../tier/settings.ts'
import { lookAtTiers, type TierStatus } from './tiers.ts'

export interface GatewayStatus {
  verdict: Verdict
  isUp: boolean
  evidence: string
  warnings: string[]
  /** Since when it is up or down; undefined when the logs do not tell. */
  since: Date | undefined
  /** It is so for longer than the logs that were read reach back. */
  isSinceAtLeast: boolean
  /** For one that is down: when a tier last saw it healthy. */
  lastHealthy: Date | undefined
  version: string | undefined
  pid: number | undefined
  memoryMb: number | undefined
  url: string
}

export type PastIncident = Pick<Incident, 'begin' | 'end' | 'verdict' | 'evidence' | 'healedBy' | 'downSec'>

export interface Status {
  at: Date
  host: string
  profile: string
  isWell: boolean
  /** Why all is not well, a sentence each. */
  problems: string[]
  gateway: GatewayStatus
  /** Undefined: nothing is installed. */
  installed: { at: string; scheduler: string; root: string } | undefined
  tiers: TierStatus[]
  /** Why everything is paused. */
  paused: string | undefined
  doctor: { visits: number; limit: number; last: Date | undefined }
  restarts: { crashes: number; coolingSec: number }
  alertsWaiting: number
  /** The last week, newest incident first. */
  incidents: PastIncident[]
  uptimePercent: number | undefined
  /** What is wrong with the logs and state files that this was read from. */
  notes: string[]
  logs: string
  envFile: string | undefined
  /** Other profiles of this user for which setup was run. */
  otherProfiles: string[]
}

const HISTORY_DAYS = 7
const MAX_INCIDENTS = 5
const DAY_MS = 86_400_000

/** The history that a look needs; a week of logs takes a while, so a watcher reads it less often than it looks. */
export function readRecentHistory(settings: Settings, now = new Date()): History {
  return readHistory(settings, lastDays(HISTORY_DAYS, now), now)
}

export async function look(settings: Settings, history: History, now = new Date()): Promise<Status> {
  const hide = (text: string) => oneLine(redact(text, settings.secrets))
  const receipt = readReceipt(settings)
  const record = readRecord(settings, true)
  const watch = readWatchState(settings, true)
  const visits = readVisits(settings, true)
  const ledger = readLedger(settings, true)
  const [tiers, seen] = await Promise.all([
    lookAtTiers(settings, receipt, now),
    examine(settings, { httpTimeoutSec: settings.watchdogHealthTimeoutSec, record: record.value, deep: false }),
  ])
  const up = isUp(seen.verdict)
  const lastHealthyMs = record.value.lastHealthyMs
  const gateway: GatewayStatus = {
    verdict: seen.verdict,
    isUp: up,
    evidence: hide(seen.evidence),
    warnings: seen.warnings.map(hide),
    ...(up
      ? upSince(history, seen.process && now.getTime() - seen.process.ageSec * 1000)
      : { since: currentIncident(settings, now)?.since, isSinceAtLeast: false }),
    lastHealthy: lastHealthyMs > 0 ? new Date(lastHealthyMs) : undefined,
    version: seen.version && hide(seen.version),
    pid: seen.process?.pid,
    memoryMb: seen.process?.memoryMb,
    url: hide(settings.gatewayUrl),
  }
  const past = visits.value.filter(({ at }) => at <= now.getTime())
  const alertsWaiting = ledger.ledger.outbox.length
  const problems = [
    ...(up ? [] : [`the gateway is ${seen.verdict}`]),
    ...(receipt ? [] : ['nothing is installed; `npm run setup` does that']),
    ...(receipt ? tiers.flatMap(problemsOf) : []),
    ...(alertsWaiting > 0 ? [`${alertsWaiting} alerts wait to be delivered`] : []),
  ]
  return {
    at: now,
    host: hostname(),
    profile: settings.profile,
    isWell: problems.length === 0,
    problems,
    gateway,
    installed: receipt && { at: receipt.installedAt, scheduler: receipt.scheduler, root: receipt.root },
    tiers: tiers.map((one) => ({ ...one, ended: hide(one.ended), registration: hide(one.registration) })),
    paused: pauseReason(settings, now),
    doctor: {
      visits: past.filter(({ at }) => at > now.getTime() - DAY_MS).length,
      limit: settings.doctorMaxPerDay,
      last: past.length > 0 ? new Date(Math.max(...past.map(({ at }) => at))) : undefined,
    },
    restarts: {
      crashes: watch.value.backoff.crashes,
      coolingSec: cooldownLeftSec(watch.value.backoff, now.getTime(), settings.watchdogBackoffSec),
    },
    alertsWaiting,
    incidents: history.incidents
      .slice(-MAX_INCIDENTS)
      .reverse()
      .map(({ begin, end, verdict, evidence, healedBy, downSec }) => ({
        begin,
        end,
        verdict,
        evidence: hide(evidence),
        healedBy,
        downSec,
      })),
    uptimePercent: history.uptime.percent,
    notes: [
      ...[record, watch, visits].flatMap(({ problem }) => problem ?? []),
      ...ledger.problems,
      ...history.notes,
      ...history.damage.map(({ path }) => `${path} is damaged in places; what can be read of it was read`),
      ...settings.envProblems.map((problem) => `${settings.envFile}: ${problem}`),
    ].map(hide),
    logs: settings.memoryDir,
    envFile: settings.envFile,
    otherProfiles: otherInstallations(settings).map((one) => one.profile),
  }
}

/**
 * Back from now over all that is no outage; a stretch in which nobody watched is taken to be like those beside it, but
 * for a process that was started since.
 */
function upSince(
  { stretches, span }: History,
  startedMs: number | undefined,
): Pick<GatewayStatus, 'since' | 'isSinceAtLeast'> {
  const lastOutage = stretches.findLastIndex(({ condition }) => condition === 'down' || condition === 'stopped')
  const since = stretches.slice(lastOutage + 1).find(({ condition }) => condition === 'up')?.from
  if (since && startedMs !== undefined && startedMs > since.getTime())
    return { since: new Date(startedMs), isSinceAtLeast: false }
  return { since, isSinceAtLeast: lastOutage < 0 && since?.getTime() === span.from.getTime() }
}

function problemsOf({ tier, isRegistered, registration, isLate, ended }: TierStatus): string[] {
  if (tier === 'emergency-recovery') return []
  if (isRegistered === false) return [`${tier} is not registered (${registration})`]
  if (isRegistered === undefined) return [`whether ${tier} is registered is unknown: ${registration}`]
  if (ended.includes('cannot start: ')) return [`${tier} ${ended}`]
  return isLate ? [`${tier} has not run when it was due`] : []
}
