/** What the report says, and as Markdown that also reads well at a terminal; page, JSON and digest are made of the same. */
import { adviceFor, rollbackOf } from '../gateway/advice.ts'
import { hiding } from '../gateway/secrets.ts'
import { TREATMENTS } from '../gateway/treat.ts'
import { type History, type Incident, readHistory } from '../incidents/history.ts'
import { rootCauseOf } from '../incidents/learnings.ts'
import type { Span } from '../incidents/logs.ts'
import * as words from '../incidents/words.ts'
import { oneLine } from '../tier/contract.ts'
import { hostOf } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'

export type Report = Awaited<ReturnType<typeof readReport>>
export type ReportedIncident = Report['incidents'][number]

export type Table<Cell = string> = { head: string[]; rows: Cell[][] }
export type Section = { title: string; table?: Table; lines?: (string | words.TimelineLine)[] }

/** More than these cannot be read, nor opened in a browser; the newest are shown. JSON has them all. */
const MAX_INCIDENTS = 200
const MAX_GAPS = 20

/** Reads the logs of the span; no secret of this machine is left in what comes back. */
export async function readReport(settings: Settings, span: Span, now: Date) {
  const hide = await hiding(settings)
  const history = readHistory(settings, span, now)
  const incidents = history.incidents.map((incident) => {
    const finding = incident.doctorRuns > 0 ? rootCauseOf(settings, incident, hide) : undefined
    return { ...incident, finding }
  })
  const todo = whatNext(settings, history)
  return everyText({ host: hostOf(settings.profile), writtenAt: now, ...history, incidents, todo }, hide)
}

/** By the logs: for the incident that goes on, for watchers and alerts that did not come through, and to undo a rollback. */
function whatNext(settings: Settings, history: History): string[] {
  const { incidents, runs } = history
  const open = incidents.findLast(({ end }) => end === undefined)
  const hasFailed = (tier: 'monitor' | 'guardian') => runs[tier].last?.exitCode === 1
  const hasLooked = history.uptime.percent !== undefined || incidents.length > 0
  const todo = [
    ...(hasLooked ? [] : ['no tier has looked in this time: `npm run status` says why']),
    ...(open ? adviceFor(settings, 'gateway', open.last.verdict, open.last.evidence) : []),
    ...(hasFailed('guardian') ? adviceFor(settings, 'watchers') : []),
    ...(hasFailed('monitor') ? adviceFor(settings, 'alerts') : []),
    ...openRollbacks(settings, history).flatMap((one) => one.todo),
  ]
  return todo.length > 0 ? todo : ['nothing: no incident goes on, and no alert waits']
}

/** The newest notice of a config that was put back, as long as the one from before lies there. */
export function openRollbacks(settings: Settings, { incidents, remarks }: Pick<History, 'incidents' | 'remarks'>) {
  const steps = [...incidents.flatMap((one) => one.steps), ...remarks]
  const all = steps.flatMap(({ at, said }) => {
    const rollback = said.kind === 'notice' ? rollbackOf(settings, said.what) : undefined
    return rollback?.isOpen ? [{ at, todo: rollback.todo }] : []
  })
  return all.slice(-1)
}

export function everyText<T>(value: T, change: (text: string) => string): T {
  if (typeof value === 'string') return change(value) as T
  if (Array.isArray(value)) return value.map((one) => everyText(one, change)) as T
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, everyText(one, change)])) as T
}

/** The production table of the article, and what it takes to read it rightly. */
export function figuresOf({ incidents, uptime, processesEnded }: History): Record<string, string> {
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
  const ended = incidents.filter(({ end }) => end !== undefined)
  const mean = (key: 'downSec' | 'feltSec') => ended.reduce((sum, one) => sum + one[key], 0) / ended.length
  const recovery = { downSec: mean('downSec'), feltSec: mean('feltSec') }
  const watched = uptime.upSec + uptime.downSec
  const whole = watched + uptime.unknownSec
  return {
    'Total failures': `${total}`,
    'Level 1 resolved': byLevel(1),
    'Level 2 resolved': byLevel(2),
    'Level 3 resolved': byLevel(3),
    'Level 4 alerts': called.length === 0 ? share(0) : `${share(called.length)}, ${sentWords}`,
    ...(alone > 0 && { 'Ended by itself or from outside': share(alone) }),
    ...(ended.length < total && { 'Not over yet': share(total - ended.length) }),
    ...(processesEnded > 0 && { 'Processes that ended': `${processesEnded}` }),
    Uptime: uptimeInWords(uptime, processesEnded),
    'Mean time to recovery': ended.length === 0 ? '–' : words.seenAndFelt(recovery),
    // A human was called, and then it came back without any of the levels.
    'Manual interventions': `${called.filter(({ healedBy }) => healedBy === 'outside').length}`,
    Watched: whole > 0 ? `${percentOf((100 * watched) / whole)} of the time` : 'nothing',
  }
}

