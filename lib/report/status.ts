/** The state of everything: the gateway, the tiers, the doctor's budget, the last incidents; and as lines. Changes nothing. */
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
import { everyText } from './report.ts'

export type Status = Awaited<ReturnType<typeof look>>

const HISTORY_DAYS = 7
const MAX_INCIDENTS = 5
const DAY_MS = 86_400_000
/** Two missed runs, and half of one for busy machines. */
const LATE_INTERVALS = 2.5

/** What is not known is undefined; all of it is what `npm run status -- --json` prints. */
export async function look(settings: Settings, now = new Date()) {
  const history = readHistory(settings, lastDays(HISTORY_DAYS, now), now)
  const receipt = readReceipt(settings)
  const record = readRecord(settings, true)
  const watch = readWatchState(settings, true)
  const sessions = readSessions(settings, true)
  const { ledger, problems: ledgerProblems } = readLedger(settings, true)
  const [tiers, seen] = await Promise.all([
    lookAtTiers(settings, receipt, history.runs, now),
    examine(settings, { httpTimeoutSec: settings.watchdogHealthTimeoutSec, record: record.value, deep: false }),
  ])
  const up = isUp(seen.verdict)
  const { lastHealthyMs } = record.value
  const past = sessions.value.map(({ at }) => at).filter((at) => at <= now.getTime())
  const alertsWaiting = ledger.outbox.length
  const problems = [
    ...(up ? [] : [`the gateway is ${seen.verdict}`]),
    ...(receipt ? tiers.flatMap(problemsOf) : ['nothing is installed; `npm run setup` does that']),
    ...(alertsWaiting > 0 ? [`${alertsWaiting} alerts wait to be delivered`] : []),
  ]
  const status = {
    at: now,
    host: hostname(),
    profile: settings.profile,
    isWell: problems.length === 0,
    problems,
    gateway: {
      verdict: seen.verdict,
      isUp: up,
      evidence: seen.evidence,
      warnings: seen.warnings.map(({ text }) => text),
      /** Since when it is up or down, and whether it is so for longer than the logs reach back. */
      ...(up
        ? upSince(history, seen.process && now.getTime() - seen.process.ageSec * 1000)
        : { since: currentIncident(settings, now)?.begin, isSinceAtLeast: false }),
      lastHealthy: lastHealthyMs > 0 ? new Date(lastHealthyMs) : undefined,
      version: seen.version,
      pid: seen.process?.pid,
      memoryMb: seen.process?.memoryMb,
      url: settings.gatewayUrl,
    },
    installed: receipt && { at: receipt.installedAt, scheduler: receipt.scheduler, root: receipt.root },
    tiers,
    paused: pauseReason(settings, now),
    doctor: {
      visits: past.filter((at) => at > now.getTime() - DAY_MS).length,
      limit: settings.doctorMaxPerDay,
      last: past.length > 0 ? new Date(Math.max(...past)) : undefined,
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
        return { begin, lastHealthy, end, verdict, evidence, healedBy, downSec, feltSec }
      }),
    uptimePercent: history.uptime.percent,
    /** What is wrong with the logs and state files that this was read from. */
    notes: [
      ...[record, watch, sessions].flatMap(({ problem }) => problem ?? []),
      ...ledgerProblems,
      ...history.notes,
      ...settings.envProblems,
    ],
    logs: settings.memoryDir,
    envFile: settings.envFile,
    otherProfiles: otherInstallations(settings).map((one) => one.profile),
  }
  return everyText(status, (text) => oneLine(redact(text, settings.secrets), 1000))
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

function problemsOf({ tier, isRegistered, registration, isLate, ended }: Tiers[number]): string[] {
  if (tier === 'emergency-recovery') return []
  if (isRegistered === false) return [`${tier} is not registered (${registration})`]
  if (isRegistered === undefined) return [`whether ${tier} is registered is unknown: ${registration}`]
  if (ended.startsWith('cannot start: ')) return [`${tier} ${ended}`]
  return isLate ? [`${tier} has not run when it was due`] : []
}

