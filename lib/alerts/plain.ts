/** An alert as plain text: for ntfy, for other programs, and for --dry-run. */
import { type Alert, signOf } from './alert.ts'
import type { Circumstances } from './channel.ts'
import { cleanLine, cut, defuse, lastLines, partsThatFit } from './safe-text.ts'
import { clockTime, duration } from './time-words.ts'

/** What must be said of an alert that is late or may have come before; '' for one that is neither. */
export function circumstancesInWords(alert: Alert, { now, mayBeRepetition }: Circumstances): string {
  const written = new Date(alert.writtenAt)
  const lateSec = (now.getTime() - written.getTime()) / 1000
  const late = lateSec > 600 ? `From ${clockTime(written, now)}: it could not be sent for ${duration(lateSec)}.` : ''
  const repeated = mayBeRepetition ? 'Perhaps a repetition: nobody knows whether the first try arrived.' : ''
  return [late, repeated].filter(Boolean).join(' ')
}

/** Since when, what it is called, and what was seen, as far as that is known. */
export function factsOf(alert: Alert, now: Date): { downSince: string; verdict: string; evidence: string } {
  return {
    downSince: alert.downSince ? `Down since ${clockTime(new Date(alert.downSince), now)}` : '',
    verdict: alert.verdict ?? '',
    evidence: alert.evidence ?? '',
  }
}

/** The title with its sign, on one line. */
export function headline(alert: Alert, max: number): string {
  return cut(`${signOf(alert)} ${defuse(cleanLine(alert.title))}`, max)
}

/**
 * Everything below the headline in at most `max` units.
 * @param roomForLog what the log's tail gets at least, of `max`
 */
export function plainBody(alert: Alert, circumstances: Circumstances, max: number, roomForLog: number): string {
  const { downSince, verdict, evidence } = factsOf(alert, circumstances.now)
  const line = (text: string, most: number) => cut(defuse(cleanLine(text)), most)
  const parts = [
    circumstancesInWords(alert, circumstances),
    line(alert.lead, 300),
    ...alert.whys.map((why) => line(why, alert.whys.length > 3 ? 200 : 600)),
    [downSince, verdict, evidence]
      .filter(Boolean)
      .map((fact) => line(fact, 300))
      .join(' · '),
    ...alert.todo.map((step) => `➜ ${line(step, 250)}`),
    ...alert.tried.map(({ who, what }) => `• ${line(who, 80)}: ${line(what, 200)}`),
    alert.finding ? `The doctor found: ${line(alert.finding, 700)}` : '',
    alert.log ? `Log: ${line(alert.log.path, 200)}` : '',
  ].filter(Boolean)
  const text = partsThatFit(parts, alert.log ? max - roomForLog : max)
  const tail = alert.log ? lastLines(alert.log.lines, max - text.length - 2, defuse) : []
  return tail.length > 0 ? `${text}\n\n${tail.join('\n')}` : text
}
