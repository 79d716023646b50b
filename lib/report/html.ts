/** The report as one page of HTML: no script, nothing from the network, and nothing from a log that could act. */
import type { Condition, History, Stretch } from '../incidents/history.ts'
import * as words from '../incidents/words.ts'
import { cleanText, localDay, localIso, TIERS } from '../tier/contract.ts'
import * as reports from './report.ts'

/** In case something is overlooked. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

type Html = { html: string }
type Part = string | number | undefined | Html | readonly Html[]

/** A template whose values are escaped, between tags and in double quotes, unless they are templates themselves. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return { html: strings.map((text, i) => (i === 0 ? text : `${textOf(parts[i - 1])}${text}`)).join('') }
}

function textOf(part: Part): string {
  if (typeof part === 'object') return 'html' in part ? part.html : part.map(textOf).join('')
  // Half a surrogate pair is no Unicode.
  const text = cleanText(String(part ?? '').replace(/[\ud800-\udfff]/gu, '\ufffd'))
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

export function asPage(report: reports.Report): string {
  const { host, incidents, span, writtenAt } = report
  const open = incidents.findLast(({ end }) => end === undefined)
  const figures = reports.figuresOf(report)
  const { shown, remark } = reports.shownOf(report)
  const time = `${words.minuteOf(span.from)} to ${words.minuteOf(span.to)}`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Self-healing of OpenClaw on ${host}, ${time}</title>
<style>${{ html: STYLE }}</style>
</head>
<body>
<main>
<h1>Self-healing of OpenClaw on ${host}</h1>
<p class="dim">${time}${open ? html`; not over yet: <b>${open.last.verdict}</b> since ${words.minuteOf(open.begin)}, and what to do next stands at the end` : ''}</p>
<div class="tiles">${TILES.map((metric) => tile(metric, figures[metric]!))}</div>
${uptimeSection(report)}
<section><h2>Figures</h2>${tableOf({ head: [], rows: Object.entries(figures) })}</section>
<section><h2>Incidents</h2>
${remark ? html`<p class="dim">${remark}</p>` : ''}
${shown.map((incident, i) => incidentPart(incident, shown.length - i <= 10))}</section>
${reports.sectionsOf(report).map(sectionPart)}
<footer>Written at ${localIso(writtenAt)} by <code>npm run report</code>, from the logs alone.</footer>
</main>
</body>
</html>
`.html
}

const TILES = ['Uptime', 'Total failures', 'Mean time to recovery', 'Manual interventions']

function tile(metric: string, value: string): Html {
  const [figure, note = ''] = value.split(/ as seen; | (?=\()/)
  return html`<div class="tile"><b>${figure}</b>${metric}<br><span class="dim">${note.replace(/[()]/g, '')}</span></div>`
}

function tableOf({ head, rows }: reports.Table<Part>): Html {
  const label = (i: number) => (head.length > 0 ? html` data-of="${head[i]}"` : '')
  const cells = (row: Part[]) => row.slice(1).map((cell, i) => html`<td${label(i + 1)}>${cell}</td>`)
  return html`<div class="scroll"><table${head.length > 0 ? html` class="named"` : ''}>${head.length > 0 ? html`<thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead>` : ''}<tbody>
${rows.map((row) => html`<tr><th scope="row">${row[0]}</th>${cells(row)}</tr>\n`)}</tbody></table></div>`
}

function sectionPart({ title, table, lines = [] }: reports.Section): Html {
  const points = lines.map((line) => {
    const point =
      typeof line === 'string' ? withCode(line) : html`${words.minuteOf(line.at)} ${line.who} ${wordsOf(line)}`
    return html`<li>${point}</li>\n`
  })
  return html`<section><h2>${title}</h2>${table ? tableOf(table) : html`<ul>\n${points}</ul>`}</section>\n`
}

const withCode = (line: string): Html[] =>
  line.split('`').map((part, i) => (i % 2 === 1 ? html`<code>${part}</code>` : html`${part}`))

function wordsOf({ did, quote, again }: words.TimelineLine): Html {
  return html`${did}${quote ? html`: <code>${quote}</code>` : ''}${again ? html` <span class="dim">(${again})</span>` : ''}`
}

const CONDITIONS = { up: 'up', down: 'down', stopped: 'stopped on purpose', unknown: 'not known' }
const ALL_CONDITIONS = Object.keys(CONDITIONS) as Condition[]

function uptimeSection({ stretches, span: { from, to } }: History): Html {
  const rows: Html[] = []
  // A day of daylight saving has 23 or 25 hours.
  for (let begin = new Date(from.getFullYear(), from.getMonth(), from.getDate()); begin < to; ) {
    const end = new Date(begin.getFullYear(), begin.getMonth(), begin.getDate() + 1)
    rows.push(dayRow(begin, end, stretches))
    begin = end
  }
  const legend = ALL_CONDITIONS.map((one) => html`<span><i class="mark ${one}"></i>${CONDITIONS[one]}</span>`)
  return html`<section><h2>Uptime</h2>
<div class="day" aria-hidden="true"><span></span><span class="axis">${[0, 6, 12, 18, 24].map((hour) => mark(hour / 24, `${hour}`))}</span><span></span></div>
${rows}<div class="legend">${legend}</div></section>`
}

function dayRow(begin: Date, end: Date, stretches: readonly Stretch[]): Html {
  const lengthMs = end.getTime() - begin.getTime()
  const place = placeOn(begin, lengthMs)
  const shown = stretches.filter(({ from, to }) => from < end && to > begin)
  const bars = shown.map(({ from, to, condition }) => bar(place(from), place(to), condition))
  const seconds: Record<Condition, number> = { up: 0, down: 0, stopped: 0, unknown: 0 }
  for (const { from, to, condition } of shown) seconds[condition] += ((place(to) - place(from)) * lengthMs) / 1000
  const day = begin.toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric', month: 'short' }).replace(',', '')
  const parts = ALL_CONDITIONS.filter((one) => seconds[one] > 0)
  const label = `${day}: ${parts.map((one) => `${CONDITIONS[one]} ${words.spell(seconds[one])}`).join(', ')}`
  const watched = seconds.up + seconds.down
  return html`<div class="day"><time datetime="${localDay(begin)}">${day}</time><span class="strip" role="img" aria-label="${label}" title="${label}">${bars}</span><span>${watched > 0 ? reports.percentOf((100 * seconds.up) / watched) : '–'}</span></div>
`
}

const placeOn = (begin: Date, lengthMs: number) => (at: Date) =>
  Math.min(1, Math.max(0, (at.getTime() - begin.getTime()) / lengthMs))

function bar(from: number, to: number, look: string): Html {
  return html`<i class="${look}" style="left:${(100 * from).toFixed(3)}%;width:${(100 * (to - from)).toFixed(3)}%"></i>`
}

const mark = (at: number, text: string): Html => html`<span style="left:${(100 * at).toFixed(2)}%">${text}</span>`

function incidentPart(incident: reports.ReportedIncident, isOpen: boolean): Html {
  const { begin, verdict, evidence, finding } = incident
  const lines = words.timelineOf(incident)
  const took = words.whatItTook(incident)
  const steps = lines.map((line) => [
    html`<time datetime="${line.at.toISOString()}">${words.secondOf(line.at, begin)}</time>`,
    html`<i class="mark l${levelOf(line)}"></i>${line.who}`,
    wordsOf(line),
  ])
  return html`<details${isOpen ? html` open` : ''}><summary><h3>${words.minuteOf(begin)} ${verdict}</h3> <span class="dim">${words.howItEnded(incident)}</span></summary>
<p>${words.howLong(incident)}${took ? `; ${took}` : ''}</p>
${evidence ? html`<p><code>${evidence}</code></p>` : ''}
${finding ? html`<p>The doctor found: <code>${finding}</code></p>` : ''}
${lanesOf(incident, lines)}
${tableOf({ head: [], rows: steps })}</details>
`
}

const levelOf = ({ tier }: words.TimelineLine): number => (tier && TIERS[tier].level) ?? 0

/** Time runs to the right; a lane for the gateway and one for each level. The list below it says the same in words. */
function lanesOf({ begin, end, lastSeen }: reports.ReportedIncident, lines: readonly words.TimelineLine[]): Html {
  const beginMs = begin.getTime()
  const lengthMs = Math.max((end ?? lastSeen).getTime() - beginMs, 1000)
  // A message that came hours later must not squeeze the rest into a corner.
  const lastMs = Math.min(Math.max(...lines.map(({ until }) => until.getTime() - beginMs), lengthMs), 1.25 * lengthMs)
  const place = placeOn(begin, lastMs)
  const lane = (name: string, track: Part) =>
    html`<div class="lane"><span>${name}</span><span class="track">${track}</span></div>\n`
  const levels = [1, 2, 3, 4].flatMap((level) => {
    const mine = lines.filter((line) => levelOf(line) === level)
    if (mine.length === 0) return []
    const until = Math.max(...mine.map((line) => place(line.until)))
    const dots = mine.map(({ at, did }) => {
      const left = (100 * place(at)).toFixed(2)
      return html`<i class="dot l${level}" style="left:${left}%" title="${words.secondOf(at, begin)} ${did}"></i>`
    })
    return [lane(`Level ${level}`, [bar(place(mine[0]!.at), until, `time l${level}`), ...dots])]
  })
  const times = [0, 0.5, 1].map((part) => mark(part, words.secondOf(new Date(beginMs + part * lastMs), begin)))
  return html`<div class="lanes" aria-hidden="true">
${lane('Gateway', bar(0, lengthMs / lastMs, 'time down'))}${levels}<div class="lane"><span></span><span class="axis">${times}</span></div></div>`
}

