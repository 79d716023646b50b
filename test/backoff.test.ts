import { expect, test } from 'vitest'
import { afterHealthyTick, afterRestart, cooldownLeftSec, NO_CRASHES } from '../lib/gateway/backoff.ts'
import { restartSignal } from '../lib/gateway/remedies.ts'
import { memoryLevel } from '../lib/gateway/watch-state.ts'

const STEPS = [10, 30, 60, 600]
const NOW = Date.parse('2026-11-22T02:00:00Z')
const SEC = 1000

test('restarts are 10, 30, 60, then 600 s apart', () => {
  let backoff = NO_CRASHES
  const waits = [1, 2, 3, 4, 5, 6].map(() => {
    backoff = afterRestart(backoff, NOW)
    return cooldownLeftSec(backoff, NOW, STEPS)
  })
  expect(waits).toEqual([10, 30, 60, 600, 600, 600])
})

test('the first restart is spent at once, and a cooldown that is over lets the next one through', () => {
  expect(cooldownLeftSec(NO_CRASHES, NOW, STEPS)).toBe(0)
  const once = afterRestart(NO_CRASHES, NOW)
  expect(cooldownLeftSec(once, NOW + 4 * SEC, STEPS)).toBe(6)
  expect(cooldownLeftSec(once, NOW + 10 * SEC, STEPS)).toBe(0)
})

test('every healthy tick takes one crash off', () => {
  const thrice = { crashes: 3, lastCrashMs: NOW, lastRestartMs: NOW }
  const once = afterHealthyTick(thrice, NOW + 180 * SEC, 6)
  expect(once.crashes).toBe(2)
  expect(afterHealthyTick(afterHealthyTick(afterHealthyTick(once, NOW, 6), NOW, 6), NOW, 6).crashes).toBe(0)
})

test('six hours without a crash start the counter anew', () => {
  const many = { crashes: 40, lastCrashMs: NOW, lastRestartMs: NOW }
  expect(afterHealthyTick(many, NOW + 6 * 3600 * SEC, 6).crashes).toBe(0)
  expect(afterHealthyTick(many, NOW + 6 * 3600 * SEC - 1, 6).crashes).toBe(39)
})

test('a clock that was set back does not prolong a cooldown', () => {
  const future = { crashes: 4, lastCrashMs: NOW + 3600 * SEC, lastRestartMs: NOW + 3600 * SEC }
  expect(cooldownLeftSec(future, NOW, STEPS)).toBe(0)
})

test.each([
  ['2026.9.6', 'USR2'],
  ['2026.9.10', 'USR2'],
  ['2026.10.0', 'USR2'],
  ['2027.1.1', 'USR2'],
  ['2026.9.6-beta.1', 'USR2'],
  ['2026.9.5', 'USR1'],
  ['2026.3.1', 'USR1'],
  ['2025.12.30', 'USR1'],
  ['', undefined],
  ['nightly', undefined],
])('version %s is restarted by %s: SIGUSR1 opens a debugger on today’s OpenClaw', (version, signal) => {
  expect(restartSignal(version)).toBe(signal)
})

test('memory is noticed once per crossing, up and down', () => {
  expect(memoryLevel('ok', 1000, 1536, 2048)).toEqual({ level: 'ok', notice: undefined })
  expect(memoryLevel('ok', 1600, 1536, 2048).notice).toContain('1600 MB')
  expect(memoryLevel('warning', 1700, 1536, 2048)).toEqual({ level: 'warning', notice: undefined })
  expect(memoryLevel('warning', 2048, 1536, 2048)).toMatchObject({ level: 'critical' })
  expect(memoryLevel('critical', 3000, 1536, 2048).notice).toBeUndefined()
  expect(memoryLevel('critical', 900, 1536, 2048)).toMatchObject({
    level: 'ok',
    notice: expect.stringContaining('below'),
  })
})
