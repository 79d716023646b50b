/** What the one reader makes of logs: incidents, seconds, unknown time, damage. The sums are worked out by hand. */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { currentIncident, downSec, type History, lastDays, readHistory } from '../../lib/incidents/history.ts'
import { DEED, formatLine, MARKER } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { at, type PastLogs, pastLogs, WEEK_ENDS, writeWeek } from '../support/week.ts'

function machine() {
  const home = mkdtempSync(join(tmpdir(), 'oc-history-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const settings = loadSettings({ HOME: home })
  mkdirSync(settings.memoryDir, { recursive: true })
  return { settings, memoryDir: settings.memoryDir, logs: pastLogs(settings.memoryDir) }
}

/** An hour of 2026-11-20 that begins at noon, and holds what the test writes. */
const HOUR = { from: at('2026-11-20 12:00:00'), to: at('2026-11-20 13:00:00') }
const time = (minutesAndSeconds: string) => `2026-11-20 12:${minutesAndSeconds}`
const lineAt = (when: string, text: string) => `${formatLine(at(when), 'watchdog', 'WARN', text)}\n`
const DOWN = { 0: MARKER.down('hung', 'x') }
const down = { verdict: 'hung', exitCode: 1, seconds: 0, says: DOWN }
const ended = (seconds: number, level: number, downSec: number) => {
  return { seconds, says: { [seconds]: MARKER.recovered(level, downSec) } }
}
const called = { ...DOWN, 10: DEED.doctor('Claude Code', '2.1.330', 0) }

/** What an hour of logs comes to. */
function hour(name: string, expected: object, write: (logs: PastLogs, memoryDir: string) => void): void {
  test(name, () => {
    const { settings, memoryDir, logs } = machine()
    write(logs, memoryDir)
    const history = readHistory(settings, HOUR, HOUR.to)
    expect(history).toMatchObject(expected)
    // The escalation clock goes by the same rules.
    const now = currentIncident(settings, HOUR.to)
    const open = history.incidents.find(({ end }) => end === undefined)
    expect([now?.begin, now?.downSec, now?.verdict]).toEqual([open?.begin, open?.downSec, open?.verdict])
  })
}

const inOneSecond = { healedBy: 2, downSec: 15, end: at(time('00:15')) }
const stranger = { healedBy: 'outside', begin: at(time('00:15')), downSec: 180 }
hour('a healthy sighting comes before a DOWN of the same second', { incidents: [inOneSecond, stranger] }, (logs) => {
  logs.run('watchdog', time('00:00'), down)
  logs.run('healthcheck', time('00:10'), ended(5, 2, 15))
  logs.run('watchdog', time('00:15'), { ...down, seconds: 1 })
  logs.run('watchdog', time('03:15'))
})

const silent = { downSec: 180, unwatchedSec: 2400, feltSec: 2580, healedBy: 'outside' }
const unseen = { downSec: 180, unknownInIncidentsSec: 2400 }
hour('a silence is not down time and ends no incident', { incidents: [silent], uptime: unseen }, (logs) => {
  for (const begin of ['00:10', '40:10']) logs.run('watchdog', time(begin), down)
  logs.run('watchdog', time('43:10'), { seconds: 0 })
})

const open = { end: undefined, healedBy: undefined, begin: at(time('10:30')), downSec: 570 }
hour('after a silence the clock goes on where it was', { incidents: [open] }, (logs) => {
  logs.quiet('2026-11-20 11:00:00', time('10:00'))
  for (const begin of ['10:30', '50:30', '53:30', '59:30']) logs.run('watchdog', time(begin), down)
})

const byDoctor = { healedBy: 3, doctorRuns: 1, downSec: 1799, unwatchedSec: 0 }
hour('work without a word is watched time', { incidents: [byDoctor], uptime: { unknownSec: 1200 } }, (logs) => {
  logs.quiet('2026-11-20 11:00:00', time('10:00'))
  logs.run('emergency-recovery', time('10:00'), { seconds: 1800, says: { ...called, 1799: MARKER.recovered(3, 1799) } })
})

const reckoned = { isBeginSeen: false, verdict: 'unknown', healedBy: 2, downSec: 300 }
hour('where the DOWN is missing the begin is reckoned', { incidents: [reckoned] }, (logs) => {
  logs.quiet('2026-11-20 11:50:00', time('10:00'))
  logs.run('healthcheck', time('20:00'), ended(5, 2, 300))
})

hour('a level is credited, also when another tier saw it healthy first', { incidents: [{ healedBy: 2 }] }, (logs) => {
  logs.run('watchdog', time('00:10'), down)
  logs.run('watchdog', time('01:00'), { seconds: 0 })
  logs.run('healthcheck', time('00:30'), ended(32, 2, 52))
})

hour('a stop on purpose is no incident', { incidents: [], uptime: { downSec: 0, stoppedSec: 1800 } }, (logs) => {
  logs.quiet('2026-11-20 11:00:00', time('30:00'))
  for (let minute = 30; minute < 60; minute += 3)
    logs.run('watchdog', time(`${minute}:00`), { verdict: 'stopped-on-purpose', exitCode: 3, seconds: 0 })
})

const noNode = { kind: 'cannot-start', why: 'no Node was found' }
const aboutWatchers = {
  incidents: [],
  stretches: [{ condition: 'unknown', failedStarts: 2 }],
  remarks: [{ tier: 'guardian' }, { tier: 'watchdog', times: 2, said: noNode }],
  runs: { watchdog: { cannotStart: { why: 'no Node was found' } } },
}
hour('what is about the watchers is no incident of the gateway', aboutWatchers, (logs, dir) => {
  logs.run('guardian', time('00:00'), { exitCode: 1, says: { 0: MARKER.manual('watchers: dead') } })
  const lines = ['10:00', '59:00'].map((when) => lineAt(time(when), 'cannot start: no Node was found'))
  writeFileSync(join(dir, 'watchdog-2026-11-20.log'), lines.join(''))
})

const within = { uptime: { unknownSec: 3000, unknownInIncidentsSec: 0 } }
hour('of an incident that began before, only what is unknown within the span is', within, (logs) => {
  for (const begin of ['08:00:00', '11:50:00']) logs.run('watchdog', `2026-11-20 ${begin}`, down)
  for (const begin of ['00:00', '50:00']) logs.run('watchdog', time(begin), { seconds: 0 })
})

// The machine went west, or that tier has another time zone.
hour('a log of tomorrow counts', { incidents: [{ verdict: 'hung', downSec: 600 }] }, (_, dir) =>
  writeFileSync(join(dir, 'watchdog-2026-11-21.log'), lineAt(time('50:00'), MARKER.down('hung', 'x'))),
)

const fallback = { incidents: [{ verdict: 'hung' }], notes: [expect.stringContaining('ENOTDIR')] }
hour('the fallback folder counts, and a log folder that is no folder is said', fallback, (_, dir) => {
  pastLogs(join(dir, '..', '..', '.openclaw', 'watchdog', 'logs')).run('watchdog', time('00:10'), down)
  rmSync(dir, { recursive: true })
  writeFileSync(dir, 'a file')
})

test('the doctor’s own process counts the time in which it works without a word', () => {
  const { settings, memoryDir, logs } = machine()
  logs.run('emergency-recovery', time('10:00'), { isKilled: true, says: called })
  const log = join(memoryDir, readdirSync(memoryDir)[0]!)
  expect(downSec(settings, at(time('39:59')))).toBe(0)
  writeFileSync(log, readFileSync(log, 'utf8').replace('pid 4711', `pid ${process.pid}`))
  expect(downSec(settings, at(time('39:59')))).toBe(1799)
})

test('a clock that was an hour ahead and healthy then does not keep the escalation clock at its begin', () => {
  const { settings, memoryDir } = machine()
  const linesAt = (hour: number, minute: number, text: string) =>
    Array.from({ length: 20 }, (_, i) =>
      lineAt(`2026-11-20 ${hour}:${String(3 * i + minute).padStart(2, '0')}:00`, text),
    )
  const ahead = linesAt(13, 0, MARKER.runEnded('healthy', 0, 0))
  const setBack = [...linesAt(12, 1, MARKER.down('hung', 'x')), ...linesAt(13, 1, MARKER.down('hung', 'x'))]
  writeFileSync(join(memoryDir, 'watchdog-2026-11-20.log'), [...ahead, ...setBack].join(''))
  expect(downSec(settings, at('2026-11-20 13:58:00'))).toBe(117 * 60)
})

function week(change: (memoryDir: string) => void = () => {}, days = 7): History {
  const { settings, memoryDir } = machine()
  writeWeek(memoryDir)
  change(memoryDir)
  return readHistory(settings, lastDays(days, at(WEEK_ENDS)), at(WEEK_ENDS))
}

test('a week: every incident, what was seen of it and what was felt, and what was spent on it', () => {
  const { incidents, stretches, runs } = week()
  const keys = 'verdict healedBy highestLevel restarts doctorRuns manualCalls alerts downSec feltSec'.split(' ')
  expect(incidents.map((one) => keys.map((key) => one[key as keyof typeof one]))).toEqual([
    // The last healthy sightings before them were 120, 180, 120 and 181 s old.
    ['absent', 1, 1, 1, 0, 0, 0, 12, 132],
    ['misconfigured', 2, 2, 1, 0, 0, 0, 20, 200],
    // It was first seen absent; why, it said after the restart.
    ['broken-install', 3, 3, 1, 1, 0, 0, 1080, 1200],
    ['impostor', 'outside', 4, 0, 0, 1, 4, 2460, 2641],
  ])
  // What a tier says at every tick is one step, counted.
  const again = incidents[3]!.steps.find(({ said, tier }) => tier === 'watchdog' && said.kind === 'down')
  expect(again).toMatchObject({ at: at('2026-11-20 14:00:01'), until: at('2026-11-20 14:39:01'), times: 14 })

  // The pause and the night, from the last healthy sighting to the next: 09:57 to 11:00, 00:57 to 07:00.
  const unknown = stretches.filter(({ condition }) => condition === 'unknown')
  expect(unknown.map(({ from, to }) => Math.round((to.getTime() - from.getTime()) / 60_000))).toEqual([63, 363])
  expect(unknown.map(({ standDowns }) => standDowns)).toEqual([20 + 12, 0])
  // Every 180 s makes 3360; 161 of these times were taken up by pause, sleep and incidents, which had 20 + 18 runs.
  expect(runs.watchdog).toMatchObject({ started: 3360 - 161 + 20 + 18, unfinished: 0 })
  expect(runs.watchdog.ended).toEqual({ 0: 3199 + 2, 1: 16, 3: 20 })
})

test('logs that are missing, packed or from before the oldest are said, and their time is not guessed over', () => {
  const { notes, uptime, incidents, runs } = week((dir) => {
    for (const tier of ['watchdog', 'healthcheck']) rmSync(join(dir, `${tier}-2026-11-18.log`))
    renameSync(join(dir, 'guardian-2026-11-19.log'), join(dir, 'guardian-2026-11-19.log.1.gz'))
    appendFileSync(join(dir, 'watchdog-2026-11-21.log'), lineAt('2026-11-21 23:59:00', MARKER.runStarted(1)))
  })
  expect(notes).toHaveLength(4)
  for (const name of ['guardian-2026-11-19.log.1.gz', 'watchdog log of 2026-11-18', 'healthcheck log of 2026-11-18'])
    expect(notes.join('\n')).toContain(name)
  // Level 3 has a log of its own: what it wrote is known, the rest of that day is not.
  expect(uptime.unknownSec).toBeGreaterThan(86_400 - 780)
  expect(incidents[2]).toMatchObject({ verdict: 'broken-install', healedBy: 3, downSec: 778 })
  expect(runs.watchdog.unfinished).toBe(1)

  const month = week(undefined, 30)
  expect(month.notes).toEqual([expect.stringMatching(/2026-11-15 .*14 days/)])
  expect(month.uptime.unknownSec).toBeGreaterThan(22 * 86_400)
})

test('damage is counted by log, and text between the lines forges nothing', () => {
  const { settings, memoryDir, logs } = machine()
  logs.quiet('2026-11-20 11:00:00', '2026-11-20 13:00:00')
  const log = join(memoryDir, 'watchdog-2026-11-20.log')
  const text = [
    `${'\0'.repeat(1024)}\nRUN ended: heal\n[2026-11-20T12:30:00+00:00] [watch\n`,
    lineAt('2026-11-21 12:00:00', MARKER.down('hung', 'tomorrow')),
    lineAt(time('30:00'), 'y'.repeat(100_000)),
    `    ${lineAt(time('30:00'), MARKER.down('hung', 'quoted'))}${MARKER.manual('no line of ours')}\n`,
    ...['gateway', 'constructor'].map((tier) =>
      lineAt(time('30:00'), MARKER.down('hung', 'no tier')).replace('watchdog', tier),
    ),
    lineAt(time('59:00'), MARKER.down('hung', 'a line without its end')).trimEnd(),
  ]
  appendFileSync(log, text.join(''))
  mkdirSync(join(memoryDir, 'healthcheck-2026-11-19.log'))
  const { notes, incidents } = readHistory(settings, HOUR, HOUR.to)
  const about = (name: string) => notes.find((note) => note.includes(name))
  expect(about('watchdog-2026-11-20')).toMatch(/: 5$/)
  expect(about('healthcheck-2026-11-19')).toBeDefined()
  expect(incidents).toMatchObject([{ evidence: 'a line without its end' }])
})

test('whatever becomes of the logs, no time is lost, none counted twice, and nothing throws', () => {
  const { settings, memoryDir } = machine()
  writeWeek(memoryDir)
  for (const name of readdirSync(memoryDir)) if (!name.includes('2026-11-18')) rmSync(join(memoryDir, name))
  const log = join(memoryDir, 'watchdog-2026-11-18.log')
  const lines = readFileSync(log, 'utf8').split('\n')
  const span = { from: at('2026-11-18 20:00:00'), to: at('2026-11-19 00:00:00') }
  const spot = fc.double({ min: 0, max: 0.9999, noNaN: true })
  // Bytes that are cut out, bytes that are put in, and lines that stand where they do not belong.
  const stray = spot.map((one) => Buffer.from(`\n${lines[Math.floor(one * lines.length)]}\n`))
  const put = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 200 }), stray)
  const harm = fc.oneof(
    fc.record({ spot, size: fc.integer({ min: 1, max: 20_000 }), put: fc.constant(Buffer.alloc(0)) }),
    fc.record({ spot, size: fc.constant(0), put }),
  )
  fc.assert(
    fc.property(fc.array(harm, { minLength: 1, maxLength: 8 }), (harms) => {
      let bytes: Buffer = Buffer.from(lines.join('\n'))
      for (const { spot, size, put } of harms) {
        const where = Math.floor(spot * bytes.length)
        bytes = Buffer.concat([bytes.subarray(0, where), put, bytes.subarray(where + size)])
      }
      writeFileSync(log, bytes)
      const { stretches, incidents, uptime } = readHistory(settings, span, span.to)
      expect(stretches.map(({ from }) => from)).toEqual([span.from, ...stretches.slice(0, -1).map(({ to }) => to)])
      expect(stretches.at(-1)!.to).toEqual(span.to)
      expect(uptime.upSec + uptime.downSec + uptime.stoppedSec + uptime.unknownSec).toBeCloseTo(4 * 3600, 6)
      expect(uptime.unknownInIncidentsSec).toBeLessThanOrEqual(uptime.unknownSec)
      incidents.forEach(({ begin, lastSeen, end }, i) => {
        expect(lastSeen.getTime()).toBeGreaterThanOrEqual(begin.getTime())
        const next = incidents[i + 1]
        if (next) expect(next.begin.getTime()).toBeGreaterThanOrEqual(end!.getTime())
      })
    }),
    { numRuns: 40 },
  )
})
