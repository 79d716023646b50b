/** The status as lines for a terminal. */
import { styleText } from 'node:util'
import { clockTime, duration } from '../alerts/time-words.ts'
import { localIso } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import type { GatewayStatus, PastIncident, Status } from './look.ts'
import type { TierStatus } from './tiers.ts'

type Colour = 'green' | 'red' | 'yellow' | 'dim' | 'bold'
type Paint = (colour: Colour, text: string) => string

/** Coloured at a terminal, unless NO_COLOR is set (https://no-color.org: to anything but nothing). */
export function screen(status: Status, { home, childEnv }: Settings): string[] {
  const isColoured = process.stdout.isTTY && !childEnv.NO_COLOR && childEnv.TERM !== 'dumb'
  const paint: Paint = (colour, text) => (isColoured && text !== '' ? styleText(colour, text) : text)
  const tilde = (text: string) => text.replaceAll(`${home}/`, '~/')
  const { at, gateway, doctor, restarts, installed } = status
  const profile = status.profile === 'default' ? '' : `, profile ${status.profile}`
  const say = (name: string, text: string) => `${paint('dim', name.padEnd(NAME_WIDTH))}${tilde(text)}`
  return [
    paint('bold', `OpenClaw self-healing on ${status.host}${profile}, ${localIso(at).slice(0, 19).replace('T', ' ')}`),
    '',
    say('gateway', gatewayWords(gateway, at, paint)),
    say('', paint('dim', identity(gateway))),
    ...gateway.warnings.map((warning) => say('', paint('yellow', `! ${warning}`))),
    say('paused', status.paused ? paint('yellow', status.paused) : 'no'),
    say(
      'doctor',
      `${doctor.visits} of ${doctor.limit} visits in 24 hours${doctor.last ? `; the last at ${clockTime(doctor.last, at)}` : ''}`,
    ),
    say('restarts', restartWords(restarts)),
    say(
      'alerts',
      status.alertsWaiting === 0 ? 'none waits' : paint('red', `${status.alertsWaiting} wait to be delivered`),
    ),
    say(
      'installed',
      installed
        ? `${clockTime(new Date(installed.at), at)}, Levels 1 and 2 by ${installed.scheduler}, scripts in ${installed.root}`
        : paint('red', 'no'),
    ),
    say('logs', status.logs),
    say('settings', status.envFile ?? 'defaults (no .env)'),
    ...(status.otherProfiles.length > 0
      ? [say('beside it', `profile ${status.otherProfiles.join(', ')} (\`--profile <name>\` shows it)`)]
      : []),
    '',
    ...tierTable(status.tiers, at, paint).map(tilde),
    '',
    ...incidentLines(status, paint).map(tilde),
    ...status.notes.map((note) => paint('yellow', `note: ${tilde(note)}`)),
    '',
    status.isWell ? paint('green', 'All is well.') : paint('red', `Not well: ${tilde(status.problems.join('; '))}.`),
  ]
}

const NAME_WIDTH = 13

function gatewayWords(gateway: GatewayStatus, now: Date, paint: Paint): string {
  const { verdict, isUp, since, isSinceAtLeast, lastHealthy, evidence } = gateway
  const forSec = since && (now.getTime() - since.getTime()) / 1000
  const span =
    forSec === undefined
      ? !isUp && lastHealthy
        ? `, last seen healthy at ${clockTime(lastHealthy, now)}`
        : ''
      : ` for ${isSinceAtLeast ? 'at least ' : ''}${duration(forSec)}, since ${clockTime(since!, now)}`
  return `${paint(isUp ? 'green' : 'red', `${isUp ? '●' : '○'} ${verdict}`)}${span}: ${evidence}`
}

function identity({ version, pid, memoryMb, url }: GatewayStatus): string {
  return [
    url,
    version && `version ${version}`,
    pid !== undefined && `pid ${pid}`,
    memoryMb !== undefined && `${memoryMb} MB`,
  ]
    .filter(Boolean)
    .join(', ')
}

function restartWords({ crashes, coolingSec }: Status['restarts']): string {
  const counted = crashes === 0 ? 'no crash is counted' : `${crashes} crash${crashes === 1 ? ' is' : 'es are'} counted`
  return coolingSec > 0 ? `${counted}; the next one in ${duration(coolingSec)} at the earliest` : counted
}

function tierTable(tiers: readonly TierStatus[], now: Date, paint: Paint): string[] {
  const rows = tiers.map((one) => [
    one.tier,
    registrationWords(one),
    one.lastRun ? timeWithSeconds(one.lastRun, now) : 'never',
    [one.exitCode, one.exitCode === undefined ? one.ended : `(${one.ended})`].join(' ').trim() || '-',
    one.nextRun ? `about ${timeWithSeconds(one.nextRun, now)}` : '-',
  ])
  const head = ['tier', 'registered', 'last run', 'last exit code', 'next run']
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)))
  const format = (row: string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd()
  return [paint('dim', format(head)), ...rows.map((row, i) => paintTier(format(row), tiers[i]!, paint))]
}

function registrationWords({ tier, isRegistered, registration }: TierStatus): string {
  if (tier === 'emergency-recovery') return registration
  return `${isRegistered === undefined ? '?' : isRegistered ? 'yes' : 'NO'} (${registration})`
}

function paintTier(line: string, { isRegistered, isLate, exitCode, tier }: TierStatus, paint: Paint): string {
  if (isLate || (isRegistered === false && tier !== 'emergency-recovery')) return paint('red', line)
  return exitCode === 1 ? paint('yellow', line) : line
}

function timeWithSeconds(at: Date, now: Date): string {
  return `${clockTime(at, now)}:${localIso(at).slice(17, 19)}`
}

function incidentLines({ incidents, uptimePercent, at }: Status, paint: Paint): string[] {
  const uptime = uptimePercent === undefined ? 'no tier has looked' : `up ${uptimePercent.toFixed(2)} % of the time`
  const head = paint('dim', `Last 7 days: ${uptime}${incidents.length > 0 ? '; the last incidents:' : ', no incident'}`)
  return [head, ...incidents.map((one) => incidentLine(one, at, paint))]
}

function incidentLine({ begin, end, verdict, evidence, healedBy, downSec }: PastIncident, now: Date, paint: Paint) {
  const how =
    healedBy === undefined
      ? 'goes on'
      : healedBy === 'outside'
        ? 'by itself or from outside'
        : `healed by level ${healedBy}`
  const words = `  ${clockTime(begin, now).padStart(16)}  ${duration(downSec).padStart(7)}  ${how}: ${verdict}: ${evidence}`
  return end === undefined ? paint('red', words) : words
}
