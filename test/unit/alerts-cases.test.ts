/** What is told of what happened, over hours and days that no process test can wait for. */
import { expect, test } from 'vitest'
import { type Happening, type News, whatIsNew } from '../../lib/alerts/news.ts'

type Run = Happening[] | number
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
function newsOf(runs: Run[]): string[][] {
  let book: Parameters<typeof whatIsNew>[0] = { cases: [], histories: [] }
  return runs.map((run) => {
    const happenings = typeof run === 'number' ? [] : run
    const result = whatIsNew(book, happenings, happenings.at(-1)?.at ?? at(run as number), 1800)
    book = JSON.parse(JSON.stringify(result.book))
    return result.news.map(inWords)
  })
}

const inWords = (one: News) => ('calls' in one ? `${one.kind} ${one.calls.map(({ why }) => why)}`.trim() : one.kind)

const WEEK = 7 * 24 * 60
const FIVE_YEARS = 5 * 365 * 24 * 60
const twice = ['failure x', 'resolved']
const healed = Array<string[]>(3).fill(['notice'])

test.each<[what: string, runs: Run[], news: string[][]]>([
  ['the same failure is told once', [[call(0)], [call(5), call(10)], 12, [call(15)]], [['failure x'], [], [], []]],
  ['also with other numbers', [[call(0, 'pid 4711')], [call(5, 'pid 9')]], [['failure pid 4711'], []]],
  ['two reasons, one message', [[call(0, 'a'), call(1, 'b')], [call(9, 'c')]], [['failure a,b'], ['update c']]],
  ['told again after its end', [[call(0)], [healthy(5)], [call(20)]], [['failure x'], ['resolved'], ['failure x']]],
  ['a sighting from before the call ends nothing', [[call(3)], [healthy(1), down(7)]], [['failure x'], []]],
  ['a well guardian is no well gateway', [[call(0)], [watchers(healthy(1))]], [['failure x'], []]],
  ['a well gateway is no well guardian', [[watchers(call(0))], [healthy(1)]], [['failure x'], []]],
  ['no reminder while no tier looks', [[call(0)], 70, [down(75)]], [['failure x'], [], ['reminder']]],
  ['forgotten after a week', [[call(0)], WEEK + 1, [call(WEEK + 2)]], [['failure x'], [], ['failure x']]],
  [
    'four failures in two hours are flapping, once, until it was steady for two hours',
    [...[0, 20, 40, 60, 80].map(fails), 150, 200, 201],
    [twice, twice, twice, ['flapping x'], [], [], ['steady'], []],
  ],
  ['so are recoveries without a call', [0, 10, 20, 30, 40].map(heals), [...healed, ['flapping'], []]],
  ['four in four days are not', [0, 1440, 2880, 4320].map(heals), [...healed, ['notice']]],
  [
    'while flapping each reason is told once',
    [...[0, 10, 20, 30].map(heals), [call(35, 'a')], [call(37, 'b')], heals(40), [call(45, 'a')], [call(46, 'c')]],
    [...healed, ['flapping'], ['failure a'], ['update b'], [], [], ['update c']],
  ],
  [
    'while flapping what stays down is reminded of',
    [...[0, 10, 20].map(fails), [call(30)], [down(91)]],
    [twice, twice, twice, ['flapping x'], ['reminder']],
  ],
  [
    'a clock that was five years ahead mutes nothing',
    [[call(FIVE_YEARS)], 0, [healthy(5)], [call(10)], [down(75)]],
    [['failure x'], [], ['resolved'], ['failure x'], ['reminder']],
  ],
  [
    'nor does its flapping',
    [...[0, 10, 20, 30].map((minute) => fails(FIVE_YEARS + minute)), 0, 60, 121],
    [twice, twice, twice, ['flapping x'], [], [], ['steady']],
  ],
])('%s', (_what, runs, news) => {
  expect(newsOf(runs)).toEqual(news)
})

test('while it lasts the human is reminded after 1 h, after 6 h, and then daily, and hears nothing else of the watchers', () => {
  const minutes = Array.from({ length: 12 * 60 }, (_, i) => i * 5)
  const notice = (minute: number): Happening => watchers({ ...gateway(minute), kind: 'notice', what: 'revived' })
  const hours = (first: Happening, next: (minute: number) => Happening) =>
    newsOf(minutes.map((minute) => [minute === 0 ? first : next(minute)]))
      .flatMap((one, i) => one.map((word) => `${minutes[i]! / 60} h ${word}`))
      .slice(1)
  const reminders = [1, 6, 24, 48].map((hour) => `${hour} h reminder`)
  expect(hours(call(0), down)).toEqual(reminders)
  expect(hours(watchers(call(0)), notice)).toEqual(reminders)
})
