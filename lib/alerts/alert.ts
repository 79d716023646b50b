/** An alert before a channel gives it its form: redacted, bounded in size. */
import { secondOf } from '../incidents/words.ts'
import { oneLine } from '../tier/contract.ts'

export type Scope = 'gateway' | 'watchers' | 'disk'

const SIGNS = {
  ...{ failure: '🚨', update: '🚨', reminder: '⏰', flapping: '🚨', several: '🚨' },
  ...{ resolved: '✅', notice: 'ℹ️', test: '🔔', digest: '📊' },
}

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
export const signOf = ({ kind }: Alert) => SIGNS[kind] ?? SIGNS.failure

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
