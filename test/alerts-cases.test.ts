import { expect, test } from 'vitest'
import { type CaseBook, type News, updateCases } from '../lib/alerts/cases.ts'
import type { Sighting } from '../lib/alerts/sightings.ts'
import { ABOUT_WATCHERS, MARKER, parseMarker, type TierName } from '../lib/tier/contract.ts'

const at = (minute: number) => new Date(Date.UTC(2026, 10, 22, 2, minute))
const see = (minute: number, tier: TierName, text: string): Sighting => ({
  scope: tier === 'guardian' ? 'watchers' : 'gateway',
  tier,
  log: `/${tier}.log`,
  at: at(minute),
  marker: parseMarker(text)!,
})
const healthy = MARKER.runEnded('healthy', 0, 1)
const down = MARKER.down('hung', 'no answer')
const call = (minute: number, why = 'x') => see(minute, 'emergency-recovery', MARKER.manual(why))

/** Runs the ticks one after another, each at the time of its last sighting or `[minute]`; for each what was news. */
function newsOf(...ticks: (Sighting[] | number)[]): string[][] {
  let book: CaseBook = { cases: [], histories: [] }
  return ticks.map((tick) => {
    const sightings = typeof tick === 'number' ? [] : tick
    const now = typeof tick === 'number' ? at(tick) : tick.at(-1)!.at
    const result = updateCases(book, sightings, now, 1800)
    book = result.book
    return result.news.map(inWords)
  })
}

function inWords(news: News): string {
  if (news.kind === 'notice') return `notice: ${news.what}`
  if (news.kind !== 'failure' && news.kind !== 'update') return news.kind
  return `${news.kind}: ${news.calls.map(({ marker }) => (marker.kind === 'manual' ? marker.why : '')).join(', ')}`
}

test('a failure that is called again and again is news once', () => {
  expect(newsOf([call(0)], [call(5), call(10)], 12, [call(15)])).toEqual([['failure: x'], [], [], []])
})

test('other pids, ports and seconds do not make it another failure', () => {
  const ticks = [[call(0, 'pid 4711 has it for 3 s')], [call(5, 'pid 999 has it for 300 s')]]
  expect(newsOf(...ticks)).toEqual([['failure: pid 4711 has it for 3 s'], []])
})

test('two reasons seen in one run are one piece of news, a later one is an update', () => {
  expect(newsOf([call(0, 'a'), call(1, 'b')], [call(9, 'c')])).toEqual([['failure: a, b'], ['update: c']])
})

test('its end is news, and the same failure after it is news again', () => {
  const byHand = see(5, 'watchdog', healthy)
  expect(newsOf([call(0)], [byHand], [call(20)])).toEqual([['failure: x'], ['resolved'], ['failure: x']])
  const byLevel2 = see(5, 'healthcheck', MARKER.recovered(2, 300))
  expect(newsOf([call(0)], [byLevel2, see(5, 'healthcheck', healthy)])).toEqual([['failure: x'], ['resolved']])
})

test('a healthy observation from before the call ends nothing', () => {
  expect(newsOf([see(0, 'watchdog', healthy), call(3)], [see(1, 'watchdog', healthy), call(6)])).toEqual([
    ['failure: x'],
    [],
  ])
})

test('a well guardian says nothing about the gateway, and a healthy gateway nothing about the watchers', () => {
  const well = see(1, 'guardian', MARKER.runEnded('all watchers are well', 0, 1))
  const watchers = see(0, 'guardian', MARKER.manual('y'))
  expect(newsOf([call(0)], [well])).toEqual([['failure: x'], []])
  expect(newsOf([watchers], [see(1, 'watchdog', healthy)])).toEqual([['failure: y'], []])
  expect(newsOf([watchers], [well])).toEqual([['failure: y'], ['resolved']])
})

test('while it lasts it is brought to mind after 1 h, after 6 h, and then daily', () => {
  const minutes = Array.from({ length: 12 * 60 }, (_, i) => i * 5)
  const ticks = minutes.map((minute) => [minute === 0 ? call(0) : see(minute, 'watchdog', down)])
  const reminders = newsOf(...ticks).flatMap((news, i) => (news.includes('reminder') ? [minutes[i]! / 60] : []))
  expect(reminders).toEqual([1, 6, 24, 48])
})

test('while cron is dead and Level 1 goes on trying, the human is reminded too', () => {
  const manual = MARKER.manual(`${ABOUT_WATCHERS}guardian has written no log`)
  for (const did of ['revived monitor and guardian: put back 2 crontab lines', 'monitor not revived: no cron daemon']) {
    const goesOn = MARKER.notice(`${ABOUT_WATCHERS}${did}`)
    const minutes = Array.from({ length: 33 * 10 }, (_, i) => i * 6)
    const ticks = minutes.map((minute) => [
      { ...see(minute, 'watchdog', minute === 0 ? manual : goesOn), scope: 'watchers' as const },
      see(minute, 'watchdog', healthy),
    ])
    const news = newsOf(...ticks).flatMap((words, i) => words.map((one) => `${minutes[i]! / 60} h ${one}`))
    // That the same was tried once more is none.
    expect(news.slice(1)).toEqual(['1 h reminder', '6 h reminder', '24 h reminder'])
  }
})

