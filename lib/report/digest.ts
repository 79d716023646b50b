/** The weekly digest. A week ends on Monday at 9:00, local time. */
import type { Alert } from '../alerts/alert.ts'
import { configuredChannels, noChannel } from '../alerts/channels.ts'
import { minuteOf, seenAndFelt } from '../incidents/words.ts'
import type { Journal } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

const MONDAY = 1
const HOUR = 9

/** Undefined when it was sent already; empty, with a warning, without a channel. */
export async function digestDue(settings: Settings, journal: Journal, sentUntil: string, now: Date) {
  const end = endOfLastWeek(now)
  // A time that lies ahead is from a wrong clock.
  const sent = Date.parse(sentUntil)
  if (sent >= end.getTime() && sent <= now.getTime()) return undefined
  const hasChannel = configuredChannels(settings).length > 0
  if (!hasChannel) journal.warn(`WEEKLY_DIGEST is on, but ${noChannel(settings)}`)
  return { until: end.toISOString(), digest: hasChannel ? [await composeDigest(settings, end, now)] : [] }
}

export function endOfLastWeek(now: Date): Date {
  const daysSince = (now.getDay() - MONDAY + 7) % 7
  const end = new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysSince, HOUR)
  return end <= now ? end : beginOfWeek(end)
}

/** 167 or 169 hours when the clocks were changed. */
const beginOfWeek = (end: Date): Date => new Date(end.getFullYear(), end.getMonth(), end.getDate() - 7, HOUR)

async function composeDigest(settings: Settings, until: Date, now: Date): Promise<Alert> {
  const { causesOf, figuresOf, readReport } = await import('./report.ts')
  const report = await readReport(settings, { from: beginOfWeek(until), to: until }, now)
  const { host, incidents } = report
  const figures = figuresOf(report)
  const causes = causesOf(incidents).map((one) => `${one.verdict} (${one.incidents}×, ${seenAndFelt(one)})`)
  return {
    kind: 'digest',
    writtenAt: now.toISOString(),
    host,
    title: `OpenClaw on ${host}: the week to ${minuteOf(until)}`,
    lead: `${incidents.length || 'No'} failure${incidents.length > 1 ? 's' : ''}, uptime ${figures.Uptime}.`,
    whys: [
      ...Object.entries(figures).map(([metric, value]) => `${metric}: ${value}`),
      ...(causes.length > 0 ? [`Causes: ${causes.slice(0, 5).join(', ')}`] : []),
    ],
    tried: [],
    todo: ['nothing; `npm run report` shows every incident step by step'],
  }
}
