/** What keeps Level 1 from doing or saying too much: backoff, signals, warnings that are said once. */
import { expect, test } from 'vitest'
import { restartSignal } from '../../lib/gateway/remedies.ts'
import {
  afterHealthyTick,
  afterRestart,
  cooldownLeftSec,
  followWarnings,
  NO_CRASHES,
} from '../../lib/gateway/watch-state.ts'

const STEPS = [10, 30, 60, 600]
const NOW = Date.parse('2026-11-22T02:00:00Z')
const HOURS = 3_600_000
const MIN = 60_000

test('restarts are 10, 30, 60, then 600 s apart; the first is done at once; a clock that was set back prolongs none', () => {
  let backoff = NO_CRASHES
  const waits = [0, 1, 2, 3, 4, 5].map(() => {
    const leftSec = cooldownLeftSec(backoff, NOW, STEPS)
    backoff = afterRestart(backoff, NOW)
    return leftSec
  })
  expect(waits).toEqual([0, 10, 30, 60, 600, 600])
  const once = afterRestart(NO_CRASHES, NOW)
  expect([4000, 10_000, -HOURS].map((laterMs) => cooldownLeftSec(once, NOW + laterMs, STEPS))).toEqual([6, 0, 0])
})

test.each([
  [3, 180_000, 2],
  [40, 6 * HOURS - 1, 39],
  [40, 6 * HOURS, 0],
])('after %i crashes and a healthy tick %i ms later, %i count', (crashes, laterMs, left) => {
  expect(afterHealthyTick({ crashes, lastRestartMs: NOW }, NOW + laterMs, 6).crashes).toBe(left)
})

test.each([
  ['2026.9.6', 'USR2'],
  ['2026.10.0', 'USR2'],
  ['2026.9.6-beta.1', 'USR2'],
  ['2026.9.5', 'USR1'],
  ['nightly', undefined],
])('version %s is restarted by %s: SIGUSR1 opens a debugger on today’s OpenClaw', (version, signal) => {
  expect(restartSignal(version)).toBe(signal)
})

test('a warning is said when it begins and when it is over; a human hears once of what stands for ten minutes', () => {
  const disk = (mb: number) => ({ kind: 'low-disk', text: `disk: ${mb} MB left` })
  const passing = { kind: 'not-ready', text: 'passing' }
  const first = followWarnings([], [disk(90), passing], 0)
  expect(first).toMatchObject({ begun: [disk(90), passing], gone: [], due: [] })
  // Other words do not make another warning.
  const second = followWarnings(first.standing, [{ kind: 'low-disk', text: 'hardly any room' }], 10 * MIN)
  expect(second).toMatchObject({ begun: [], gone: [passing], due: [{ text: 'hardly any room' }] })
  const third = followWarnings(second.standing, [disk(7)], 30 * MIN)
  expect(third).toMatchObject({ begun: [], gone: [], due: [] })
  expect(followWarnings(third.standing, [], 31 * MIN).gone).toMatchObject([disk(7)])
  // A clock that was set back begins the ten minutes again instead of prolonging them.
  const back = followWarnings(first.standing, [passing], -1000 * MIN)
  expect(followWarnings(back.standing, [passing], -990 * MIN).due).toMatchObject([passing])
})
