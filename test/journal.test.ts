import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { currentIncident } from '../lib/incidents/history.ts'
import { formatLine, localDay, MARKER, type TierName } from '../lib/tier/contract.ts'
import { lastHeartbeat, readTail, recentLogs } from '../lib/tier/journal.ts'
import { pauseReason } from '../lib/tier/pause.ts'
import { loadSettings, type Settings } from '../lib/tier/settings.ts'
import { readState, writeState } from '../lib/tier/state.ts'

let home: string
let settings: Settings
const NOW = new Date()
const minutesAgo = (minutes: number) => new Date(NOW.getTime() - minutes * 60_000)

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'journal-'))
  settings = loadSettings({ HOME: home })
  mkdirSync(settings.memoryDir, { recursive: true })
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

function write(tier: TierName, at: Date, text: string): void {
  const name =
    tier === 'emergency-recovery' ? `emergency-recovery-${localDay(NOW)}-020000.log` : `${tier}-${localDay(NOW)}.log`
  appendFileSync(join(settings.memoryDir, name), `${formatLine(at, tier, 'WARN', text)}\n`)
}

test('an incident begins at the first DOWN in any tier’s log since the last healthy observation', () => {
  write('watchdog', minutesAgo(20), MARKER.down('hung', 'an older one'))
  write('watchdog', minutesAgo(18), MARKER.runEnded('healthy', 0, 1))
  write('watchdog', minutesAgo(9), MARKER.down('absent', 'connection refused'))
  write('healthcheck', minutesAgo(7), MARKER.down('absent', 'still'))
  write('watchdog', minutesAgo(6), MARKER.runEnded('absent', 1, 1))
  const incident = currentIncident(settings, NOW)
  expect(Math.round((NOW.getTime() - incident!.begin.getTime()) / 60_000)).toBe(9)
  expect(incident).toMatchObject({ verdict: 'absent', evidence: 'connection refused' })
  expect(incident!.steps.map((step) => step.tier)).toEqual(['watchdog', 'healthcheck'])
})

test.each([
  ['a healthy tick', MARKER.runEnded('healthy', 0, 1)],
  ['a recovery', MARKER.recovered(2, 10)],
  ['a recovery from outside', MARKER.recovered(undefined, 10)],
])('%s of another tier ends it', (_name, text) => {
  write('watchdog', minutesAgo(9), MARKER.down('absent', 'x'))
  write('healthcheck', minutesAgo(5), text)
  expect(currentIncident(settings, NOW)).toBeUndefined()
})

test('standing down, starting and free text end nothing', () => {
  write('watchdog', minutesAgo(9), MARKER.down('absent', 'x'))
  write('watchdog', minutesAgo(8), MARKER.runEnded('stood down', 3, 1))
  write('watchdog', minutesAgo(7), MARKER.runEnded('starting', 1, 1))
  write('watchdog', minutesAgo(6), 'the gateway is healthy')
  expect(currentIncident(settings, NOW)).toBeDefined()
})

test('a silence (sleep, power cut) neither ends an incident nor counts as down time', () => {
  write('watchdog', minutesAgo(9 * 60), MARKER.down('absent', 'in the evening'))
  write('watchdog', minutesAgo(9 * 60 - 3), MARKER.down('absent', 'in the evening'))
  write('watchdog', minutesAgo(2), MARKER.down('absent', 'after waking up'))
  const incident = currentIncident(settings, NOW)!
  expect(Math.round((NOW.getTime() - incident.begin.getTime()) / 60_000)).toBe(9 * 60)
  expect(Math.round(incident.downSec / 60)).toBe(3 + 2)
})

test('lines from the future (a clock that was set back) are passed over', () => {
  write('watchdog', minutesAgo(5), MARKER.down('absent', 'now'))
  write('watchdog', minutesAgo(-60), MARKER.runEnded('healthy', 0, 1))
  expect(currentIncident(settings, NOW)).toBeDefined()
})

test('a quoted marker on a continuation line is no marker', () => {
  write('watchdog', minutesAgo(5), MARKER.down('absent', 'x'))
  write(
    'watchdog',
    minutesAgo(4),
    `its log says:\n${formatLine(minutesAgo(4), 'watchdog', 'INFO', MARKER.runEnded('healthy', 0, 1))}`,
  )
  expect(currentIncident(settings, NOW)).toBeDefined()
})

test('noise, half lines and invalid UTF-8 in a log do no harm', () => {
  write('watchdog', minutesAgo(5), MARKER.down('absent', 'x'))
  appendFileSync(join(settings.memoryDir, `watchdog-${localDay(NOW)}.log`), Buffer.from([0xff, 0xfe, 0x0a, 0x00, 0x0a]))
  appendFileSync(join(settings.memoryDir, `watchdog-${localDay(NOW)}.log`), '[2026-11-22T0')
  expect(currentIncident(settings, NOW)?.verdict).toBe('absent')
})

test('of a huge log only the end is read, from a whole line on', () => {
  const path = join(home, 'big.log')
  writeFileSync(path, 'x'.repeat(1_000_000))
  appendFileSync(path, '\nlast line\n')
  expect(readTail(path, 100)).toBe('last line\n')
  expect(readTail(join(home, 'missing.log'), 100)).toBe('')
  expect(readTail(home, 100)).toBe('')
})

test('a tier’s heartbeat is when it last wrote', () => {
  expect(lastHeartbeat(settings, 'watchdog')).toBeUndefined()
  write('watchdog', NOW, 'hello')
  const path = recentLogs(settings, ['watchdog'], 60)[0]!
  utimesSync(path, minutesAgo(7), minutesAgo(7))
  expect(Math.round((NOW.getTime() - lastHeartbeat(settings, 'watchdog')!.getTime()) / 60_000)).toBe(7)
})

test('a state file is written whole, privately, and leaves no temporary file', () => {
  const path = join(home, 'state', 'a.json')
  writeState(path, { n: 1 })
  writeState(path, { n: 2 })
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ n: 2 })
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(home, 'state'))).toEqual(['a.json'])
  expect(readState(path, (value) => value as { n: number }, { n: 0 })).toEqual({ value: { n: 2 } })
})

test('a damaged state file is read as the fallback; in a dry run it stays where it is', () => {
  const path = join(home, 'a.json')
  writeFileSync(path, '{"n":')
  const dry = readState(path, (value) => value as number, 7, false)
  expect(dry).toMatchObject({ value: 7, problem: expect.stringContaining('damaged') })
  expect(readdirSync(home)).toContain('a.json')
  expect(readState(path, (value) => value as number, 7).value).toBe(7)
  expect(readdirSync(home).some((name) => name.startsWith('a.json.corrupt-'))).toBe(true)
})

test('the pause switch understands an end time', () => {
  mkdirSync(settings.stateDir, { recursive: true })
  const path = join(settings.stateDir, 'self-healing.paused')
  expect(pauseReason(settings, NOW)).toBeUndefined()
  writeFileSync(path, '')
  expect(pauseReason(settings, NOW)).toMatch(/until it is removed/)
  writeFileSync(path, minutesAgo(-10).toISOString())
  expect(pauseReason(settings, NOW)).toMatch(/until \d{4}-/)
  writeFileSync(path, minutesAgo(10).toISOString())
  expect(pauseReason(settings, NOW)).toBeUndefined()
})
