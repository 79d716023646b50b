/** The history that is read back from the logs: what it adds up to is worked out by hand here. */
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { type History, lastDays, readHistory } from '../../lib/incidents/history.ts'
import { DEED, formatLine, MARKER } from '../../lib/tier/contract.ts'
import { loadSettings, type Settings } from '../../lib/tier/settings.ts'
import { at, pastLogs, WEEK_ENDS, writeWeek } from '../support/week.ts'

const NOW = at(WEEK_ENDS)
const WEEK = lastDays(7, NOW)

function emptyHome(): { settings: Settings; memoryDir: string; fallbackDir: string } {
  const home = mkdtempSync(join(tmpdir(), 'oc-history-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const settings = loadSettings({ HOME: home })
  mkdirSync(settings.memoryDir, { recursive: true })
  return { settings, memoryDir: settings.memoryDir, fallbackDir: join(settings.watchdogDir, 'logs') }
}

/** An hour of 2026-11-20 that begins at noon and is quiet but for what the test writes. */
const HOUR = { from: at('2026-11-20 12:00:00'), to: at('2026-11-20 13:00:00') }
function hourWith(write: (logs: ReturnType<typeof pastLogs>, memoryDir: string) => void): History {
  const { settings, memoryDir } = emptyHome()
  write(pastLogs(memoryDir), memoryDir)
  return readHistory(settings, HOUR, HOUR.to)
}

let weekFiles: { name: string; text: string }[]
beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), 'oc-week-'))
  writeWeek(folder)
  weekFiles = readdirSync(folder).map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }))
  rmSync(folder, { recursive: true })
})

function week(change: (memoryDir: string) => void = () => {}): History {
  const { settings, memoryDir } = emptyHome()
  for (const { name, text } of weekFiles) writeFileSync(join(memoryDir, name), text)
  change(memoryDir)
  return readHistory(settings, WEEK, NOW)
}

test('a week: every incident with its cause, who ended it, and what was spent on it', () => {
  const { incidents } = week()
  const told = incidents.map(({ begin, end, evidence, steps, lastSeen, ...rest }) => ({
    ...rest,
    begin: begin.getTime(),
    seconds: (end!.getTime() - begin.getTime()) / 1000,
  }))
  const usual = { isBeginSeen: true, unwatchedSec: 0, stoppedSec: 0, stepsLeftOut: 0 }
  const ownWork = { doctorRuns: 0, manualCalls: 0, alerts: 0, restarts: 1, ...usual }
  expect(told).toEqual([
    {
      ...ownWork,
      begin: at('2026-11-16 03:14:00').getTime(),
      seconds: 12,
      downSec: 12,
      verdict: 'absent',
      healedBy: 1,
      highestLevel: 1,
    },
    {
      ...ownWork,
      begin: at('2026-11-17 09:30:00').getTime(),
      seconds: 20,
      downSec: 20,
      verdict: 'misconfigured',
      healedBy: 2,
      highestLevel: 2,
    },
    {
      ...ownWork,
      begin: at('2026-11-18 22:05:00').getTime(),
      seconds: 1080,
      downSec: 1080,
      // It was first seen absent; why, it said after the restart.
      verdict: 'broken-install',
      healedBy: 3,
      highestLevel: 3,
      doctorRuns: 1,
    },
    {
      ...usual,
      begin: at('2026-11-20 14:00:01').getTime(),
      seconds: 2460,
      downSec: 2460,
      verdict: 'impostor',
      healedBy: 'outside',
      highestLevel: 4,
      restarts: 0,
      doctorRuns: 0,
      manualCalls: 1,
      alerts: 4,
    },
  ])
})

