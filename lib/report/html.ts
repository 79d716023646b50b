/** The report as one page of HTML: no script, nothing from the network, and nothing from a log that could act. */
import type { History } from '../incidents/history.ts'
import { lineOf, minuteOf, seenAndFelt } from '../incidents/words.ts'
import { localIso } from '../tier/contract.ts'
import { causesOf, figuresOf, type Row } from './figures.ts'
import { incidentSection } from './html-incidents.ts'
import { STYLE } from './html-style.ts'
import { Html, html } from './html-text.ts'
import { uptimeSection } from './html-uptime.ts'
import type { Report } from './report.ts'
import { unknownsOf } from './unknown.ts'

/** Even if something were overlooked: the browser runs no script here and loads nothing. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

export function asPage(report: Report): string {
  const { history, host, writtenAt } = report
  const { from, to } = history.span
  const rows = figuresOf(history)
  const title = `Self-healing of OpenClaw on ${host}, ${minuteOf(from)} to ${minuteOf(to)}`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
<h1>Self-healing of OpenClaw on ${host}</h1>
<p class="dim">${minuteOf(from)} to ${minuteOf(to)}</p>
${tiles(rows)}
${uptimeSection(history)}
<div class="two">
${figures(rows)}
${causes(history)}
</div>
${incidentSection(report.history.incidents)}
${remarks(history)}
${runs(history)}
${unknowns(history)}
<footer>Written at ${localIso(writtenAt)} by <code>npm run report</code>, from the logs alone.</footer>
</main>
</body>
</html>
`.text
}

const TILES = ['Uptime', 'Total failures', 'Mean time to recovery', 'Manual interventions']

function tiles(rows: readonly Row[]): Html {
  const shown = TILES.map((wanted) => rows.find(({ metric }) => metric === wanted)!).map(({ metric, value }) => {
    const [figure = '', note] = value.split(/ (?=\()/)
    return html`<div class="tile"><b>${figure}</b>${metric}${note ? html`<br><span class="dim">${note.slice(1, -1)}</span>` : ''}</div>`
  })
  return html`<div class="tiles">${shown}</div>`
}

function figures(rows: readonly Row[]): Html {
  const lines = rows.map(({ metric, value }) => html`<tr><th scope="row">${metric}</th><td>${value}</td></tr>\n`)
  return html`<section><table><caption>Figures</caption><tbody>
${lines}</tbody></table></section>`
}

function causes({ incidents }: History): Html {
  const all = causesOf(incidents)
  const most = Math.max(...all.map(({ downSec }) => downSec), 1)
  const bars = all.map(
    ({ verdict, means, incidents: n, downSec, feltSec }) => html`<div class="cause">
<p><span>${verdict}</span><span class="dim">${n} incident${n === 1 ? '' : 's'}, ${seenAndFelt({ downSec, feltSec })}</span></p>
<div class="bar" aria-hidden="true"><i style="width:${((100 * downSec) / most).toFixed(2)}%"></i></div>
${means ? html`<p class="dim">${means}</p>` : ''}</div>
`,
  )
  return html`<section><h2>Down time by cause</h2>${all.length > 0 ? bars : html`<p class="dim">None.</p>`}</section>`
}

function remarks({ remarks: all }: History): Html {
  if (all.length === 0) return html``
  const lines = all
    .map(lineOf)
    .map(
      ({ at, who, did, quote, again }) =>
        html`<li>${minuteOf(at)} ${who} ${did}: <code>${quote}</code>${again ? ` (${again})` : ''}</li>\n`,
    )
  return html`<section><h2>Beside the incidents</h2><ul>${lines}</ul></section>`
}

function runs({ runs: all }: History): Html {
  const rows = Object.entries(all).map(([tier, { started, ended, last }]) => {
    const counts = [0, 1, 2, 3].map((code) => html`<td class="number">${ended[code] ?? 0}</td>`)
    const end = last ? `${minuteOf(last.at)}, ${last.verdict}` : 'never'
    return html`<tr><th scope="row">${tier}</th><td class="number">${started}</td>${counts}<td>${end}</td></tr>\n`
  })
  return html`<section><div class="scroll" tabindex="0" role="region" aria-label="Runs"><table><caption>Runs</caption>
<thead><tr><th scope="col">Tier</th><th scope="col" class="number">Begun</th><th scope="col" class="number">Exit 0</th><th scope="col" class="number">Exit 1</th><th scope="col" class="number">Exit 2</th><th scope="col" class="number">Exit 3</th><th scope="col">Last end</th></tr></thead>
<tbody>
${rows}</tbody></table></div></section>`
}

function unknowns(history: History): Html {
  const lines = unknownsOf(history).map((one) => html`<li>${one}</li>\n`)
  return html`<section><h2>What is not known</h2><ul>
${lines}</ul></section>`
}
