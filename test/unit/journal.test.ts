/** The clock of the incident that goes on, and what the files of logs and state withstand. */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { currentIncident } from '../../lib/incidents/history.ts'
import { formatLine, localDay, MARKER, type TierName } from '../../lib/tier/contract.ts'
import { lastHeartbeat } from '../../lib/tier/journal.ts'
import { pauseReason } from '../../lib/tier/pause.ts'
import { loadSettings, type Settings } from '../../lib/tier/settings.ts'
import { readState, writeState } from '../../lib/tier/state.ts'

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

const logOf = (tier: TierName) => join(settings.memoryDir, `${tier}-${localDay(NOW)}.log`)
const write = (tier: TierName, minutes: number, text: string) =>
  appendFileSync(logOf(tier), `${formatLine(minutesAgo(minutes), tier, 'WARN', text)}\n`)

test('the incident that goes on begins at the first DOWN since the last healthy sighting, whoever saw either', () => {
  write('watchdog', 20, MARKER.down('hung', 'an older one'))
  write('watchdog', 18, MARKER.runEnded('healthy', 0, 1))
  write('watchdog', 9, MARKER.down('absent', 'connection refused'))
  write('healthcheck', 7, MARKER.down('absent', 'connection refused'))
  // None of these ends it: standing down, free text, a quotation, a time that has not come, noise, half a line.
  write('watchdog', 6, MARKER.runEnded('stood down', 3, 1))
  write('watchdog', 6, 'the gateway is healthy')
  const healthy = MARKER.runEnded('healthy', 0, 1)
  write('watchdog', 5, `its log says:\n${formatLine(minutesAgo(5), 'watchdog', 'INFO', healthy)}`)
  write('watchdog', -60, healthy)
  appendFileSync(logOf('watchdog'), Buffer.from([0xff, 0xfe, 0x0a, 0x00, 0x0a]))
  appendFileSync(logOf('watchdog'), '[2026-11-22T0')
  const incident = currentIncident(settings, NOW)!
  expect(incident).toMatchObject({ verdict: 'absent', evidence: 'connection refused', highestLevel: 2 })
  expect([incident.begin, incident.lastHealthy].map((one) => Math.round((+NOW - +one!) / 60_000))).toEqual([9, 18])
})

test.each([MARKER.runEnded('healthy', 0, 1), MARKER.recovered(2, 10), MARKER.recovered(undefined, 10)])(
  '%s of another tier ends it',
  (text) => {
    write('watchdog', 9, MARKER.down('absent', 'x'))
    write('healthcheck', 5, text)
    expect(currentIncident(settings, NOW)).toBeUndefined()
  },
)

test('a tier’s heartbeat is when it last wrote', () => {
  expect(lastHeartbeat(settings, 'watchdog')).toBeUndefined()
  write('watchdog', 0, 'hello')
  utimesSync(logOf('watchdog'), minutesAgo(7), minutesAgo(7))
  expect(Math.round((+NOW - +lastHeartbeat(settings, 'watchdog')!) / 60_000)).toBe(7)
})

test('a state file is private; a damaged one is put aside, but not in a dry run', () => {
  const path = join(home, 'state', 'a.json')
  writeState(path, { n: 2 })
  expect([statSync(path).mode & 0o777, readdirSync(join(home, 'state'))]).toEqual([0o600, ['a.json']])
  writeFileSync(path, '{"n":')
  for (const [keepAside, name] of [
    [false, /^a\.json$/],
    [true, /^a\.json\.corrupt-/],
  ] as const) {
    expect(readState(path, (value) => value, 0, keepAside)).toEqual({
      value: 0,
      problem: expect.stringContaining(path),
    })
    expect(readdirSync(join(home, 'state'))).toEqual([expect.stringMatching(name)])
  }
})

test('the pause switch understands an end time', () => {
  mkdirSync(settings.stateDir, { recursive: true })
  const path = join(settings.stateDir, 'self-healing.paused')
  const paused = (text: string) => {
    writeFileSync(path, text)
    return pauseReason(settings, NOW) !== undefined
  }
  expect(pauseReason(settings, NOW)).toBeUndefined()
  expect(['', minutesAgo(-10).toISOString(), minutesAgo(10).toISOString()].map(paused)).toEqual([true, true, false])
})
