/** The uptime strip: a row for each day, what is not known hatched. */
import type { Condition, History, Stretch } from '../incidents/history.ts'
import { spell } from '../incidents/words.ts'
import { localDay } from '../tier/contract.ts'
import { percentOf } from './figures.ts'
import { type Html, html } from './html-text.ts'

const WORDS: Record<Condition, string> = {
  up: 'up',
  down: 'down',
  stopped: 'stopped on purpose',
  unknown: 'not known',
}

export function uptimeSection({ stretches, span }: History): Html {
  const rows = daysOf(span.from, span.to).map((day) => row(day, stretches))
  const seen = (Object.keys(WORDS) as Condition[]).filter((one) => stretches.some(({ condition }) => condition === one))
  const legend = seen.map((condition) => html`<span><i class="${condition}"></i>${WORDS[condition]}</span>`)
  const hours = [0, 6, 12, 18, 24].map(
    (hour) => html`<span style="left:${((100 * hour) / 24).toFixed(2)}%">${hour === 24 ? '24 h' : hour}</span>`,
  )
  return html`<section><h2>Uptime</h2>
<div class="day" aria-hidden="true"><span></span><span class="axis">${hours}</span><span></span></div>
${rows}<div class="legend">${legend}</div></section>`
}

interface Day {
  begin: Date
  end: Date
}

/** The local days that the span touches; a day of daylight saving has 23 or 25 hours. */
function daysOf(from: Date, to: Date): Day[] {
  const days: Day[] = []
  for (let begin = new Date(from.getFullYear(), from.getMonth(), from.getDate()); begin < to; ) {
    const end = new Date(begin.getFullYear(), begin.getMonth(), begin.getDate() + 1)
    days.push({ begin, end })
    begin = end
  }
  return days
}

function row({ begin, end }: Day, all: readonly Stretch[]): Html {
  const length = end.getTime() - begin.getTime()
  const seconds: Record<Condition, number> = { up: 0, down: 0, stopped: 0, unknown: 0 }
  const parts = all.flatMap(({ from, to, condition }) => {
    const [left, right] = [Math.max(from.getTime(), begin.getTime()), Math.min(to.getTime(), end.getTime())]
    if (left >= right) return []
    seconds[condition] += (right - left) / 1000
    const share = (ms: number) => ((100 * ms) / length).toFixed(3)
    return [
      html`<i class="${condition}" style="left:${share(left - begin.getTime())}%;width:${share(right - left)}%"></i>`,
    ]
  })
  const watched = seconds.up + seconds.down
  const told = (Object.keys(WORDS) as Condition[])
    .filter((condition) => seconds[condition] > 0)
    .map((condition) => `${WORDS[condition]} ${spell(seconds[condition])}`)
  const label = `${dayName(begin)}: ${told.join(', ')}`
  return html`<div class="day"><span>${dayName(begin)}</span><span class="strip" role="img" aria-label="${label}" title="${label}">${parts}</span><span>${watched > 0 ? percentOf((100 * seconds.up) / watched) : '–'}</span></div>
`
}

const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** `Wed 18 Nov` */
function dayName(day: Date): string {
  return `${WEEKDAYS[day.getDay()]} ${Number(localDay(day).slice(8))} ${MONTHS[day.getMonth()]}`
}
