/** What is told of what happened, over hours and days that no process test can wait for. */
import { expect, test } from 'vitest'
import { type Happening, type News, whatIsNew } from '../../lib/alerts/news.ts'

const at = (minute: number) => new Date(Date.UTC(2026, 10, 22, 2, minute))
const gateway = (minute: number) => ({ scope: 'gateway', at: at(minute) }) as const
const call = (minute: number, why = 'x'): Happening => ({ ...gateway(minute), kind: 'call', why, log: '/l' })
const down = (minute: number): Happening => ({ ...gateway(minute), kind: 'goes-on' })
const healthy = (minute: number): Happening => ({ ...gateway(minute), kind: 'over' })
const recovery = { healedBy: 1, downSec: 20 } as Extract<Happening, { kind: 'over' }>['recovery']
const heals = (minute: number): Happening[] => [{ ...gateway(minute), kind: 'over', recovery }]
const fails = (minute: number) => [call(minute), healthy(minute + 5)]
const watchers = (one: Happening): Happening => ({ ...one, scope: 'watchers' })

/** Runs one after another, each at the time of its last happening or at `[minute]`; for each what was news. */
function newsOf(...runs: (Happening[] | number)[]): string[][] {
  let book: Parameters<typeof whatIsNew>[0] = { cases: [], histories: [] }
  return runs.map((run) => {
    const happenings = typeof run === 'number' ? [] : run
    const result = whatIsNew(book, happenings, happenings.at(-1)?.at ?? at(run as number), 1800)
    book = JSON.parse(JSON.stringify(result.book))
    return result.news.map(inWords)
  })
}

function inWords(news: News): string {
  if (news.kind === 'notice') return `notice: ${news.what}`
  return news.kind === 'failure' || news.kind === 'update'
    ? `${news.kind}: ${news.calls.map(({ why }) => why).join(', ')}`
    : news.kind
}

test('a failure that is called again and again is told once, whatever pids and seconds the call names', () => {
  expect(newsOf([call(0)], [call(5), call(10)], 12, [call(15)])).toEqual([['failure: x'], [], [], []])
  expect(newsOf([call(0, 'pid 4711 for 3 s')], [call(5, 'pid 9 for 300 s')])).toEqual([
    ['failure: pid 4711 for 3 s'],
    [],
  ])
})

test('two reasons of one run are one message, a later one is an update', () => {
  expect(newsOf([call(0, 'a'), call(1, 'b')], [call(9, 'c')])).toEqual([['failure: a, b'], ['update: c']])
})

test('its end is told, and the same failure after it is told again; a sighting from before the call ends nothing', () => {
  expect(newsOf([call(0)], [healthy(5)], [healthy(5), call(20)])).toEqual([
    ['failure: x'],
    ['resolved'],
    ['failure: x'],
  ])
  expect(newsOf([healthy(0), call(3)], [healthy(1), call(6)])).toEqual([['failure: x'], []])
})

test('a well guardian says nothing about the gateway, and a healthy gateway nothing about the watchers', () => {
  expect(newsOf([call(0)], [watchers(healthy(1))])).toEqual([['failure: x'], []])
  expect(newsOf([watchers(call(0))], [healthy(1)])).toEqual([['failure: x'], []])
  expect(newsOf([watchers(call(0))], [watchers(healthy(1))])).toEqual([['failure: x'], ['resolved']])
})

test('while it lasts the human is reminded after 1 h, after 6 h, and then daily', () => {
  const minutes = Array.from({ length: 12 * 60 }, (_, i) => i * 5)
  const news = newsOf(...minutes.map((minute) => [minute === 0 ? call(0) : down(minute)]))
  expect(news.flatMap((one, i) => (one.includes('reminder') ? [minutes[i]! / 60] : []))).toEqual([1, 6, 24, 48])
})

test('while the watchers are revived again and again, only reminders are told', () => {
  const minutes = Array.from({ length: 33 * 10 }, (_, i) => i * 6)
  const notice = (minute: number): Happening => ({ scope: 'watchers', at: at(minute), kind: 'notice', what: 'revived' })
  const news = newsOf(...minutes.map((minute) => [minute === 0 ? watchers(call(0)) : notice(minute), healthy(minute)]))
  expect(news.flatMap((one, i) => one.map((word) => `${minutes[i]! / 60} h ${word}`)).slice(1)).toEqual([
    '1 h reminder',
    '6 h reminder',
    '24 h reminder',
  ])
})

test('there is no reminder while no tier looks, and what was silent for a week is forgotten', () => {
  expect(newsOf([call(0)], 70, [down(75)])).toEqual([['failure: x'], [], ['reminder']])
  const week = 7 * 24 * 60
  expect(newsOf([call(0)], week + 1, [call(week + 2)])).toEqual([['failure: x'], [], ['failure: x']])
})

test('what fails four times in two hours is told as flapping, once, until it was steady for two hours', () => {
  const twice = ['failure: x', 'resolved']
  const runs = [fails(0), fails(20), fails(40), fails(60), fails(80), 150, 200, 201]
  expect(newsOf(...runs)).toEqual([twice, twice, twice, ['flapping'], [], [], ['steady'], []])
  const notice = ['notice: recovered by level 1 after 20 s']
  expect(newsOf(heals(0), heals(10), heals(20), heals(30), heals(40))).toEqual([
    notice,
    notice,
    notice,
    ['flapping'],
    [],
  ])
  expect(newsOf(heals(0), heals(1440), heals(2880), heals(4320))).toEqual([notice, notice, notice, notice])
})

test('while it is flapping a call is told once for each reason, and what stays down is reminded of', () => {
  const flapping = [...heals(0), ...heals(10), ...heals(20), ...heals(30)]
  const calls = [
    [call(35, 'a')],
    [call(36, 'a'), call(37, 'b')],
    heals(40),
    [call(45, 'a')],
    [call(46, 'c')],
    heals(50),
  ]
  expect(newsOf(flapping, ...calls).slice(1)).toEqual([['failure: a'], ['update: b'], [], [], ['update: c'], []])
  expect(newsOf(fails(0), fails(10), fails(20), [call(30)], [down(91)]).slice(-2)).toEqual([['flapping'], ['reminder']])
})

const FIVE_YEARS = 5 * 365 * 24 * 60

test('a clock that was five years ahead mutes nothing afterwards', () => {
  const runs = [[call(FIVE_YEARS)], 0, [healthy(5)], [call(10)], [down(75)]]
  expect(newsOf(...runs)).toEqual([['failure: x'], [], ['resolved'], ['failure: x'], ['reminder']])
  const hours = Array.from({ length: 26 }, (_, hour) => [down(hour * 60)])
  const news = newsOf([call(FIVE_YEARS)], [down(FIVE_YEARS + 7 * 60)], ...hours).slice(2)
  expect(news.flatMap((one, hour) => (one.includes('reminder') ? [hour] : []))).toEqual([1, 6, 24])
  const flapping = [0, 10, 20, 30].map((minute) => fails(FIVE_YEARS + minute))
  expect(newsOf(...flapping, 0, 60, 121).slice(-4)).toEqual([['flapping'], [], [], ['steady']])
})
