/** From events to incidents, and to what is known of every minute: up, down, stopped on purpose, or unknown. */
import { ABOUT_WATCHERS, type TierName } from '../tier/contract.ts'
import type { LogEvent, Said } from './events.ts'
import { addStep, type Incident, newIncident, pushStep, type Step } from './incident.ts'
import type { Span } from './log-files.ts'

/** What the logs tell of a stretch of time. */
export type Condition = 'up' | 'down' | 'stopped' | 'unknown'

export interface Stretch {
  from: Date
  to: Date
  condition: Condition
  /** Of `unknown`: runs that stood down (a pause, a higher tier at work) in that time. */
  standDowns: number
  /** Of `unknown`: how often a watcher could not even be started. Neither: nobody ran at all. */
  failedStarts: number
}

/**
 * Level 2 looks every 300 s. What lies between two looks that are further apart than three of those was watched by
 * nobody (sleep, pause, power cut, dead watchers), and nothing is said of it.
 */
export const MAX_UNSEEN_SEC = 900
/** How a run ends that has not looked, see lib/tier/run.ts. */
const STOOD_DOWN = 'stood down'
/** No run takes a day: its seconds are text in a log, and may be damaged. */
const MAX_RUN_SEC = 86_400
const WATCHERS: readonly TierName[] = ['watchdog', 'healthcheck', 'emergency-recovery']
/** A message that arrives so long after the end is still about the incident: often the network was away, too. */
const ALERT_DELAY_MS = 6 * 3_600_000
const LEVELS: Partial<Record<TierName, number>> = { watchdog: 1, healthcheck: 2, 'emergency-recovery': 3 }
/** These say that it is not there, not why: a verdict that says more is taken for the cause. */
const VAGUE = ['starting', 'draining', 'absent', 'hung']

export interface Story {
  /** Oldest first; those that reach into the span. */
  incidents: Incident[]
  /** The whole span, without gaps, oldest first. */
  stretches: Stretch[]
  /** The time between a last healthy look and the DOWN after it, in seconds: up or down, nobody can say. */
  unsureSec: number
  /** Time of an incident in which nobody watched, in seconds: most likely down, but nobody can say. */
  unknownInIncidentsSec: number
  /** Calls for a human and notices that belong to no incident (of the watchers, of warnings), oldest first. */
  remarks: Step[]
}

/** @param events in order of time, as `readEvents` gives them */
export function tellStory(events: readonly LogEvent[], span: Span): Story {
  const teller = new Teller(span)
  const began = runBegins(events)
  events.forEach((event, i) => {
    teller.take(event, began[i]!)
  })
  return teller.end()
}

/**
 * For every event the time from which on the run that it belongs to was at work: what the doctor says after half an
 * hour of work does not come out of the blue. A run that was killed has no last line and counts from line to line.
 */
function runBegins(events: readonly LogEvent[]): Float64Array {
  const begins = new Float64Array(events.length)
  const running: Partial<Record<TierName, number>> = {}
  for (let i = events.length - 1; i >= 0; i--) {
    const event = events[i]!
    const { atMs, tier } = event
    // Who stood down did so beside another run of the same tier.
    if (event.kind === 'run' && event.verdict !== STOOD_DOWN)
      running[tier] = atMs - Math.min(event.seconds, MAX_RUN_SEC) * 1000
    begins[i] = Math.min(running[tier] ?? atMs, atMs)
  }
  return begins
}

type SaidEvent = Extract<LogEvent, { kind: 'said' }>

class Teller {
  private readonly span: Span
  private readonly incidents: Incident[] = []
  private readonly stretches: Stretch[] = []
  private condition: Condition = 'unknown'
  /** Up to here the condition is known, and entered. */
  private knownMs: number | undefined
  private standDowns = 0
  private failedStarts = 0
  private unsureSec = 0
  private unknownInIncidentsSec = 0
  private readonly remarks: Step[] = []
  private open: Incident | undefined

  constructor(span: Span) {
    this.span = span
  }

