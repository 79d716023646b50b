/** The weekly digest: the figures of a report as a message for the channels. */
import type { Alert } from '../alerts/alert.ts'
import { minuteOf, seenAndFelt } from '../incidents/words.ts'
import type { Settings } from '../tier/settings.ts'
import { beginOfWeek } from './digest-week.ts'
import { causesOf, figuresOf } from './figures.ts'
import { readReport } from './report.ts'

/** @param until the end of the week, see `endOfLastWeek` */
export async function composeDigest(settings: Settings, until: Date, now: Date): Promise<Alert> {
  const { host, history } = await readReport(settings, { from: beginOfWeek(until), to: until }, now)
  const rows = figuresOf(history)
  const failures = history.incidents.length
  const uptime = rows.find(({ metric }) => metric === 'Uptime')?.value ?? ''
  const causes = causesOf(history.incidents).map(
    (cause) => `${cause.verdict} (${cause.incidents}×, ${seenAndFelt(cause)})`,
  )
  return {
    kind: 'digest',
    writtenAt: now.toISOString(),
    host,
    title: `OpenClaw on ${host}: the week to ${minuteOf(until)}`,
    lead: `${failures === 0 ? 'No failure' : `${failures} failure${failures === 1 ? '' : 's'}`}, uptime ${uptime}.`,
    whys: [
      ...rows.map(({ metric, value }) => `${metric}: ${value}`),
      ...(causes.length > 0 ? [`Causes: ${causes.slice(0, 5).join(', ')}`] : []),
    ],
    tried: [],
    todo: ['nothing; `npm run report` tells every incident step by step'],
  }
}
