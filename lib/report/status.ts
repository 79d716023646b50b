/** The state of everything: the gateway, the tiers, the doctor's budget, the last incidents; and as lines. Changes nothing. */
import { hostname } from 'node:os'
import { styleText } from 'node:util'
import { formProblems } from '../alerts/channels.ts'
import { readLedger } from '../alerts/ledger.ts'
import { readSessions } from '../doctor/memory.ts'
import { adviceFor } from '../gateway/advice.ts'
import { examine, isUp } from '../gateway/examine.ts'
import { deathsWithin, readRecord } from '../gateway/record.ts'
import { hiding } from '../gateway/secrets.ts'
import { NOT_KNOWN, readSilence } from '../gateway/silent.ts'
import { cooldownLeftSec, readWatchState } from '../gateway/watch-state.ts'
import { type History, lastDays, readHistory } from '../incidents/history.ts'
import {
  gluedCommands,
  howItEnded,
  howLong,
  inColumns,
  minuteOf,
  secondOf,
  spell,
  wrapLines,
} from '../incidents/words.ts'
import { cronTiers, readCrontab } from '../services/cron.ts'
import { domainNotes } from '../services/launchd.ts'
import { otherInstallations, type Receipt, readReceipt } from '../services/receipt.ts'
import { askJobs } from '../services/supervisor.ts'
import { ALL_TIERS, oneLine, TIERS, type TierName } from '../tier/contract.ts'
import { lockHolder } from '../tier/lock.ts'
import { pauseReason } from '../tier/pause.ts'
import type { Settings } from '../tier/settings.ts'
import { everyText, openRollbacks } from './report.ts'

type Status = Awaited<ReturnType<typeof readStatus>>

const DAY_MS = 86_400_000
/** Two missed runs, and half of one for busy machines. */
const LATE_INTERVALS = 2.5

/** What is not known is undefined; all of it is what `npm run status -- --json` prints. */
export async function readStatus(settings: Settings, now = new Date()) {
  const history = readHistory(settings, lastDays(7, now), now)
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
  const silence = readSilence(settings)
  const { findings, unknown } = silence.value
  const warnings = [...seen.warnings, ...(up ? findings : [])].map(({ text }) => text)
  const { lastHealthyMs } = record.value
  const past = sessions.value.map(({ at }) => at).filter((at) => at <= now.getTime())
  const alertsWaiting = ledger.outbox.length
  const problems = [
    ...(up ? [] : [`the gateway is not up (${seen.verdict})`]),
    ...(receipt ? tiers.flatMap(problemsOf) : ['nothing is installed']),
    ...(alertsWaiting > 0 ? [`${alertsInWords(alertsWaiting)} to be delivered`] : []),
  ]
  const paused = pauseReason(settings, now)
  const gatewayTodo = seen.verdict === 'healthy' ? [] : adviceFor(settings, 'gateway', seen.verdict, seen.evidence)
  const rollbacks = openRollbacks(settings, history)
  const todo = [
    ...gatewayTodo,
    ...(receipt ? [] : adviceFor(settings, 'not installed')),
    ...(receipt && tiers.some((tier) => problemsOf(tier).length > 0) ? adviceFor(settings, 'watchers') : []),
    ...(alertsWaiting > 0 ? adviceFor(settings, 'alerts') : []),
    ...(up && warnings.length > 0 ? adviceFor(settings, 'warnings') : []),
    ...rollbacks.flatMap((one) => one.todo),
    ...(paused ? adviceFor(settings, 'pause') : []),
  ]
  /** Nothing is wrong, but a person should know it. */
  const attention = [
    ...(warnings.length > 0 ? ['the gateway has a warning'] : []),
    ...rollbacks.map(({ at }) => `a config was put back at ${minuteOf(at)}, and the one from before is kept`),
    ...(paused ? ['self-healing is paused'] : []),
  ]
  const status = {
    at: now,
    host: hostname(),
    profile: settings.profile,
    isWell: problems.length === 0,
    problems,
    attention,
    todo,
    gateway: {
      verdict: seen.verdict,
      isUp: up,
      evidence: seen.evidence,
      lastWords: seen.lastWords,
      exitCode: seen.service?.lastExitCode,
      todo: gatewayTodo,
      warnings,
      /** Since when it is up or down, and whether it is so for longer than the logs reach back. */
      ...(up
        ? upSince(history, seen.process && now.getTime() - seen.process.ageSec * 1000)
        : { since: history.incidents.findLast(({ end }) => !end)?.begin, isSinceAtLeast: false }),
      lastHealthy: lastHealthyMs > 0 ? new Date(lastHealthyMs) : undefined,
      version: seen.version,
      pid: seen.process?.pid,
      memoryMb: seen.process?.memoryMb,
      processesEnded: { lastHour: deathsWithin(record.value, 60), last7Days: history.processesEnded },
      url: settings.gatewayUrl,
      supervisor: record.value.supervisor,
    },
    installed: receipt && { at: receipt.installedAt, scheduler: receipt.scheduler, root: receipt.root },
    tiers,
    paused,
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
      .slice(-5)
      .reverse()
      .map(({ steps, ...incident }) => incident),
    uptimePercent: history.uptime.percent,
    notes: [
      ...[record, watch, sessions, silence].flatMap(({ problem }) => problem ?? []),
      ...(unknown ? [`${NOT_KNOWN}${unknown}`] : []),
      ...ledgerProblems,
      ...history.notes,
      ...settings.envProblems,
      ...formProblems(settings),
      ...(receipt?.scheduler === 'launchd' ? await domainNotes(settings) : []),
    ],
    logs: settings.memoryDir,
    envFile: settings.envFile,
    otherProfiles: otherInstallations(settings).map((one) => one.profile),
  }
  const hide = await hiding(settings)
  return everyText(status, (text) => oneLine(hide(text), 1000))
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
  if (isRegistered === false) return [`${tier} is not registered (${registration})`]
  if (isRegistered === undefined) return [`whether ${tier} is registered is unknown: ${registration}`]
  if (ended.startsWith('cannot start: ')) return [`${tier} ${ended}`]
  return isLate ? [`${tier} has not run when it was due (${registration})`] : []
}

