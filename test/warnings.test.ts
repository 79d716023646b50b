import { expect, test } from 'vitest'
import { followWarnings } from '../lib/gateway/watch-state.ts'

const MIN = 60_000

test('a warning is said when it begins and when it is over, and not in between', () => {
  const first = followWarnings([], ['not ready: telegram'], 1000)
  expect(first).toMatchObject({ begun: ['not ready: telegram'], over: [], due: [] })
  const second = followWarnings(first.standing, ['not ready: telegram'], 4 * MIN)
  expect(second).toMatchObject({ begun: [], over: [], due: [] })
  expect(followWarnings(second.standing, [], 7 * MIN)).toMatchObject({ begun: [], over: ['not ready: telegram'] })
})

test('a human is told once of what stands for ten minutes, and of what passes before that never', () => {
  const { standing } = followWarnings([], ['a', 'b'], 0)
  const later = followWarnings(standing, ['a'], 10 * MIN)
  expect(later.due).toEqual(['a'])
  expect(followWarnings(later.standing, ['a'], 30 * MIN).due).toEqual([])
})

test('another number in it does not make another warning of it', () => {
  const { standing } = followWarnings([], ['disk nearly full: 90 MB left'], 0)
  const later = followWarnings(standing, ['disk nearly full: 7 MB left'], 10 * MIN)
  expect(later).toMatchObject({ begun: [], over: [], due: ['disk nearly full: 7 MB left'] })
})

test('a clock that was set back begins the wait anew instead of prolonging it', () => {
  const { standing } = followWarnings([], ['a'], 1000 * MIN)
  const back = followWarnings(standing, ['a'], 0)
  expect(followWarnings(back.standing, ['a'], 10 * MIN).due).toEqual(['a'])
})
