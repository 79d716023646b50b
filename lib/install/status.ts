/** What `--status` shows: every job, and the gateway. */
import { examine, isUp } from '../gateway/examine.ts'
import { readRecord } from '../gateway/record.ts'
import { cronTiers, readCrontab } from '../services/cron.ts'
import { askJobs } from '../services/jobs.ts'
import { type Receipt, readReceipt } from '../services/receipt.ts'
import { localIso, parseLine, TIERS, type TierName } from '../tier/contract.ts'
import { markedLines, readTail, recentLogs } from '../tier/journal.ts'
import { pauseReason } from '../tier/pause.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { tilde } from './files.ts'
import { neighbours } from './neighbours.ts'

type Scheduled = Exclude<TierName, 'emergency-recovery'>
const SCHEDULED = ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const satisfies Scheduled[]

interface JobStatus {
  tier: Scheduled
  registered: boolean
  detail: string
  lastRun: Date | undefined
  lastEnd: string
  nextRun: Date | undefined
}

export interface Status {
  lines: string[]
  /** Installed, every job registered, and the gateway up. */
  allWell: boolean
}

/** Looks at everything. Changes nothing. */
export async function status(settings: Settings, now = new Date()): Promise<Status> {
  const receipt = readReceipt(settings)
  const jobs = receipt ? await jobStatuses(settings, receipt, now) : []
  const seen = await examine(settings, {
    httpTimeoutSec: settings.healthCheckHttpTimeoutSec,
    record: readRecord(settings, true).value,
    deep: false,
  })
  const pause = pauseReason(settings, now)
  const others = neighbours(settings).map(({ profile }) => `profile ${profile}`)
  const lines = [
    ...(settings.profile === DEFAULT_PROFILE ? [] : [`profile      ${settings.profile}`]),
    receipt
      ? `installed    ${localIso(new Date(receipt.installedAt))}, Levels 1 and 2 by ${receipt.scheduler}, scripts in ${tilde(receipt.root, settings.home)}`
      : 'installed    no (`npm run setup` installs it)',
    ...(jobs.length > 0 ? ['', ...table(jobs, now), ''] : []),
    `gateway      ${seen.verdict}: ${seen.evidence}`,
    ...seen.warnings.map((warning) => `             ! ${warning}`),
    ...(pause ? [`paused       ${pause}`] : []),
    `logs         ${tilde(settings.memoryDir, settings.home)}`,
    `settings     ${settings.envFile ? tilde(settings.envFile, settings.home) : 'defaults (no .env)'}`,
    ...(others.length > 0 ? [`beside it    ${others.join(', ')} (\`--profile <name> --status\` shows them)`] : []),
  ]
  return { lines, allWell: receipt !== undefined && jobs.every((job) => job.registered) && isUp(seen.verdict) }
}

async function jobStatuses(settings: Settings, receipt: Receipt, now: Date): Promise<JobStatus[]> {
  const crontab = await readCrontab(settings)
  const inCron = 'failure' in crontab ? [] : cronTiers(crontab.text, settings.profile)
  const jobs =
    receipt.scheduler === 'cron' ? new Map() : await askJobs(settings, receipt.scheduler, ['watchdog', 'healthcheck'])
  return SCHEDULED.map((tier) => {
    const job = jobs.get(tier)
    const { lastRun, lastEnd } = lastRunOf(settings, tier, now)
    const registered = job ? job.registered === true : inCron.includes(tier)
    const inTab =
      'failure' in crontab ? crontab.failure : registered ? 'cron: in the crontab' : 'cron: not in the crontab'
    return {
      tier,
      registered,
      detail: job ? job.detail : inTab,
      lastRun,
      lastEnd,
      nextRun: registered ? nextRun(tier, job !== undefined, lastRun, now) : undefined,
    }
  })
}

/** From the tier's own log: when it last began, and how it ended. */
function lastRunOf(settings: Settings, tier: TierName, now: Date): Pick<JobStatus, 'lastRun' | 'lastEnd'> {
  const newest = recentLogs(settings, [tier], settings.logRetentionDays * 86_400, now).at(-1)
  if (newest === undefined) return { lastRun: undefined, lastEnd: '' }
  const lines = readTail(newest, 64 * 1024)
    .split('\n')
    .flatMap((line) => parseLine(line) ?? [])
  const last = lines.at(-1)
  if (last?.text.startsWith('cannot start: ')) return { lastRun: last.at, lastEnd: last.text }
  const marked = markedLines(newest)
  const begun = marked.findLast(({ marker }) => marker.kind === 'run-started')
  const ended = marked.findLast(({ marker }) => marker.kind === 'run-ended')
  const isRunning = begun !== undefined && (ended === undefined || marked.indexOf(ended) < marked.indexOf(begun))
  const end = ended?.marker.kind === 'run-ended' ? `${ended.marker.exitCode} (${ended.marker.verdict})` : ''
  return { lastRun: (begun ?? ended ?? last)?.at, lastEnd: isRunning ? 'running, or ended without a last line' : end }
}

/** launchd and systemd count from the last start; cron's minutes stand on the clock. */
function nextRun(tier: Scheduled, isCounted: boolean, lastRun: Date | undefined, now: Date): Date | undefined {
  const intervalMs = TIERS[tier].intervalSec * 1000
  if (!isCounted) return new Date((Math.floor(now.getTime() / intervalMs) + 1) * intervalMs)
  return lastRun && new Date(Math.max(lastRun.getTime() + intervalMs, now.getTime()))
}

function table(jobs: JobStatus[], now: Date): string[] {
  const rows = [
    ['job', 'registered', 'last run', 'last exit code', 'next run'],
    ...jobs.map((job) => [
      job.tier,
      `${job.registered ? 'yes' : 'NO'} (${job.detail})`,
      job.lastRun ? timeOf(job.lastRun, now) : 'never',
      job.lastEnd || '-',
      job.nextRun ? `about ${timeOf(job.nextRun, now)}` : '-',
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
}

/** The time of day, with the date when it is another day. */
function timeOf(at: Date, now: Date): string {
  const iso = localIso(at)
  return iso.slice(0, 10) === localIso(now).slice(0, 10) ? iso.slice(11, 19) : iso.slice(0, 19).replace('T', ' ')
}
