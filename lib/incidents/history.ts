/** The one reader of the tiers' logs: when an incident begins and ends, who ended it, and what is known of every minute. */
import { ABOUT_WATCHERS, ALL_TIERS, TIERS, type TierName } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { type LogEvent, readEvents, type Said, type Span, STOOD_DOWN, withoutAhead } from './logs.ts'

export interface Step {
  at: Date
  until: Date
  times: number
  tier: TierName
  said: Said | { kind: 'run-ended'; verdict: string; exitCode: number }
}

export class Incident {
  /** The first DOWN; without that line, reckoned from RECOVERED. */
  readonly begin: Date
  isBeginSeen = true
  readonly lastHealthy: Date | undefined
  end: Date | undefined
  lastSeen: Date
  verdict = 'unknown'
  evidence = ''
  /** `outside`: by itself or by hand; undefined: it goes on. */
  healedBy: number | 'outside' | undefined
  /** Time in which no tier looked does not count. */
  downSec = 0
  /** For a user: from `lastHealthy` if that is at most 900 s before `begin`, else from `begin`. */
  feltSec = 0
  unwatchedSec = 0
  stoppedSec = 0
  highestLevel = 0
  restarts = 0
  doctorRuns = 0
  manualCalls = 0
  alerts = 0
  /** The first of `MAX_STEPS`; `stepsLeftOut` more were not kept. */
  readonly steps: Step[] = []
  stepsLeftOut = 0

  constructor(beginMs: number, healthyMs: number | undefined) {
    this.begin = new Date(beginMs)
    this.lastSeen = this.begin
    this.lastHealthy = healthyMs === undefined ? undefined : new Date(healthyMs)
  }
}

export type Condition = 'up' | 'down' | 'stopped' | 'unknown'

/** Of an unknown one also why: runs that did not act, and watchers that could not be started. */
export interface Stretch {
  from: Date
  to: Date
  condition: Condition
  standDowns: number
  failedStarts: number
}

interface TierRuns {
  started: number
  ended: Record<number, number>
  /** No last line: killed, power cut, or a damaged line. */
  unfinished: number
  last?: { at: Date; verdict: string; exitCode: number }
  lastStart?: Date
  cannotStart?: { at: Date; why: string }
}

export type History = ReturnType<typeof historyOf>

/** Three times Level 2's interval. Between observations further apart it is unknown: neither up nor down. */
const MAX_SILENCE_SEC = 900
/** More in a RECOVERED line is damage. */
const LONGEST_INCIDENT_SEC = 30 * 86_400
const LONGEST_RUN_MS = 3_600_000
/** A later message is still about the incident: often the network was away, too. */
const ALERT_DELAY_MS = 6 * 3_600_000
const WATCHERS: readonly TierName[] = ['watchdog', 'healthcheck', 'emergency-recovery']
/** They say that it is not there, not why. */
const VAGUE = ['starting', 'draining', 'absent', 'hung']
const MAX_STEPS = 200
const TAIL_BYTES = 256 * 1024
/** `openclaw gateway restart` waits for up to a minute before it is logged; launchd holds a start back for 10 s. */
const RESTARTED_WITHIN_MS = 120_000

export function lastDays(days: number, now = new Date()): Span {
  return { from: new Date(now.getTime() - days * 86_400_000), to: now }
}

/** Never throws: what is wrong with a log is in `notes`. */
export function readHistory(settings: Settings, span: Span, now = new Date()): History {
  return historyOf(readEvents(settings, span, now), span)
}

export function historyOf({ events, notes }: ReturnType<typeof readEvents>, span: Span) {
  const timeline = new Timeline(events, span)
  const { incidents, stretches, remarks } = timeline
  return { span, runs: countRuns(events, span), incidents, stretches, remarks, notes, uptime: uptimeOf(timeline, span) }
}

/** The open incident, by the last two days. `downSec` counts up to `now` if a tier looked within 900 s, or is this process. */
export function currentIncident(settings: Settings, now = new Date()): Incident | undefined {
  const events = recentEvents(settings, now)
  const own = events.findLast((event) => event.kind === 'start' && event.pid === process.pid)
  const isOver = own && events.some((one) => one.kind === 'run' && one.tier === own.tier && one.atMs > own.atMs)
  return new Timeline(events, lastDays(2, now), isOver ? undefined : own?.atMs).open
}