test('a week: uptime is what was seen, and the pause and the night without the machine are unknown', () => {
  const { uptime, stretches } = week()
  // From the last healthy look before them to the first look after them: 09:57 to 11:00, 00:57 to 07:00.
  const unknown = stretches.filter(({ condition }) => condition === 'unknown')
  expect(unknown.map(({ from, to }) => Math.round((to.getTime() - from.getTime()) / 60_000))).toEqual([63, 363])
  expect(unknown.map(({ standDowns }) => standDowns)).toEqual([20 + 12, 0])
  expect(uptime.downSec).toBe(12 + 20 + 1080 + 2460)
  expect(Math.round(uptime.unknownSec)).toBe((63 + 363) * 60 - 1)
  expect(Math.round(uptime.upSec)).toBe(7 * 86_400 - 3572 - 25_559)
  expect(uptime.percent).toBeCloseTo((100 * (604_800 - 3572 - 25_560)) / (604_800 - 25_560), 3)
  // The last healthy looks before the four outages were 119, 180, 120 and 180 s old, and 1 s for the run's own time.
  expect(uptime.worstPercent!).toBeLessThan(uptime.percent!)
  expect(uptime.worstPercent!).toBeGreaterThan(uptime.percent! - (100 * 4 * 181) / 579_240)
})

test('a week: runs of each tier by exit code, and the last one', () => {
  const { runs } = week()
  // Every 180 s makes 3360; 161 of these times were taken up by pause, sleep and incidents, which had 20 + 18 runs.
  expect(runs.watchdog).toMatchObject({ started: 3360 - 161 + 20 + 18, unfinished: 0 })
  expect(runs.watchdog.ended).toEqual({ 0: 3199 + 2, 1: 16, 3: 20 })
  expect(runs['emergency-recovery'].ended).toEqual({ 0: 1, 1: 1 })
  expect(runs['emergency-recovery'].last).toEqual({ at: at('2026-11-20 14:05:05'), verdict: 'impostor', exitCode: 1 })
})

test('a week: what a tier says at every tick is one step, counted', () => {
  const { incidents } = week()
  const down = incidents[3]!.steps.find(({ said, tier }) => tier === 'watchdog' && said.kind === 'down')
  expect(down).toMatchObject({ at: at('2026-11-20 14:00:01'), until: at('2026-11-20 14:39:01'), times: 14 })
  expect(incidents[3]!.steps.length).toBeLessThan(15)
})

test('no logs at all: nothing is known, and nothing is claimed', () => {
  const { settings } = emptyHome()
  const { incidents, uptime, notes } = readHistory(settings, WEEK, NOW)
  expect(incidents).toEqual([])
  expect(uptime).toMatchObject({ upSec: 0, downSec: 0, unknownSec: 7 * 86_400, percent: undefined })
  expect(notes).toEqual(['there is no log of these days at all'])
})

test('logs that are missing are said by day, and their time is not guessed over', () => {
  const { notes, uptime, incidents } = week((dir) => {
    for (const tier of ['watchdog', 'healthcheck']) rmSync(join(dir, `${tier}-2026-11-18.log`))
    rmSync(join(dir, 'guardian-2026-11-19.log'))
    writeFileSync(join(dir, 'watchdog-2026-11-18.log.1.gz'), 'packed')
  })
  expect(notes).toEqual([
    expect.stringMatching(/watchdog-2026-11-18\.log\.1\.gz is not read: somebody renamed or packed it/),
    'no watchdog log of 2026-11-18',
    'no healthcheck log of 2026-11-18',
    'no guardian log of 2026-11-19',
  ])
  // Level 3 has a log of its own: what it wrote is known, the rest of that day is not.
  expect(uptime.unknownSec).toBeGreaterThan(86_400 - 780)
  expect(incidents[2]).toMatchObject({ verdict: 'broken-install', healedBy: 3, downSec: 778 })
})

test('days before the oldest log, and why they have none', () => {
  const { settings, memoryDir } = emptyHome()
  for (const { name, text } of weekFiles) writeFileSync(join(memoryDir, name), text)
  const { notes, uptime } = readHistory({ ...settings, logRetentionDays: 14 }, lastDays(30, NOW), NOW)
  expect(notes).toEqual(['there is no log from before 2026-11-15 (logs are kept for 14 days)'])
  expect(uptime.unknownSec).toBeGreaterThan(22 * 86_400)
})

