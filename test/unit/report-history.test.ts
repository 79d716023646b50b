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
  return { settings, memoryDir: settings.memoryDir }
}

/** An hour of 2026-11-20 that begins at noon, and holds what the test writes. */
const HOUR = { from: at('2026-11-20 12:00:00'), to: at('2026-11-20 13:00:00') }
const time = (minutesAndSeconds: string) => `2026-11-20 12:${minutesAndSeconds}`
function hourWith(write: (logs: PastLogs, memoryDir: string) => void): History {
  const { settings, memoryDir } = machine()
  write(pastLogs(memoryDir), memoryDir)
  const history = readHistory(settings, HOUR, HOUR.to)
  // The escalation clock goes by the same rules.
  const now = currentIncident(settings, HOUR.to)
  const open = history.incidents.find(({ end }) => end === undefined)
  expect([now?.begin, now?.downSec, now?.verdict]).toEqual([open?.begin, open?.downSec, open?.verdict])
  return history
}
const DOWN: [number, string] = [0, MARKER.down('hung', 'x')]
const down = { verdict: 'hung', exitCode: 1, seconds: 0, says: [DOWN] }

function week(change: (memoryDir: string) => void = () => {}): History {
  const { settings, memoryDir } = machine()
  writeWeek(memoryDir)
  change(memoryDir)
  return readHistory(settings, lastDays(7, at(WEEK_ENDS)), at(WEEK_ENDS))
}

test('a week: every incident, what was seen of it and what was felt, and what was spent on it', () => {
  const { incidents, uptime, stretches, runs } = week()
  const keys = 'verdict healedBy highestLevel restarts doctorRuns manualCalls alerts downSec feltSec'.split(' ')
  const rows = incidents.map((one) => keys.map((key) => one[key as keyof typeof one]))
  expect(rows).toEqual([
    // The last healthy sightings before them were 120, 180, 120 and 181 s old.
    ['absent', 1, 1, 1, 0, 0, 0, 12, 132],
    ['misconfigured', 2, 2, 1, 0, 0, 0, 20, 200],
    // It was first seen absent; why, it said after the restart.
    ['broken-install', 3, 3, 1, 1, 0, 0, 1080, 1200],
    ['impostor', 'outside', 4, 0, 0, 1, 4, 2460, 2641],
  ])
  expect(
    incidents.map(({ begin, lastHealthy, end }) => [begin, lastHealthy, end].map((one) => one?.getTime())),
  ).toEqual(
    [
      ['2026-11-16 03:14:00', '2026-11-16 03:12:00', '2026-11-16 03:14:12'],
      ['2026-11-17 09:30:00', '2026-11-17 09:27:00', '2026-11-17 09:30:20'],
      ['2026-11-18 22:05:00', '2026-11-18 22:03:00', '2026-11-18 22:23:00'],
      ['2026-11-20 14:00:01', '2026-11-20 13:57:00', '2026-11-20 14:41:01'],
    ].map((times) => times.map((one) => at(one).getTime())),
  )
  // What a tier says at every tick is one step, counted.
  const again = incidents[3]!.steps.find(({ said, tier }) => tier === 'watchdog' && said.kind === 'down')
  expect(again).toMatchObject({ at: at('2026-11-20 14:00:01'), until: at('2026-11-20 14:39:01'), times: 14 })

  // The pause and the night, from the last healthy sighting to the next: 09:57 to 11:00, 00:57 to 07:00.
  const unknown = stretches.filter(({ condition }) => condition === 'unknown')
  expect(unknown.map(({ from, to }) => Math.round((to.getTime() - from.getTime()) / 60_000))).toEqual([63, 363])
  expect(unknown.map(({ standDowns }) => standDowns)).toEqual([20 + 12, 0])
  expect(uptime.downSec).toBe(12 + 20 + 1080 + 2460)
  expect(uptime.percent).toBeCloseTo((100 * (604_800 - 3572 - 25_560)) / (604_800 - 25_560), 3)
  expect(uptime.worstPercent).toBeCloseTo(uptime.percent! - (100 * (120 + 180 + 120 + 181)) / 579_240, 3)

  // Every 180 s makes 3360; 161 of these times were taken up by pause, sleep and incidents, which had 20 + 18 runs.
  expect(runs.watchdog).toMatchObject({ started: 3360 - 161 + 20 + 18, unfinished: 0 })
  expect(runs.watchdog.ended).toEqual({ 0: 3199 + 2, 1: 16, 3: 20 })
  expect(runs['emergency-recovery']).toMatchObject({ ended: { 0: 1, 1: 1 }, last: { verdict: 'impostor' } })
})

