/** One look at everything: the gateway, the tiers, the doctor's budget, the last incidents; and as lines. Changes nothing. */
import { hostname } from 'node:os'
import { styleText } from 'node:util'
import { readLedger } from '../alerts/ledger.ts'
import { readSessions } from '../doctor/limits.ts'
import { examine, isUp } from '../gateway/examine.ts'
import { readRecord } from '../gateway/record.ts'
import { cooldownLeftSec, readWatchState } from '../gateway/watch-state.ts'
import { currentIncident, type History, lastDays, readHistory } from '../incidents/history.ts'
import { minuteOf, secondOf, seenAndFelt, spell } from '../incidents/words.ts'
import { cronTiers, readCrontab } from '../services/cron.ts'
import { otherInstallations, type Receipt, readReceipt } from '../services/receipt.ts'
import { askJobs } from '../services/supervisor.ts'
import { ALL_TIERS, oneLine, TIERS, type TierName } from '../tier/contract.ts'
import { lockHolder } from '../tier/lock.ts'
import { pauseReason } from '../tier/pause.ts'
import { redact } from '../tier/redact.ts'
import type { Settings } from '../tier/settings.ts'

export type Status = Awaited<ReturnType<typeof look>>
type TierStatus = Status['tiers'][number]

const HISTORY_DAYS = 7
const MAX_INCIDENTS = 5
const DAY_MS = 86_400_000
/** Two missed runs, and half of one for busy machines. */
const LATE_INTERVALS = 2.5

/** What is not known is undefined; all of it is what `npm run status -- --json` prints. */
export async function look(settings: Settings, now = new Date()) {
  const hide = (text: string) => oneLine(redact(text, settings.secrets))
  const history = readHistory(settings, lastDays(HISTORY_DAYS, now), now)
  const receipt = readReceipt(settings)
  const record = readRecord(settings, true)
  const watch = readWatchState(settings, true)
  const visits = readSessions(settings, true)
  const ledger = readLedger(settings, true)
  const [tiers, seen] = await Promise.all([
    lookAtTiers(settings, receipt, history.runs, now),
    examine(settings, { httpTimeoutSec: settings.watchdogHealthTimeoutSec, record: record.value, deep: false }),
  ])
  const up = isUp(seen.verdict)
  const { lastHealthyMs } = record.value
  const past = visits.value.filter(({ at }) => at <= now.getTime())
  const alertsWaiting = ledger.ledger.outbox.length
  const problems = [
    ...(up ? [] : [`the gateway is ${seen.verdict}`]),
    ...(receipt ? tiers.flatMap(problemsOf) : ['nothing is installed; `npm run setup` does that']),
    ...(alertsWaiting > 0 ? [`${alertsWaiting} alerts wait to be delivered`] : []),
  ]
  return {
    at: now,
    host: hostname(),
    profile: settings.profile,
    isWell: problems.length === 0,
    problems,
    gateway: {
      verdict: seen.verdict,
      isUp: up,
      evidence: hide(seen.evidence),
      warnings: seen.warnings.map(({ text }) => hide(text)),
      /** Since when it is up or down, and whether it is so for longer than the logs reach back. */
      ...(up
        ? upSince(history, seen.process && now.getTime() - seen.process.ageSec * 1000)
        : { since: currentIncident(settings, now)?.begin, isSinceAtLeast: false }),
      lastHealthy: lastHealthyMs > 0 ? new Date(lastHealthyMs) : undefined,
      version: seen.version && hide(seen.version),
      pid: seen.process?.pid,
      memoryMb: seen.process?.memoryMb,
      url: hide(settings.gatewayUrl),
    },
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
      .map(({ begin, lastHealthy, end, verdict, evidence, healedBy, downSec, feltSec }) => {
        return { begin, lastHealthy, end, verdict, evidence: hide(evidence), healedBy, downSec, feltSec }
      }),
    uptimePercent: history.uptime.percent,
    /** What is wrong with the logs and state files that this was read from. */
    notes: [
      ...[record, watch, visits].flatMap(({ problem }) => problem ?? []),
      ...ledger.problems,
      ...history.notes,
      ...settings.envProblems,
    ].map(hide),
    logs: settings.memoryDir,
    envFile: settings.envFile,
    otherProfiles: otherInstallations(settings).map((one) => one.profile),
  }
}

/** Back from now over all that is no outage; unknown time is taken to be like what is beside it, but for a newer process. */
function upSince({ stretches, span }: History, startedMs: number | undefined) {
  const lastOutage = stretches.findLastIndex(({ condition }) => condition === 'down' || condition === 'stopped')
  const since = stretches.slice(lastOutage + 1).find(({ condition }) => condition === 'up')?.from
  if (since && startedMs !== undefined && startedMs > since.getTime())
    return { since: new Date(startedMs), isSinceAtLeast: false }
  return { since, isSinceAtLeast: lastOutage < 0 && since?.getTime() === span.from.getTime() }
}

