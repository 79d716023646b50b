/** Incidents and their steps in words for people. */
import { localIso, type Marker, TIERS, type TierName } from '../tier/contract.ts'
import type { Incident, Step } from './history.ts'

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

/** `2026-11-18 22:05`. */
export const minuteOf = (at: Date): string => localIso(at).slice(0, 16).replace('T', ' ')

/** `22:05:10`, with the date when it is not that of `beside`. */
export function secondOf(at: Date, beside: Date): string {
  const [day, time] = [localIso(at).slice(0, 10), localIso(at).slice(11, 19)]
  return day === localIso(beside).slice(0, 10) ? time : `${day} ${time}`
}

export type TimelineLine = ReturnType<typeof lineOf>

const NAMES = { watchdog: 'watchdog', healthcheck: 'health check', 'emergency-recovery': 'doctor', monitor: 'monitor' }

export function whoIs(tier: TierName): string {
  return tier === 'guardian' ? 'Guardian' : `Level ${TIERS[tier].level}, ${NAMES[tier]}`
}

export function lineOf({ at, until, times, tier, said }: Step) {
  const again = times > 1 ? `${times} times, last ${secondOf(until, at)}` : ''
  const [did, quote = ''] = deedOf(said)
  /** `tier` undefined: the gateway itself. */
  return { at, until, tier: tier as TierName | undefined, who: whoIs(tier), again, did, quote }
}

export function timelineOf({ steps, end, healedBy }: Incident): TimelineLine[] {
  const lines = steps.map(lineOf)
  if (end && healedBy === 'outside' && !steps.some(({ said }) => said.kind === 'recovered')) {
    const did = 'seen healthy again; none of the levels did it'
    lines.push({ at: end, until: end, tier: undefined, who: 'Gateway', did, quote: '', again: '' })
  }
  return lines.sort((a, b) => a.at.getTime() - b.at.getTime())
}

function deedOf(said: Marker): [did: string, quote?: string] {
  const { kind } = said
  if (kind === 'down') return [`found it down, ${said.verdict}`, said.evidence]
  if (kind === 'escalate') return [`escalated to level ${said.level}`, said.why]
  if (kind === 'restart') return ['restarted it', said.how]
  if (kind === 'doctor') return [`called ${said.name} ${said.version}`]
  if (kind === 'cannot-start') return ['could not be started', said.why]
  if (kind === 'manual') return ['called a human', said.why]
  if (kind === 'notice') return ['noted', said.what]
  if (kind === 'delivered') return [`sent a message through ${said.channel}`, said.title]
  if (kind === 'run-ended') return [`ended with exit code ${said.exitCode}`, said.verdict]
  if (kind !== 'recovered') return [kind]
  const after = spell(said.seconds)
  return [said.level ? `brought it back after ${after}` : `saw it back after ${after}, by itself or from outside`]
}

/** How an incident ended, as the second half of a sentence. */
export function howItEnded({ healedBy, manualCalls, end, lastSeen }: Omit<Incident, 'steps'>): string {
  if (end === undefined) return `not over yet; last seen down at ${minuteOf(lastSeen)}`
  if (healedBy !== 'outside') return `ended by level ${healedBy}`
  return manualCalls > 0 ? 'ended from outside after a human was called' : 'ended by itself or from outside'
}

/** `40 s as seen; up to 3 min felt`, or `40 s`. */
export function seenAndFelt({ downSec, feltSec }: Pick<Incident, 'downSec' | 'feltSec'>): string {
  const [seen, felt] = [spell(downSec), spell(feltSec)]
  return felt === seen || feltSec < downSec ? seen : `${seen} as seen; up to ${felt} felt`
}

export function howLong(incident: Omit<Incident, 'steps'>): string {
  const { unwatchedSec, stoppedSec } = incident
  return [
    `down for ${seenAndFelt(incident)}`,
    ...(unwatchedSec >= 1 ? [`unwatched for ${spell(unwatchedSec)}`] : []),
    ...(stoppedSec >= 1 ? [`stopped on purpose for ${spell(stoppedSec)}`] : []),
  ].join('; ')
}

export function whatItTook({ restarts, doctorRuns, manualCalls, alerts }: Incident): string {
  const several = (n: number, one: string, many = `${one}s`) => (n === 0 ? [] : [`${n} ${n === 1 ? one : many}`])
  return [
    ...several(restarts, 'restart'),
    ...several(doctorRuns, 'doctor'),
    ...several(manualCalls, 'call for a human', 'calls for a human'),
    ...several(alerts, 'message delivered', 'messages delivered'),
  ].join(', ')
}

/** As lines of at most `width` characters, but for a word that is longer. */
export function wrapLines(text: string, width: number): string[] {
  const parts = text.match(new RegExp(`[^\\n]{1,${Math.max(20, width)}}(?=[ \\n]|$)|[^ \\n]+`, 'g')) ?? ['']
  return parts.map((part, i) => (i === 0 ? part : part.trimStart()).replaceAll(GLUE, ' '))
}

const GLUE = '\u00a0'
/** A command in backticks stays in one line, so that it can be pasted; `max`: a longer one is wrapped. */
export const gluedCommands = (text: string, max = 300): string =>
  text.replace(/`[^`\n]+`/g, (command) => (command.length > max ? command : command.replaceAll(' ', GLUE)))

/** Cells as wide as the widest of their column. */
export function inColumns(rows: readonly string[][]): string[][] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)))
}
