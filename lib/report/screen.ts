/** The status as lines for a terminal. */
import { styleText } from 'node:util'
import { minuteOf, secondOf, seenAndFelt, spell } from '../incidents/words.ts'
import type { Settings } from '../tier/settings.ts'
import type { Status, TierStatus } from './status.ts'

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