test('logs that are missing, packed or from before the oldest are said, and their time is not guessed over', () => {
  const { notes, uptime, incidents } = week((dir) => {
    for (const tier of ['watchdog', 'healthcheck']) rmSync(join(dir, `${tier}-2026-11-18.log`))
    renameSync(join(dir, 'guardian-2026-11-19.log'), join(dir, 'guardian-2026-11-19.log.1.gz'))
  })
  expect(notes).toHaveLength(4)
  expect(notes[0]).toContain('guardian-2026-11-19.log.1.gz')
  expect(notes.slice(1).map((note) => note.match(/\w+ log of 2026-11-1\d/)?.[0])).toEqual([
    'watchdog log of 2026-11-18',
    'healthcheck log of 2026-11-18',
    'guardian log of 2026-11-19',
  ])
  // Level 3 has a log of its own: what it wrote is known, the rest of that day is not.
  expect(uptime.unknownSec).toBeGreaterThan(86_400 - 780)
  expect(incidents[2]).toMatchObject({ verdict: 'broken-install', healedBy: 3, downSec: 778 })

  const { settings, memoryDir } = machine()
  expect(readHistory(settings, HOUR, HOUR.to)).toMatchObject({ incidents: [], uptime: { percent: undefined } })
  writeWeek(memoryDir)
  const month = readHistory(settings, lastDays(30, at(WEEK_ENDS)), at(WEEK_ENDS))
  expect(month.notes).toEqual([expect.stringMatching(/from before 2026-11-15 .*14 days/)])
  expect(month.uptime.unknownSec).toBeGreaterThan(22 * 86_400)
})

test('within one second a healthy sighting of one log comes before a DOWN of another', () => {
  const { incidents } = hourWith((logs) => {
    logs.run('watchdog', time('00:00'), { says: [[0, MARKER.down('absent', 'x')]], exitCode: 1, verdict: 'absent' })
    // Level 2 brings it back, and in the same second Level 1 finds a stranger on its port.
    const back: [number, string][] = [
      [4, DEED.restart('x')],
      [5, MARKER.recovered(2, 15)],
    ]
    logs.run('healthcheck', time('00:10'), { seconds: 5, says: back })
    const stranger: [number, string][] = [[0, MARKER.down('impostor', 'y')]]
    logs.run('watchdog', time('00:15'), { seconds: 1, says: stranger, exitCode: 1, verdict: 'impostor' })
    logs.run('watchdog', time('03:15'))
  })
  expect(incidents).toMatchObject([
    { verdict: 'absent', healedBy: 2, downSec: 15, end: at(time('00:15')) },
    { verdict: 'impostor', healedBy: 'outside', begin: at(time('00:15')), downSec: 180 },
  ])
})

test('a silence is not down time, ends no incident, and the clock goes on where it was', () => {
  const { incidents, uptime } = hourWith((logs) => {
    logs.run('watchdog', time('00:10'), down)
    logs.run('watchdog', time('40:10'), down)
    logs.run('watchdog', time('43:10'), { seconds: 0 })
  })
  expect(incidents).toMatchObject([{ downSec: 180, unwatchedSec: 2400, feltSec: 2580, healedBy: 'outside' }])
  expect(uptime).toMatchObject({ downSec: 180, unknownInIncidentsSec: 2400 })

  const open = hourWith((logs) => {
    logs.quiet('2026-11-20 11:00:00', time('10:00'))
    for (const begin of ['10:30', '50:30', '53:30', '59:30']) logs.run('watchdog', time(begin), down)
  })
  expect(open.incidents).toMatchObject([
    { end: undefined, healedBy: undefined, begin: at(time('10:30')), downSec: 570 },
  ])
})

test('half an hour of work without a word is watched time, also while it goes on', () => {
  const says: [number, string][] = [
    [0, MARKER.down('hung', 'x')],
    [10, DEED.doctor('Claude Code', '2.1.330', 0)],
    [1799, MARKER.recovered(3, 1799)],
  ]
  const { incidents, uptime } = hourWith((logs) => {
    logs.quiet('2026-11-20 11:00:00', time('10:00'))
    logs.run('emergency-recovery', time('10:00'), { seconds: 1800, says })
  })
  expect(incidents).toMatchObject([{ healedBy: 3, doctorRuns: 1, downSec: 1799, unwatchedSec: 0 }])
  expect(uptime.unknownSec).toBe(20 * 60)

  // The same in the doctor's own process, at the moment before it says RECOVERED.
  const { settings, memoryDir } = machine()
  pastLogs(memoryDir).run('emergency-recovery', time('10:00'), { isKilled: true, says: says.slice(0, 2) })
  const log = join(memoryDir, readdirSync(memoryDir)[0]!)
  expect(downSec(settings, at(time('39:59')))).toBe(0)
  writeFileSync(log, readFileSync(log, 'utf8').replace('pid 4711', `pid ${process.pid}`))
  expect(downSec(settings, at(time('39:59')))).toBe(1799)
})