export const downSec = (settings: Settings, now = new Date()): number => currentIncident(settings, now)?.downSec ?? 0

export function isFresh(incident: Incident | undefined, now = new Date()): boolean {
  return incident !== undefined && secondsBetween(incident.lastSeen, now) <= MAX_SILENCE_SEC
}

/** The level that started the healthy process. `startedMs` undefined: the last restart counts. */
export function restartedBy(settings: Settings, since: Date, startedMs: number | undefined): number | undefined {
  const isNear = (atMs: number) => startedMs === undefined || Math.abs(atMs - startedMs) <= RESTARTED_WITHIN_MS
  const restart = restartsSince(settings, since).findLast(({ atMs }) => isNear(atMs))
  return restart && TIERS[restart.tier].level
}

export function restartsSince(settings: Settings, since: Date): LogEvent[] {
  return recentEvents(settings, new Date()).filter(
    (event) => event.kind === 'said' && event.said.kind === 'restart' && event.atMs >= since.getTime(),
  )
}

function recentEvents(settings: Settings, now: Date): LogEvent[] {
  return withoutAhead(readEvents(settings, { from: now, to: now }, now, WATCHERS, TAIL_BYTES).events)
}

const secondsBetween = (from: Date, to: Date): number => (to.getTime() - from.getTime()) / 1000

const SECONDS = { down: 'downSec', stopped: 'stoppedSec', unknown: 'unwatchedSec' } as const

class Timeline {
  incidents: Incident[] = []
  readonly stretches: Stretch[] = []
  readonly remarks: Step[] = []
  readonly seconds = { upSec: 0, downSec: 0, stoppedSec: 0, unknownSec: 0, unknownInIncidentsSec: 0 }
  open: Incident | undefined
  private readonly span: Span
  /** Up to `knownMs` the condition is known, and entered. */
  private condition: Condition = 'unknown'
  private knownMs: number | undefined
  private healthyMs: number | undefined
  private unseen = { standDowns: 0, failedStarts: 0 }
  private readonly steps = new Map<string, Step>()

  constructor(events: readonly LogEvent[], span: Span, lookingSinceMs?: number) {
    this.span = span
    for (const event of events) {
      if (event.kind === 'said') this.takeSaying(event)
      if (event.kind === 'run' && WATCHERS.includes(event.tier)) this.takeEnding(event)
    }
    const toMs = span.to.getTime()
    // This process looks all the time, also when it logs nothing for half an hour.
    if (this.open && lookingSinceMs !== undefined && (this.knownMs ?? 0) >= lookingSinceMs)
      this.see('down', lookingSinceMs, toMs)
    this.enter(this.isSilent(toMs) ? 'unknown' : this.condition, this.knownMs ?? span.from.getTime(), toMs)
    for (const one of this.incidents) {
      const { begin, lastHealthy, lastSeen } = one
      const isNear = lastHealthy && secondsBetween(lastHealthy, begin) <= MAX_SILENCE_SEC
      one.feltSec = secondsBetween(isNear ? lastHealthy : begin, lastSeen)
    }
    this.incidents = this.incidents.filter(({ lastSeen }) => lastSeen >= span.from)
  }

  private takeEnding({ atMs, beganMs, tier, verdict, exitCode }: LogEvent & { kind: 'run' }): void {
    if (verdict === 'healthy' && exitCode === 0) {
      this.see('up', beganMs, atMs)
      this.close(atMs, 'outside')
    } else if (verdict === STOOD_DOWN) this.unseen.standDowns++
    else if (verdict === 'stopped-on-purpose') this.see('stopped', beganMs, atMs)
    else if (this.open) {
      this.see('down', beganMs, atMs)
      if (tier === 'emergency-recovery') this.addStep({ kind: 'run-ended', verdict, exitCode }, tier, atMs, this.open)
    }
  }

