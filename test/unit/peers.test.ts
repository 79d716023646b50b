/** When a watcher calls a peer dead: the judgement over times, on a simulated machine. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Book, judge, tick } from '../../lib/services/watchers.ts'
import { TIERS } from '../../lib/tier/contract.ts'
import { longestRunSec } from '../../lib/tier/lock.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

type Watcher = 'watchdog' | 'healthcheck' | 'guardian'
type Peer = 'watchdog' | 'healthcheck'
interface Moment {
  sec: number
  heartbeatSec: number
  runSinceSec?: number
}

const at = (sec: number) => Date.UTC(2026, 10, 22) + sec * 1000
const LIMIT_SEC = 3600

/** The watcher's ticks, in order; returns when it called the peer what. */
function watch(watcher: Watcher, peer: Peer, moments: Iterable<Moment>) {
  let book: Book = { lastTickMs: 0, onTimeSinceMs: 0, revived: {} }
  const called: [sec: number, sign: 'silent' | 'hangs'][] = []
  for (const { sec, heartbeatSec, runSinceSec = Number.NaN } of moments) {
    book = tick(book, watcher, at(sec))
    const { onTimeSinceMs } = book
    const times = { heartbeatMs: at(heartbeatSec), runSinceMs: at(runSinceSec), onTimeSinceMs, nowMs: at(sec) }
    const { silent, hangs } = judge(peer, LIMIT_SEC, times)
    if (silent) called.push([sec, 'silent'])
    if (hangs) called.push([sec, 'hangs'])
  }
  return called
}

const every = (stepSec: number, fromSec: number, toSec: number) =>
  Array.from({ length: Math.max(0, Math.floor((toSec - fromSec) / stepSec) + 1) }, (_, i) => fromSec + i * stepSec)

test('a peer is dead when it has not written for more than three intervals, or never since the watcher runs', () => {
  for (const heartbeatSec of [0, -1e9]) {
    const called = watch(
      'guardian',
      'healthcheck',
      every(300, 0, 1500).map((sec) => ({ sec, heartbeatSec })),
    )
    expect(called).toEqual([1200, 1500].map((sec) => [sec, 'silent']))
  }
})

test('a clock that is set back by ten hours hides no dead peer', () => {
  const setBack = every(300, 0, 1500).map((sec) => ({ sec: sec - 36_000, heartbeatSec: 0 }))
  const called = watch('healthcheck', 'watchdog', [{ sec: -1, heartbeatSec: 0 }, ...setBack])
  expect(called).toEqual([-34_800, -34_500].map((sec) => [sec, 'silent']))
})

test('a run hangs when it lasts longer than any may, whatever it still writes; sleep does not count', () => {
  const awake = every(300, 0, 4200).map((sec) => ({ sec, heartbeatSec: sec, runSinceSec: 0 }))
  expect(watch('guardian', 'watchdog', awake)).toEqual([3900, 4200].map((sec) => [sec, 'hangs']))
  const asleep = [0, 300, 33_000, 33_300].map((sec) => ({ sec, heartbeatSec: sec, runSinceSec: 0 }))
  expect(watch('guardian', 'watchdog', asleep)).toEqual([])
})

test('no tier may run by its own settings for as long as the limit after which it is ended', () => {
  const settings = loadSettings({ HOME: '/nonexistent' })
  const doctorSec = settings.emergencyRecoveryTimeoutSec + settings.emergencyRecoveryReportWaitSec
  expect(longestRunSec(settings, 'emergency-recovery')).toBeGreaterThan(1.3 * doctorSec)
  expect(longestRunSec(settings, 'healthcheck')).toBeGreaterThan(
    longestRunSec(settings, 'emergency-recovery') + settings.healthCheckEscalationWaitSec,
  )
  expect(longestRunSec(settings, 'watchdog')).toBeGreaterThan(2 * settings.startupGraceSec)
})

test('a dead peer is found within half an hour of waking time, whatever jitter the watcher has', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 60, max: 440 }), { minLength: 40, maxLength: 40 }), (gaps) => {
      let sec = 0
      const called = watch(
        'guardian',
        'healthcheck',
        gaps.map((gap) => ({ sec: (sec += gap), heartbeatSec: 0 })),
      )
      expect(called[0]![0]).toBeLessThan(1800)
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
  ['healthcheck', 'watchdog'],
] as const)('whatever sleep and clock do, %s never accuses a %s that runs whenever it is due', (watcher, peer) => {
  fc.assert(
    fc.property(periods, fc.integer({ min: 0, max: 59 }), (all, offset) => {
      const moments: Moment[] = []
      let [now, clock, heartbeatSec] = [0, 0, -1]
      for (const { awakeSec, asleepSec, clockSec, lateSec } of all) {
        const ticks = [
          ...every(TIERS[peer].intervalSec, now + lateSec, now + awakeSec).map((sec) => ({ sec, who: peer })),
          ...every(TIERS[watcher].intervalSec, now + offset, now + awakeSec).map((sec) => ({ sec, who: watcher })),
        ].sort((a, b) => a.sec - b.sec)
        for (const { sec, who } of ticks)
          if (who === peer) heartbeatSec = sec + clock
          else moments.push({ sec: sec + clock, heartbeatSec })
        now += awakeSec + asleepSec
        clock += clockSec
      }
      expect(watch(watcher, peer, moments)).toEqual([])
    }),
    { numRuns: 2000 },
  )
})
