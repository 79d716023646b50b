/** What the one reader makes of logs: incidents, seconds, unknown time, damage. The sums are worked out by hand. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test, vi } from 'vitest'
import { currentIncident, downSec, lastDays, readHistory } from '../../lib/incidents/history.ts'
import { DEED, formatLine, MARKER } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { at, type PastLogs, pastLogs, WEEK_ENDS, writeWeek } from '../support/week.ts'

// This process has been awake for as long as the logs go back.
vi.mock('../../lib/tier/awake.ts', () => ({ awakeSec: () => 86_400 }))

function machine() {
  const home = fs.mkdtempSync(join(tmpdir(), 'oc-history-'))
  onTestFinished(() => fs.rmSync(home, { recursive: true, force: true }))
  const settings = loadSettings({ HOME: home })
  const { memoryDir } = settings
  return { settings, memoryDir, logs: pastLogs(memoryDir) }
}

const HOUR = { from: at('2026-11-20 12:00:00'), to: at('2026-11-20 13:00:00') }
const time = (minutesAndSeconds: string) => `2026-11-20 12:${minutesAndSeconds}`
const lineAt = (when: string, text: string) => `${formatLine(at(when), 'watchdog', 'WARN', text)}\n`
const DOWN = { 0: MARKER.down('hung', 'x') }
const down = { verdict: 'hung', exitCode: 1, seconds: 0, says: DOWN }
const healed = (afterSec: number, downSec: number) => {
  return { seconds: afterSec, says: { [afterSec]: MARKER.recovered(2, downSec) } }
}
const called = { ...DOWN, 10: DEED.doctor('Claude Code', '2.1.330', 0) }

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
const credited = { healedBy: 2, begin: at(time('20:10')) }
const healings = { incidents: [inOneSecond, stranger, credited] }
hour(
  'healthy comes before a DOWN of the same second; a level is credited, whatever tier saw it first',
  healings,
  (logs) => {
    logs.run('watchdog', time('00:00'), down)
    logs.run('healthcheck', time('00:10'), healed(5, 15))
    logs.run('watchdog', time('00:15'), { ...down, seconds: 1 })
    logs.run('watchdog', time('03:15'))
    logs.run('watchdog', time('20:10'), down)
    logs.run('watchdog', time('21:00'), { seconds: 0 })
    logs.run('healthcheck', time('20:30'), healed(32, 52))
  },
)

const silent = { end: undefined, downSec: 1190, unwatchedSec: 4810, feltSec: 5970 }
// Of the incident before the hour, the hour's part.
const unseen = { downSec: 1190, unknownSec: 2410, unknownInIncidentsSec: 2410 }
hour('a silence is not down time and ends no incident', { incidents: [silent], uptime: unseen }, (logs) => {
  for (const begin of ['2026-11-20 11:20:00', ...['40:10', '50:30', '59:30'].map(time)])
    logs.run('watchdog', begin, down)
})

const byDoctor = { healedBy: 3, doctorRuns: 1, downSec: 1799, unwatchedSec: 0 }
hour('work without a word is watched time', { incidents: [byDoctor], uptime: { unknownSec: 1200 } }, (logs) => {
  logs.quiet('2026-11-20 11:00:00', time('10:00'))
  logs.run('emergency-recovery', time('10:00'), { seconds: 1800, says: { ...called, 1799: MARKER.recovered(3, 1799) } })
})

const reckoned = { isBeginSeen: false, verdict: 'unknown', healedBy: 2, downSec: 300 }
const stopped = { incidents: [reckoned], uptime: { downSec: 300, stoppedSec: 1800 } }
hour('without its DOWN an incident’s begin is reckoned; a stop on purpose is no incident', stopped, (logs) => {
  logs.quiet('2026-11-20 11:50:00', time('10:00'))
  logs.run('healthcheck', time('20:00'), healed(5, 300))
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
  fs.writeFileSync(join(dir, 'watchdog-2026-11-20.log'), lines.join(''))
})

// Of tomorrow: the machine went west, or that tier has another time zone.
const fallback = { incidents: [{ verdict: 'hung', downSec: 600 }], notes: [expect.stringContaining('ENOTDIR')] }
hour('the fallback folder counts, and a log of tomorrow', fallback, (_, dir) => {
  const folder = join(dir, '..', '..', '.openclaw', 'watchdog', 'logs')
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(join(folder, 'watchdog-2026-11-21.log'), lineAt(time('50:00'), MARKER.down('hung', 'x')))
  fs.rmSync(dir, { recursive: true })
  fs.writeFileSync(dir, 'a file')
})

test('the doctor’s own process counts the time in which it works without a word', () => {
  const { settings, memoryDir, logs } = machine()
  logs.run('emergency-recovery', time('10:00'), { isKilled: true, says: called })
  const log = join(memoryDir, fs.readdirSync(memoryDir)[0]!)
  expect(downSec(settings, at(time('39:59')))).toBe(0)
  fs.writeFileSync(log, fs.readFileSync(log, 'utf8').replace('pid 4711', `pid ${process.pid}`))
  expect(downSec(settings, at(time('39:59')))).toBe(1799)
})

test('a clock that was an hour ahead and healthy then does not keep the escalation clock at its begin', () => {
  const { settings, memoryDir } = machine()
  const linesFrom = (begin: string, text: string, count = 20) =>
    Array.from({ length: count }, (_, i) => {
      return `${formatLine(new Date(at(begin).getTime() + i * 180_000), 'watchdog', 'WARN', text)}\n`
    })
  const ahead = linesFrom('2026-11-20 13:00:00', MARKER.runEnded('healthy', 0, 0))
  const setBack = linesFrom('2026-11-20 12:01:00', DOWN[0], 40)
  fs.writeFileSync(join(memoryDir, 'watchdog-2026-11-20.log'), [...ahead, ...setBack].join(''))
  expect(downSec(settings, at('2026-11-20 13:58:00'))).toBe(117 * 60)
})

function week(change: (memoryDir: string) => void = () => {}, days = 7) {
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
    for (const tier of ['watchdog', 'healthcheck']) fs.rmSync(join(dir, `${tier}-2026-11-18.log`))
    fs.renameSync(join(dir, 'guardian-2026-11-19.log'), join(dir, 'guardian-2026-11-19.log.1.gz'))
    fs.appendFileSync(join(dir, 'watchdog-2026-11-21.log'), lineAt('2026-11-21 23:59:00', MARKER.runStarted(1)))
  }, 30)
  expect(notes).toHaveLength(5)
  for (const name of ['guardian-2026-11-19.log.1.gz', 'watchdog log of 2026-11-18', 'healthcheck log of 2026-11-18'])
    expect(notes.join('\n')).toContain(name)
  expect(notes).toContainEqual(expect.stringMatching(/2026-11-15 .*14 days/))
  // Level 3 has a log of its own: what it wrote is known, the rest of that day is not.
  expect(uptime.unknownSec).toBeGreaterThan(23 * 86_400 - 780)
  expect(incidents[2]).toMatchObject({ verdict: 'broken-install', healedBy: 3, downSec: 778 })
  expect(runs.watchdog.unfinished).toBe(1)
})

test('damage is counted by log, and text between the lines forges nothing', () => {
  const { settings, memoryDir, logs } = machine()
  logs.quiet('2026-11-20 11:00:00', '2026-11-20 13:00:00')
  const quoted = lineAt(time('30:00'), MARKER.down('hung', 'quoted'))
  const text = [
    `${'\0'.repeat(1024)}\nRUN ended: heal\n[2026-11-20T12:30:00+00:00] [watch\n`,
    lineAt('2026-11-21 12:00:00', MARKER.down('hung', 'tomorrow')),
    lineAt(time('30:00'), 'y'.repeat(100_000)),
    `    ${quoted}${MARKER.manual('no line of ours')}\n`,
    ...['gateway', 'constructor'].map((tier) => quoted.replace('watchdog', tier)),
    lineAt(time('59:00'), MARKER.down('hung', 'a line without its end')).trimEnd(),
  ]
  fs.appendFileSync(join(memoryDir, 'watchdog-2026-11-20.log'), text.join(''))
  fs.mkdirSync(join(memoryDir, 'healthcheck-2026-11-19.log'))
  const { notes, incidents } = readHistory(settings, HOUR, HOUR.to)
  expect(notes).toContainEqual(expect.stringMatching(/watchdog-2026-11-20.*: 5$/))
  expect(notes).toContainEqual(expect.stringContaining('healthcheck-2026-11-19'))
  expect(incidents).toMatchObject([{ evidence: 'a line without its end' }])
})

test('whatever becomes of the logs, no time is lost, none counted twice, and nothing throws', () => {
  const { settings, memoryDir } = machine()
  writeWeek(memoryDir)
  for (const name of fs.readdirSync(memoryDir)) if (!name.includes('2026-11-18')) fs.rmSync(join(memoryDir, name))
  const log = join(memoryDir, 'watchdog-2026-11-18.log')
  const lines = fs.readFileSync(log, 'utf8').split('\n')
  const span = { from: at('2026-11-18 20:00:00'), to: at('2026-11-19 00:00:00') }
  // Bytes that are cut out, bytes that are put in, and lines that stand where they do not belong.
  const spot = fc.double({ min: 0, max: 0.9999, noNaN: true })
  const stray = spot.map((one) => Buffer.from(`\n${lines[Math.floor(one * lines.length)]}\n`))
  const put = fc.oneof(fc.uint8Array({ maxLength: 200 }), stray)
  const harm = fc.record({ spot, size: fc.oneof(fc.constant(0), fc.nat(20_000)), put })
  fc.assert(
    fc.property(fc.array(harm, { minLength: 1, maxLength: 8 }), (harms) => {
      let bytes: Buffer = Buffer.from(lines.join('\n'))
      for (const { spot, size, put } of harms) {
        const where = Math.floor(spot * bytes.length)
        bytes = Buffer.concat([bytes.subarray(0, where), put, bytes.subarray(where + size)])
      }
      fs.writeFileSync(log, bytes)
      const { stretches, incidents, uptime } = readHistory(settings, span, span.to)
      expect(stretches.map(({ from }) => from)).toEqual([span.from, ...stretches.slice(0, -1).map(({ to }) => to)])
      expect(stretches.at(-1)!.to).toEqual(span.to)
      expect(uptime.upSec + uptime.downSec + uptime.stoppedSec + uptime.unknownSec).toBeCloseTo(4 * 3600, 6)
      expect(uptime.unknownInIncidentsSec).toBeLessThanOrEqual(uptime.unknownSec)
      const times = incidents.flatMap(({ begin, lastSeen, end }) => [begin, end ?? lastSeen].map(Number))
      expect(times).toEqual(times.toSorted((a, b) => a - b))
    }),
    { numRuns: 40 },
  )
})

test('within one second Level 1 comes before the level that it hands over to, also when that heals it at once', () => {
  const { settings, logs } = machine()
  logs.run('watchdog', time('10:05'), { ...down, says: { 0: MARKER.down('hung', 'x'), 0.1: MARKER.escalate(2, 'y') } })
  const heals = { 0.2: MARKER.down('hung', 'x'), 0.3: DEED.restart('z'), 0.4: MARKER.recovered(2, 0) }
  logs.run('healthcheck', time('10:05'), { seconds: 0.5, says: heals })
  const { incidents } = readHistory(settings, HOUR, HOUR.to)
  expect(incidents).toMatchObject([{ healedBy: 2, end: at(time('10:05')) }])
  expect(incidents[0]!.steps.map(({ tier }) => tier)).toEqual([
    ...['watchdog', 'watchdog', 'healthcheck', 'healthcheck', 'healthcheck'],
  ])
})
