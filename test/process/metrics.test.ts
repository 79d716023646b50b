/** The numbers that the tiers leave for Prometheus, as files. test/prometheus has the real parts read them. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { TREATMENTS } from '../../lib/gateway/treat.ts'
import type { TierName } from '../../lib/tier/contract.ts'
import { GATEWAY_VERDICTS, metricsPath, openMeter, readMetrics } from '../../lib/tier/metrics.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { createSandbox } from '../support/sandbox.ts'

function machine(env: Record<string, string> = {}) {
  const home = mkdtempSync(join(tmpdir(), 'oc-metrics-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const settings = loadSettings({ HOME: home, ...env })
  mkdirSync(settings.watchdogDir, { recursive: true })
  const said: string[] = []
  const log = { path: join(home, 'log'), warn: (text: string) => void said.push(text) }
  const open = (tier: TierName = 'watchdog', dryRun = false) => openMeter(settings, tier, log, dryRun)
  const path = metricsPath(settings, 'watchdog')
  /** A value by name and labels beside profile and tier. */
  const value = (name: string, labels = '') => {
    const all = `profile="${settings.profile}",tier="watchdog"${labels && `,${labels}`}`
    return readMetrics(path)?.get(`openclaw_self_healing_${name}{${all}}`)
  }
  return { home, said, open, path, value }
}

test('the lines of the log are what is counted, from run to run and from 0 on; a run that did not look leaves what the last look said', () => {
  expect([...GATEWAY_VERDICTS].sort()).toEqual(Object.keys(TREATMENTS).sort())
  const { open, value, path } = machine()
  const first = open()
  first.noteMarker({ kind: 'down', verdict: 'hung', evidence: 'x' }, true)
  // It is written at once: the run may be killed before its end.
  expect(value('gateway_up')).toBe(0)
  first.noteMarker({ kind: 'down', verdict: 'absent', evidence: 'x' }, false)
  expect([value('gateway_verdict', 'verdict="hung"'), value('gateway_verdict', 'verdict="absent"')]).toEqual([0, 1])
  first.noteMarker({ kind: 'escalate', level: 2, why: 'x' }, false)
  first.noteMarker({ kind: 'manual', why: 'watchers: healthcheck has written no log' }, false)

  const second = open()
  second.setOnly('gatewayInfo', { version: '2026.9.5' })
  second.noteRun({ code: 3, verdict: 'stood down', seconds: 1, isPaused: true, longestSec: 60 })
  expect([value('gateway_up'), value('paused'), value('runs_total', 'exit_code="3"')]).toEqual([0, 1, 1])
  const third = open()
  // Any text whatever, as Prometheus reads it.
  third.setOnly('gatewayInfo', { version: '2026 "9\\6\n' })
  third.noteMarker({ kind: 'recovered', level: 1, seconds: 42 }, false)
  expect([value('incidents_total'), value('escalations_total'), value('gateway_up')]).toEqual([1, 1, 1])
  expect(['watchers', 'gateway'].map((about) => value('human_calls_total', `about="${about}"`))).toEqual([1, 0])
  expect(value('recovery_seconds_sum', 'level="1"')).toBe(42)
  const buckets = ['30', '60', '+Inf'].map((le) => value('recovery_seconds_bucket', `level="1",le="${le}"`))
  expect([...buckets, value('recovery_seconds_count', 'level="none"')]).toEqual([0, 1, 1, 0])
  expect(value('restarts_total', 'result="failed"')).toBe(0)
  // What only other tiers count is not in this one's file: a series may stand in one file only.
  expect(value('doctor_visits_total', 'result="down"')).toBeUndefined()
  const infos = readFileSync(path, 'utf8').match(/_gateway_info\{.*/g)
  expect(infos).toEqual([expect.stringContaining(String.raw`version="2026 \"9\\6\n"`)])
})

test.each([
  [/# EOF\n$/, ''],
  [/ 1\n/, ' one\n'],
  [/ 1\n/, ' -1\n'],
])('a file that is damaged (%s → %j) starts again, and that is said once', (part, instead) => {
  const { open, path, said, value } = machine()
  const count = () => open().noteRun({ code: 0, verdict: 'healthy', seconds: 1, isPaused: false, longestSec: 60 })
  count()
  writeFileSync(path, readFileSync(path, 'utf8').replace(part, instead))
  count()
  expect(value('runs_total', 'exit_code="0"')).toBe(1)
  count()
  expect(said).toEqual([expect.stringContaining(path)])
})

test('files for all to read, one for each profile and tier in a folder that may be shared, none by a dry run', () => {
  const folder = join(machine().home, 'textfiles')
  const before = process.umask(0o077)
  onTestFinished(() => void process.umask(before))
  const main = machine({ PROMETHEUS_TEXTFILE_DIR: folder })
  const work = machine({ PROMETHEUS_TEXTFILE_DIR: folder, OPENCLAW_PROFILE: 'work' })
  for (const meter of [main.open(), main.open('monitor'), main.open('guardian', true), work.open()]) meter.flush()
  const names = ['default-monitor', 'default-watchdog', 'work-watchdog']
  expect(readdirSync(folder)).toEqual(names.map((name) => `openclaw-self-healing-${name}.prom`))
  expect([folder, main.path].map((path) => statSync(path).mode & 0o777)).toEqual([0o755, 0o644])
  expect(work.value('incidents_total')).toBe(0)
})

test('a folder that cannot be written does a tier no harm, and is said once a day', async () => {
  const box = await createSandbox()
  onTestFinished(box.close)
  const inTheWay = join(box.root, 'file')
  const folder = join(inTheWay, 'textfiles')
  writeFileSync(inTheWay, '')
  box.writeEnvFile({ PROMETHEUS_TEXTFILE_DIR: folder })
  await box.startGateway()
  for (let i = 0; i < 2; i++) expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
  expect(box.log('watchdog-').split(folder)).toHaveLength(2)
  rmSync(inTheWay)
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
  expect(existsSync(join(folder, 'openclaw-self-healing-default-watchdog.prom'))).toBe(true)
})