test('no reminder is given while nobody looks: a sleeping machine knows nothing', () => {
  expect(newsOf([call(0)], 70, [see(75, 'watchdog', down)])).toEqual([['failure: x'], [], ['reminder']])
})

test('a failure of which nothing was heard for a week is forgotten', () => {
  expect(newsOf([call(0)], 7 * 24 * 60 + 1, [call(7 * 24 * 60 + 2)])).toEqual([['failure: x'], [], ['failure: x']])
})

test('what fails and recovers four times in two hours is told as flapping, once, until it was steady for two hours', () => {
  const fails = (minute: number) => [call(minute), see(minute + 5, 'watchdog', healthy)]
  expect(newsOf(fails(0), fails(20), fails(40), fails(60), fails(80), 150, 200, 201)).toEqual([
    ['failure: x', 'resolved'],
    ['failure: x', 'resolved'],
    ['failure: x', 'resolved'],
    ['flapping'],
    [],
    [],
    ['steady'],
    [],
  ])
})

test('crashes that Level 1 heals every time are flapping too', () => {
  const heals = (minute: number) => [see(minute, 'watchdog', MARKER.recovered(1, 20))]
  const notice = 'notice: recovered by level 1 after 20 s'
  expect(newsOf(heals(0), heals(10), heals(20), heals(30), heals(40))).toEqual([
    [notice],
    [notice],
    [notice],
    ['flapping'],
    [],
  ])
  // One a day is none.
  expect(newsOf(heals(0), heals(1440), heals(2880), heals(4320)).flat()).toEqual([notice, notice, notice, notice])
})

test('while it is flapping a call for a human is told: the first, and each for another reason; its coming and going is not', () => {
  const heals = (minute: number) => [see(minute, 'watchdog', MARKER.recovered(1, 20))]
  const ticks = [
    [...heals(0), ...heals(10), ...heals(20), ...heals(30)],
    [call(35, 'impostor')],
    [call(36, 'impostor'), call(37, 'disk full')],
    heals(40),
    [call(45, 'impostor')],
    [call(46, 'another')],
    heals(50),
    [call(55, 'yet another')],
  ]
  expect(newsOf(...ticks).slice(1)).toEqual([
    ['failure: impostor'],
    ['update: disk full'],
    [],
    [],
    ['update: another'],
    [],
    ['failure: yet another'],
  ])
})

test('what flaps and then stays down is brought to mind all the same', () => {
  const fails = (minute: number) => [call(minute), see(minute + 5, 'watchdog', healthy)]
  const ticks = [fails(0), fails(10), fails(20), [call(30)], [see(91, 'watchdog', down)]]
  expect(newsOf(...ticks).slice(-2)).toEqual([['flapping'], ['reminder']])
})

const FIVE_YEARS = 5 * 365 * 24 * 60

test('a call that was written by a clock five years ahead does not mute the next outage', () => {
  const ticks = [[call(FIVE_YEARS)], 0, [see(5, 'watchdog', healthy)], [call(10)], [see(75, 'watchdog', down)]]
  expect(newsOf(...ticks)).toEqual([['failure: x'], [], ['resolved'], ['failure: x'], ['reminder']])
})

test('when the clock is set back during an outage, the human is reminded by the new time', () => {
  const hours = Array.from({ length: 26 }, (_, hour) => [see(hour * 60, 'watchdog', down)])
  const ticks = [[call(FIVE_YEARS)], [see(FIVE_YEARS + 7 * 60, 'watchdog', down)], ...hours]
  const reminders = newsOf(...ticks).flatMap((news, i) => (i >= 2 && news.includes('reminder') ? [i - 2] : []))
  expect(reminders).toEqual([1, 6, 24])
})

test('a line of a clock that was ahead, read when it was corrected, is ended by the next healthy observation', () => {
  let book: CaseBook = { cases: [], histories: [] }
  const tick = (minute: number, sighting: Sighting) => {
    const result = updateCases(book, [sighting], at(minute), 1800)
    book = result.book
    return result.news.map(inWords)
  }
  expect(tick(0, call(FIVE_YEARS))).toEqual(['failure: x'])
  expect(tick(5, see(3, 'watchdog', healthy))).toEqual(['resolved'])
})

test('failures of a clock that was ahead are not flapping for ever', () => {
  const fails = (minute: number) => [call(minute), see(minute + 5, 'watchdog', healthy)]
  const ticks = [fails(FIVE_YEARS), fails(FIVE_YEARS + 10), fails(FIVE_YEARS + 20), fails(FIVE_YEARS + 30)]
  expect(newsOf(...ticks, 0, 60, 121).slice(-4)).toEqual([['flapping'], [], [], ['steady']])
})

test('what was noticed and needs nobody is a notice', () => {
  expect(newsOf([see(0, 'healthcheck', MARKER.notice('config rolled back: a by b'))])).toEqual([
    ['notice: config rolled back: a by b'],
  ])
})