  take(event: LogEvent, beganMs: number): void {
    if (event.kind === 'start') return
    if (event.kind === 'run') {
      if (WATCHERS.includes(event.tier)) this.takeRun(event, beganMs)
    } else if (event.said.kind === 'told') this.addAlert(event)
    else if (event.said.kind === 'cannot-start') this.addFailedStart(event)
    else if (!WATCHERS.includes(event.tier) || isAboutWatchers(event.said)) this.remark(event)
    else this.takeSaid(event, beganMs)
  }

  private takeRun({ atMs, tier, verdict, exitCode }: Extract<LogEvent, { kind: 'run' }>, beganMs: number): void {
    if (verdict === 'healthy' && exitCode === 0) {
      this.see('up', beganMs, atMs)
      this.close(atMs, 'outside')
    } else if (verdict === STOOD_DOWN) {
      // Who stood down has not looked.
      this.standDowns++
    } else if (verdict === 'stopped-on-purpose') {
      this.see('stopped', beganMs, atMs)
    } else if (this.open) {
      // At work on it all the time.
      this.see('down', beganMs, atMs)
      if (tier === 'emergency-recovery') addStep(this.open, { kind: 'run-ended', verdict, exitCode }, tier, atMs)
    }
  }

  private takeSaid(event: SaidEvent, beganMs: number): void {
    const { atMs, tier, said } = event
    if (said.kind === 'recovered') {
      this.takeRecovery(said, tier, beganMs, atMs)
      return
    }
    if (said.kind === 'down') this.seeDown(said, beganMs, atMs)
    const { open } = this
    if (!open) {
      this.remark(event)
      return
    }
    addStep(open, said, tier, atMs)
    open.lastSeen = new Date(atMs)
    open.highestLevel = Math.max(open.highestLevel, LEVELS[tier] ?? 0)
    if (said.kind === 'escalate') open.highestLevel = Math.max(open.highestLevel, said.level)
    if (said.kind === 'restart') open.restarts++
    if (said.kind === 'doctor') open.doctorRuns++
    if (said.kind === 'manual') {
      open.manualCalls++
      open.highestLevel = 4
    }
  }

  private takeRecovery(
    said: Extract<Said, { kind: 'recovered' }>,
    tier: TierName,
    beganMs: number,
    atMs: number,
  ): void {
    const healedBy = said.level ?? 'outside'
    const last = this.incidents.at(-1)
    const reckonedMs = atMs - Math.min(said.seconds, 30 * MAX_RUN_SEC) * 1000
    if (!this.open && last?.end && reckonedMs <= last.end.getTime()) {
      // Another tier saw it healthy a moment before the one that had brought it back.
      addStep(last, said, tier, atMs)
      if (last.healedBy === 'outside') last.healedBy = healedBy
      this.see('up', beganMs, atMs)
      return
    }
    if (!this.open) this.openReckoned(reckonedMs, atMs)
    addStep(this.open!, said, tier, atMs)
    this.see('up', beganMs, atMs)
    this.close(atMs, healedBy)
  }

  /** A RECOVERED without its DOWN: the log with the DOWN is missing or damaged. */
  private openReckoned(reckonedMs: number, atMs: number): void {
    // Never back into the time in which it was seen up.
    const beginMs = Math.max(reckonedMs, this.knownMs ?? 0)
    this.see('down', beginMs, beginMs)
    this.open = Object.assign(newIncident(beginMs, 'unknown', ''), { isBeginSeen: false })
    this.incidents.push(this.open)
    this.enter('down', beginMs, atMs)
    this.knownMs = Math.max(atMs, beginMs)
  }

  private seeDown({ verdict, evidence }: Extract<Said, { kind: 'down' }>, beganMs: number, atMs: number): void {
    if (this.condition === 'up' && this.knownMs !== undefined) {
      const lateSec = (atMs - this.knownMs) / 1000
      if (lateSec <= MAX_UNSEEN_SEC && atMs > this.span.from.getTime()) this.unsureSec += Math.max(0, lateSec)
    }
    this.see('down', beganMs, atMs)
    if (!this.open) {
      this.open = newIncident(atMs, verdict, evidence)
      this.incidents.push(this.open)
    }
    if (!VAGUE.includes(verdict) || VAGUE.includes(this.open.verdict)) Object.assign(this.open, { verdict, evidence })
  }

