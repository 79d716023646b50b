/** When one tier may call another dead: the bookkeeping, on a simulated machine. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { TIERS, type TierName } from '../lib/tier/contract.ts'
import {
  afterRevival,
  longestRunSec,
  observe,
  type PeerBook,
  readPeerBook,
  type Sighting,
  type Suspect,
  type Watcher,
} from '../lib/tier/peers.ts'
import { loadSettings } from '../lib/tier/settings.ts'

const settings = loadSettings({ HOME: '/nonexistent' })
const NEVER: PeerBook = { lastTickMs: 0, peers: {} }
const at = (sec: number) => Date.UTC(2026, 10, 22) + sec * 1000
const alive = (sec: number): Sighting => ({ heartbeatMs: at(sec), run: undefined })

/** Ticks of one watcher, at the given seconds, with what each sees of one peer. */
function watch(watcher: Watcher, tier: TierName, ticks: [sec: number, seen: Sighting][], book = NEVER) {
  const suspects: (Suspect & { sec: number })[] = []
  const steady: number[] = []
  for (const [sec, seen] of ticks) {
    const look = observe(book, watcher, { [tier]: seen }, settings, at(sec))
    book = look.book
    suspects.push(...look.suspects.map((suspect) => ({ ...suspect, sec })))
    if (look.steady.length > 0) steady.push(sec)
  }
  return { book, suspects, steady }
}

const every = (stepSec: number, fromSec: number, toSec: number) =>
  Array.from({ length: Math.floor((toSec - fromSec) / stepSec) + 1 }, (_, i) => fromSec + i * stepSec)

test('a peer that wrote for the last time is missed after two and a half of its intervals, and not before', () => {
  const ticks = every(300, 0, 1800).map((sec) => [sec, alive(0)] as [number, Sighting])
  const { suspects } = watch('guardian', 'watchdog', ticks)
  expect(suspects[0]).toMatchObject({ sec: 600, sign: 'silent', evidence: expect.stringContaining('10 min') })
})

test('a peer that never wrote since the installation is missed too', () => {
  const ticks = every(300, 0, 1800).map((sec) => [sec, { heartbeatMs: 0, run: undefined }] as [number, Sighting])
  expect(watch('guardian', 'healthcheck', ticks).suspects[0]).toMatchObject({ sec: 900, sign: 'silent' })
})

test('the first ticks after nine hours of sleep accuse nobody, although every log is nine hours old', () => {
  const asleep = 9 * 3600
  const ticks: [number, Sighting][] = [
    ...every(300, 0, 900).map((sec) => [sec, alive(sec - 10)] as [number, Sighting]),
    [900 + asleep, alive(890)],
    // launchd starts the watchdog late, on a machine that is busy waking up.
    [1200 + asleep, alive(890)],
    [1500 + asleep, alive(1300 + asleep)],
  ]
  expect(watch('guardian', 'watchdog', ticks).suspects).toEqual([])
})

test('a clock that is set forward or back by an hour accuses nobody', () => {
  for (const hour of [3600, -3600]) {
    const ticks: [number, Sighting][] = [
      ...every(300, 0, 900).map((sec) => [sec, alive(sec - 10)] as [number, Sighting]),
      ...every(300, 1200 + hour, 2400 + hour).map((sec) => [sec, alive(sec - 10)] as [number, Sighting]),
    ]
    expect(watch('guardian', 'watchdog', ticks).suspects).toEqual([])
  }
})

test('a run that was going on before nine hours of sleep is not taken for one that hangs', () => {
  const run = { pid: 4711, since: 'before the sleep' }
  const ticks = [0, 300, 300 + 9 * 3600, 600 + 9 * 3600].map((sec) => [sec, { ...alive(0), run }] as [number, Sighting])
  expect(watch('guardian', 'watchdog', ticks).suspects.filter(({ sign }) => sign === 'overdue')).toEqual([])
})

test('a run that lasts far longer than any may is found, whatever it still writes', () => {
  const run = { pid: 4711, since: '2026-11-22T00:00:00Z' }
  const limitSec = longestRunSec(settings, 'watchdog')
  const ticks = every(300, 0, limitSec + 600).map((sec) => [sec, { ...alive(sec), run }] as [number, Sighting])
  const { suspects } = watch('guardian', 'watchdog', ticks)
  expect(suspects[0]).toMatchObject({ sign: 'overdue', pid: 4711 })
  expect(suspects[0]!.sec).toBeGreaterThan(limitSec)
})

test('a new run under the same lock begins its own time', () => {
  const ticks = every(300, 0, 20_000).map((sec, i) => {
    const run = { pid: 4711, since: String(Math.floor(i / 4)) }
    return [sec, { ...alive(sec), run }] as [number, Sighting]
  })
  expect(watch('guardian', 'watchdog', ticks).suspects).toEqual([])
})

test('no tier may run as long as the limit after which it is ended, by its own settings', () => {
  const doctorSec = settings.emergencyRecoveryTimeoutSec + settings.emergencyRecoveryReportWaitSec
  expect(longestRunSec(settings, 'emergency-recovery')).toBeGreaterThan(1.3 * doctorSec)
  expect(longestRunSec(settings, 'healthcheck')).toBeGreaterThan(
    longestRunSec(settings, 'emergency-recovery') + settings.healthCheckEscalationWaitSec,
  )
  expect(longestRunSec(settings, 'watchdog')).toBeGreaterThan(2 * settings.startupGraceSec)
})