function uptimeInWords({ percent, worstPercent, ...seconds }: History['uptime'], processesEnded: number): string {
  if (percent === undefined || worstPercent === undefined) return 'unknown: no tier looked'
  const [said, worst] = [percentOf(percent), percentOf(worstPercent)]
  const watched = seconds.upSec + seconds.downSec
  // Of a day of which an hour is known, a percentage says little, and must not look like more.
  const isLittle = watched < seconds.unknownSec
  const isWorse = isLittle ? seconds.unknownInIncidentsSec > 0 : said !== worst
  const notes = [
    processesEnded > 0 && `${processesEnded} of its processes ended`,
    isLittle && `of the ${words.spell(watched)} that were watched`,
    isWorse && `at worst ${worst}`,
  ].filter(Boolean)
  return notes.length > 0 ? `${said} (${notes.join('; ')})` : said
}

/** Rounded down, with more decimals the nearer it is to 100: 99.96 must not read as 100. */
export function percentOf(percent: number): string {
  if (percent >= 100) return '100%'
  const decimals = percent < 99.9 ? 1 : percent < 99.99 ? 2 : 3
  return `${(Math.floor(percent * 10 ** decimals) / 10 ** decimals).toFixed(decimals)}%`
}

export function causesOf(incidents: readonly Incident[]) {
  const causes = [...new Set(incidents.map(({ verdict }) => verdict))].map((verdict) => {
    const own = incidents.filter((one) => one.verdict === verdict)
    const sum = (key: 'downSec' | 'feltSec') => own.reduce((sec, one) => sec + one[key], 0)
    return { verdict, incidents: own.length, downSec: sum('downSec'), feltSec: sum('feltSec') }
  })
  return causes.sort((a, b) => b.downSec - a.downSec || b.incidents - a.incidents)
}

export function sectionsOf(report: Report): Section[] {
  const { incidents, remarks, runs } = report
  const meanings = new Map<string, { means: string }>(Object.entries(TREATMENTS))
  const causes = causesOf(incidents).map((cause) => {
    const means = meanings.get(cause.verdict)?.means ?? ''
    return [cause.verdict, `${cause.incidents}`, words.seenAndFelt(cause), means]
  })
  const ends = Object.entries(runs).map(([tier, { started, ended, last }]) => {
    const lastEnd = last ? `${words.minuteOf(last.at)}, ${last.verdict}` : 'never'
    return [tier, `${started}`, ...[0, 1, 2, 3].map((code) => `${ended[code] ?? 0}`), lastEnd]
  })
  const sections: Section[] = [
    { title: 'Causes', table: { head: ['Cause', 'Incidents', 'Down', 'Means'], rows: causes } },
    { title: 'Beside the incidents', lines: remarks.map(words.lineOf) },
    {
      title: 'Runs',
      table: { head: ['Tier', 'Begun', 'Exit 0', 'Exit 1', 'Exit 2', 'Exit 3', 'Last end'], rows: ends },
    },
    { title: 'What is not known', lines: unknownsOf(report) },
    { title: 'What to do next', lines: report.todo },
  ]
  return sections.filter(({ table, lines }) => (table?.rows ?? lines ?? []).length > 0)
}

function unknownsOf({ stretches, incidents, runs, notes }: History): string[] {
  const gaps = stretches.filter(({ condition }) => condition === 'unknown')
  return [
    ...gaps.slice(0, MAX_GAPS).map(({ from, to, standDowns, failedStarts }) => {
      const why =
        failedStarts > 0
          ? `the watchers could not be started (${failedStarts} times), see beside the incidents`
          : standDowns > 0
            ? 'the watchers ran, but did not check: paused, or another run was at work'
            : 'no watcher ran: sleep, power cut, not installed, or its logs are missing'
      return `${words.minuteOf(from)} to ${words.minuteOf(to)} (${words.spell((to.getTime() - from.getTime()) / 1000)}): ${why}`
    }),
    ...(gaps.length > MAX_GAPS ? [`${gaps.length - MAX_GAPS} more such gaps`] : []),
    ...notes,
    ...Object.entries(runs).flatMap(([tier, { unfinished: n }]) =>
      n > 0 ? [`${n} run${n === 1 ? '' : 's'} of ${tier} left no last line: killed, or cut off by a power cut`] : [],
    ),
    ...incidents.flatMap(({ begin, isBeginSeen: isSeen }) =>
      isSeen ? [] : [`the begin of the incident of ${words.minuteOf(begin)} is in no log; it is reckoned from its end`],
    ),
    'the watchers check every 3 to 5 minutes: an outage that began and ended between two checks is in no log',
  ]
}