test('a recovery whose DOWN is in no log is told with the begin that it reckons itself', () => {
  const { incidents, uptime } = hourWith((logs) => {
    logs.quiet('2026-11-20 11:50:00', '2026-11-20 12:10:00')
    logs.run('healthcheck', { begin: '2026-11-20 12:20:00', seconds: 5, says: [[5, MARKER.recovered(2, 300)]] })
  })
  expect(incidents).toHaveLength(1)
  expect(incidents[0]).toMatchObject({ isBeginSeen: false, verdict: 'unknown', healedBy: 2, downSec: 300 })
  expect(uptime.downSec).toBe(300)
})

test('an incident goes on until it is seen healthy, and the silence in it is not down time', () => {
  const down = { begin: '2026-11-20 12:00:10', verdict: 'hung', exitCode: 1, seconds: 0 } as const
  const { incidents, uptime } = hourWith((logs) => {
    logs.run('watchdog', { ...down, says: [[0, MARKER.down('hung', 'x')]] })
    logs.run('watchdog', { ...down, begin: '2026-11-20 12:40:10', says: [[0, MARKER.down('hung', 'x')]] })
    logs.run('watchdog', { begin: '2026-11-20 12:43:10', seconds: 0 })
  })
  expect(incidents).toHaveLength(1)
  expect(incidents[0]).toMatchObject({ downSec: 180, unwatchedSec: 2400, healedBy: 'outside' })
  expect(uptime.downSec).toBe(180)
})

test('an incident that goes on has no end', () => {
  const { incidents, uptime } = hourWith((logs) => {
    logs.quiet('2026-11-20 11:00:00', '2026-11-20 12:50:00')
    for (const begin of ['2026-11-20 12:51:00', '2026-11-20 12:54:00', '2026-11-20 12:57:00'])
      logs.run('watchdog', { begin, verdict: 'hung', exitCode: 1, seconds: 0, says: [[0, MARKER.down('hung', 'x')]] })
  })
  expect(incidents[0]).toMatchObject({ end: undefined, healedBy: undefined, downSec: 540 })
  expect(uptime.downSec).toBe(540)
})

test('a gateway that somebody stopped is not down', () => {
  const { incidents, uptime } = hourWith((logs) => {
    logs.quiet('2026-11-20 11:00:00', '2026-11-20 12:30:00')
    for (let minute = 30; minute < 60; minute += 3)
      logs.run('watchdog', {
        begin: `2026-11-20 12:${minute}:00`,
        verdict: 'stopped-on-purpose',
        exitCode: 3,
        seconds: 0,
      })
  })
  expect(incidents).toEqual([])
  expect(uptime.downSec).toBe(0)
  expect(uptime.stoppedSec).toBe(1800)
})

test('half an hour of the doctor’s work without a marked line is watched time', () => {
  const { incidents, uptime } = hourWith((logs) => {
    logs.quiet('2026-11-20 11:00:00', '2026-11-20 12:10:00')
    logs.run('emergency-recovery', {
      begin: '2026-11-20 12:10:00',
      seconds: 1800,
      says: [
        [0, MARKER.down('hung', 'x')],
        [10, DEED.doctor('Claude Code', '2.1.330', 0)],
        [1799, MARKER.recovered(3, 1799)],
      ],
    })
  })
  expect(incidents[0]).toMatchObject({ healedBy: 3, doctorRuns: 1, downSec: 1799, unwatchedSec: 0 })
  expect(uptime.unknownSec).toBe(20 * 60)
})

test('the level that brought it back has the credit, also when another tier saw it healthy a moment before', () => {
  const { incidents } = hourWith((logs) => {
    logs.run('watchdog', {
      begin: '2026-11-20 12:00:10',
      verdict: 'hung',
      exitCode: 1,
      seconds: 0,
      says: [[0, MARKER.down('hung', 'x')]],
    })
    logs.run('watchdog', { begin: '2026-11-20 12:01:00', seconds: 0 })
    logs.run('healthcheck', { begin: '2026-11-20 12:00:30', seconds: 32, says: [[32, MARKER.recovered(2, 52)]] })
  })
  expect(incidents).toHaveLength(1)
  expect(incidents[0]!.healedBy).toBe(2)
})

