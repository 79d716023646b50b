/** The clock of the incident that goes on. */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { currentIncident } from '../../lib/incidents/history.ts'
import { formatLine, localDay, MARKER, type TierName } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

const NOW = new Date()
const minutesAgo = (minutes: number) => new Date(NOW.getTime() - minutes * 60_000)
const HEALTHY = MARKER.runEnded('healthy', 0, 1)

function machine() {
  const home = mkdtempSync(join(tmpdir(), 'journal-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const settings = loadSettings({ HOME: home })
  mkdirSync(settings.memoryDir, { recursive: true })
  const append = (tier: TierName, text: string | Buffer) =>
    appendFileSync(join(settings.memoryDir, `${tier}-${localDay(NOW)}.log`), text)
  const write = (tier: TierName, minutes: number, text: string) =>
    append(tier, `${formatLine(minutesAgo(minutes), tier, 'WARN', text)}\n`)
  return { append, write, incident: () => currentIncident(settings, NOW) }
}

test('the incident that goes on begins at the first DOWN since the last healthy sighting, by any tier', () => {
  const { append, write, incident } = machine()
  write('watchdog', 20, MARKER.down('hung', 'an older one'))
  write('watchdog', 18, HEALTHY)
  write('watchdog', 9, MARKER.down('absent', 'connection refused'))
  write('healthcheck', 7, MARKER.down('absent', 'connection refused'))
  // None of these ends it: standing down, free text, a quotation, a time that has not come, noise, half a line.
  write('watchdog', 6, MARKER.runEnded('stood down', 3, 1))
  write('watchdog', 6, 'the gateway is healthy')
  write('watchdog', 5, `its log says:\n${formatLine(minutesAgo(5), 'watchdog', 'INFO', HEALTHY)}`)
  write('watchdog', -60, HEALTHY)
  append('watchdog', Buffer.from([0xff, 0xfe, 0x0a, 0x00, 0x0a]))
  append('watchdog', '[2026-11-22T0')
  const { begin, lastHealthy, ...rest } = incident()!
  expect(rest).toMatchObject({ verdict: 'absent', evidence: 'connection refused', highestLevel: 2 })
  expect([begin, lastHealthy].map((one) => Math.round((+NOW - +one!) / 60_000))).toEqual([9, 18])
})

test.each([HEALTHY, MARKER.recovered(2, 10), MARKER.recovered(undefined, 10)])('%s of another tier ends it', (text) => {
  const { write, incident } = machine()
  write('watchdog', 9, MARKER.down('absent', 'x'))
  write('healthcheck', 5, text)
  expect(incident()).toBeUndefined()
})
