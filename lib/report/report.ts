/** What the report says, before Markdown, the page, JSON or the digest give it a form. */
import { hiding } from '../alerts/secrets.ts'
import { TREATMENTS } from '../gateway/treat.ts'
import { type History, type Incident, readHistory, type Step } from '../incidents/history.ts'
import { rootCauseOf } from '../incidents/learnings.ts'
import type { Span } from '../incidents/logs.ts'
import { lineOf, minuteOf, seenAndFelt, spell, type TimelineLine } from '../incidents/words.ts'
import { hostOf } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'

export interface ReportedIncident extends Incident {
  /** The root cause as the doctor's report gives it: text from outside. */
  finding: string | undefined
}

export interface Report extends History {
  /** The machine, and the profile if it is not the default one. */
  host: string
  writtenAt: Date
  incidents: ReportedIncident[]
}

export interface Table {
  head: string[]
  rows: string[][]
}

/** A part of the report behind its incidents. */
export interface Section {
  title: string
  table?: Table
  lines?: (string | TimelineLine)[]
}

const MAX_GAPS = 20

/** Reads the logs of the span; no secret of this machine is left in what comes back. */
export async function readReport(settings: Settings, span: Span, now: Date): Promise<Report> {
  const hide = await hiding(settings)
  const history = readHistory(settings, span, now)
  for (const { cannotStart } of Object.values(history.runs)) if (cannotStart) cannotStart.why = hide(cannotStart.why)
  const clean = (step: Step): Step => {
    const said = Object.entries(step.said).map(([key, value]) => [key, typeof value === 'string' ? hide(value) : value])
    return { ...step, said: Object.fromEntries(said) as Step['said'] }
  }
  return {
    host: hostOf(settings.profile),
    writtenAt: now,
    ...history,
    incidents: history.incidents.map((incident) => ({
      ...incident,
      evidence: hide(incident.evidence),
      steps: incident.steps.map(clean),
      finding: incident.doctorRuns > 0 ? rootCauseOf(settings, incident, hide) : undefined,
    })),
    remarks: history.remarks.map(clean),
    notes: history.notes.map(hide),
  }
}

/** The production table of the article, and what it takes to read it rightly. */
export function figuresOf({ incidents, uptime }: History): [metric: string, value: string][] {
  const total = incidents.length
  const count = (is: (incident: Incident) => boolean) => incidents.filter(is).length
  const share = (n: number) => (total === 0 ? `${n}` : `${n} (${Math.round((100 * n) / total)}%)`)
  const byLevel = (level: number) => {
    const resolved = count(({ healedBy }) => healedBy === level)
    const escalated = total > 0 && resolved === 0 && incidents.every(({ highestLevel }) => highestLevel > level)
    return escalated ? `0 (all escalated${level === 1 ? '' : ` to L${level + 1}`})` : share(resolved)
  }
  const called = incidents.filter(({ manualCalls }) => manualCalls > 0)
  const sent = called.reduce((sum, { alerts }) => sum + alerts, 0)
  const sentWords = sent === 0 ? 'no delivery is in the logs' : `${sent} message${sent === 1 ? '' : 's'} delivered`
  const alone = count(({ healedBy, manualCalls }) => healedBy === 'outside' && manualCalls === 0)
  const open = count(({ end }) => end === undefined)
  const watched = uptime.upSec + uptime.downSec
  const whole = watched + uptime.unknownSec
  const ended = incidents.filter(({ end }) => end !== undefined)
  const mean = (of: (incident: Incident) => number) => ended.reduce((sum, one) => sum + of(one), 0) / ended.length
  const recovery = { downSec: mean((one) => one.downSec), feltSec: mean((one) => one.feltSec) }
  return [
    ['Total failures', `${total}`],
    ['Level 1 resolved', byLevel(1)],
    ['Level 2 resolved', byLevel(2)],
    ['Level 3 resolved', byLevel(3)],
    ['Level 4 alerts', called.length === 0 ? share(0) : `${share(called.length)}, ${sentWords}`],
    ...(alone > 0 ? [['Ended by itself or from outside', share(alone)] as [string, string]] : []),
    ...(open > 0 ? [['Not over yet', share(open)] as [string, string]] : []),
    ['Uptime', uptimeInWords(uptime)],
    ['Mean time to recovery', ended.length === 0 ? '–' : seenAndFelt(recovery)],
    // A human was called, and then it came back without any of the levels.
    ['Manual interventions', `${count(({ manualCalls, healedBy }) => manualCalls > 0 && healedBy === 'outside')}`],
    ['Watched', whole > 0 ? `${percentOf((100 * watched) / whole)} of the time` : 'nothing'],
  ]
}