test('who ended it: a RECOVERED without its DOWN, one that another tier saw first, a stop on purpose', () => {
  const noDown = hourWith((logs) => {
    logs.quiet('2026-11-20 11:50:00', time('10:00'))
    logs.run('healthcheck', time('20:00'), { seconds: 5, says: [[5, MARKER.recovered(2, 300)]] })
  })
  expect(noDown.incidents).toMatchObject([{ isBeginSeen: false, verdict: 'unknown', healedBy: 2, downSec: 300 }])
  const seenFirst = hourWith((logs) => {
    logs.run('watchdog', time('00:10'), down)
    logs.run('watchdog', time('01:00'), { seconds: 0 })
    logs.run('healthcheck', time('00:30'), { seconds: 32, says: [[32, MARKER.recovered(2, 52)]] })
  })
  expect(seenFirst.incidents).toMatchObject([{ healedBy: 2 }])
  const stopped = hourWith((logs) => {
    logs.quiet('2026-11-20 11:00:00', time('30:00'))
    for (let minute = 30; minute < 60; minute += 3)
      logs.run('watchdog', time(`${minute}:00`), { verdict: 'stopped-on-purpose', exitCode: 3, seconds: 0 })
  })
  expect(stopped).toMatchObject({ incidents: [], uptime: { downSec: 0, stoppedSec: 1800 } })
})

test('watchers that cannot be started, are killed or called about are no incidents of the gateway', () => {
  const { remarks, stretches, incidents, runs } = hourWith((logs, dir) => {
    logs.run('guardian', time('00:00'), { exitCode: 1, says: [[0, MARKER.manual('watchers: dead')]] })
    logs.run('monitor', '2026-11-20 11:00:00', { isKilled: true })
    const says = (at: Date) => `${formatLine(at, 'watchdog', 'ERROR', 'cannot start: no Node was found')}\n`
    writeFileSync(join(dir, 'watchdog-2026-11-20.log'), says(at(time('10:00'))) + says(at(time('13:00'))))
  })
  expect(incidents).toEqual([])
  expect(stretches).toMatchObject([{ condition: 'unknown', failedStarts: 2 }])
  expect(remarks).toMatchObject([
    { tier: 'guardian', said: { kind: 'manual', why: 'watchers: dead' } },
    { tier: 'watchdog', times: 2, said: { why: 'no Node was found' } },
  ])
  expect(runs.watchdog.cannotStart).toMatchObject({ why: 'no Node was found' })
  const { settings, memoryDir } = machine()
  pastLogs(memoryDir).run('watchdog', time('00:00'), { isKilled: true })
  const later = lastDays(7, at(WEEK_ENDS))
  expect(readHistory(settings, later, later.to).runs.watchdog).toMatchObject({ started: 1, unfinished: 1 })
})

test('the fallback folder counts, and a log folder that is no folder is said', () => {
  const { settings, memoryDir } = machine()
  pastLogs(join(settings.watchdogDir, 'logs')).run('watchdog', time('00:10'), down)
  rmSync(memoryDir, { recursive: true })
  writeFileSync(memoryDir, 'a file')
  const { incidents, notes } = readHistory(settings, HOUR, HOUR.to)
  expect(incidents).toHaveLength(1)
  expect(notes[0]).toMatch(/memory cannot be read \(ENOTDIR\)/)
})