async function lookAtTiers(settings: Settings, receipt: Receipt | undefined, runs: History['runs'], now: Date) {
  const registrationOf = await askRegistrations(settings, receipt)
  return Promise.all(
    ALL_TIERS.map(async (tier) => {
      const { is, detail, isCounted } = registrationOf(tier)
      const { level, intervalSec = 0 } = TIERS[tier]
      const { last, lastStart, cannotStart } = runs[tier]
      const lastRun = cannotStart?.at ?? lastStart ?? last?.at
      // Lines have whole seconds: in the second in which the run before ended, the lock shows the new one.
      const holder = lastStart && (!last || lastStart >= last.at) ? await lockHolder(settings, tier) : undefined
      const isCutOff = lastStart !== undefined && (!last || lastStart > last.at)
      const instead =
        (cannotStart && `cannot start: ${cannotStart.why}`) ??
        (holder && `running, pid ${holder.pid}`) ??
        (isCutOff ? 'ended without a last line' : undefined)
      const sinceMs = Math.max(lastRun?.getTime() ?? 0, Date.parse(receipt?.installedAt ?? ''))
      const [nowMs, intervalMs] = [now.getTime(), intervalSec * 1000]
      const nextMs = isCounted
        ? lastRun && Math.max(lastRun.getTime() + intervalMs, nowMs)
        : (Math.floor(nowMs / intervalMs) + 1) * intervalMs
      return {
        tier,
        level,
        /** Undefined: that could not be found out, or it is Level 3. */
        isRegistered: is,
        registration: detail,
        lastRun,
        exitCode: instead ? undefined : last?.exitCode,
        ended: instead ?? last?.verdict ?? '',
        nextRun: is && nextMs ? new Date(nextMs) : undefined,
        isLate: intervalSec > 0 && !holder && nowMs - sinceMs > LATE_INTERVALS * intervalMs,
      }
    }),
  )
}

/** `isCounted`: launchd and systemd count from the last start; cron's minutes stand on the clock. */
async function askRegistrations(settings: Settings, receipt: Receipt | undefined) {
  const crontab = receipt ? await readCrontab(settings) : { text: '' }
  const inCron = 'failure' in crontab ? undefined : cronTiers(crontab.text, settings.profile)
  const jobs = await askJobs(settings, receipt?.scheduler ?? 'cron')
  return (tier: TierName): { is: boolean | undefined; detail: string; isCounted?: true } => {
    if (tier === 'emergency-recovery') return { is: undefined, detail: 'started by level 2' }
    if (!receipt) return { is: false, detail: 'not installed' }
    const job = jobs.find((one) => one.tier === tier)
    if (job) return { is: job.registered, detail: job.detail, isCounted: true }
    // Where there was no cron, the installation wrote no lines.
    const is = inCron?.includes(tier) ?? (receipt.cronLines.length === 0 ? false : undefined)
    return { is, detail: 'failure' in crontab ? crontab.failure : `cron: ${is ? 'in' : 'not in'} the crontab` }
  }
}