const STYLE = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f6f5f2, #121518); --panel: light-dark(#ffffff, #1a1e23); --line: light-dark(#dedbd4, #2f363e);
  --ink: light-dark(#1d2126, #e7e5e1); --dim: light-dark(#59626d, #a0a9b3);
  --none: light-dark(#d5d1c9, #2b3138); --none-line: light-dark(#b9b4aa, #48515b);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; display: inline; margin: 0; }
p { margin: .25rem 0; }
.dim, time, .axis, thead th, footer { color: var(--dim); font-size: .9rem; }
section, .tile { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem; margin-top: 1rem; break-inside: avoid; }
footer { margin-top: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0 1rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .32rem .9rem .32rem 0; border-top: 1px solid var(--line); vertical-align: top; font-weight: 400; }
table > :first-child > tr:first-child > * { border-top: 0; }
.day { display: grid; grid-template-columns: 6rem 1fr 3.7rem; align-items: center; gap: .5rem; margin-top: .3rem; }
.day time { white-space: nowrap; }
.day > :last-child { text-align: right; }
.strip, .track, .axis { position: relative; height: 1.35rem; }
.strip i { position: absolute; top: 0; bottom: 0; }
.strip i.down { top: -.15rem; bottom: -.15rem; min-width: 3px; z-index: 1; }
.up, .l0 { background: light-dark(#4fa97a, #3c9468); }
.down, .l4 { background: light-dark(#c62f2a, #ff6a5f); }
.stopped { background: light-dark(#4c78c8, #6f9bea); }
.unknown { background: repeating-linear-gradient(135deg, var(--none) 0 4px, var(--none-line) 4px 6px); }
.axis span { position: absolute; white-space: nowrap; transform: translateX(-50%); }
.axis span:first-child { transform: none; }
.axis span:last-child { transform: translateX(-100%); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: .7rem; color: var(--dim); }
.mark { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .4rem; }
details { border-top: 1px solid var(--line); padding: .7rem 0; }
.lane { display: grid; grid-template-columns: 4.4rem 1fr; gap: .7rem; align-items: center; }
.track i { position: absolute; top: 50%; }
.track i.time { height: .3rem; margin-top: -.15rem; min-width: 3px; border-radius: 2px; }
.track i.dot { width: .62rem; height: .62rem; margin: -.31rem 0 0 -.31rem; border-radius: 50%; border: 2px solid var(--panel); }
.l1 { background: light-dark(#b7791f, #e0a84a); }
.l2 { background: light-dark(#2f7d8c, #57b3c4); }
.l3 { background: light-dark(#7b57c2, #a78bea); }
details th, details td:nth-child(2) { white-space: nowrap; }
details :is(th, td) { border-top: 0; padding-block: .14rem; }
details td:last-child { width: 100%; }
code { font: .88em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
ul { margin: 0; padding-left: 1.1rem; }
@media (max-width: 46rem) {
  details tr, .named tr { display: flex; flex-wrap: wrap; }
  .named thead { display: none; }
  .named th { width: 100%; font-weight: 600; padding-bottom: 0; }
  .named td { border-top: 0; padding-top: 0; }
  .named td::before { content: attr(data-of) ': '; color: var(--dim); }
}
`
