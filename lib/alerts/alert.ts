/** An alert, what of it stands in a message, and in which order; a channel says how it writes text, and how much fits. */
import { secondOf, spell } from '../incidents/words.ts'
import { oneLine } from '../tier/contract.ts'
import { cleanLine, cut, defuse, lastLines, partsThatFit } from './safe-text.ts'

export type Scope = 'gateway' | 'watchers' | 'disk'

const SIGNS = {
  ...{ failure: '🚨', update: '🚨', reminder: '⏰', flapping: '🚨', several: '🚨' },
  ...{ resolved: '✅', notice: 'ℹ️', test: '🔔', digest: '📊' },
}

/** Redacted, and bounded in size. */
export interface Alert {
  /** `update`: another reason in a known incident. `several`: alerts that had to wait. */
  kind: keyof typeof SIGNS
  scope?: Scope
  writtenAt: string
  downSince?: string
  lastHealthy?: string
  host: string
  title: string
  lead: string
  whys: string[]
  verdict?: string
  evidence?: string
  tried: { who: string; what: string }[]
  finding?: string
  todo: string[]
  log?: { path: string; lines: string[] }
}

export const isUrgent = ({ kind }: Alert) => ['🚨', '⏰'].includes(SIGNS[kind])
const signOf = ({ kind }: Alert) => SIGNS[kind] ?? SIGNS.failure

/** `02:14:08`, with the date when it is not today's: the clock of the machine that is in trouble. */
export function clockTime(at: Date | string, now: Date): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? '(unknown time)' : secondOf(date, now)
}

/** Alerts that had to wait, oldest first, as one message: the newest open trouble in full, the others a line each. */
export function mergeAlerts(alerts: readonly Alert[], now: Date): Alert {
  const [first, last] = [alerts[0]!, alerts.at(-1)!]
  if (alerts.length === 1) return first
  const isOver = ({ scope }: Alert, i: number) =>
    alerts.slice(i + 1).some((later) => later.kind === 'resolved' && later.scope === scope)
  const open = alerts.findLast((one, i) => isUrgent(one) && !isOver(one, i))
  const resolved = alerts.findLast(({ kind }) => kind === 'resolved')
  const main = open ?? resolved ?? last
  const entries = alerts.slice(-30).map((one) => {
    const words = [one.lead, ...one.whys].filter(Boolean).join(' / ')
    return oneLine(`${clockTime(one.writtenAt, now)} ${signOf(one)} ${one.title}${words && `: ${words}`}`, 600)
  })
  const title = `${alerts.length} messages about OpenClaw on ${last.host}; ${main === last ? 'the last' : 'above all'}: ${main.title}`
  const hidden = alerts.length - entries.length
  return {
    ...main,
    kind: open ? 'several' : resolved ? 'resolved' : 'notice',
    writtenAt: first.writtenAt,
    title: oneLine(title, 300),
    lead: hidden > 0 ? `The ${hidden} oldest are left out here.` : '',
    whys: entries,
  }
}

export interface Circumstances {
  now: Date
  id: string
  mayBeRepetition: boolean
}

export interface Channel {
  name: string
  /** Identifies the channel; secret. */
  address: string
  url: string
  headers?: Record<string, string>
  payload(alert: Alert, circumstances: Circumstances): object
  /** Plain words, for when the payload is refused. */
  bare?(text: string): object
  goneWords?: RegExp
  todo(body: string): string
}

/** How a channel writes our own words, and text from outside in at most `max` units. */
export interface Style {
  own: (text: string) => string
  quote: (text: string, max: number) => string
  bold: (text: string) => string
}

export function headline(alert: Alert, max: number): string {
  return cut(`${signOf(alert)} ${defuse(cleanLine(alert.title))}`, max)
}

export function reasonsOf(alert: Alert, circumstances: Circumstances, style: Style, whys = alert.whys): string[] {
  const { now, mayBeRepetition } = circumstances
  const lateSec = (now.getTime() - Date.parse(alert.writtenAt)) / 1000
  const note = [
    lateSec > 600 ? `From ${clockTime(alert.writtenAt, now)}: it could not be sent for ${spell(lateSec)}.` : '',
    mayBeRepetition ? 'Perhaps a repetition: it is not known whether the first try arrived.' : '',
  ]
  const max = whys.length > 3 ? 250 : whys.length > 1 ? 400 : 700
  const own = [note.filter(Boolean).join(' '), alert.lead].filter(Boolean).map(style.own)
  return [...own, ...whys.map((why) => style.quote(why, max))]
}

export function factsOf({ downSince, lastHealthy, verdict }: Alert, now: Date): string[] {
  const healthy = lastHealthy ? `, last healthy ${clockTime(lastHealthy, now)}` : ''
  return [verdict ?? '', downSince ? `Down since ${clockTime(downSince, now)}${healthy}` : ''].filter(Boolean)
}

export function detailsOf(alert: Alert, { now }: Circumstances, { own, quote, bold }: Style): string[] {
  const facts = factsOf(alert, now).map((fact) => bold(own(fact)))
  return [
    [...facts, ...(alert.evidence ? [quote(alert.evidence, 300)] : [])].join(' · '),
    ...alert.todo.map((step) => `➜ ${own(step)}`),
    ...alert.tried.map(({ who, what }) => `• ${own(cut(who, 80))}: ${quote(what, 200)}`),
    alert.finding ? `The doctor found: ${quote(alert.finding, 700)}` : '',
    alert.log ? `Log: ${quote(alert.log.path, 200)}` : '',
  ].filter(Boolean)
}

const line = (text: string, max: number) => cut(defuse(cleanLine(text)), max)
const PLAIN: Style = { own: (text) => line(text, 300), quote: line, bold: (text) => text }

/** In at most `max` units; the log's end gets at least a quarter. */
export function plainBody(alert: Alert, circumstances: Circumstances, max: number): string {
  const parts = [...reasonsOf(alert, circumstances, PLAIN), ...detailsOf(alert, circumstances, PLAIN)]
  const text = partsThatFit(parts, alert.log ? Math.ceil(max * 0.75) : max)
  const tail = alert.log ? lastLines(alert.log.lines, max - text.length - 2, defuse) : []
  return tail.length > 0 ? `${text}\n\n${tail.join('\n')}` : text
}
