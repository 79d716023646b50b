/** How each tier stands: is it registered, when did it run last and how did that end, when is it due again. */
import { cronTiers, readCrontab } from '../services/cron.ts'
import { askJobs } from '../services/jobs.ts'
import type { Receipt } from '../services/receipt.ts'
import { parseLine, TIERS, type TierName } from '../tier/contract.ts'
import { markedLines, readTail, recentLogs } from '../tier/journal.ts'
import { lockHolder } from '../tier/lock.ts'
import type { Settings } from '../tier/settings.ts'

export interface TierStatus {
  tier: TierName
  level: number | undefined
  /** It will be started when it is due; undefined: that could not be found out. Level 3 is started by Level 2. */
  isRegistered: boolean | undefined
  registration: string
  lastRun: Date | undefined
  /** How the last run ended; undefined while it runs, or when it has no last line. */
  exitCode: number | undefined
  /** The verdict of the last run's last line, or what is known instead of it. */
  ended: string
  nextRun: Date | undefined
  /** It should have run since, and has not. */
  isLate: boolean
}

/** Two missed runs, and half of one for busy machines. */
const LATE_INTERVALS = 2.5

/** Looks at all tiers. Changes nothing. */
export async function lookAtTiers(settings: Settings, receipt: Receipt | undefined, now: Date): Promise<TierStatus[]> {
  const registrations = receipt ? await registrationsOf(settings, receipt) : undefined
  return Promise.all(
    (Object.keys(TIERS) as TierName[]).map(async (tier) => {
      const { level, intervalSec } = TIERS[tier]
      const last = await lastRunOf(settings, tier, now)
      const registration = registrations?.get(tier) ?? { is: false, detail: 'not installed', isCounted: false }
      const since = Math.max(last.lastRun?.getTime() ?? 0, receipt ? Date.parse(receipt.installedAt) : now.getTime())
      const isDue = intervalSec !== undefined && receipt !== undefined && !last.isRunning
      return {
        tier,
        level,
        isRegistered: tier === 'emergency-recovery' ? undefined : registration.is,
        registration: tier === 'emergency-recovery' ? 'started by level 2' : registration.detail,
        lastRun: last.lastRun,
        exitCode: last.exitCode,
        ended: last.ended,
        nextRun: registration.is ? nextRun(tier, registration.isCounted, last.lastRun, now) : undefined,
        isLate: isDue && now.getTime() - since > LATE_INTERVALS * intervalSec * 1000,
      }
    }),
  )
}

interface Registration {
  is: boolean | undefined
  detail: string
  /** By launchd or systemd, which count from the last start. */
  isCounted: boolean
}

async function registrationsOf(settings: Settings, receipt: Receipt): Promise<Map<TierName, Registration>> {
  const crontab = await readCrontab(settings)
  const inCron = 'failure' in crontab ? undefined : cronTiers(crontab.text, settings.profile)
  const found = new Map<TierName, Registration>()
  for (const tier of Object.keys(TIERS) as TierName[]) {
    // Where there was no cron, the installation wrote no lines.
    const is = inCron?.includes(tier) ?? (receipt.cronLines.length === 0 ? false : undefined)
    const detail = 'failure' in crontab ? crontab.failure : is ? 'cron: in the crontab' : 'cron: not in the crontab'
    found.set(tier, { is, detail, isCounted: false })
  }
  if (receipt.scheduler === 'cron') return found
  for (const [tier, job] of await askJobs(settings, receipt.scheduler, ['watchdog', 'healthcheck']))
    found.set(tier, { is: job.registered, detail: job.detail, isCounted: true })
  return found
}

/** From the tier's own log: when it last began, and how it ended. */
async function lastRunOf(settings: Settings, tier: TierName, now: Date) {
  const unknown = { lastRun: undefined, exitCode: undefined, ended: '', isRunning: false }
  const newest = recentLogs(settings, [tier], settings.logRetentionDays * 86_400, now).at(-1)
  if (newest === undefined) return unknown
  const last = readTail(newest, 64 * 1024)
    .split('\n')
    .flatMap((line) => parseLine(line) ?? [])
    .at(-1)
  if (last?.text.includes('cannot start: ')) return { ...unknown, lastRun: last.at, ended: last.text }
  const marked = markedLines(newest)
  const begun = marked.findLast(({ marker }) => marker.kind === 'run-started')
  const ended = marked.findLast(({ marker }) => marker.kind === 'run-ended')
  const lastRun = (begun ?? ended ?? last)?.at
  if (begun !== undefined && (ended === undefined || marked.indexOf(ended) < marked.indexOf(begun))) {
    const holder = await lockHolder(settings, tier)
    if (holder) return { ...unknown, lastRun, isRunning: true, ended: `running, pid ${holder.pid}` }
    return { ...unknown, lastRun, ended: 'ended without a last line' }
  }
  if (ended?.marker.kind !== 'run-ended') return { ...unknown, lastRun }
  return { lastRun, exitCode: ended.marker.exitCode, ended: ended.marker.verdict, isRunning: false }
}

/** launchd and systemd count from the last start; cron's minutes stand on the clock. */
function nextRun(tier: TierName, isCounted: boolean, lastRun: Date | undefined, now: Date): Date | undefined {
  const { intervalSec } = TIERS[tier]
  if (intervalSec === undefined) return undefined
  const intervalMs = intervalSec * 1000
  if (!isCounted) return new Date((Math.floor(now.getTime() / intervalMs) + 1) * intervalMs)
  return lastRun && new Date(Math.max(lastRun.getTime() + intervalMs, now.getTime()))
}
