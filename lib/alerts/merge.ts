/** Several alerts that had to wait, as one message: nobody wants to read six of them after a night without network. */
import { oneLine } from '../tier/contract.ts'
import { type Alert, isUrgent, signOf } from './alert.ts'
import { clockTime } from './time-words.ts'

/** More than these are only counted. */
const MAX_ENTRIES = 30
/** What was merged already may be merged again, and again: uncut it would grow without end. */
const MAX_ENTRY_CHARS = 600
const MAX_TITLE_CHARS = 300

/** @param alerts oldest first; one comes back as it is */
export function mergeAlerts(alerts: readonly Alert[], now: Date): Alert {
  const [first, last] = [alerts[0]!, alerts.at(-1)!]
  if (alerts.length === 1) return first
  // The newest trouble is told in full, unless it is over: then that, or whatever came last.
  const open = alerts.findLast((one, i) => isUrgent(one) && !alerts.slice(i + 1).some((later) => ends(later, one)))
  const resolved = alerts.findLast(({ kind }) => kind === 'resolved')
  const told = open ?? resolved ?? last
  const entries = alerts.map((one) => {
    const words = [one.lead, ...one.whys].filter(Boolean).join(' / ')
    const entry = `${clockTime(new Date(one.writtenAt), now)} ${signOf(one)} ${one.title}${words ? `: ${words}` : ''}`
    return oneLine(entry, MAX_ENTRY_CHARS)
  })
  const shown = entries.slice(-MAX_ENTRIES)
  const hidden = entries.length - shown.length
  const title = `${alerts.length} messages about OpenClaw on ${last.host}; ${told === last ? 'the last' : 'above all'}: ${told.title}`
  return {
    ...told,
    kind: open ? 'several' : resolved ? 'resolved' : 'notice',
    writtenAt: first.writtenAt,
    title: oneLine(title, MAX_TITLE_CHARS),
    lead: hidden > 0 ? `The ${hidden} oldest are left out here.` : '',
    whys: shown,
  }
}

/** The end of one failure says nothing of another. */
function ends(later: Alert, one: Alert): boolean {
  return later.kind === 'resolved' && later.scope === one.scope
}