test('a revived peer that stays silent is called dead again at once, not after a whole new patience', () => {
  const first = watch(
    'guardian',
    'watchdog',
    [0, 300, 600].map((sec) => [sec, alive(0)]),
  )
  expect(first.suspects).toHaveLength(1)
  first.book.peers.watchdog = afterRevival(first.book.peers.watchdog!)
  const second = watch('guardian', 'watchdog', [[900, alive(0)]], first.book)
  expect(second.suspects).toMatchObject([{ sec: 900, sign: 'silent' }])
})

test('one sign of life after a revival does not forget the revivals; running by itself again does', () => {
  const { book } = watch(
    'guardian',
    'watchdog',
    [0, 300, 600].map((sec) => [sec, alive(0)]),
  )
  book.peers.watchdog = { ...afterRevival(book.peers.watchdog!), humanCalled: true }
  // Only the revival itself made it write; then nothing more.
  const kicked = watch(
    'guardian',
    'watchdog',
    [900, 1200, 1500].map((sec) => [sec, alive(601)]),
    book,
  )
  expect(kicked.book.peers.watchdog).toMatchObject({ revivals: 1, humanCalled: true })
  expect(kicked.suspects).toMatchObject([{ sec: 1500, sign: 'silent' }])
  const healed = watch(
    'guardian',
    'watchdog',
    [900, 1200, 1500].map((sec) => [sec, alive(sec - 20)]),
    book,
  )
  expect(healed.book.peers.watchdog).toMatchObject({ revivals: 0, humanCalled: false })
  expect(healed.steady).toEqual([1200])
})

test('Level 3 has no schedule: it is never missed', () => {
  const ticks = every(300, 0, 50_000).map((sec) => [sec, { heartbeatMs: 0, run: undefined }] as [number, Sighting])
  expect(watch('guardian', 'emergency-recovery', ticks).suspects).toEqual([])
})

/**
 * A machine that is awake and asleep in turn, whose clock may be set while it sleeps. Due runs that fell into the sleep
 * come within half a minute after it, in any order; launchd starts StartInterval jobs so, and cron skips to the next
 * full five minutes.
 */
function* days(periods: { awakeSec: number; asleepSec: number; clockSec: number; lateSec: number }[]) {
  let now = 0
  let clock = 0
  for (const { awakeSec, asleepSec, clockSec, lateSec } of periods) {
    yield { fromSec: now, toSec: now + awakeSec, clock, lateSec }
    now += awakeSec + asleepSec
    clock += clockSec
  }
}

const periods = fc.array(
  fc.record({
    // Awake for seconds only (macOS's dark wake), a watcher may be on time when its peer is not: therefore a silent peer is
    // looked at once more before it is accused, which is not part of the bookkeeping simulated here.
    awakeSec: fc.integer({ min: 120, max: 4000 }),
    asleepSec: fc.oneof(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 40_000 })),
    clockSec: fc.constantFrom(0, 0, 3600, -3600, 7, -7),
    lateSec: fc.integer({ min: 0, max: 30 }),
  }),
  { minLength: 1, maxLength: 12 },
)

test.each([
  ['guardian', 'watchdog'],
  ['guardian', 'healthcheck'],
  ['watchdog', 'healthcheck'],
  ['healthcheck', 'watchdog'],
] as const)('whatever sleep and clock do, %s never accuses a %s that runs whenever it is due', (watcher, tier) => {
  fc.assert(
    fc.property(periods, fc.integer({ min: 0, max: 299 }), fc.integer({ min: 0, max: 299 }), (all, offset, phase) => {
      let book = NEVER
      let heartbeat = -1
      for (const { fromSec, toSec, clock, lateSec } of days(all)) {
        const ticks = [
          ...every(TIERS[tier].intervalSec, fromSec + lateSec + (phase % 30), toSec).map((sec) => ({ sec, who: tier })),
          ...every(TIERS[watcher].intervalSec, fromSec + (offset % 60), toSec).map((sec) => ({ sec, who: watcher })),
        ].sort((a, b) => a.sec - b.sec)
        for (const { sec, who } of ticks) {
          if (who === tier) heartbeat = sec + clock
          else {
            const look = observe(book, watcher, { [tier]: alive(heartbeat) }, settings, at(sec + clock))
            expect(look.suspects).toEqual([])
            book = look.book
          }
        }
      }
    }),
    { numRuns: 2000 },
  )
})

test('a dead peer is found within half an hour of waking time, whatever jitter the watcher has', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 60, max: 440 }), { minLength: 40, maxLength: 40 }), (gaps) => {
      let sec = 0
      const ticks = gaps.map((gap) => [(sec += gap), alive(0)] as [number, Sighting])
      const { suspects } = watch('guardian', 'healthcheck', ticks)
      expect(suspects[0]!.sec).toBeLessThan(1800)
    }),
  )
})

test('a damaged book is kept aside and begun anew, and a book of nonsense accuses nobody', () => {
  const home = mkdtempSync(join(tmpdir(), 'peers-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const own = { ...settings, watchdogDir: home }
  for (const text of ['', '{', '[]', '{"lastTickMs":-1,"peers":{}}', '{"lastTickMs":1,"peers":{"watchdog":{}}}']) {
    writeFileSync(join(home, 'peers-guardian.json'), text)
    const { value, problem } = readPeerBook(own, 'guardian', false)
    expect(value).toEqual(NEVER)
    expect(problem).toMatch(/was damaged; kept as peers-guardian\.json\.corrupt-/)
  }
})