test('a clock that was set back is said, and what was seen still counts', () => {
  const { notes, uptime } = hourWith((logs, dir) => {
    logs.quiet('2026-11-20 11:30:00', '2026-11-20 13:00:00')
    const log = join(dir, 'watchdog-2026-11-20.log')
    const lines = readFileSync(log, 'utf8').split('\n')
    writeFileSync(log, [...lines.slice(0, 50), ...lines.slice(30)].join('\n'))
  })
  expect(notes.at(-1)).toMatch(/: 1 line older than the one before [^,]*$/)
  expect(uptime).toMatchObject({ upSec: 3600, unknownSec: 0 })
})

test('a watcher that cannot be started is said, with why', () => {
  const { remarks, stretches } = hourWith((_, dir) => {
    const says = (time: string) => formatLine(at(time), 'watchdog', 'ERROR', 'cannot start: no Node was found')
    writeFileSync(
      join(dir, 'watchdog-2026-11-20.log'),
      `${says('2026-11-20 12:10:00')}\n${says('2026-11-20 12:13:00')}\n`,
    )
  })
  expect(stretches).toMatchObject([{ condition: 'unknown', failedStarts: 2 }])
  expect(remarks).toMatchObject([{ tier: 'watchdog', times: 2, said: { why: 'no Node was found' } }])
})

test('runs that were killed are counted, and calls about the watchers are no incidents of the gateway', () => {
  const { runs, incidents, remarks } = hourWith((logs) => {
    logs.quiet('2026-11-20 08:00:00', '2026-11-20 11:59:00')
    logs.run('guardian', { begin: '2026-11-20 12:00:00', exitCode: 1, says: [[0, MARKER.manual('watchers: dead')]] })
  })
  expect(incidents).toEqual([])
  expect(remarks).toMatchObject([{ tier: 'guardian', said: { kind: 'manual', why: 'watchers: dead' } }])
  const { settings, memoryDir } = emptyHome()
  pastLogs(memoryDir).run('watchdog', { begin: '2026-11-20 12:00:00', isKilled: true })
  expect(readHistory(settings, lastDays(7, NOW), NOW).runs.watchdog).toMatchObject({ started: 1, unfinished: 1 })
  expect(runs.watchdog.unfinished).toBe(0)
})

test('what was logged in the fallback folder counts, and a log folder that is no folder is said', () => {
  const { settings, memoryDir, fallbackDir } = emptyHome()
  pastLogs(fallbackDir).run('watchdog', { begin: '2026-11-20 12:00:00', says: [[0, MARKER.down('hung', 'x')]] })
  rmSync(memoryDir, { recursive: true })
  writeFileSync(memoryDir, 'a file')
  const { incidents, notes } = readHistory(settings, WEEK, NOW)
  expect(incidents).toHaveLength(1)
  expect(notes[0]).toMatch(/^the log folder .*memory cannot be read \(ENOTDIR\)/)
})

test('damage is counted by log: noise, half lines, bytes that are no text, lines from the future', () => {
  const { notes, incidents } = hourWith((logs, dir) => {
    logs.quiet('2026-11-20 11:00:00', '2026-11-20 13:00:00')
    const log = join(dir, 'watchdog-2026-11-20.log')
    const line = (text: string, time = '2026-11-20 12:30:00') => formatLine(at(time), 'watchdog', 'INFO', text)
    appendFileSync(log, `${'\0'.repeat(4096)}\nRUN ended: heal\n[2026-11-20T12:30:00+00:00] [watch\n`)
    appendFileSync(log, Buffer.concat([Buffer.from(line('memory ')), Buffer.from([0xff, 0xfe, 0x0a])]))
    appendFileSync(log, `${line(MARKER.down('hung', 'tomorrow'), '2026-11-21 12:00:00')}\n`)
    appendFileSync(log, `${line(`x${'y'.repeat(100_000)}`)}\n    a continuation\n\n`)
    appendFileSync(log, line(MARKER.down('hung', 'a line without its end'), '2026-11-20 12:59:00'))
  })
  expect(notes.at(-1)).toMatch(
    /: 3 lines that no tier .*, 1 line with bytes .*, 1 line longer .*, 1 line from the future/,
  )
  expect(incidents).toMatchObject([{ evidence: 'a line without its end' }])
})

