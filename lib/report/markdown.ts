/** The report as Markdown that also reads well at a terminal. */

import {
  howItEnded,
  howLong,
  lineOf,
  minuteOf,
  secondOf,
  seenAndFelt,
  type TimelineLine,
  timelineOf,
  whatItTook,
} from '../incidents/words.ts'
import { oneLine } from '../tier/contract.ts'
import { causesOf, figuresOf } from './figures.ts'
import type { Report, ToldIncident } from './report.ts'
import { unknownsOf } from './unknown.ts'

/** More incidents than these are in the HTML page, not on a screen; the newest are shown. */
const MAX_INCIDENTS = 50

export function asMarkdown(report: Report): string {
  const { history } = report
  const { from, to } = history.span
  return [
    `# Self-healing of OpenClaw on ${plain(report.host)}`,
    `${minuteOf(from)} to ${minuteOf(to)}, from the logs alone.`,
    table(
      ['Metric', 'Value'],
      figuresOf(history).map(({ metric, value }) => [`**${metric}**`, value]),
    ),
    ...incidents(history),
    ...causes(history),
    ...remarks(history),
    runs(history),
    ['## What is not known', '', ...unknownsOf(history).map((one) => `- ${plain(one)}`)].join('\n'),
  ].join('\n\n')
}

function incidents({ incidents: all }: Report['history']): string[] {
  if (all.length === 0) return ['## Incidents', 'None.']
  const shown = all.slice(-MAX_INCIDENTS)
  const left = all.length - shown.length
  const older = left > 0 ? [`${left} older ones are not shown here; \`--html FILE\` has them all.`] : []
  return ['## Incidents', ...older, ...shown.map((one, i) => incidentText(one, left + i + 1))]
}

function incidentText(incident: ToldIncident, number: number): string {
  const { begin, verdict, evidence, finding, stepsLeftOut } = incident
  const took = whatItTook(incident)
  return [
    `### ${number}. ${minuteOf(begin)} ${verdict}: ${howLong(incident)}`,
    '',
    `${capital(howItEnded(incident))}${took ? `; ${took}` : ''}.`,
    ...(evidence ? [`Cause: ${code(evidence)}`] : []),
    ...(finding ? [`The doctor found: ${code(finding)}`] : []),
    '',
    ...timelineOf(incident).map((line) => timelineText(line, secondOf(line.at, begin))),
    ...(stepsLeftOut > 0 ? [`- ${stepsLeftOut} more lines about it are in the logs`] : []),
  ].join('\n')
}

function timelineText({ who, did, quote, again }: TimelineLine, time: string): string {
  return `- ${time} **${who}** ${did}${quote ? `: ${code(quote)}` : ''}${again ? ` (${again})` : ''}`
}

function causes({ incidents: all }: Report['history']): string[] {
  if (all.length === 0) return []
  const rows = causesOf(all).map(({ verdict, means, incidents: n, downSec, feltSec }) => [
    verdict,
    `${n}`,
    seenAndFelt({ downSec, feltSec }),
    means,
  ])
  return ['## Causes', table(['Cause', 'Incidents', 'Down', 'Means'], rows)]
}

function remarks({ remarks: all }: Report['history']): string[] {
  if (all.length === 0) return []
  const lines = all.map((step) => timelineText(lineOf(step), minuteOf(step.at)))
  return ['## Beside the incidents', lines.join('\n')]
}

function runs({ runs: all }: Report['history']): string {
  const rows = Object.entries(all).map(([tier, { started, ended, last }]) => [
    tier,
    `${started}`,
    ...[0, 1, 2, 3].map((code) => `${ended[code] ?? 0}`),
    last ? `${minuteOf(last.at)}, ${plain(last.verdict)}` : 'never',
  ])
  return ['## Runs', '', table(['Tier', 'Begun', 'Exit 0', '1', '2', '3', 'Last end'], rows)].join('\n')
}

function table(head: string[], rows: string[][]): string {
  const all = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = head.map((_, i) => Math.max(3, ...all.map((row) => row[i]!.length)))
  const line = (row: string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`
  return [line(all[0]!), line(widths.map((width) => '-'.repeat(width))), ...all.slice(1).map(line)].join('\n')
}

/** Text from outside as a code span: nothing in it formats, links, or is HTML. */
function code(text: string): string {
  return `\`${oneLine(text, 800).replaceAll('`', 'ˋ')}\``
}

/** A path, a verdict, a host's name: what Markdown would act on is taken out. */
function plain(text: string): string {
  return oneLine(text, 400).replace(/[\\`*[\]<>|]/g, '')
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
