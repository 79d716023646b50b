/** The figures of a report: what the incidents of a history add up to. */
import { TREATMENTS } from '../gateway/treat.ts'
import type { History } from '../incidents/history.ts'
import type { Incident } from '../incidents/incident.ts'
import { seenAndFelt, spell } from '../incidents/words.ts'

export interface Row {
  metric: string
  value: string
}

/** The production table of the article, and what it takes to read it rightly. */
export function figuresOf(history: History): Row[] {
  const { incidents, uptime } = history
  const total = incidents.length
  const count = (is: (incident: Incident) => boolean) => incidents.filter(is).length
  const share = (n: number) => (total === 0 ? `${n}` : `${n} (${Math.round((100 * n) / total)}%)`)
  const byLevel = (level: number) => {
    const resolved = count(({ healedBy }) => healedBy === level)
    const handedOn = total > 0 && resolved === 0 && incidents.every(({ highestLevel }) => highestLevel > level)
    return handedOn ? `0 (all escalated${level === 1 ? '' : ` to L${level + 1}`})` : share(resolved)
  }
  const alone = count(({ healedBy, manualCalls }) => healedBy === 'outside' && manualCalls === 0)
  const open = count(({ end }) => end === undefined)
  const watched = uptime.upSec + uptime.downSec
  const whole = watched + uptime.unknownSec
  return [
    { metric: 'Total failures', value: `${total}` },
    { metric: 'Level 1 resolved', value: byLevel(1) },
    { metric: 'Level 2 resolved', value: byLevel(2) },
    { metric: 'Level 3 resolved', value: byLevel(3) },
    { metric: 'Level 4 alerts', value: `${share(count(({ manualCalls }) => manualCalls > 0))}${deliveries(history)}` },
    ...(alone > 0 ? [{ metric: 'Ended by itself or from outside', value: share(alone) }] : []),
    ...(open > 0 ? [{ metric: 'Not over yet', value: share(open) }] : []),
    { metric: 'Uptime', value: uptimeInWords(history) },
    { metric: 'Mean time to recovery', value: meanTimeToRecovery(incidents) },
    { metric: 'Manual interventions', value: `${count(isByHand)}` },
    { metric: 'Watched', value: whole > 0 ? `${percentOf((100 * watched) / whole)} of the time` : 'nothing' },
  ]
}

/** A human was called, and then it came back without any of the levels. */
function isByHand({ manualCalls, healedBy }: Incident): boolean {
  return manualCalls > 0 && healedBy === 'outside'
}

function deliveries({ incidents }: History): string {
  const called = incidents.filter(({ manualCalls }) => manualCalls > 0)
  if (called.length === 0) return ''
  const sent = called.reduce((sum, { alerts }) => sum + alerts, 0)
  if (sent === 0) return ', no delivery is in the logs'
  return `, ${sent} message${sent === 1 ? '' : 's'} delivered`
}

function uptimeInWords({ uptime }: History): string {
  const { percent, worstPercent, upSec, downSec, unknownSec, unknownInIncidentsSec } = uptime
  if (percent === undefined || worstPercent === undefined) return 'unknown: nobody watched'
  const [said, worst] = [percentOf(percent), percentOf(worstPercent)]
  const watched = upSec + downSec
  // Of a day of which an hour is known, a percentage says little, and must not look like more.
  if (watched < unknownSec) {
    const unseen = unknownInIncidentsSec > 0 ? `; at worst ${worst}` : ''
    return `${said} (of the ${spell(watched)} that were watched${unseen})`
  }
  return said === worst ? said : `${said} (at worst ${worst})`
}

function meanTimeToRecovery(incidents: readonly Incident[]): string {
  const ended = incidents.filter(({ end }) => end !== undefined)
  if (ended.length === 0) return '–'
  const mean = (of: (incident: Incident) => number) => ended.reduce((sum, one) => sum + of(one), 0) / ended.length
  return seenAndFelt({ downSec: mean((one) => one.downSec), feltSec: mean((one) => one.feltSec) })
}

export interface Cause {
  verdict: string
  /** What the verdict means; empty for one that is none of ours. */
  means: string
  incidents: number
  downSec: number
  feltSec: number
}

/** How often which cause, and for how long; the longest first. */
export function causesOf(incidents: readonly Incident[]): Cause[] {
  const causes = new Map<string, Cause>()
  for (const { verdict, downSec, feltSec } of incidents) {
    const blank = { verdict, means: meaningOf(verdict), incidents: 0, downSec: 0, feltSec: 0 }
    const cause = causes.get(verdict) ?? blank
    cause.incidents++
    cause.downSec += downSec
    cause.feltSec += feltSec
    causes.set(verdict, cause)
  }
  return [...causes.values()].sort((a, b) => b.downSec - a.downSec || b.incidents - a.incidents)
}

function meaningOf(verdict: string): string {
  return Object.hasOwn(TREATMENTS, verdict) ? TREATMENTS[verdict as keyof typeof TREATMENTS].means : ''
}

/** Rounded down, with more decimals the nearer it is to 100: 99.96 must not read as 100. */
export function percentOf(percent: number): string {
  if (percent >= 100) return '100%'
  const decimals = percent < 99.9 ? 1 : percent < 99.99 ? 2 : 3
  return `${(Math.floor(percent * 10 ** decimals) / 10 ** decimals).toFixed(decimals)}%`
}
