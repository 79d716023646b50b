/** The incidents of a page: for each a picture of who was at work when, and the same in words. */
import type { Incident } from '../incidents/incident.ts'
import {
  howItEnded,
  howLong,
  minuteOf,
  secondOf,
  type TimelineLine,
  timelineOf,
  whatItTook,
} from '../incidents/words.ts'
import { type Html, html } from './html-text.ts'
import type { ToldIncident } from './report.ts'

/** A page with thousands of incidents cannot be read, nor opened; the newest are shown. */
const MAX_INCIDENTS = 300
/** So many are unfolded at first. */
const UNFOLDED = 10

export function incidentSection(all: readonly ToldIncident[]): Html {
  const shown = all.slice(-MAX_INCIDENTS)
  const left = all.length - shown.length
  const entries = shown.map((incident, i) => entry(incident, shown.length - i <= UNFOLDED))
  return html`<section><h2>Incidents</h2>
${left > 0 ? html`<p class="dim">${left} older ones are not shown.</p>` : ''}${all.length > 0 ? entries : html`<p class="dim">None.</p>`}</section>`
}

function entry(incident: ToldIncident, isOpen: boolean): Html {
  const { begin, verdict, evidence, finding, stepsLeftOut } = incident
  const lines = timelineOf(incident)
  const took = whatItTook(incident)
  const steps = lines.map(
    (line) =>
      html`<li><time datetime="${line.at.toISOString()}">${secondOf(line.at, begin)}</time><span class="who"><i class="${laneOf(line).look}"></i>${line.who}</span><span>${line.did}${line.quote ? html`: <code>${line.quote}</code>` : ''}${line.again ? html` <span class="dim">(${line.again})</span>` : ''}</span></li>
`,
  )
  return html`<details${isOpen ? html` open` : ''}><summary><h3>${minuteOf(begin)} ${verdict}</h3><span class="tag">${howItEnded(incident)}</span></summary>
<p>${howLong(incident)}${took ? `; ${took}` : ''}</p>
${evidence ? html`<p><code>${evidence}</code></p>` : ''}
${finding ? html`<p>The doctor found: <code>${finding}</code></p>` : ''}
${lanes(incident, lines)}
<ol class="steps">
${steps}${stepsLeftOut > 0 ? html`<li>${stepsLeftOut} more lines about it are in the logs</li>` : ''}</ol></details>
`
}

interface Lane {
  name: string
  look: string
}

const LANES: Record<string, Lane> = {
  'Level 1, watchdog': { name: 'Level 1', look: 'l1' },
  'Level 2, health check': { name: 'Level 2', look: 'l2' },
  'Level 3, doctor': { name: 'Level 3', look: 'l3' },
  'Level 4, monitor': { name: 'Level 4', look: 'l4' },
}
const GATEWAY: Lane = { name: 'Gateway', look: 'l0' }

function laneOf({ who }: TimelineLine): Lane {
  return LANES[who] ?? GATEWAY
}

/** Time runs to the right; a lane for the gateway and one for each level. The list below says the same in words. */
function lanes(incident: Incident, lines: readonly TimelineLine[]): Html {
  const beginMs = incident.begin.getTime()
  const endMs = Math.max((incident.end ?? incident.lastSeen).getTime(), beginMs + 1000)
  // A message that came hours later must not squeeze the rest into a corner.
  const lastMs = Math.min(Math.max(endMs, ...lines.map(({ until }) => until.getTime())), endMs + (endMs - beginMs) / 4)
  const place = (ms: number) => Math.min(100, Math.max(0, (100 * (ms - beginMs)) / (lastMs - beginMs))).toFixed(2)
  const bar = (fromMs: number, toMs: number, look: string) =>
    html`<i class="time ${look}" style="left:${place(fromMs)}%;width:${(Number(place(toMs)) - Number(place(fromMs))).toFixed(2)}%"></i>`
  const levels = Object.values(LANES).flatMap(({ name, look }) => {
    const mine = lines.filter((line) => laneOf(line).name === name)
    if (mine.length === 0) return []
    const until = Math.max(...mine.map((line) => line.until.getTime()))
    const dots = mine.map(
      ({ at, did }) =>
        html`<i class="dot ${look}" style="left:${place(at.getTime())}%" title="${secondOf(at, incident.begin)} ${did}"></i>`,
    )
    return [
      html`<div class="lane"><span>${name}</span><span class="track">${bar(mine[0]!.at.getTime(), until, look)}${dots}</span></div>\n`,
    ]
  })
  const middle = new Date((beginMs + lastMs) / 2)
  return html`<div class="lanes" aria-hidden="true">
<div class="lane"><span>Gateway</span><span class="track">${bar(beginMs, endMs, 'down')}</span></div>
${levels}<div class="lane"><span></span><span class="axis"><span style="left:0">${secondOf(incident.begin, incident.begin)}</span><span style="left:50%">${secondOf(middle, incident.begin)}</span><span style="left:100%">${secondOf(new Date(lastMs), incident.begin)}</span></span></div>
</div>`
}