function uptimeInWords({ percent, worstPercent, ...seconds }: History['uptime']) {
  if (percent === undefined || worstPercent === undefined) return 'unknown: no tier looked'
  const [said, worst] = [percentOf(percent), percentOf(worstPercent)]
  const watched = seconds.upSec + seconds.downSec
  // Of a day of which an hour is known, a percentage says little, and must not look like more.
  if (watched < seconds.unknownSec) {
    const unseen = seconds.unknownInIncidentsSec > 0 ? `; at worst ${worst}` : ''
    return `${said} (of the ${spell(watched)} that were watched${unseen})`
  }
  return said === worst ? said : `${said} (at worst ${worst})`
}

/** Rounded down, with more decimals the nearer it is to 100: 99.96 must not read as 100. */
export function percentOf(percent: number): string {
  if (percent >= 100) return '100%'
  const decimals = percent < 99.9 ? 1 : percent < 99.99 ? 2 : 3
  return `${(Math.floor(percent * 10 ** decimals) / 10 ** decimals).toFixed(decimals)}%`
}

/** How often which cause, and for how long; the longest first. */
export function causesOf(incidents: readonly Incident[]) {
  const causes = [...new Set(incidents.map(({ verdict }) => verdict))].map((verdict) => {
    const own = incidents.filter((one) => one.verdict === verdict)
    const sum = (key: 'downSec' | 'feltSec') => own.reduce((sec, one) => sec + one[key], 0)
    return { verdict, incidents: own.length, downSec: sum('downSec'), feltSec: sum('feltSec') }
  })
  return causes.sort((a, b) => b.downSec - a.downSec || b.incidents - a.incidents)
}

/** What follows the incidents: causes, remarks, runs, and what is not known. */
export function sectionsOf(report: Report): Section[] {
  const { incidents, remarks, runs } = report
  const meanings: Record<string, { means: string }> = TREATMENTS
  const causes = causesOf(incidents).map((cause) => {
    const means = Object.hasOwn(meanings, cause.verdict) ? meanings[cause.verdict]!.means : ''
    return [cause.verdict, `${cause.incidents}`, seenAndFelt(cause), means]
  })
  const ends = Object.entries(runs).map(([tier, { started, ended, last }]) => [
    tier,
    `${started}`,
    ...[0, 1, 2, 3].map((code) => `${ended[code] ?? 0}`),
    last ? `${minuteOf(last.at)}, ${last.verdict}` : 'never',
  ])
  return [
    ...(causes.length > 0
      ? [{ title: 'Causes', table: { head: ['Cause', 'Incidents', 'Down', 'Means'], rows: causes } }]
      : []),
    ...(remarks.length > 0 ? [{ title: 'Beside the incidents', lines: remarks.map(lineOf) }] : []),
    { title: 'Runs', table: { head: ['Tier', 'Begun', 'Exit 0', '1', '2', '3', 'Last end'], rows: ends } },
    { title: 'What is not known', lines: unknownsOf(report) },
  ]
}

function unknownsOf({ stretches, incidents, runs, notes }: History): string[] {
  const gaps = stretches.filter(({ condition }) => condition === 'unknown')
  return [
    ...gaps.slice(0, MAX_GAPS).map(({ from, to, standDowns, failedStarts }) => {
      const why =
        failedStarts > 0
          ? `the watchers could not be started (${failedStarts} times), see beside the incidents`
          : standDowns > 0
            ? 'the watchers ran, but did not look: paused, or another run was at work'
            : 'no watcher ran: sleep, power cut, not installed, or its logs are missing'
      return `${minuteOf(from)} to ${minuteOf(to)} (${spell((to.getTime() - from.getTime()) / 1000)}): ${why}`
    }),
    ...(gaps.length > MAX_GAPS ? [`${gaps.length - MAX_GAPS} more such gaps`] : []),
    ...notes,
    ...Object.entries(runs)
      .filter(([, { unfinished }]) => unfinished > 0)
      .map(
        ([tier, { unfinished: n }]) =>
          `${n} run${n === 1 ? '' : 's'} of ${tier} left no last line: killed, or cut off by a power cut`,
      ),
    ...incidents
      .filter(({ isBeginSeen }) => !isBeginSeen)
      .map(({ begin }) => `the begin of the incident of ${minuteOf(begin)} is in no log; it is reckoned from its end`),
    'the watchers look every 3 to 5 minutes: an outage that began and ended between two looks is in no log',
  ]
}
