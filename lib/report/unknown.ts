/** What a report cannot know, and why: a sentence each. */
import type { History } from '../incidents/history.ts'
import type { Damage } from '../incidents/log-lines.ts'
import { minuteOf, spell } from './words.ts'

const MAX_GAPS = 20

export function unknownsOf(history: History): string[] {
  return [
    ...gaps(history),
    ...history.notes,
    ...history.damage.flatMap(damageInWords),
    ...unfinishedRuns(history),
    ...history.incidents
      .filter(({ isBeginSeen }) => !isBeginSeen)
      .map(({ begin }) => `the begin of the incident of ${minuteOf(begin)} is in no log; it is reckoned from its end`),
    'the watchers look every 3 to 5 minutes: an outage that began and ended between two looks is in no log',
  ]
}

function gaps({ stretches }: History): string[] {
  const unknown = stretches.filter(({ condition }) => condition === 'unknown')
  const told = unknown.slice(0, MAX_GAPS).map(({ from, to, standDowns, failedStarts }) => {
    const seconds = (to.getTime() - from.getTime()) / 1000
    const why =
      failedStarts > 0
        ? `the watchers could not be started (${failedStarts} times), see beside the incidents`
        : standDowns > 0
          ? 'the watchers ran, but stood down: paused, or another run was at work'
          : 'no watcher ran: sleep, power cut, not installed, or its logs are missing'
    return `${minuteOf(from)} to ${minuteOf(to)} (${spell(seconds)}): ${why}`
  })
  const rest = unknown.length - told.length
  return rest > 0 ? [...told, `${rest} more such gaps`] : told
}

function damageInWords(damage: Damage): string[] {
  const { path } = damage
  if (damage.unreadable !== undefined) return [`${path} cannot be read (${damage.unreadable})`]
  const lines = (n: number, what: string) => (n === 0 ? [] : [`${n} line${n === 1 ? '' : 's'} ${what}`])
  const troubles = [
    ...lines(damage.odd, 'that no tier writes (damaged, or cut off)'),
    ...lines(damage.notUtf8, 'with bytes that are no text'),
    ...lines(damage.overlong, 'longer than any of ours'),
    ...lines(damage.fromTheFuture, 'from the future (the clock was set back)'),
    ...lines(damage.outOfOrder, 'older than the one before (the clock was set back, or the log was edited)'),
    ...lines(damage.tooMany, 'passed over: there are too many'),
    ...(damage.skippedBytes > 0 ? [`the first ${Math.round(damage.skippedBytes / 1e6)} MB passed over`] : []),
  ]
  return troubles.length > 0 ? [`${path}: ${troubles.join(', ')}`] : []
}

function unfinishedRuns({ runs }: History): string[] {
  return Object.entries(runs)
    .filter(([, { unfinished }]) => unfinished > 0)
    .map(
      ([tier, { unfinished }]) =>
        `${unfinished} run${unfinished === 1 ? '' : 's'} of ${tier} left no last line: killed, or cut off by a power cut`,
    )
}