test('damage is counted by log, and text between the lines forges nothing', () => {
  const line = (text: string, at_ = time('30:00')) => formatLine(at(at_), 'watchdog', 'INFO', text)
  const { notes, incidents } = hourWith((logs, dir) => {
    logs.quiet('2026-11-20 11:00:00', '2026-11-20 13:00:00')
    const log = join(dir, 'watchdog-2026-11-20.log')
    appendFileSync(log, `${'\0'.repeat(1024)}\nRUN ended: heal\n[2026-11-20T12:30:00+00:00] [watch\n`)
    appendFileSync(log, Buffer.concat([Buffer.from(line('memory ')), Buffer.from([0xff, 0xfe, 0x0a])]))
    appendFileSync(log, `${line(MARKER.down('hung', 'tomorrow'), '2026-11-21 12:00:00')}\n`)
    appendFileSync(log, `${line(`x${'y'.repeat(100_000)}`)}\n    a continuation\n\n`)
    appendFileSync(log, `    ${line(MARKER.down('hung', 'quoted'))}\n${MARKER.manual('no line of ours')}\n`)
    for (const tier of ['gateway', 'constructor'])
      appendFileSync(log, `${line(MARKER.down('hung', 'no tier')).replace('watchdog', tier)}\n`)
    appendFileSync(log, line(MARKER.down('hung', 'a line without its end'), time('59:00')))
    mkdirSync(join(dir, 'healthcheck-2026-11-19.log'))
    const endless = `${line(MARKER.notice('again'), '2026-11-19 12:00:00')}\n`
    writeFileSync(join(dir, 'watchdog-2026-11-19.log'), endless.repeat(25_000))
  })
  const about = (name: string) => notes.find((note) => note.includes(name))
  expect(about('watchdog-2026-11-20')).toMatch(/: 6 lines .*, 1 line .*, 2 lines/)
  expect(about('watchdog-2026-11-19')).toMatch(/: 5000 lines/)
  expect(about('healthcheck-2026-11-19')).toContain('cannot be read (it is no file)')
  expect(incidents).toMatchObject([{ evidence: 'a line without its end' }])
})

test('a log of tomorrow counts: the machine went west, or that tier has another time zone', () => {
  const { settings, memoryDir } = machine()
  const line = formatLine(at(time('50:00')), 'watchdog', 'WARN', MARKER.down('hung', 'x'))
  writeFileSync(join(memoryDir, 'watchdog-2026-11-21.log'), `${line}\n`)
  expect(downSec(settings, HOUR.to)).toBe(600)
  expect(readHistory(settings, HOUR, HOUR.to).incidents).toMatchObject([{ verdict: 'hung', downSec: 600 }])
})

test('a clock that was an hour ahead and healthy then does not keep the escalation clock at its begin', () => {
  const { settings, memoryDir } = machine()
  const minutes = Array.from({ length: 20 }, (_, i) => 3 * i)
  const lineAt = (hour: number, minute: number, text: string) =>
    `${formatLine(at(`2026-11-20 ${hour}:${String(minute).padStart(2, '0')}:00`), 'watchdog', 'INFO', text)}\n`
  const ahead = minutes.map((minute) => lineAt(13, minute, MARKER.runEnded('healthy', 0, 0)))
  const setBack = minutes.map((minute) => lineAt(12, minute + 1, MARKER.down('hung', 'x')))
  const after = minutes.map((minute) => lineAt(13, minute + 1, MARKER.down('hung', 'x')))
  writeFileSync(join(memoryDir, 'watchdog-2026-11-20.log'), [...ahead, ...setBack, ...after].join(''))
  expect(downSec(settings, at('2026-11-20 13:58:00'))).toBe(117 * 60)
})

test('of an incident that began before, only what is unknown within the span is', () => {
  const { uptime } = hourWith((logs) => {
    logs.run('watchdog', '2026-11-20 08:00:00', { ...down })
    logs.run('watchdog', '2026-11-20 11:50:00', { ...down })
    logs.run('watchdog', time('00:00'), { seconds: 0 })
    logs.run('watchdog', time('50:00'), { seconds: 0 })
  })
  expect(uptime).toMatchObject({ unknownSec: 3000, unknownInIncidentsSec: 0 })
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
  const harm = fc.oneof(
    fc.record({ spot, size: fc.integer({ min: 1, max: 20_000 }), put: fc.constant(Buffer.alloc(0)) }),
    fc.record({ spot, size: fc.constant(0), put: fc.uint8Array({ minLength: 1, maxLength: 200 }) }),
    fc.record({
      spot,
      size: fc.constant(0),
      put: spot.map((one) => Buffer.from(`\n${lines[Math.floor(one * lines.length)]}\n`)),
    }),
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
      expect([stretches[0]!.from, stretches.at(-1)!.to]).toEqual([span.from, span.to])
      stretches.slice(1).forEach((stretch, i) => {
        expect(stretch.from).toEqual(stretches[i]!.to)
      })
      expect(uptime.upSec + uptime.downSec + uptime.stoppedSec + uptime.unknownSec).toBeCloseTo(4 * 3600, 6)
      expect(uptime.unknownInIncidentsSec).toBeLessThanOrEqual(uptime.unknownSec)
      incidents.forEach((incident, i) => {
        expect(incident.lastSeen.getTime()).toBeGreaterThanOrEqual(incident.begin.getTime())
        const next = incidents[i + 1]
        if (next) expect(next.begin.getTime()).toBeGreaterThanOrEqual(incident.end!.getTime())
      })
    }),
    { numRuns: 60 },
  )
})
