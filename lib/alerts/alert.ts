/** An alert, and its text: lines in which everything from outside stands in backticks. */
import { secondOf, spell } from '../incidents/words.ts'
import { cleanText, oneLine } from '../tier/contract.ts'
import { DEFAULT_PROFILE, hostOf } from '../tier/profile.ts'
import type { Answer, Limits } from './post.ts'

export type Scope = 'gateway' | 'watchers' | 'disk'

const SIGNS = {
  ...{ failure: '🚨', update: '🚨', reminder: '⏰', flapping: '🚨', several: '🚨' },
  ...{ resolved: '✅', notice: 'ℹ️', recurred: 'ℹ️', test: '🔔', digest: '📊' },
}

/** `update`: another reason in a known incident. `several`: alerts that had to wait. `recurred`: healed, not for the first
 * time; for GitHub alone. Times are ISO. */
export const ALERT = {
  ...{ kind: 'failure' as keyof typeof SIGNS, writtenAt: '', host: '', title: '', lead: '' },
  ...{ whys: [''], tried: [{ who: '', what: '' }], todo: [''] },
}
export const DETAILS = {
  ...{ scope: '' as Scope, downSince: '', lastHealthy: '', verdict: '', evidence: '', finding: '' },
  log: { path: '', lines: [''] },
  /** What a repository's readers may know of it: without the gateway's words, names and paths. See github.ts. */
  issue: { place: '', key: '', entry: '', title: '', text: '' },
}
export type Alert = typeof ALERT & { [Name in keyof typeof DETAILS]?: (typeof DETAILS)[Name] | undefined }

export function blank(kind: Alert['kind'], title: string, now: Date): Alert {
  const host = hostOf(DEFAULT_PROFILE)
  return { kind, writtenAt: now.toISOString(), host, title, lead: '', whys: [], tried: [], todo: [] }
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
  const title = `${alerts.length} messages about OpenClaw on ${last.host}; ${main === last ? 'the last' : 'above all'}: ${main.title}`
  const whys = alerts.slice(-30).map((one) => {
    const words = [one.evidence, one.lead, ...one.whys].filter(Boolean).join(' / ')
    return oneLine(`${clockTime(one.writtenAt, now)} ${signOf(one)} ${one.title}${words && `: ${words}`}`, 600)
  })
  const kind = open ? 'several' : resolved ? 'resolved' : 'notice'
  return { ...main, kind, writtenAt: first.writtenAt, title: oneLine(title), lead: '', whys }
}

export type Circumstances = { now: Date; id: string; mayBeRepetition: boolean }

export interface Channel {
  name: string
  url: string
  /** What else identifies the channel. */
  account?: string
  headers?: Record<string, string>
  payload(alert: Alert, circumstances: Circumstances): object
  bare?(text: string): object
  /** Instead of `payload`, each alert by itself; and instead of a test. */
  file?(alert: Alert, limits: Limits): Promise<Answer>
  check?(limits: Limits): Promise<{ isTaken: boolean; said: string }>
  /** What a human does when the service refuses everything. */
  todo: string
}

export function headline(alert: Alert, max: number): string {
  return cut(`${signOf(alert)} ${safeLine(alert.title)}`, max)
}

/** The cause first, in the gateway's own words. */
export function reasonsOf(alert: Alert, { now, mayBeRepetition }: Circumstances, whys = alert.whys): string[] {
  const lateSec = (now.getTime() - Date.parse(alert.writtenAt)) / 1000
  const late = `From ${clockTime(alert.writtenAt, now)}: it could not be sent for ${spell(lateSec)}. `
  const repeated = 'Perhaps a repetition: it is not known whether the first try arrived.'
  const note = `${lateSec > 600 ? late : ''}${mayBeRepetition ? repeated : ''}`
  const max = Math.max(120, Math.min(600, Math.floor(1200 / whys.length)))
  const cause = alert.evidence ? [codeSpan(alert.evidence, 500)] : []
  const own = [note, alert.lead].filter(Boolean).map((text) => safeLine(text))
  return [...cause, ...own, ...whys.map((why) => codeSpan(why, max))]
}

export function factsOf({ downSince, lastHealthy, verdict }: Alert, now: Date): string {
  const healthy = lastHealthy ? `, last healthy ${clockTime(lastHealthy, now)}` : ''
  const down = downSince ? `Down since ${clockTime(downSince, now)}${healthy}` : ''
  return safeLine([verdict, down].filter(Boolean).join(' · '))
}

export function detailsOf(alert: Alert, { now }: Circumstances): string[] {
  const { todo, tried, finding, log } = alert
  return [
    factsOf(alert, now),
    ...tried.map(({ who, what }) => `• ${safeLine(who, 80)}: ${codeSpan(what, 200)}`),
    ...todo.map((step) => `➜ ${safeLine(step)}`),
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

export function cut(text: string, max: number): string {
  if (text.length <= max) return text
  return max < 1 ? '' : `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`
}

export const escapeHtml = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** One line of whole characters. What chat services resolve (`@everyone`, `<@id>`, `</command:id>`, `<t:0>`) is broken invisibly. */
export function safeLine(text: string, max = 300): string {
  const whole = cleanText(text.replace(/[\ud800-\udfff]/gu, '\ufffd'))
  const defused = oneLine(whole, Number.POSITIVE_INFINITY)
    .replace(/@(?=everyone|here|channel|all\b)/gi, '@\u200b')
    .replace(/<(?=[@#!:/]|[a-z]{1,3}:)/gi, '<\u200b')
  return cut(defused, max)
}

/** The backtick alone means something inside Markdown code. */
const inCode = (line: string): string => line.replaceAll('`', 'ˋ')

export function codeSpan(text: string, max: number): string {
  return `\`${inCode(safeLine(text, max - 2)) || '-'}\``
}

/** The last lines that fit into `max` characters. */
export function codeBlock(lines: readonly string[], max: number, escapeText = (text: string) => text): string {
  let left = max - '```\n```'.length
  const kept: string[] = []
  for (const line of lines.toReversed()) {
    const text = escapeText(inCode(safeLine(line)))
    left -= text.length + 1
    if (left < 0) break
    kept.unshift(text)
  }
  return kept.length === 0 ? '' : `\`\`\`\n${kept.join('\n')}\n\`\`\``
}

export function partsThatFit(parts: readonly string[], max: number): string {
  let n = parts.length
  while (n > 0 && parts.slice(0, n).join('\n').length > max) n--
  return parts.slice(0, n).join('\n')
}
