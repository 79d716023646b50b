/** The one reader of the tiers' logs: when an incident begins and ends, who ended it, and what is known of every minute. */
import { createHash } from 'node:crypto'
import { awakeSec } from '../tier/awake.ts'
import { ALL_TIERS, type Marker, TIERS, type TierName } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { type LogEvent, MAX_SILENCE_SEC, readEvents, type Span, STOOD_DOWN } from './logs.ts'

export interface Step {
  at: Date
  until: Date
  times: number
  tier: TierName
  said: Marker
}

export type Incident = ReturnType<typeof newIncident>

const newIncident = (begin: Date, lastHealthy: Date | undefined) => ({
  /** The first DOWN; without that line, reckoned from RECOVERED. */
  begin,
  isBeginSeen: true,
  lastHealthy,
  end: undefined as Date | undefined,
  lastSeen: begin,
  verdict: 'unknown',
  evidence: '',
  /** Of the last DOWN; the two above are of the last that says why. */
  last: { verdict: 'unknown', evidence: '' },
  /** `outside`: by itself or by hand; undefined: it goes on. */
  healedBy: undefined as number | 'outside' | undefined,
  downSec: 0,
  /** For a user: from `lastHealthy` if that is at most 900 s before `begin`, else from `begin`. */
  feltSec: 0,
  unwatchedSec: 0,
  stoppedSec: 0,
  highestLevel: 0,
  restarts: 0,
  doctorRuns: 0,
  manualCalls: 0,
  /** The verdict for which a human was last called. */
  calledFor: undefined as string | undefined,
  alerts: 0,
  steps: [] as Step[],
})

export type Failure = Pick<Incident, 'verdict' | 'evidence'>

/** What makes a failure the same one: its verdict and its last words, without the numbers that differ every time. */
export function fingerprintOf({ verdict, evidence }: Failure): string {
  // How it ended is not known of every start, and a crash loop is seen at different moments.
  const passing = / \(it (?:exited|was killed)[^()]*(?:\(\d+\))?\)$|\d+ processes ended within .*$/
  const words = evidence.replace(passing, '').replace(/\d+/g, '#')
  return createHash('sha256').update(`${verdict}\n${words}`).digest('hex').slice(0, 12)
}

export type Condition = 'up' | 'down' | 'stopped' | 'unknown'

/** Of an unknown one also why: runs that did not act, and watchers that could not be started. */
export interface Stretch extends Span {
  condition: Condition
  standDowns: number
  failedStarts: number
}

interface TierRuns {
  started: number
  ended: Record<number, number>
  unfinished: number
  last?: { at: Date; verdict: string; exitCode: number }
  lastStart?: Date
  cannotStart?: { at: Date; why: string }
}

export type History = ReturnType<typeof historyOf>

/** A later message is still about the incident: often the network was away, too. */
const ALERT_DELAY_MS = 6 * 3_600_000
const WATCHERS: TierName[] = ['watchdog', 'healthcheck', 'emergency-recovery']
/** They say that it is not there, not why. */
const VAGUE = ['starting', 'draining', 'absent', 'hung']
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
  const { incidents, processesEnded, stretches, remarks } = timeline
  const [runs, uptime] = [countRuns(events, span), uptimeOf(timeline, span)]
  return { span, runs, incidents, processesEnded, stretches, remarks, notes, uptime }
}

/** The open incident, by the last two days. `downSec` counts up to `now` if a tier looked within 900 s, or is this process. */
export function currentIncident(settings: Settings, now = new Date()): Incident | undefined {
  const events = recentEvents(settings, now)
  const own = events.findLast(({ said }) => said.kind === 'run-started' && said.pid === process.pid)
  const isOver =
    own && events.some(({ said, tier, atMs }) => said.kind === 'run-ended' && tier === own.tier && atMs > own.atMs)
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
    ({ said, atMs }) => said.kind === 'restart' && atMs >= since.getTime(),
  )
}

function recentEvents(settings: Settings, now: Date): LogEvent[] {
  return readEvents(settings, { from: now, to: now }, now, WATCHERS, TAIL_BYTES).events
}

const secondsBetween = (from: Date, to: Date): number => (to.getTime() - from.getTime()) / 1000

const SECONDS = { down: 'downSec', stopped: 'stoppedSec', unknown: 'unwatchedSec' } as const

type Counts = { [Kind in Marker['kind']]?: 'restarts' | 'doctorRuns' | 'manualCalls' | 'alerts' }
const COUNTED: Counts = { restart: 'restarts', doctor: 'doctorRuns', manual: 'manualCalls', delivered: 'alerts' }