async function lookAtTiers(settings: Settings, receipt: Receipt | undefined, runs: History['runs'], now: Date) {
  const registrationOf = await askRegistrations(settings, receipt)
  return Promise.all(
    ALL_TIERS.map(async (tier) => {
      const registration = registrationOf(tier)
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
      // The pulse and systemd count from the last start; the minutes of launchd's calendar and of cron stand on the clock.
      const isCounted = tier === 'watchdog' || (tier === 'healthcheck' && receipt?.scheduler === 'systemd')
      const nextMs = isCounted
        ? lastRun && Math.max(lastRun.getTime() + intervalMs, nowMs)
        : (Math.floor(nowMs / intervalMs) + 1) * intervalMs
      return {
        tier,
        level,
        ...registration,
        lastRun,
        exitCode: instead ? undefined : last?.exitCode,
        ended: instead ?? last?.verdict ?? '',
        nextRun: registration.isRegistered && nextMs ? new Date(nextMs) : undefined,
        isLate: intervalSec > 0 && !holder && nowMs - sinceMs > LATE_INTERVALS * intervalMs,
      }
    }),
  )
}

/** `isRegistered` undefined: that could not be found out. */
async function askRegistrations(settings: Settings, receipt: Receipt | undefined) {
  const crontab = receipt ? await readCrontab(settings) : { text: '' }
  const inCron = 'failure' in crontab ? undefined : cronTiers(crontab.text, settings.profile)
  const jobs = await askJobs(settings, receipt?.scheduler ?? 'cron')
  return (tier: TierName): { isRegistered: boolean | undefined; registration: string } => {
    if (!receipt) return { isRegistered: false, registration: 'not installed' }
    if (tier === 'emergency-recovery') return { isRegistered: true, registration: 'started by level 2' }
    const job = jobs.find((one) => one.tier === tier)
    if (job) return { isRegistered: job.registered, registration: job.detail }
    // Where there was no cron, the installation wrote no lines.
    const isRegistered = inCron?.includes(tier) ?? (receipt.cronLines.length === 0 ? false : undefined)
    const found = `cron: ${isRegistered ? 'in' : 'not in'} the crontab`
    return { isRegistered, registration: 'failure' in crontab ? crontab.failure : found }
  }
}

const alertsInWords = (n: number) => (n === 1 ? '1 alert waits' : `${n} alerts wait`)