  private takeSaying({ atMs, beganMs, tier, said }: LogEvent & { kind: 'said' }): void {
    const words = said.kind === 'manual' ? said.why : said.kind === 'notice' ? said.what : ''
    const isWatcher = WATCHERS.includes(tier)
    const isOfGateway = isWatcher && said.kind !== 'cannot-start' && !words.startsWith(ABOUT_WATCHERS)
    if (isWatcher && said.kind === 'cannot-start') this.unseen.failedStarts++
    if (isWatcher && said.kind === 'down') {
      this.see('down', beganMs, atMs)
      const open = this.open ?? this.begin(atMs)
      if (open.steps.length === 0 || !VAGUE.includes(said.verdict) || VAGUE.includes(open.verdict))
        Object.assign(open, { verdict: said.verdict, evidence: said.evidence })
    }
    if (said.kind === 'told') this.takeAlert(said, tier, atMs)
    else if (isWatcher && said.kind === 'recovered') this.takeRecovery(said, tier, beganMs, atMs)
    else if (isOfGateway && this.open) {
      this.addStep(said, tier, atMs, this.open)
      this.open.lastSeen = new Date(atMs)
      const called = said.kind === 'manual' ? 4 : said.kind === 'escalate' ? said.level : 0
      this.open.highestLevel = Math.max(this.open.highestLevel, TIERS[tier].level ?? 0, called)
      if (said.kind === 'restart') this.open.restarts++
      if (said.kind === 'doctor') this.open.doctorRuns++
      if (said.kind === 'manual') this.open.manualCalls++
    } else if (['manual', 'notice', 'cannot-start'].includes(said.kind) && atMs >= this.span.from.getTime())
      this.addStep(said, tier, atMs)
  }

  private takeRecovery(said: Said & { kind: 'recovered' }, tier: TierName, beganMs: number, atMs: number) {
    const last = this.incidents.at(-1)
    const healedBy = said.level ?? 'outside'
    const reckonedMs = atMs - Math.min(said.seconds, LONGEST_INCIDENT_SEC) * 1000
    if (!this.open && last?.end && reckonedMs <= last.end.getTime()) {
      this.addStep(said, tier, atMs, last)
      if (last.healedBy === 'outside') last.healedBy = healedBy
      this.see('up', beganMs, atMs)
      return
    }
    if (!this.open) {
      // The log with the DOWN is missing. Never back into time in which it was seen up.
      const beginMs = Math.max(reckonedMs, this.knownMs ?? 0)
      this.see('down', beginMs, beginMs)
      this.begin(beginMs).isBeginSeen = false
      this.see('down', beginMs, atMs)
    }
    this.addStep(said, tier, atMs, this.open)
    this.see('up', beganMs, atMs)
    this.close(atMs, healedBy)
  }

  private takeAlert(said: Said, tier: TierName, atMs: number): void {
    const last = this.incidents.at(-1)
    const lateMs = last?.end ? atMs - last.end.getTime() : 0
    if (!last || lateMs > (last.manualCalls > 0 ? ALERT_DELAY_MS : 0)) return
    last.alerts++
    this.addStep(said, tier, atMs, last)
  }

  /** To the last incident, or the remarks. What is said again counts as one step. */
  private addStep(said: Step['said'], tier: TierName, atMs: number, incident?: Incident): void {
    const at = new Date(atMs)
    const steps = incident?.steps ?? this.remarks
    // Pids and seconds differ each time.
    const words = said.kind === 'down' ? `down ${said.verdict}` : JSON.stringify(said).replace(/\d+/g, '#')
    const key = `${incident ? this.incidents.length : 'remark'} ${tier} ${words}`
    const before = this.steps.get(key)
    if (before) Object.assign(before, { times: before.times + 1, until: at })
    else if (steps.length < MAX_STEPS) {
      const step = { at, until: at, times: 1, tier, said }
      steps.push(step)
      this.steps.set(key, step)
    } else if (incident) incident.stepsLeftOut++
  }

  private begin(atMs: number): Incident {
    this.open = new Incident(atMs, this.healthyMs)
    this.incidents.push(this.open)
    return this.open
  }

  private close(atMs: number, healedBy: number | 'outside'): void {
    if (this.open) Object.assign(this.open, { end: new Date(atMs), lastSeen: new Date(atMs), healedBy })
    this.open = undefined
  }