test.skipIf(process.getuid?.() === 0)('a log that must not be read is said', () => {
  const { notes } = hourWith((logs, dir) => {
    logs.quiet('2026-11-20 11:00:00', '2026-11-20 13:00:00')
    chmodSync(join(dir, 'watchdog-2026-11-20.log'), 0o000)
  })
  expect(notes.at(-1)).toContain('cannot be read (EACCES)')
})

test('a folder in the place of a log is said', () => {
  const { notes } = hourWith((_, dir) => mkdirSync(join(dir, 'watchdog-2026-11-20.log')))
  expect(notes.at(-1)).toContain('cannot be read (it is no file)')
})

test('more marked lines than any tier writes are not all remembered, and that is said', () => {
  const { notes, incidents } = hourWith((_, dir) => {
    const line = `${formatLine(HOUR.from, 'watchdog', 'WARN', MARKER.down('hung', 'again'))}\n`
    writeFileSync(join(dir, 'watchdog-2026-11-20.log'), line.repeat(25_000))
  })
  expect(notes.at(-1)).toContain(': 5000 lines skipped')
  expect(incidents).toHaveLength(1)
  expect(incidents[0]!.steps).toMatchObject([{ times: 20_000 }])
})

test('whatever becomes of the logs, the history is whole: no time is lost, none counted twice, and nothing throws', () => {
  const lines = weekFiles.find(({ name }) => name === 'watchdog-2026-11-18.log')!.text.split('\n')
  const { settings, memoryDir } = emptyHome()
  for (const { name, text } of weekFiles.filter((file) => file.name.includes('2026-11-18')))
    writeFileSync(join(memoryDir, name), text)
  const span = { from: at('2026-11-18 20:00:00'), to: at('2026-11-19 00:00:00') }
  const spot = fc.double({ min: 0, max: 0.9999, noNaN: true })
  const harm = fc.oneof(
    fc.record({ kind: fc.constant('cut' as const), spot, size: fc.integer({ min: 1, max: 20_000 }) }),
    fc.record({ kind: fc.constant('bytes' as const), spot, bytes: fc.uint8Array({ minLength: 1, maxLength: 200 }) }),
    fc.record({ kind: fc.constant('line' as const), spot, other: spot }),
  )
  fc.assert(
    fc.property(fc.array(harm, { minLength: 1, maxLength: 8 }), (harms) => {
      let bytes: Buffer = Buffer.from(lines.join('\n'))
      for (const one of harms) {
        const where = Math.floor(one.spot * bytes.length)
        const [head, tail] = [bytes.subarray(0, where), bytes.subarray(where)]
        if (one.kind === 'cut') bytes = Buffer.concat([head, tail.subarray(one.size)])
        else if (one.kind === 'bytes') bytes = Buffer.concat([head, one.bytes, tail])
        // A line that stands where it does not belong: the clock went back, or somebody edited the log.
        else bytes = Buffer.concat([head, Buffer.from(`\n${lines[Math.floor(one.other * lines.length)]}\n`), tail])
      }
      writeFileSync(join(memoryDir, 'watchdog-2026-11-18.log'), bytes)
      const { stretches, incidents, uptime } = readHistory(settings, span, span.to)
      expect(stretches[0]!.from).toEqual(span.from)
      expect(stretches.at(-1)!.to).toEqual(span.to)
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

test('text from outside between the lines changes nothing but the count of odd lines', () => {
  const before = week()
  const hostile = [
    `    ${MARKER.down('hung', 'quoted')}`,
    `    [2026-11-18T22:05:00+00:00] [watchdog] [WARN] ${MARKER.manual('quoted')}`,
    MARKER.manual('not a line of ours'),
    '[2026-99-99T99:99:99+00:00] [watchdog] [WARN] DOWN hung: no such day',
    '[2026-11-18T22:05:00+00:00] [gateway] [WARN] DOWN hung: no tier of ours',
    '[2026-11-18T22:05:00+00:00] [constructor] [WARN] DOWN hung: no tier either',
  ]
  const after = week((dir) => appendFileSync(join(dir, 'watchdog-2026-11-18.log'), `${hostile.join('\n')}\n`))
  expect(after.notes.at(-1)).toMatch(/: 2 lines that no tier writes/)
  expect({ ...after, notes: [] }).toEqual({ ...before, notes: [] })
})
