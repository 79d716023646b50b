/** The weekly digest. A week ends on Monday at 9:00, local time. */
import { type Alert, blank } from '../alerts/alert.ts'
import { configuredChannels, noChannel } from '../alerts/channels.ts'
import type { Ledger } from '../alerts/ledger.ts'
import { minuteOf, seenAndFelt } from '../incidents/words.ts'
import type { Journal } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

const HOUR = 9

/** None when it was sent already, and, with a warning, without a channel. */
export async function digestDue(settings: Settings, journal: Journal, ledger: Ledger, now: Date): Promise<Alert[]> {
  const end = endOfLastWeek(now)
  // A time that lies ahead is from a wrong clock.
  const sent = Date.parse(ledger.digestUntil)
  if (sent >= end.getTime() && sent <= now.getTime()) return []
  ledger.digestUntil = end.toISOString()
  if (configuredChannels(settings).some(({ file }) => !file)) return [await composeDigest(settings, end, now)]
  journal.warn(`WEEKLY_DIGEST is on, but ${noChannel(settings)}`)
  return []
}

export function endOfLastWeek(now: Date): Date {
  const daysSinceMonday = (now.getDay() + 6) % 7
  const end = new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysSinceMonday, HOUR)
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
    ...blank('digest', `OpenClaw on ${host}: the week to ${minuteOf(until)}`, now),
    lead: `${incidents.length || 'No'} failure${incidents.length > 1 ? 's' : ''}, uptime ${figures.Uptime}.`,
    whys: [
      ...Object.entries(figures).map(([metric, value]) => `${metric}: ${value}`),
      ...(causes.length > 0 ? [`Causes: ${causes.slice(0, 5).join(', ')}`] : []),
    ],
    todo: ['nothing; `npm run report` shows every incident step by step'],
  }
}