/** Coloured at a terminal, unless NO_COLOR is set: `styleText` asks both. @param rows of the terminal: what is least needed is left out */
export function screen(status: Status, { home }: Settings, rows = Number.POSITIVE_INFINITY): string[] {
  const { at, gateway, doctor, installed, incidents, alertsWaiting, uptimePercent, otherProfiles } = status
  const time = (one: Date) => secondOf(one, at).slice(0, -3)
  const shorter = (line: string) => line.replaceAll(`${home}/`, '~/')
  const profile = status.profile === 'default' ? '' : `, profile ${status.profile}`
  const title = `OpenClaw self-healing on ${status.host}${profile}, ${minuteOf(at)}:${secondOf(at, at).slice(-2)}`
  const { url, version, pid, memoryMb, processesEnded } = gateway
  const identity = [url, version && `version ${version}`, pid && `pid ${pid}`, memoryMb && `${memoryMb} MB`]
  const { crashes, coolingSec } = status.restarts
  const counted = crashes === 0 ? 'no crash is counted' : `${crashes} crash${crashes === 1 ? ' is' : 'es are'} counted`
  const cooling = coolingSec > 0 ? `; the next one in ${spell(coolingSec)} at the earliest` : ''
  const last = doctor.last ? `; the last at ${time(doctor.last)}` : ''
  const by = installed && `Levels 1 and 2 by ${installed.scheduler}, scripts in ${installed.root}`
  const facts = [
    ['gateway', gatewayWords(gateway, time, at)],
    ['', styleText('dim', identity.filter(Boolean).join(', '))],
    ['supervisor', gateway.supervisor ?? 'not known: it has not been seen healthy'],
    ...gateway.warnings.map((warning) => ['', styleText('yellow', `! ${warning}`)]),
    ['paused', status.paused ? styleText('yellow', status.paused) : 'no'],
    ['doctor', `${doctor.visits} of ${doctor.limit} sessions in 24 hours${last}`],
    ['restarts', `${counted}${cooling}`],
    ['processes', `${processesEnded.lastHour} ended within the hour, ${processesEnded.last7Days} within 7 days`],
    [
      'alerts',
      alertsWaiting === 0 ? 'none waits' : styleText('red', `${alertsInWords(alertsWaiting)} to be delivered`),
    ],
    ['installed', installed ? `${time(new Date(installed.at))}, ${by}` : styleText('red', 'no')],
    ['logs', status.logs],
    ['settings', status.envFile ?? 'defaults (no .env)'],
    ...otherProfiles.map((name) => ['beside it', `profile ${name} (\`--profile ${name}\` shows it)`]),
  ]
  const uptime = uptimePercent === undefined ? 'no tier has looked' : `up ${uptimePercent.toFixed(2)} % of the time`
  const head = facts.flatMap(([name = '', text]) => wrapped(shorter(text!), styleText('dim', name.padEnd(13)), 13))
  const lines = [
    '',
    ...tierTable(status.tiers, at).flatMap((line) => wrapped(shorter(line).trimEnd())),
    '',
    styleText('dim', `Last 7 days: ${uptime}${incidents.length > 0 ? '; the last incidents:' : ', no incident'}`),
    ...incidents.flatMap((one) => {
      const how = shorter(`${howLong(one)}, ${howItEnded(one)}: ${one.verdict}: ${one.evidence}`)
      const words = wrapped(how, `  ${time(one.begin).padStart(16)}  `, 20)
      return one.end ? words : words.map((line) => styleText('red', line))
    }),
    ...status.notes.flatMap((note) => wrapped(shorter(styleText('yellow', `note: ${note}`)))),
  ]
  const well = status.attention.length > 0 ? `All is up; to know: ${status.attention.join('; ')}.` : 'All is well.'
  const steps = status.todo.length > 0 ? status.todo.map((step) => `➜ ${step}`) : ['➜ nothing to do']
  const longest = Number.isFinite(rows) ? (process.stdout.columns ?? 80) - 2 : undefined
  const end = [
    status.isWell ? styleText('green', well) : styleText('red', `Not well: ${status.problems.join('; ')}.`),
    ...steps,
  ].flatMap((line) => wrapped(gluedCommands(shorter(line), longest), '', 2))
  const all = [...wrapped(styleText('bold', title)), '', ...head, ...lines]
  // How it is and what to do next are never cut.
  const left = rows - end.length - 1
  return [...all.slice(0, Math.max(left, 0)), ...(left > 0 ? [''] : []), ...end].slice(-rows)
}

/** As lines for this terminal, or one of 80 columns. */
const wrapped = (text: string, label = '', indent = 4) =>
  wrapLines(text, (process.stdout.columns ?? 80) - indent).map(
    (line, i) => (i === 0 ? label : ' '.repeat(indent)) + line,
  )

function gatewayWords(gateway: Status['gateway'], time: (one: Date) => string, now: Date): string {
  const { verdict, isUp, since, isSinceAtLeast, lastHealthy, evidence } = gateway
  const seconds = since ? spell((now.getTime() - since.getTime()) / 1000) : ''
  const long = since ? ` for ${isSinceAtLeast ? 'at least ' : ''}${seconds}, since ${time(since)}` : ''
  const seen = !isUp && lastHealthy ? `, last seen healthy at ${time(lastHealthy)}` : ''
  return `${styleText(isUp ? 'green' : 'red', `${isUp ? '●' : '○'} ${verdict}`)}${long}${seen}: ${evidence}`
}

function tierTable(tiers: Status['tiers'], now: Date): string[] {
  // Why one is not registered stands among what is not well.
  const rows = tiers.map(({ tier, isRegistered, lastRun, exitCode, ended, nextRun }) => [
    tier,
    isRegistered ? 'yes' : isRegistered === undefined ? '?' : 'NO',
    lastRun ? secondOf(lastRun, now) : 'never',
    exitCode === undefined ? ended || '-' : `${exitCode} (${ended})`,
    nextRun ? `~${secondOf(nextRun, now)}` : '-',
  ])
  const all = [['tier', 'registered', 'last run', 'last exit code', 'next run'], ...rows]
  const [head = '', ...lines] = inColumns(all).map((row) => row.join('  '))
  const coloured = lines.map((line, i) => {
    const { isLate, isRegistered, exitCode } = tiers[i]!
    if (isLate || isRegistered === false) return styleText('red', line)
    return exitCode === 1 ? styleText('yellow', line) : line
  })
  return [styleText('dim', head), ...coloured]
}
