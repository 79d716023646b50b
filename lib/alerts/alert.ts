/** An alert, and its text: lines in which everything from outside stands in backticks. */
import { secondOf, spell } from '../incidents/words.ts'
import { oneLine } from '../tier/contract.ts'
import { codeBlock, codeSpan, cut, partsThatFit, safeLine } from './safe-text.ts'

export type Scope = 'gateway' | 'watchers' | 'disk'

const SIGNS = {
  ...{ failure: '🚨', update: '🚨', reminder: '⏰', flapping: '🚨', several: '🚨' },
  ...{ resolved: '✅', notice: 'ℹ️', test: '🔔', digest: '📊' },
}

/** `update`: another reason in a known incident. `several`: alerts that had to wait. Times are ISO. */
export const ALERT = {
  ...{ kind: 'failure' as keyof typeof SIGNS, writtenAt: '', host: '', title: '', lead: '' },
  ...{ whys: [''], tried: [{ who: '', what: '' }], todo: [''] },
}
export const DETAILS = {
  ...{ scope: '' as Scope, downSince: '', lastHealthy: '', verdict: '', evidence: '', finding: '' },
  log: { path: '', lines: [''] },
}
/** Redacted, and bounded in size. */
export type Alert = typeof ALERT & { [Name in keyof typeof DETAILS]?: (typeof DETAILS)[Name] | undefined }

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
  const title = `${alerts.length} messages about OpenClaw on ${last.host}; ${main === last ? 'the last' : 'above all'}: ${main.title}`
  const whys = alerts.slice(-30).map((one) => {
    const words = [one.lead, ...one.whys].filter(Boolean).join(' / ')
    return oneLine(`${clockTime(one.writtenAt, now)} ${signOf(one)} ${one.title}${words && `: ${words}`}`, 600)
  })
  const kind = open ? 'several' : resolved ? 'resolved' : 'notice'
  return { ...main, kind, writtenAt: first.writtenAt, title: oneLine(title), lead: '', whys }
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
  /** What a human does when the service refuses everything. */
  todo: string
}

export function headline(alert: Alert, max: number): string {
  return cut(`${signOf(alert)} ${safeLine(alert.title)}`, max)
}

export function reasonsOf(alert: Alert, { now, mayBeRepetition }: Circumstances, whys = alert.whys): string[] {
  const lateSec = (now.getTime() - Date.parse(alert.writtenAt)) / 1000
  const note = [
    lateSec > 600 ? `From ${clockTime(alert.writtenAt, now)}: it could not be sent for ${spell(lateSec)}.` : '',
    mayBeRepetition ? 'Perhaps a repetition: it is not known whether the first try arrived.' : '',
  ]
  const max = whys.length > 3 ? 250 : whys.length > 1 ? 400 : 700
  const own = [note.filter(Boolean).join(' '), alert.lead].filter(Boolean).map((text) => safeLine(text))
  return [...own, ...whys.map((why) => codeSpan(why, max))]
}

export function factsOf({ downSince, lastHealthy, verdict }: Alert, now: Date): string {
  const healthy = lastHealthy ? `, last healthy ${clockTime(lastHealthy, now)}` : ''
  const down = downSince ? `Down since ${clockTime(downSince, now)}${healthy}` : ''
  return safeLine([verdict, down].filter(Boolean).join(' · '))
}

export function detailsOf(alert: Alert, { now }: Circumstances): string[] {
  const { evidence, todo, tried, finding, log } = alert
  return [
    [factsOf(alert, now), evidence && codeSpan(evidence, 300)].filter(Boolean).join(' · '),
    ...todo.map((step) => `➜ ${safeLine(step)}`),
    ...tried.map(({ who, what }) => `• ${safeLine(who, 80)}: ${codeSpan(what, 200)}`),
    finding ? `The doctor found: ${codeSpan(finding, 700)}` : '',
    log ? `Log: ${codeSpan(log.path, 200)}` : '',
  ].filter(Boolean)
}

/** In at most `max` characters; the log's end gets at least a quarter. */
export function bodyOf(alert: Alert, circumstances: Circumstances, max: number): string {
  const parts = [...reasonsOf(alert, circumstances), ...detailsOf(alert, circumstances)]
  const text = partsThatFit(parts, alert.log ? Math.ceil(max * 0.75) : max)
  const tail = codeBlock(alert.log?.lines ?? [], max - text.length - 1)
  return [text, tail].filter(Boolean).join('\n')
}