type Tiers = Awaited<ReturnType<typeof lookAtTiers>>

function problemsOf({ tier, isRegistered, registration, isLate, ended }: Tiers[number]) {
  if (tier === 'emergency-recovery') return []
  if (isRegistered === false) return [`${tier} is not registered (${registration})`]
  if (isRegistered === undefined) return [`whether ${tier} is registered is unknown: ${registration}`]
  if (ended.startsWith('cannot start: ')) return [`${tier} ${ended}`]
  return isLate ? [`${tier} has not run when it was due`] : []
}

async function lookAtTiers(settings: Settings, receipt: Receipt | undefined, runs: History['runs'], now: Date) {
  const registrationOf = receipt && (await askRegistrations(settings, receipt))
  const installedMs = receipt && Date.parse(receipt.installedAt)
  return Promise.all(
    ALL_TIERS.map(async (tier) => {
      const { is, detail, isCounted } = registrationOf?.(tier) ?? NOT_INSTALLED
      const { level, intervalSec } = TIERS[tier]
      const { lastRun, exitCode, ended, isRunning } = await lastRunOf(settings, tier, runs[tier])
      const since = Math.max(lastRun?.getTime() ?? 0, installedMs ?? 0)
      const isDue = intervalSec !== undefined && installedMs !== undefined && !isRunning
      const isDoctor = tier === 'emergency-recovery'
      return {
        tier,
        level,
        /** Undefined: that could not be found out. Level 3 is started by Level 2. */
        isRegistered: isDoctor ? undefined : is,
        registration: isDoctor ? 'started by level 2' : detail,
        lastRun,
        exitCode,
        ended,
        nextRun: is && intervalSec ? nextRun(intervalSec * 1000, isCounted, lastRun, now) : undefined,
        isLate: isDue && now.getTime() - since > LATE_INTERVALS * intervalSec * 1000,
      }
    }),
  )
}

async function lastRunOf(
  settings: Settings,
  tier: TierName,
  { last, lastStart, cannotStart }: History['runs'][TierName],
) {
  const none = { lastRun: lastStart ?? last?.at, exitCode: undefined, ended: '', isRunning: false }
  if (cannotStart) return { ...none, lastRun: cannotStart.at, ended: `cannot start: ${cannotStart.why}` }
  // Lines have whole seconds: in the second in which the run before ended, the lock shows the new one.
  const holder = lastStart && (!last || lastStart >= last.at) ? await lockHolder(settings, tier) : undefined
  if (holder) return { ...none, isRunning: true, ended: `running, pid ${holder.pid}` }
  if (lastStart && (!last || lastStart > last.at)) return { ...none, ended: 'ended without a last line' }
  return last ? { ...none, exitCode: last.exitCode, ended: last.verdict } : none
}

/** `isCounted`: launchd and systemd count from the last start; cron's minutes stand on the clock. */
type Registration = { is: boolean | undefined; detail: string; isCounted: boolean }
const NOT_INSTALLED: Registration = { is: false, detail: 'not installed', isCounted: false }

async function askRegistrations(settings: Settings, { scheduler, cronLines }: Receipt) {
  const crontab = await readCrontab(settings)
  const inCron = 'failure' in crontab ? undefined : cronTiers(crontab.text, settings.profile)
  const jobs = scheduler === 'cron' ? [] : await askJobs(settings, scheduler)
  return (tier: TierName): Registration => {
    const job = jobs.find(([name]) => name === tier)?.[1]
    if (job) return { is: job.registered, detail: job.detail, isCounted: true }
    // Where there was no cron, the installation wrote no lines.
    const is = inCron?.includes(tier) ?? (cronLines.length === 0 ? false : undefined)
    const detail = 'failure' in crontab ? crontab.failure : is ? 'cron: in the crontab' : 'cron: not in the crontab'
    return { is, detail, isCounted: false }
  }
}

function nextRun(intervalMs: number, isCounted: boolean, lastRun: Date | undefined, now: Date) {
  if (!isCounted) return new Date((Math.floor(now.getTime() / intervalMs) + 1) * intervalMs)
  return lastRun && new Date(Math.max(lastRun.getTime() + intervalMs, now.getTime()))
}

type Paint = (colour: 'green' | 'red' | 'yellow' | 'dim' | 'bold', text: string) => string

