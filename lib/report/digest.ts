/** The weekly digest: the figures of a week as a message for the channels. A week ends on Monday at 9:00, local time. */
import type { Alert } from '../alerts/alert.ts'
import { configuredChannels, noChannel } from '../alerts/channels.ts'
import { minuteOf, seenAndFelt } from '../incidents/words.ts'
import type { Journal } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

const MONDAY = 1
const HOUR = 9

/**
 * The digest of the week that ended last, and that week's end; undefined when it was sent already. Without a channel there
 * is none, and the log says so.
 */
export async function digestDue(settings: Settings, journal: Journal, sentUntil: string, now: Date) {
  const end = endOfLastWeek(now)
  if (isDigestSent(sentUntil, end, now)) return undefined
  const hasChannel = configuredChannels(settings).length > 0
  if (!hasChannel) journal.warn(`WEEKLY_DIGEST is on, but ${noChannel(settings)}`)
  return { until: end.toISOString(), digest: hasChannel ? [await composeDigest(settings, end, now)] : [] }
}

/** The last Monday, 9:00, that has passed. */
export function endOfLastWeek(now: Date): Date {
  const daysSince = (now.getDay() - MONDAY + 7) % 7
  const end = new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysSince, HOUR)
  return end <= now ? end : beginOfWeek(end)
}

/** Seven calendar days before: 167 or 169 hours when the clocks were changed. */
function beginOfWeek(end: Date): Date {
  return new Date(end.getFullYear(), end.getMonth(), end.getDate() - 7, HOUR)
}

/**
 * Whether the digest of the week that ended at `end` was sent already.
 * @param sentUntil ISO time of the last digest; one that lies ahead was written by a clock that was wrong
 */
function isDigestSent(sentUntil: string, end: Date, now: Date): boolean {
  const sent = Date.parse(sentUntil)
  return sent >= end.getTime() && sent <= now.getTime()
}

/** @param until the end of the week, see `endOfLastWeek` */
export async function composeDigest(settings: Settings, until: Date, now: Date): Promise<Alert> {
  const { causesOf, figuresOf, readReport } = await import('./report.ts')
  const report = await readReport(settings, { from: beginOfWeek(until), to: until }, now)
  const figures = figuresOf(report)
  const failures = report.incidents.length
  const causes = causesOf(report.incidents).map(
    (cause) => `${cause.verdict} (${cause.incidents}×, ${seenAndFelt(cause)})`,
  )
  return {
    kind: 'digest',
    writtenAt: now.toISOString(),
    host: report.host,
    title: `OpenClaw on ${report.host}: the week to ${minuteOf(until)}`,
    lead: `${failures || 'No'} failure${failures > 1 ? 's' : ''}, uptime ${Object.fromEntries(figures).Uptime}.`,
    whys: [
      ...figures.map(([metric, value]) => `${metric}: ${value}`),
      ...(causes.length > 0 ? [`Causes: ${causes.slice(0, 5).join(', ')}`] : []),
    ],
    tried: [],
    todo: ['nothing; `npm run report` shows every incident step by step'],
  }
}
