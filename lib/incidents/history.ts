/** The one reader of the tiers' logs: when an incident begins and ends, who ended it, and what is known of every minute. */
import { ABOUT_WATCHERS, TIERS, type TierName } from '../tier/contract.ts'
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
const TAIL_BYTES = 256 * 1024
/** `openclaw gateway restart` waits for up to a minute before it is logged. */
const RESTARTED_BEFORE_MS = 120_000
/** A supervisor may hold a start back (launchd: 10 s). */
const RESTARTED_AFTER_MS = 60_000

export function lastDays(days: number, now = new Date()): Span {
  return { from: new Date(now.getTime() - days * 86_400_000), to: now }
}

/** Never throws: what is wrong with a log is in `notes`. */
export function readHistory(settings: Settings, span: Span, now = new Date()): History {
  return historyOf(readEvents(settings, span, now), span)
}

export function historyOf({ events, notes }: ReturnType<typeof readEvents>, span: Span) {
  const { incidents, stretches, remarks } = new Timeline(events, span)
  const runs = countRuns(events, span)
  return { span, runs, incidents, stretches, remarks, notes, uptime: uptimeOf(span, incidents, stretches) }
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
  const isNear = ({ atMs }: LogEvent) =>
    startedMs === undefined || (startedMs - atMs <= RESTARTED_AFTER_MS && atMs - startedMs <= RESTARTED_BEFORE_MS)
  const restart = restartsSince(settings, since).findLast(isNear)
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

function feltFrom({ begin, lastHealthy }: Incident): Date {
  return lastHealthy && secondsBetween(lastHealthy, begin) <= MAX_SILENCE_SEC ? lastHealthy : begin
}

const MAX_STEPS = 200

const SAID = new WeakMap<Step[], Map<string, Step>>()

function pushStep(steps: Step[], said: Step['said'], tier: TierName, atMs: number): boolean {
  const at = new Date(atMs)
  const known = SAID.get(steps) ?? new Map<string, Step>()
  SAID.set(steps, known)
  // Pids and seconds differ each time.
  const words = said.kind === 'down' ? `down ${said.verdict}` : JSON.stringify(said).replace(/\d+/g, '#')
  const before = known.get(`${tier} ${words}`)
  if (before) {
    before.times++
    before.until = at
    return true
  }
  if (steps.length >= MAX_STEPS) return false
  const step = { at, until: at, times: 1, tier, said }
  steps.push(step)
  known.set(`${tier} ${words}`, step)
  return true
}

function addStep(incident: Incident, said: Step['said'], tier: TierName, atMs: number): void {
  if (!pushStep(incident.steps, said, tier, atMs)) incident.stepsLeftOut++
}

function addSaying(incident: Incident, said: Said, tier: TierName, atMs: number): void {
  addStep(incident, said, tier, atMs)
  incident.lastSeen = new Date(atMs)
  const called = said.kind === 'manual' ? 4 : said.kind === 'escalate' ? said.level : 0
  incident.highestLevel = Math.max(incident.highestLevel, TIERS[tier].level ?? 0, called)
  if (said.kind === 'restart') incident.restarts++
  if (said.kind === 'doctor') incident.doctorRuns++
  if (said.kind === 'manual') incident.manualCalls++
}

type Saying = Extract<LogEvent, { kind: 'said' }>
type Ending = Extract<LogEvent, { kind: 'run' }>

class Timeline {
  incidents: Incident[] = []
  readonly stretches: Stretch[] = []
  readonly remarks: Step[] = []
  open: Incident | undefined
  private readonly span: Span
  /** Up to `knownMs` the condition is known, and entered. */
  private condition: Condition = 'unknown'
  private knownMs: number | undefined
  private healthyMs: number | undefined
  private standDowns = 0
  private failedStarts = 0

  constructor(events: readonly LogEvent[], span: Span, lookingSinceMs?: number) {
    this.span = span
    for (const event of events) {
      if (event.kind === 'said') this.takeSaying(event)
      if (event.kind === 'run' && WATCHERS.includes(event.tier)) this.takeEnding(event)
    }
    const [fromMs, toMs] = [span.from.getTime(), span.to.getTime()]
    // This process looks all the time, also when it logs nothing for half an hour.
    if (this.open && lookingSinceMs !== undefined && (this.knownMs ?? 0) >= lookingSinceMs)
      this.see('down', lookingSinceMs, toMs)
    this.enter(this.isSilent(toMs) ? 'unknown' : this.condition, this.knownMs ?? fromMs, toMs)
    const first = this.stretches[0]
    if (first && first.from > span.from)
      this.stretches.unshift({ ...first, from: span.from, to: first.from, condition: 'unknown' })
    for (const one of this.incidents) one.feltSec = secondsBetween(feltFrom(one), one.lastSeen)
    this.incidents = this.incidents.filter(({ lastSeen }) => lastSeen >= span.from)
  }

  private takeEnding({ atMs, beganMs, tier, verdict, exitCode }: Ending): void {
    if (verdict === 'healthy' && exitCode === 0) {
      this.see('up', beganMs, atMs)
      this.close(atMs, 'outside')
    } else if (verdict === STOOD_DOWN) this.standDowns++
    else if (verdict === 'stopped-on-purpose') this.see('stopped', beganMs, atMs)
    else if (this.open) {
      this.see('down', beganMs, atMs)
      if (tier === 'emergency-recovery') addStep(this.open, { kind: 'run-ended', verdict, exitCode }, tier, atMs)
    }
  }

  private takeSaying(event: Saying): void {
    const { atMs, beganMs, tier, said } = event
    const isWatcher = WATCHERS.includes(tier)
    const words = said.kind === 'manual' ? said.why : said.kind === 'notice' ? said.what : ''
    const isAboutWatchers = words.startsWith(ABOUT_WATCHERS)
    if (said.kind === 'told') this.takeAlert(event)
    else if (isWatcher && said.kind === 'recovered') this.takeRecovery(event, said.level ?? 'outside', said.seconds)
    else if (isWatcher && said.kind !== 'cannot-start' && !isAboutWatchers) {
      if (said.kind === 'down') {
        this.see('down', beganMs, atMs)
        const open = this.open ?? this.begin(atMs)
        if (open.steps.length === 0 || !VAGUE.includes(said.verdict) || VAGUE.includes(open.verdict))
          Object.assign(open, { verdict: said.verdict, evidence: said.evidence })
      }
      if (this.open) addSaying(this.open, said, tier, atMs)
      else this.remark(event)
    } else {
      if (isWatcher && said.kind === 'cannot-start') this.failedStarts++
      this.remark(event)
    }
  }

  private takeRecovery({ atMs, beganMs, tier, said }: Saying, healedBy: number | 'outside', seconds: number): void {
    const last = this.incidents.at(-1)
    const reckonedMs = atMs - Math.min(seconds, LONGEST_INCIDENT_SEC) * 1000
    if (!this.open && last?.end && reckonedMs <= last.end.getTime()) {
      addStep(last, said, tier, atMs)
      if (last.healedBy === 'outside') last.healedBy = healedBy
      this.see('up', beganMs, atMs)
      return
    }
    if (!this.open) {
      // The log with the DOWN is missing. Never back into time in which it was seen up.
      const beginMs = Math.max(reckonedMs, this.knownMs ?? 0)
      this.see('down', beginMs, beginMs)
      this.begin(beginMs).isBeginSeen = false
      this.enter('down', beginMs, atMs)
      this.knownMs = Math.max(atMs, beginMs)
    }
    addStep(this.open!, said, tier, atMs)
    this.see('up', beganMs, atMs)
    this.close(atMs, healedBy)
  }

  private takeAlert({ atMs, tier, said }: Saying): void {
    const last = this.incidents.at(-1)
    const lateMs = last?.end ? atMs - last.end.getTime() : 0
    if (!last || lateMs > (last.manualCalls > 0 ? ALERT_DELAY_MS : 0)) return
    last.alerts++
    addStep(last, said, tier, atMs)
  }

  private remark({ atMs, tier, said }: Saying): void {
    if (said.kind !== 'manual' && said.kind !== 'notice' && said.kind !== 'cannot-start') return
    if (atMs >= this.span.from.getTime()) pushStep(this.remarks, said, tier, atMs)
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
    const known = this.knownMs
    const from = Math.max(known ?? 0, Math.min(beganMs, atMs))
    const isGap = this.isSilent(from)
    if (isGap && known !== undefined) this.enter('unknown', known, from)
    // Until this moment it was as it was seen last.
    this.enter(this.condition === 'unknown' ? condition : this.condition, isGap ? from : known!, atMs)
    this.condition = condition
    this.knownMs = Math.max(atMs, known ?? 0)
    if (condition === 'up') this.healthyMs = this.knownMs
    if (condition === 'stopped') this.healthyMs = undefined
    this.standDowns = 0
    this.failedStarts = 0
    if (this.open) this.open.lastSeen = new Date(atMs)
  }

  private isSilent(untilMs: number): boolean {
    return this.knownMs === undefined || untilMs - this.knownMs > MAX_SILENCE_SEC * 1000
  }

  private enter(condition: Condition, fromMs: number, toMs: number): void {
    if (toMs <= fromMs) return
    const key = condition === 'down' ? 'downSec' : condition === 'stopped' ? 'stoppedSec' : 'unwatchedSec'
    if (this.open && condition !== 'up') this.open[key] += (toMs - fromMs) / 1000
    const from = new Date(Math.max(fromMs, this.span.from.getTime()))
    const to = new Date(Math.min(toMs, this.span.to.getTime()))
    if (from >= to) return
    const [standDowns, failedStarts] = condition === 'unknown' ? [this.standDowns, this.failedStarts] : [0, 0]
    const last = this.stretches.at(-1)
    if (last?.condition === condition && last.to.getTime() === from.getTime()) {
      last.to = to
      last.standDowns += standDowns
      last.failedStarts += failedStarts
    } else this.stretches.push({ from, to, condition, standDowns, failedStarts })
  }
}

function uptimeOf(span: Span, incidents: readonly Incident[], stretches: readonly Stretch[]) {
  const seconds = { up: 0, down: 0, stopped: 0, unknown: 0 }
  for (const { from, to, condition } of stretches) seconds[condition] += secondsBetween(from, to)
  const unsure = incidents.filter(({ begin }) => begin > span.from)
  const unsureSec = unsure.reduce((sum, one) => sum + secondsBetween(feltFrom(one), one.begin), 0)
  const unknown = stretches.filter(({ condition }) => condition === 'unknown')
  let unknownInIncidentsSec = 0
  for (const { begin, end = span.to } of incidents)
    for (const { from, to } of unknown)
      unknownInIncidentsSec += Math.max(0, secondsBetween(from > begin ? from : begin, to < end ? to : end))
  const watched = seconds.up + seconds.down
  const percentOf = (up: number, of: number) => (watched > 0 ? (100 * Math.max(0, up)) / of : undefined)
  return {
    upSec: seconds.up,
    downSec: seconds.down,
    stoppedSec: seconds.stopped,
    unknownSec: seconds.unknown,
    unknownInIncidentsSec,
    /** Of the time in which it was up or down; undefined when no tier looked at all. */
    percent: percentOf(seconds.up, watched),
    /** If each outage had begun right after the last healthy observation, and gone on while no tier looked. */
    worstPercent: percentOf(seconds.up - unsureSec, watched + unknownInIncidentsSec),
  }
}

function countRuns(events: readonly LogEvent[], span: Span): Record<TierName, TierRuns> {
  const blank = Object.keys(TIERS).map((tier) => [tier, { started: 0, ended: {}, unfinished: 0 }])
  const runs: Record<TierName, TierRuns> = Object.fromEntries(blank)
  const mayBeUnfinished = (beganMs: number) =>
    beganMs >= span.from.getTime() && span.to.getTime() - beganMs > LONGEST_RUN_MS
  for (const event of events) {
    const { atMs, beganMs, tier, kind } = event
    if (atMs < span.from.getTime()) continue
    const mine = runs[tier]
    const at = new Date(atMs)
    if (kind === 'said' && event.said.kind === 'cannot-start') mine.cannotStart = { at, why: event.said.why }
    if (kind === 'said') continue
    mine.cannotStart = undefined
    if (kind === 'start') {
      mine.started++
      mine.lastStart = at
      if (mayBeUnfinished(atMs)) mine.unfinished++
      continue
    }
    const { verdict, exitCode } = event
    mine.ended[exitCode] = (mine.ended[exitCode] ?? 0) + 1
    mine.last = { at, verdict, exitCode }
    if (mayBeUnfinished(beganMs)) mine.unfinished--
  }
  for (const mine of Object.values(runs)) mine.unfinished = Math.max(0, mine.unfinished)
  return runs
}
