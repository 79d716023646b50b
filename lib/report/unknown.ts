/** What a report cannot know, and why: a sentence each. */
import type { History } from '../incidents/history.ts'
import { minuteOf, spell } from '../incidents/words.ts'

const MAX_GAPS = 20

export function unknownsOf(history: History): string[] {
  return [
    ...gaps(history),
    ...history.notes,
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

function unfinishedRuns({ runs }: History): string[] {
  return Object.entries(runs)
    .filter(([, { unfinished }]) => unfinished > 0)
    .map(
      ([tier, { unfinished }]) =>
        `${unfinished} run${unfinished === 1 ? '' : 's'} of ${tier} left no last line: killed, or cut off by a power cut`,
    )
}