export function shownOf({ incidents }: Report) {
  const shown = incidents.slice(-MAX_INCIDENTS)
  const older = incidents.length - shown.length
  return { shown, older, remark: older > 0 ? `${older} older ones are not shown.` : shown.length === 0 ? 'None.' : '' }
}

export function asMarkdown(report: Report): string {
  const { shown, older, remark } = shownOf(report)
  const { span } = report
  const figures = Object.entries(figuresOf(report)).map(([metric, value]) => [`**${metric}**`, value])
  return [
    `# Self-healing of OpenClaw on ${plain(report.host)}`,
    `${words.minuteOf(span.from)} to ${words.minuteOf(span.to)}, from the logs alone.`,
    tableText({ head: ['Metric', 'Value'], rows: figures }),
    '## Incidents',
    ...(remark ? [remark] : []),
    ...shown.map((one, i) => incidentText(one, older + i + 1)),
    ...sectionsOf(report).map(sectionText),
  ].join('\n\n')
}

function sectionText({ title, table, lines = [] }: Section): string {
  const body = lines.map((line) =>
    typeof line === 'string' ? item(withCommands(line)) : lineText(line, words.minuteOf(line.at)),
  )
  return [`## ${title}`, '', ...(table ? [tableText(table)] : []), ...body].join('\n')
}

function incidentText(incident: ReportedIncident, number: number): string {
  const { begin, verdict, evidence, finding } = incident
  const ending = [words.howItEnded(incident), words.whatItTook(incident)].filter(Boolean).join('; ')
  return [
    `### ${number}. ${words.minuteOf(begin)} ${verdict}`,
    '',
    inLines(`${words.howLong(incident)}; ${ending}.`.replace(/^./, (letter) => letter.toUpperCase())),
    ...(evidence ? [inLines(`Cause: ${code(evidence)}`)] : []),
    ...(finding ? [inLines(`The doctor found: ${code(finding)}`)] : []),
    '',
    ...words.timelineOf(incident).map((line) => lineText(line, words.secondOf(line.at, begin))),
  ].join('\n')
}

function lineText({ who, did, quote, again }: words.TimelineLine, time: string): string {
  return item(`${time} **${who}** ${did}${quote ? `: ${code(quote)}` : ''}${again ? ` (${again})` : ''}`)
}

const WIDTH = 80
/** Of words from a log, none that would begin a list, a heading or a quotation begins a line. */
function inLines(text: string, indent = ''): string {
  const glued = text.replace(/ (?=[-+*#>=~]|\d+[.)])/g, '\u00a0')
  return words.wrapLines(glued, WIDTH - indent.length).join(`\n${indent}`)
}

const item = (text: string): string => `- ${inLines(text, '  ')}`

/** Text of ours, in which commands stand in backticks. */
const withCommands = (text: string): string =>
  text.replace(/[^`]+|`[^`]*`/g, (part) =>
    part.startsWith('`') && part.length > 1 ? words.gluedCommands(part) : part.replace(/[\\*[\]<>|]/g, ''),
  )

function tableText({ head, rows }: Table): string {
  const all = [head, head.map(() => '---'), ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const [titles = [], rule = [], ...others] = words.inColumns(all)
  const dashes = rule.map((cell) => cell.replaceAll(' ', '-'))
  const lines = [titles, dashes, ...others].map((row) => `| ${row.join(' | ')} |`)
  if (lines[0]!.length <= WIDTH) return lines.join('\n')
  // A terminal would tear it apart.
  const named = (row: string[]) => row.slice(1).map((cell, i) => `${row.length > 2 ? `${head[i + 1]}: ` : ''}${cell}`)
  return rows.map((row) => item(`**${row[0]!.replaceAll('**', '')}**: ${named(row).join('; ')}`)).join('\n')
}

/** Text from outside as a code span: nothing in it formats, links, or is HTML. */
const code = (text: string): string => `\`${oneLine(text, 800).replaceAll('`', 'ˋ')}\``

/** A path, a host's name: what Markdown would act on is taken out. */
const plain = (text: string): string => oneLine(text, 400).replace(/[\\`*[\]<>|]/g, '')