/** Coloured at a terminal, unless NO_COLOR is set: `styleText` asks both. */
export function screen(status: Status, { home }: Settings): string[] {
  const { at, gateway, doctor, installed, incidents, alertsWaiting, uptimePercent, otherProfiles } = status
  const time = (one: Date) => secondOf(one, at).slice(0, -3)
  const profile = status.profile === 'default' ? '' : `, profile ${status.profile}`
  const title = `OpenClaw self-healing on ${status.host}${profile}, ${minuteOf(at)}:${secondOf(at, at).slice(-2)}`
  const { url, version, pid, memoryMb } = gateway
  const identity = [url, version && `version ${version}`, pid && `pid ${pid}`, memoryMb && `${memoryMb} MB`]
  const { crashes, coolingSec } = status.restarts
  const counted = crashes === 0 ? 'no crash is counted' : `${crashes} crash${crashes === 1 ? ' is' : 'es are'} counted`
  const cooling = coolingSec > 0 ? `; the next one in ${spell(coolingSec)} at the earliest` : ''
  const last = doctor.last ? `; the last at ${time(doctor.last)}` : ''
  const by = installed && `Levels 1 and 2 by ${installed.scheduler}, scripts in ${installed.root}`
  const facts = [
    ['gateway', gatewayWords(gateway, time, at)],
    ['', styleText('dim', identity.filter(Boolean).join(', '))],
    ...gateway.warnings.map((warning) => ['', styleText('yellow', `! ${warning}`)]),
    ['paused', status.paused ? styleText('yellow', status.paused) : 'no'],
    ['doctor', `${doctor.visits} of ${doctor.limit} sessions in 24 hours${last}`],
    ['restarts', `${counted}${cooling}`],
    ['alerts', alertsWaiting === 0 ? 'none waits' : styleText('red', `${alertsWaiting} wait to be delivered`)],
    ['installed', installed ? `${time(new Date(installed.at))}, ${by}` : styleText('red', 'no')],
    ['logs', status.logs],
    ['settings', status.envFile ?? 'defaults (no .env)'],
    ...otherProfiles.map((name) => ['beside it', `profile ${name} (\`--profile ${name}\` shows it)`]),
  ]
  const uptime = uptimePercent === undefined ? 'no tier has looked' : `up ${uptimePercent.toFixed(2)} % of the time`
  const lines = [
    styleText('bold', title),
    '',
    ...facts.map(([name = '', text]) => `${styleText('dim', name.padEnd(13))}${text}`),
    '',
    ...tierTable(status.tiers, at),
    '',
    styleText('dim', `Last 7 days: ${uptime}${incidents.length > 0 ? '; the last incidents:' : ', no incident'}`),
    ...incidents.map((one) => {
      const how = one.healedBy === 'outside' ? 'by itself or from outside' : `healed by level ${one.healedBy}`
      const long = `down for ${seenAndFelt(one)}, ${one.end ? how : 'goes on'}`
      const words = `  ${time(one.begin).padStart(16)}  ${long}: ${one.verdict}: ${one.evidence}`
      return one.end ? words : styleText('red', words)
    }),
    ...status.notes.map((note) => styleText('yellow', `note: ${note}`)),
    '',
    status.isWell ? styleText('green', 'All is well.') : styleText('red', `Not well: ${status.problems.join('; ')}.`),
  ]
  return lines.map((line) => line.replaceAll(`${home}/`, '~/').trimEnd())
}

function gatewayWords(gateway: Status['gateway'], time: (one: Date) => string, now: Date): string {
  const { verdict, isUp, since, isSinceAtLeast, lastHealthy, evidence } = gateway
  const seconds = since ? spell((now.getTime() - since.getTime()) / 1000) : ''
  const long = since ? ` for ${isSinceAtLeast ? 'at least ' : ''}${seconds}, since ${time(since)}` : ''
  const seen = !isUp && lastHealthy ? `, last seen healthy at ${time(lastHealthy)}` : ''
  return `${styleText(isUp ? 'green' : 'red', `${isUp ? '●' : '○'} ${verdict}`)}${long}${seen}: ${evidence}`
}

function tierTable(tiers: Status['tiers'], now: Date): string[] {
  const registered = (is: boolean | undefined) => (is === undefined ? '?' : is ? 'yes' : 'NO')
  const rows = tiers.map(({ tier, isRegistered, registration, lastRun, exitCode, ended, nextRun }) => [
    tier,
    tier === 'emergency-recovery' ? registration : `${registered(isRegistered)} (${registration})`,
    lastRun ? secondOf(lastRun, now) : 'never',
    exitCode === undefined ? ended || '-' : `${exitCode} (${ended})`,
    nextRun ? `about ${secondOf(nextRun, now)}` : '-',
  ])
  const all = [['tier', 'registered', 'last run', 'last exit code', 'next run'], ...rows]
  const widths = all[0]!.map((_, i) => Math.max(...all.map((row) => row[i]!.length)))
  const [head = '', ...lines] = all.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join('  '))
  const coloured = lines.map((line, i) => {
    const { isLate, isRegistered, exitCode } = tiers[i]!
    if (isLate || isRegistered === false) return styleText('red', line)
    return exitCode === 1 ? styleText('yellow', line) : line
  })
  return [styleText('dim', head), ...coloured]
}
