/** When a watcher calls a peer dead: the rule over times, on a simulated machine. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Book, secSince, tick } from '../../lib/services/watchers.ts'
import { TIERS, type TierName } from '../../lib/tier/contract.ts'
import { longestRunSec } from '../../lib/tier/lock.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

type Watcher = 'watchdog' | 'healthcheck' | 'guardian'

const at = (sec: number) => Date.UTC(2026, 10, 22) + sec * 1000

/** The watcher's ticks, in order, each with the peer's last sign of life; returns when it called the peer dead. */
function watch(watcher: Watcher, moments: readonly (readonly [sec: number, seenSec: number])[]) {
  let book: Book = { lastTickMs: 0, onTimeSinceMs: 0, revived: {} }
  return moments.flatMap(([sec, seenSec]) => {
    book = tick(book, watcher, at(sec))
    return secSince(at(seenSec), book.onTimeSinceMs, at(sec)) > 900 ? [sec] : []
  })
}

const every = (stepSec: number, fromSec: number, toSec: number) =>
  Array.from({ length: Math.max(0, Math.floor((toSec - fromSec) / stepSec) + 1) }, (_, i) => fromSec + i * stepSec)

test.each<[what: string, watcher: Watcher, moments: [sec: number, seenSec: number][], dead: number[]]>([
  ['silent for three intervals', 'guardian', every(300, 0, 1500).map((sec) => [sec, 0]), [1200, 1500]],
  ['asleep', 'guardian', [0, 300, 33_000, 33_300].map((sec) => [sec, 0]), []],
  // A clock that is set back by ten hours hides no dead peer.
  ['set back', 'healthcheck', [-1, ...every(300, -36_000, -34_500)].map((sec) => [sec, 0]), [-34_800, -34_500]],
])('%s', (_, watcher, moments, dead) => {
  expect(watch(watcher, moments)).toEqual(dead)
})

test('no tier may run by its own settings for as long as the limit after which it is ended', () => {
  const settings = loadSettings({ HOME: '/nonexistent' })
  const { emergencyRecoveryTimeoutSec, emergencyRecoveryReportWaitSec, healthCheckEscalationWaitSec } = settings
  const limitSec = (tier: TierName) => longestRunSec(settings, tier)
  const doctorSec = limitSec('emergency-recovery')
  expect(doctorSec).toBeGreaterThan(1.3 * (emergencyRecoveryTimeoutSec + emergencyRecoveryReportWaitSec))
  expect(limitSec('healthcheck')).toBeGreaterThan(doctorSec + healthCheckEscalationWaitSec)
  expect(limitSec('watchdog')).toBeGreaterThan(2 * settings.startupGraceSec)
})

test('a dead peer is found within half an hour of waking time, whatever jitter the watcher has', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 60, max: 440 }), { minLength: 40, maxLength: 40 }), (gaps) => {
      let sec = 0
      const moments = gaps.map((gap) => [(sec += gap), 0] as const)
      expect(watch('guardian', moments)[0]).toBeLessThan(1800)
    }),
  )
})

/** Awake and asleep in turn; the clock may be set in between, and what was due runs within a minute after waking up. */
const periods = fc.array(
  fc.record({
    awakeSec: fc.integer({ min: 120, max: 4000 }),
    asleepSec: fc.oneof(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 40_000 })),
    clockSec: fc.constantFrom(0, 0, 3600, -3600, 7, -7),
    lateSec: fc.integer({ min: 0, max: 59 }),
  }),
  { minLength: 1, maxLength: 12 },
)

test.each([
  ['guardian', 'watchdog'],
  ['guardian', 'healthcheck'],
  ['watchdog', 'healthcheck'],
] as const)('whatever sleep and clock do, %s never accuses a %s that runs whenever it is due', (watcher, peer) => {
  fc.assert(
    fc.property(periods, fc.integer({ min: 0, max: 59 }), (all, offset) => {
      const moments: [number, number][] = []
      let [now, clock, seenSec] = [0, 0, -1]
      for (const { awakeSec, asleepSec, clockSec, lateSec } of all) {
        const ticks = [
          ...every(TIERS[peer].intervalSec, now + lateSec, now + awakeSec).map((sec) => ({ sec, who: peer })),
          ...every(TIERS[watcher].intervalSec, now + offset, now + awakeSec).map((sec) => ({ sec, who: watcher })),
        ].sort((a, b) => a.sec - b.sec)
        for (const { sec, who } of ticks)
          if (who === peer) seenSec = sec + clock
          else moments.push([sec + clock, seenSec])
        now += awakeSec + asleepSec
        clock += clockSec
      }
      expect(watch(watcher, moments)).toEqual([])
    }),
    { numRuns: 400 },
  )
})