class Timeline {
  incidents: Incident[] = []
  readonly stretches: Stretch[] = []
  readonly remarks: Step[] = []
  readonly seconds = { upSec: 0, downSec: 0, stoppedSec: 0, unknownSec: 0, unknownInIncidentsSec: 0 }
  open: Incident | undefined
  processesEnded = 0
  private readonly span: Span
  /** Up to `knownMs` the condition is known, and entered. */
  private condition: Condition = 'unknown'
  private knownMs = Number.NEGATIVE_INFINITY
  private healthyAt: Date | undefined
  private unseen = { standDowns: 0, failedStarts: 0 }
  private readonly steps = new Map<string, Step>()

  constructor(events: readonly LogEvent[], span: Span, lookingSinceMs?: number) {
    this.span = span
    for (const event of events) this.take(event)
    const toMs = span.to.getTime()
    // This process looks all the time that it is awake, also when it logs nothing for half an hour.
    if (this.open && lookingSinceMs !== undefined && this.knownMs >= lookingSinceMs)
      this.see('down', Math.max(lookingSinceMs, toMs - awakeSec() * 1000), toMs)
    this.enter(this.isSilent(toMs) ? 'unknown' : this.condition, this.knownMs, toMs)
    for (const one of this.incidents) {
      const { begin, lastHealthy, lastSeen } = one
      const isNear = lastHealthy && secondsBetween(lastHealthy, begin) <= MAX_SILENCE_SEC
      one.feltSec = secondsBetween(isNear ? lastHealthy : begin, lastSeen)
    }
    this.incidents = this.incidents.filter(({ lastSeen }) => lastSeen >= span.from)
  }

  private take(event: LogEvent): void {
    const { atMs, tier, said } = event
    const isInSpan = atMs >= this.span.from.getTime()
    const isWatcher = WATCHERS.includes(tier)
    if (isWatcher && said.kind === 'cannot-start') this.unseen.failedStarts++
    if (said.kind === 'delivered') this.takeAlert(event)
    else if (isWatcher && said.kind === 'run-ended') this.takeEnding(said, event)
    else if (isWatcher && said.kind === 'recovered') this.takeRecovery(said, event)
    else if (isWatcher && said.kind === 'ended') this.processesEnded += isInSpan ? said.times : 0
    else if (isWatcher && !['run-started', 'cannot-start'].includes(said.kind) && (this.open || said.kind === 'down'))
      this.takeSaying(event)
    else if (isInSpan && ['manual', 'notice', 'cannot-start'].includes(said.kind)) this.addStep(event)
  }

  private takeEnding({ verdict, exitCode }: Marker & { kind: 'run-ended' }, event: LogEvent): void {
    const { beganMs, atMs } = event
    if (verdict === 'healthy' && exitCode === 0) {
      this.see('up', beganMs, atMs)
      this.close(atMs, 'outside')
    } else if (verdict === STOOD_DOWN) this.unseen.standDowns++
    else if (verdict === 'stopped-on-purpose') this.see('stopped', beganMs, atMs)
    else if (this.open) {
      this.see('down', beganMs, atMs)
      if (event.tier === 'emergency-recovery') this.addStep(event, this.open)
    }
  }

  private takeSaying(event: LogEvent): void {
    const { atMs, beganMs, tier, said } = event
    if (said.kind === 'down') this.see('down', beganMs, atMs)
    const open = this.open ?? this.begin(atMs)
    if (said.kind === 'down') {
      const { verdict, evidence } = said
      open.last = { verdict, evidence }
      if (open.steps.length === 0 || !VAGUE.includes(verdict) || VAGUE.includes(open.verdict))
        Object.assign(open, open.last)
    }
    this.addStep(event, open)
    open.lastSeen = new Date(atMs)
    const called = said.kind === 'manual' ? 4 : said.kind === 'escalate' ? said.level : 0
    open.highestLevel = Math.max(open.highestLevel, TIERS[tier].level ?? 0, called)
    if (said.kind === 'manual') open.calledFor = open.last.verdict
  }

