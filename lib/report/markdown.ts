/** The report as Markdown that also reads well at a terminal. */
import {
  howItEnded,
  howLong,
  minuteOf,
  secondOf,
  type TimelineLine,
  timelineOf,
  whatItTook,
} from '../incidents/words.ts'
import { oneLine } from '../tier/contract.ts'
import { figuresOf, type Report, type ReportedIncident, type Section, sectionsOf, type Table } from './report.ts'

/** More incidents than these are in the HTML page, not on a screen; the newest are shown. */
const MAX_INCIDENTS = 50

export function asMarkdown(report: Report): string {
  const { incidents, span } = report
  const shown = incidents.slice(-MAX_INCIDENTS)
  const left = incidents.length - shown.length
  return [
    `# Self-healing of OpenClaw on ${plain(report.host)}`,
    `${minuteOf(span.from)} to ${minuteOf(span.to)}, from the logs alone.`,
    tableText({
      head: ['Metric', 'Value'],
      rows: figuresOf(report).map(([metric, value]) => [`**${metric}**`, value]),
    }),
    '## Incidents',
    ...(incidents.length === 0 ? ['None.'] : []),
    ...(left > 0 ? [`${left} older ones are not shown here; \`--html FILE\` has them all.`] : []),
    ...shown.map((one, i) => incidentText(one, left + i + 1)),
    ...sectionsOf(report).map(sectionText),
  ].join('\n\n')
}

function sectionText({ title, table, lines = [] }: Section): string {
  const body = lines.map((line) => (typeof line === 'string' ? `- ${plain(line)}` : lineText(line, minuteOf(line.at))))
  return [`## ${title}`, '', ...(table ? [tableText(table)] : []), ...body].join('\n')
}

function incidentText(incident: ReportedIncident, number: number): string {
  const { begin, verdict, evidence, finding, stepsLeftOut } = incident
  const ending = [howItEnded(incident), whatItTook(incident)].filter(Boolean).join('; ')
  return [
    `### ${number}. ${minuteOf(begin)} ${verdict}: ${howLong(incident)}`,
    '',
    `${ending.slice(0, 1).toUpperCase()}${ending.slice(1)}.`,
    ...(evidence ? [`Cause: ${code(evidence)}`] : []),
    ...(finding ? [`The doctor found: ${code(finding)}`] : []),
    '',
    ...timelineOf(incident).map((line) => lineText(line, secondOf(line.at, begin))),
    ...(stepsLeftOut > 0 ? [`- ${stepsLeftOut} more lines about it are in the logs`] : []),
  ].join('\n')
}

function lineText({ who, did, quote, again }: TimelineLine, time: string): string {
  return `- ${time} **${who}** ${did}${quote ? `: ${code(quote)}` : ''}${again ? ` (${again})` : ''}`
}

function tableText({ head, rows }: Table): string {
  const all = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = head.map((_, i) => Math.max(3, ...all.map((row) => row[i]!.length)))
  const line = (row: string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`
  return [line(all[0]!), line(widths.map((width) => '-'.repeat(width))), ...all.slice(1).map(line)].join('\n')
}

/** Text from outside as a code span: nothing in it formats, links, or is HTML. */
const code = (text: string): string => `\`${oneLine(text, 800).replaceAll('`', 'ˋ')}\``

/** A path, a host's name: what Markdown would act on is taken out. */
const plain = (text: string): string => oneLine(text, 400).replace(/[\\`*[\]<>|]/g, '')