  /** A tier looked from `beganMs` to `atMs`, and this is what it saw at the end. */
  private see(condition: Condition, beganMs: number, atMs: number): void {
    const known = this.knownMs ?? this.span.from.getTime()
    const from = Math.max(this.knownMs ?? 0, Math.min(beganMs, atMs))
    const isGap = this.isSilent(from)
    if (isGap) this.enter('unknown', known, from)
    // Until this moment it was as it was seen last.
    this.enter(this.condition === 'unknown' ? condition : this.condition, isGap ? from : known, atMs)
    this.condition = condition
    this.knownMs = Math.max(atMs, this.knownMs ?? 0)
    if (condition === 'up') this.healthyMs = this.knownMs
    if (condition === 'stopped') this.healthyMs = undefined
    this.unseen = { standDowns: 0, failedStarts: 0 }
    if (this.open) this.open.lastSeen = new Date(atMs)
  }

  private isSilent(untilMs: number): boolean {
    return this.knownMs === undefined || untilMs - this.knownMs > MAX_SILENCE_SEC * 1000
  }

  private enter(condition: Condition, fromMs: number, toMs: number): void {
    if (toMs <= fromMs) return
    if (this.open && condition !== 'up') this.open[SECONDS[condition]] += (toMs - fromMs) / 1000
    const from = new Date(Math.max(fromMs, this.span.from.getTime()))
    const to = new Date(Math.min(toMs, this.span.to.getTime()))
    if (from >= to) return
    this.seconds[`${condition}Sec`] += secondsBetween(from, to)
    if (this.open && condition === 'unknown') this.seconds.unknownInIncidentsSec += secondsBetween(from, to)
    const { standDowns, failedStarts } = condition === 'unknown' ? this.unseen : { standDowns: 0, failedStarts: 0 }
    const last = this.stretches.at(-1)
    if (last?.condition === condition && last.to.getTime() === from.getTime()) {
      last.to = to
      last.standDowns += standDowns
      last.failedStarts += failedStarts
    } else this.stretches.push({ from, to, condition, standDowns, failedStarts })
  }
}

function uptimeOf({ incidents, seconds }: Timeline, { from }: Span) {
  const watchedSec = seconds.upSec + seconds.downSec
  const percentOf = (sec: number, ofSec: number) => (watchedSec > 0 ? (100 * Math.max(0, sec)) / ofSec : undefined)
  const unsureSec = incidents
    .filter(({ begin }) => begin > from)
    .reduce((sum, { begin, lastSeen, feltSec }) => sum + feltSec - secondsBetween(begin, lastSeen), 0)
  return {
    ...seconds,
    /** Of the time in which it was up or down; undefined when no tier looked at all. */
    percent: percentOf(seconds.upSec, watchedSec),
    /** If each outage had begun right after the last healthy observation, and gone on while no tier looked. */
    worstPercent: percentOf(seconds.upSec - unsureSec, watchedSec + seconds.unknownInIncidentsSec),
  }
}

function countRuns(events: readonly LogEvent[], { from, to }: Span) {
  const blank = ALL_TIERS.map((tier): [TierName, TierRuns] => [tier, { started: 0, ended: {}, unfinished: 0 }])
  const runs = Object.fromEntries(blank) as Record<TierName, TierRuns>
  const begun = new Map(ALL_TIERS.map((tier): [TierName, number[]] => [tier, []]))
  for (const event of events.filter(({ atMs }) => atMs >= from.getTime())) {
    const mine = runs[event.tier]
    const at = new Date(event.atMs)
    if (event.kind === 'said') {
      if (event.said.kind === 'cannot-start') mine.cannotStart = { at, why: event.said.why }
      continue
    }
    mine.cannotStart = undefined
    if (event.kind === 'start') {
      mine.started++
      mine.lastStart = at
      begun.get(event.tier)!.push(event.atMs)
    } else {
      const { verdict, exitCode } = event
      mine.ended[exitCode] = (mine.ended[exitCode] ?? 0) + 1
      mine.last = { at, verdict, exitCode }
      // One that stood down began last and ended first.
      begun.get(event.tier)!.pop()
    }
  }
  for (const [tier, starts] of begun)
    runs[tier].unfinished = starts.filter((atMs) => to.getTime() - atMs > LONGEST_RUN_MS).length
  return runs
}