  private close(atMs: number, healedBy: number | 'outside'): void {
    if (!this.open) return
    Object.assign(this.open, { end: new Date(atMs), lastSeen: new Date(atMs), healedBy })
    this.open = undefined
  }

  /** Somebody looked from `beganMs` to `atMs`, and this is what it saw at the end. */
  private see(condition: Condition, beganMs: number, atMs: number): void {
    const known = this.knownMs
    const from = known === undefined ? beganMs : Math.max(known, Math.min(beganMs, atMs))
    if (known !== undefined && from - known > MAX_UNSEEN_SEC * 1000) this.enter('unknown', known, from)
    // Until this moment it was as it was seen last.
    const before = this.condition === 'unknown' ? condition : this.condition
    const isGap = known === undefined || from - known > MAX_UNSEEN_SEC * 1000
    this.enter(before, isGap ? from : known, atMs)
    this.condition = condition
    this.knownMs = Math.max(atMs, known ?? 0)
    this.standDowns = 0
    this.failedStarts = 0
    if (this.open) this.open.lastSeen = new Date(atMs)
  }

  private enter(condition: Condition, fromMs: number, toMs: number): void {
    if (toMs <= fromMs) return
    const seconds = (toMs - fromMs) / 1000
    if (this.open && condition === 'down') this.open.downSec += seconds
    if (this.open && condition === 'unknown') this.open.unwatchedSec += seconds
    if (this.open && condition === 'stopped') this.open.stoppedSec += seconds
    const [standDowns, failedStarts] = condition === 'unknown' ? [this.standDowns, this.failedStarts] : [0, 0]
    const from = new Date(Math.max(fromMs, this.span.from.getTime()))
    const to = new Date(Math.min(toMs, this.span.to.getTime()))
    if (from >= to) return
    if (this.open && condition === 'unknown') this.unknownInIncidentsSec += (to.getTime() - from.getTime()) / 1000
    const last = this.stretches.at(-1)
    if (last?.condition === condition && last.to.getTime() === from.getTime()) {
      last.to = to
      last.standDowns += standDowns
      last.failedStarts += failedStarts
    } else this.stretches.push({ from, to, condition, standDowns, failedStarts })
  }

  private addAlert({ atMs, tier, said }: SaidEvent): void {
    const last = this.incidents.at(-1)
    if (!last) return
    const isAbout = last.end === undefined || atMs - last.end.getTime() <= (last.manualCalls > 0 ? ALERT_DELAY_MS : 0)
    if (!isAbout) return
    last.alerts++
    addStep(last, said, tier, atMs)
  }

  private addFailedStart(event: SaidEvent): void {
    if (WATCHERS.includes(event.tier)) this.failedStarts++
    this.remark(event)
  }

  private remark({ atMs, tier, said }: SaidEvent): void {
    if (said.kind !== 'manual' && said.kind !== 'notice' && said.kind !== 'cannot-start') return
    if (atMs >= this.span.from.getTime()) pushStep(this.remarks, said, tier, atMs)
  }

  end(): Story {
    const [fromMs, toMs] = [this.span.from.getTime(), this.span.to.getTime()]
    const known = this.knownMs ?? fromMs
    const isLost = this.knownMs === undefined || toMs - known > MAX_UNSEEN_SEC * 1000
    this.enter(isLost ? 'unknown' : this.condition, known, toMs)
    const first = this.stretches[0]
    if (first && first.from.getTime() > fromMs)
      this.stretches.unshift({
        from: this.span.from,
        to: first.from,
        condition: 'unknown',
        standDowns: 0,
        failedStarts: 0,
      })
    const incidents = this.incidents.filter(({ end, lastSeen }) => (end ?? lastSeen).getTime() >= fromMs)
    const { stretches, unsureSec, unknownInIncidentsSec, remarks } = this
    return { incidents, stretches, unsureSec, unknownInIncidentsSec, remarks }
  }
}

function isAboutWatchers(said: Said): boolean {
  if (said.kind === 'manual') return said.why.startsWith(ABOUT_WATCHERS)
  return said.kind === 'notice' && said.what.startsWith(ABOUT_WATCHERS)
}
