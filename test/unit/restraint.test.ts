/** What keeps Level 1 from doing or saying too much: backoff, thresholds, warnings that are said once. */
import { expect, test } from 'vitest'
import { restartSignal } from '../../lib/gateway/remedies.ts'
import {
  afterHealthyTick,
  afterRestart,
  cooldownLeftSec,
  followWarnings,
  memoryLevel,
  NO_CRASHES,
} from '../../lib/gateway/watch-state.ts'

const STEPS = [10, 30, 60, 600]
const NOW = Date.parse('2026-11-22T02:00:00Z')
const HOURS = 3_600_000
const MIN = 60_000

test('restarts are 10, 30, 60, then 600 s apart; the first is done at once', () => {
  expect(cooldownLeftSec(NO_CRASHES, NOW, STEPS)).toBe(0)
  let backoff = NO_CRASHES
  const waits = [1, 2, 3, 4, 5, 6].map(() => {
    backoff = afterRestart(backoff, NOW)
    return cooldownLeftSec(backoff, NOW, STEPS)
  })
  expect(waits).toEqual([10, 30, 60, 600, 600, 600])
  const once = afterRestart(NO_CRASHES, NOW)
  expect([4000, 10_000].map((laterMs) => cooldownLeftSec(once, NOW + laterMs, STEPS))).toEqual([6, 0])
})

test('every healthy tick takes one crash off, six hours without a crash all of them', () => {
  const crashes = (before: number, laterMs: number) =>
    afterHealthyTick({ crashes: before, lastCrashMs: NOW, lastRestartMs: NOW }, NOW + laterMs, 6).crashes
  expect([crashes(3, 180_000), crashes(0, 180_000)]).toEqual([2, 0])
  expect([crashes(40, 6 * HOURS - 1), crashes(40, 6 * HOURS)]).toEqual([39, 0])
})

test('a clock that was set back prolongs no cooldown', () => {
  const future = { crashes: 4, lastCrashMs: NOW + HOURS, lastRestartMs: NOW + HOURS }
  expect(cooldownLeftSec(future, NOW, STEPS)).toBe(0)
})

test.each([
  ['2026.9.6', 'USR2'],
  ['2026.9.10', 'USR2'],
  ['2026.10.0', 'USR2'],
  ['2027.1.1', 'USR2'],
  ['2026.9.6-beta.1', 'USR2'],
  ['2026.9.5', 'USR1'],
  ['2025.12.30', 'USR1'],
  ['', undefined],
  ['nightly', undefined],
])('version %s is restarted by %s: SIGUSR1 opens a debugger on today’s OpenClaw', (version, signal) => {
  expect(restartSignal(version)).toBe(signal)
})

test('memory is noticed once per crossing, up and down', () => {
  let level: Parameters<typeof memoryLevel>[0] = 'ok'
  const noticed = [1000, 1600, 1700, 2048, 3000, 900, 800].map((mb) => {
    const next = memoryLevel(level, mb, 1536, 2048)
    level = next.level
    return [next.level, next.notice !== undefined]
  })
  expect(noticed).toEqual([
    ['ok', false],
    ['warning', true],
    ['warning', false],
    ['critical', true],
    ['critical', false],
    ['ok', true],
    ['ok', false],
  ])
})

test('a warning is said when it begins and when it is over; a human hears once of what stands for ten minutes', () => {
  const first = followWarnings([], ['disk: 90 MB left', 'passing'], 0)
  expect(first).toMatchObject({ begun: ['disk: 90 MB left', 'passing'], over: [], due: [] })
  // Another number does not make another warning.
  const second = followWarnings(first.standing, ['disk: 7 MB left'], 10 * MIN)
  expect(second).toMatchObject({ begun: [], over: ['passing'], due: ['disk: 7 MB left'] })
  const third = followWarnings(second.standing, ['disk: 7 MB left'], 30 * MIN)
  expect(third).toMatchObject({ begun: [], over: [], due: [] })
  expect(followWarnings(third.standing, [], 31 * MIN).over).toEqual(['disk: 7 MB left'])
})

test('a clock that was set back begins the ten minutes again instead of prolonging them', () => {
  const { standing } = followWarnings([], ['a'], 1000 * MIN)
  const back = followWarnings(standing, ['a'], 0)
  expect(followWarnings(back.standing, ['a'], 10 * MIN).due).toEqual(['a'])
})
