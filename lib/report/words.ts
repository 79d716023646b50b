/** What a report says of incidents and their steps, in words for people. */
import type { Incident, Step } from '../incidents/incident.ts'
import { localIso, type TierName } from '../tier/contract.ts'

/** `12 s`, `18 min`, `5 h 20 min`, `3 days 4 h`. */
export function spell(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 120) return `${whole} s`
  const minutes = Math.round(whole / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  const days = Math.floor(hours / 24)
  return hours % 24 === 0 ? `${days} days` : `${days} days ${hours % 24} h`
}

/** Rounded down, with more decimals the nearer it is to 100: 99.96 must not read as 100. */
export function percentOf(percent: number): string {
  if (percent >= 100) return '100%'
  const decimals = percent < 99.9 ? 1 : percent < 99.99 ? 2 : 3
  return `${(Math.floor(percent * 10 ** decimals) / 10 ** decimals).toFixed(decimals)}%`
}

/** `2026-11-18 22:05`. */
export function minuteOf(at: Date): string {
  return localIso(at).slice(0, 16).replace('T', ' ')
}

/** `22:05:10`, with the date when it is not that of `beside`. */
export function secondOf(at: Date, beside: Date): string {
  const [day, time] = [localIso(at).slice(0, 10), localIso(at).slice(11, 19)]
  return day === localIso(beside).slice(0, 10) ? time : `${day} ${time}`
}

const WHO: Record<TierName, string> = {
  watchdog: 'Level 1, watchdog',
  healthcheck: 'Level 2, health check',
  'emergency-recovery': 'Level 3, doctor',
  monitor: 'Level 4, monitor',
  guardian: 'Guardian',
}

/** One line of an incident's timeline. */
export interface TimelineLine {
  at: Date
  until: Date
  who: string
  kind: Step['said']['kind'] | 'seen-healthy'
  /** Our own words. */
  did: string
  /** What it was about: text from outside; empty when there is none. */
  quote: string
  /** How often it was said again, and until when; empty when it was said once. */
  again: string
}

export function lineOf({ at, until, times, tier, said }: Step): TimelineLine {
  const again = times > 1 ? `${times} times, last ${secondOf(until, at)}` : ''
  return { at, until, who: WHO[tier], kind: said.kind, again, ...deedInWords(said) }
}

/** Who did what when, up to the end. */
export function timelineOf({ steps, end, healedBy }: Incident): TimelineLine[] {
  const lines = steps.map(lineOf)
  const isTold = steps.some(({ said }) => said.kind === 'recovered')
  if (end && healedBy === 'outside' && !isTold) {
    const did = 'seen healthy again; none of the levels did it'
    lines.push({ at: end, until: end, who: 'Gateway', kind: 'seen-healthy', did, quote: '', again: '' })
  }
  return lines.sort((a, b) => a.at.getTime() - b.at.getTime())
}

function deedInWords(said: Step['said']): { did: string; quote: string } {
  switch (said.kind) {
    case 'down':
      return { did: `found it down, ${said.verdict}`, quote: said.evidence }
    case 'escalate':
      return { did: `handed on to level ${said.level}`, quote: said.why }
    case 'restart':
      return { did: 'started it again', quote: said.how }
    case 'doctor':
      return { did: `called ${said.name} ${said.version}`, quote: '' }
    case 'recovered':
      return {
        did:
          said.level === undefined
            ? `saw it back after ${spell(said.seconds)}, by itself or from outside`
            : `brought it back after ${spell(said.seconds)}`,
        quote: '',
      }
    case 'cannot-start':
      return { did: 'could not be started', quote: said.why }
    case 'manual':
      return { did: 'called a human', quote: said.why }
    case 'notice':
      return { did: 'noted', quote: said.what }
    case 'told':
      return { did: `told a human through ${said.channel}`, quote: said.title }
    case 'run-ended':
      return { did: `ended with exit code ${said.exitCode}`, quote: said.verdict }
  }
}

/** How an incident ended, as the second half of a sentence. */
export function howItEnded({ healedBy, manualCalls, end, lastSeen }: Incident): string {
  if (end === undefined) return `not over yet; last seen down at ${minuteOf(lastSeen)}`
  if (healedBy === 'outside')
    return manualCalls > 0 ? 'ended from outside after a human was called' : 'ended by itself or from outside'
  return `ended by level ${healedBy}`
}

/**
 * How long outages lasted as far as somebody watched and, where that is not all, with the time in which nobody did: most
 * often a human was at work, and had paused the tiers. `9 min (2 h 30 min with the time nobody watched)`.
 */
export function downInWords(downSec: number, unwatchedSec: number, [open, close] = [' (', ')']): string {
  const [watched, all] = [spell(downSec), spell(downSec + unwatchedSec)]
  return watched === all ? watched : `${watched}${open}${all} with the time nobody watched${close}`
}

/** How long it was down, and what of the time is not counted. */
export function howLong({ downSec, unwatchedSec, stoppedSec }: Incident): string {
  return [
    `down for ${spell(downSec)}`,
    ...(unwatchedSec >= 1 ? [`nobody watched for ${spell(unwatchedSec)} of it`] : []),
    ...(stoppedSec >= 1 ? [`stopped on purpose for ${spell(stoppedSec)}`] : []),
  ].join(', ')
}

/** What was spent on it; empty when nothing was. */
export function whatItTook({ restarts, doctorRuns, manualCalls, alerts }: Incident): string {
  const several = (n: number, one: string, many = `${one}s`) => (n === 0 ? [] : [`${n} ${n === 1 ? one : many}`])
  return [
    ...several(restarts, 'restart'),
    ...several(doctorRuns, 'doctor'),
    ...several(manualCalls, 'call for a human', 'calls for a human'),
    ...several(alerts, 'message delivered', 'messages delivered'),
  ].join(', ')
}