  private takeRecovery({ level, seconds }: Marker & { kind: 'recovered' }, event: LogEvent): void {
    const { beganMs, atMs } = event
    const healedBy = level ?? 'outside'
    const reckonedMs = atMs - seconds * 1000
    const last = this.incidents.at(-1)
    if (last?.end && reckonedMs <= last.end.getTime()) {
      if (last.healedBy === 'outside') last.healedBy = healedBy
    } else if (!this.open) {
      // The log with the DOWN is missing. Never back into time in which it was seen up.
      const beginMs = Math.max(reckonedMs, this.knownMs)
      this.see('down', beginMs, beginMs)
      this.begin(beginMs).isBeginSeen = false
      this.see('down', beginMs, atMs)
    }
    this.addStep(event, this.incidents.at(-1))
    this.see('up', beganMs, atMs)
    this.close(atMs, healedBy)
  }

  private takeAlert(event: LogEvent): void {
    const last = this.incidents.at(-1)
    const lateMs = last?.end ? event.atMs - last.end.getTime() : 0
    if (last && lateMs <= (last.manualCalls > 0 ? ALERT_DELAY_MS : 0)) this.addStep(event, last)
  }

  /** To an incident, or the remarks. What is said again counts as one step. */
  private addStep({ atMs, tier, said }: LogEvent, incident?: Incident): void {
    const at = new Date(atMs)
    const counted = incident && COUNTED[said.kind]
    if (counted) incident[counted]++
    // Pids and seconds differ each time.
    const words = said.kind === 'down' ? `down ${said.verdict}` : JSON.stringify(said).replace(/\d+/g, '#')
    const key = `${incident ? this.incidents.length : 'remark'} ${tier} ${words}`
    const before = this.steps.get(key)
    if (before) Object.assign(before, { times: before.times + 1, until: at })
    else {
      const step = { at, until: at, times: 1, tier, said }
      ;(incident?.steps ?? this.remarks).push(step)
      this.steps.set(key, step)
    }
  }

  private begin(atMs: number): Incident {
    this.open = newIncident(new Date(atMs), this.healthyAt)
    this.incidents.push(this.open)
    return this.open
  }

  private close(atMs: number, healedBy: number | 'outside'): void {
    if (this.open) Object.assign(this.open, { end: new Date(atMs), lastSeen: new Date(atMs), healedBy })
    this.open = undefined
  }

  /** A tier looked from `beganMs` to `atMs`, and saw this at the end; until then it was as it was seen last. */
  private see(condition: Condition, beganMs: number, atMs: number): void {
    const from = Math.max(this.knownMs, Math.min(beganMs, atMs))
    const isGap = this.isSilent(from)
    if (isGap) this.enter('unknown', this.knownMs, from)
    this.enter(this.condition === 'unknown' ? condition : this.condition, isGap ? from : this.knownMs, atMs)
    this.condition = condition
    this.knownMs = Math.max(atMs, this.knownMs)
    if (condition === 'up') this.healthyAt = new Date(this.knownMs)
    if (condition === 'stopped') this.healthyAt = undefined
    this.unseen = { standDowns: 0, failedStarts: 0 }
    if (this.open) this.open.lastSeen = new Date(atMs)
  }

  private isSilent(untilMs: number): boolean {
    return untilMs - this.knownMs > MAX_SILENCE_SEC * 1000
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
    percent: percentOf(seconds.upSec, watchedSec),
    /** If each outage had begun right after the last healthy observation, and gone on while no tier looked. */
    worstPercent: percentOf(seconds.upSec - unsureSec, watchedSec + seconds.unknownInIncidentsSec),
  }
}

function countRuns(events: readonly LogEvent[], { from, to }: Span) {
  const blank = ALL_TIERS.map((tier): [TierName, TierRuns] => [tier, { started: 0, ended: {}, unfinished: 0 }])
  const runs = Object.fromEntries(blank) as Record<TierName, TierRuns>
  for (const { atMs, beganMs, tier, said } of events.filter((one) => one.atMs >= from.getTime())) {
    const mine = runs[tier]
    const at = new Date(atMs)
    if (said.kind === 'cannot-start') mine.cannotStart = { at, why: said.why }
    if (said.kind !== 'run-started' && said.kind !== 'run-ended') continue
    mine.cannotStart = undefined
    // A run of the last hour may be at work.
    const isLong = beganMs >= from.getTime() && to.getTime() - beganMs > 3_600_000
    if (said.kind === 'run-started') {
      mine.started++
      mine.lastStart = at
      if (isLong) mine.unfinished++
    } else {
      const { verdict, exitCode } = said
      mine.ended[exitCode] = (mine.ended[exitCode] ?? 0) + 1
      mine.last = { at, verdict, exitCode }
      if (isLong) mine.unfinished = Math.max(0, mine.unfinished - 1)
    }
  }
  return runs
}