/** Coloured at a terminal, unless NO_COLOR is set (https://no-color.org: to anything but nothing). */
export function screen(status: Status, { home, childEnv }: Settings): string[] {
  const isColoured = process.stdout.isTTY && !childEnv.NO_COLOR && childEnv.TERM !== 'dumb'
  const paint: Paint = (colour, text) => (isColoured && text !== '' ? styleText(colour, text) : text)
  const { at, gateway, doctor, restarts, installed, incidents, alertsWaiting, uptimePercent, otherProfiles } = status
  const say = (name: string, text: string) => `${paint('dim', name.padEnd(13))}${text}`
  const time = (one: Date) => secondOf(one, at).slice(0, -3)
  const profile = status.profile === 'default' ? '' : `, profile ${status.profile}`
  const { crashes, coolingSec } = restarts
  const counted = crashes === 0 ? 'no crash is counted' : `${crashes} crash${crashes === 1 ? ' is' : 'es are'} counted`
  const uptime = uptimePercent === undefined ? 'no tier has looked' : `up ${uptimePercent.toFixed(2)} % of the time`
  const lines = [
    paint('bold', `OpenClaw self-healing on ${status.host}${profile}, ${minuteOf(at)}:${secondOf(at, at).slice(-2)}`),
    '',
    say('gateway', gatewayWords(gateway, at, paint)),
    say('', paint('dim', identityOf(gateway))),
    ...gateway.warnings.map((warning) => say('', paint('yellow', `! ${warning}`))),
    say('paused', status.paused ? paint('yellow', status.paused) : 'no'),
    say(
      'doctor',
      `${doctor.visits} of ${doctor.limit} sessions in 24 hours${doctor.last ? `; the last at ${time(doctor.last)}` : ''}`,
    ),
    say('restarts', coolingSec > 0 ? `${counted}; the next one in ${spell(coolingSec)} at the earliest` : counted),
    say('alerts', alertsWaiting === 0 ? 'none waits' : paint('red', `${alertsWaiting} wait to be delivered`)),
    say(
      'installed',
      installed
        ? `${time(new Date(installed.at))}, Levels 1 and 2 by ${installed.scheduler}, scripts in ${installed.root}`
        : paint('red', 'no'),
    ),
    say('logs', status.logs),
    say('settings', status.envFile ?? 'defaults (no .env)'),
    ...(otherProfiles.length > 0
      ? [say('beside it', `profile ${otherProfiles.join(', ')} (\`--profile <name>\` shows it)`)]
      : []),
    '',
    ...tierTable(status.tiers, at, paint),
    '',
    paint('dim', `Last 7 days: ${uptime}${incidents.length > 0 ? '; the last incidents:' : ', no incident'}`),
    ...incidents.map((one) => {
      const { begin, end, verdict, evidence, healedBy } = one
      const how = healedBy === 'outside' ? 'by itself or from outside' : `healed by level ${healedBy}`
      const words = `  ${time(begin).padStart(16)}  down for ${seenAndFelt(one)}, ${end ? how : 'goes on'}: ${verdict}: ${evidence}`
      return end ? words : paint('red', words)
    }),
    ...status.notes.map((note) => paint('yellow', `note: ${note}`)),
    '',
    status.isWell ? paint('green', 'All is well.') : paint('red', `Not well: ${status.problems.join('; ')}.`),
  ]
  return lines.map((line) => line.replaceAll(`${home}/`, '~/'))
}

function gatewayWords(gateway: Status['gateway'], now: Date, paint: Paint): string {
  const { verdict, isUp, since, isSinceAtLeast, lastHealthy, evidence } = gateway
  const time = (one: Date) => secondOf(one, now).slice(0, -3)
  const spanOf = (from: Date) =>
    ` for ${isSinceAtLeast ? 'at least ' : ''}${spell((now.getTime() - from.getTime()) / 1000)}, since ${time(from)}`
  const seen = !isUp && lastHealthy ? `, last seen healthy at ${time(lastHealthy)}` : ''
  return `${paint(isUp ? 'green' : 'red', `${isUp ? '●' : '○'} ${verdict}`)}${since ? spanOf(since) : ''}${seen}: ${evidence}`
}

function identityOf({ version, pid, memoryMb, url }: Status['gateway']): string {
  const parts = [url, version && `version ${version}`, pid && `pid ${pid}`, memoryMb && `${memoryMb} MB`]
  return parts.filter(Boolean).join(', ')
}

function tierTable(tiers: readonly TierStatus[], now: Date, paint: Paint): string[] {
  const rows = tiers.map(({ tier, isRegistered, registration, lastRun, exitCode, ended, nextRun }) => [
    tier,
    tier === 'emergency-recovery'
      ? registration
      : `${isRegistered === undefined ? '?' : isRegistered ? 'yes' : 'NO'} (${registration})`,
    lastRun ? secondOf(lastRun, now) : 'never',
    exitCode === undefined ? ended || '-' : `${exitCode} (${ended})`,
    nextRun ? `about ${secondOf(nextRun, now)}` : '-',
  ])
  const head = ['tier', 'registered', 'last run', 'last exit code', 'next run']
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)))
  const format = (row: string[]) => `${row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')}`.trimEnd()
  const colourOf = ({ tier, isLate, isRegistered, exitCode }: TierStatus) =>
    isLate || (isRegistered === false && tier !== 'emergency-recovery') ? 'red' : exitCode === 1 ? 'yellow' : undefined
  return [
    paint('dim', format(head)),
    ...rows.map((row, i) => {
      const colour = colourOf(tiers[i]!)
      return colour ? paint(colour, format(row)) : format(row)
    }),
  ]
}
