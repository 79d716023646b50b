/** Several alerts that had to wait, as one message: nobody wants to read six of them after a night without network. */
import { type Alert, isUrgent, signOf } from './alert.ts'
import { clockTime } from './time-words.ts'

/** More than these are only counted. */
const MAX_ENTRIES = 30

/** @param alerts oldest first; one comes back as it is */
export function mergeAlerts(alerts: readonly Alert[], now: Date): Alert {
  const [first, last] = [alerts[0]!, alerts.at(-1)!]
  if (alerts.length === 1) return first
  // The newest trouble is told in full, unless it is over.
  const open = last.kind === 'resolved' ? undefined : alerts.findLast(isUrgent)
  const entries = alerts.map((one) => {
    const words = [one.lead, ...one.whys].filter(Boolean).join(' / ')
    return `${clockTime(new Date(one.writtenAt), now)} ${signOf(one)} ${one.title}${words ? `: ${words}` : ''}`
  })
  const shown = entries.slice(-MAX_ENTRIES)
  const hidden = entries.length - shown.length
  return {
    ...(open ?? { ...last, kind: alerts.some(({ kind }) => kind === 'resolved') ? 'resolved' : 'notice' }),
    ...(open ? { kind: 'several' as const } : {}),
    writtenAt: first.writtenAt,
    title: `${alerts.length} messages about OpenClaw on ${last.host}; the last: ${last.title}`,
    lead: hidden > 0 ? `The ${hidden} oldest are left out here.` : '',
    whys: shown,
  }
}
