/** The numbers that the tiers leave for Prometheus, as files. test/prometheus has the real parts read them. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { TREATMENTS } from '../../lib/gateway/treat.ts'
import type { TierName } from '../../lib/tier/contract.ts'
import { GATEWAY_VERDICTS, metricsPath, noteMarker, noteRun, openMeter, readMetrics } from '../../lib/tier/metrics.ts'
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
  /** A value by name and labels beside profile and tier, as they stand in the file. */
  const value = (name: string, labels = '') =>
    readMetrics(path).series.get(
      `openclaw_self_healing_${name}{profile="${settings.profile}",tier="watchdog"${labels && `,${labels}`}}`,
    )
  return { settings, said, open, path, value }
}

test('every verdict of the examination is one that the numbers know', () => {
  expect([...GATEWAY_VERDICTS].sort()).toEqual(Object.keys(TREATMENTS).sort())
})

test('counters go on from run to run, begin at 0, and a run that is overtaken by another takes nothing from it', () => {
  const { open, value, path } = machine()
  const [first, second] = [open(), open()]
  for (const meter of [first, second]) meter.add('restarts', { result: 'done' })
  second.flush()
  first.flush()
  open().flush()
  expect(value('restarts_total', 'result="done"')).toBe(2)
  expect(value('restarts_total', 'result="failed"')).toBe(0)
  // What only other tiers count is not in this one's file: a series may stand in one file only.
  expect(value('doctor_visits_total', 'result="down"')).toBeUndefined()
  for (const version of ['2026.9.5', '2026.9.6']) {
    const meter = open()
    meter.setOnly('gatewayInfo', { version })
    meter.flush()
  }
  const infos = [...readMetrics(path).series.keys()].filter((one) => one.includes('gateway_info'))
  expect(infos).toEqual(['openclaw_self_healing_gateway_info{profile="default",tier="watchdog",version="2026.9.6"}'])
})

test('the lines of the log are what is counted; a run that did not look leaves what the last look said', () => {
  const { open, value } = machine()
  const meter = open()
  noteMarker(meter, { kind: 'down', verdict: 'hung', evidence: 'x' }, true)
  // It is written at once: the run may be killed before its end.
  expect(value('gateway_up')).toBe(0)
  noteMarker(meter, { kind: 'down', verdict: 'absent', evidence: 'x' }, false)
  expect([value('gateway_verdict', 'verdict="hung"'), value('gateway_verdict', 'verdict="absent"')]).toEqual([0, 1])
  noteMarker(meter, { kind: 'escalate', level: 2, why: 'x' }, false)
  noteMarker(meter, { kind: 'manual', why: 'watchers: healthcheck has written no log' }, false)
  noteRun(meter, 'watchdog', { code: 3, verdict: 'stood down', seconds: 1, isPaused: true, longestSec: 60 })
  meter.flush()
  expect([value('gateway_up'), value('paused'), value('runs_total', 'exit_code="3"')]).toEqual([0, 1, 1])
  noteMarker(meter, { kind: 'recovered', level: 1, seconds: 42 }, false)
  expect([value('incidents_total'), value('escalations_total'), value('gateway_up')]).toEqual([1, 1, 1])
  expect(value('human_calls_total', 'about="watchers"')).toBe(1)
  expect(value('human_calls_total', 'about="gateway"')).toBe(0)
  expect(value('recovery_seconds_sum', 'level="1"')).toBe(42)
  const buckets = ['30', '60', '+Inf'].map((le) => value('recovery_seconds_bucket', `level="1",le="${le}"`))
  expect([...buckets, value('recovery_seconds_count', 'level="none"')]).toEqual([0, 1, 1, 0])
})

test('any text whatever in a label comes back as it was', () => {
  const { open, path } = machine()
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (version) => {
      const meter = open()
      meter.setOnly('gatewayInfo', { version })
      meter.flush()
      expect(readMetrics(path).problem).toBeUndefined()
      const written = /_gateway_info\{.*version="(.*)"\} 1$/m.exec(readFileSync(path, 'utf8'))![1]!
      expect(written.replace(/\\(.)/gs, (_, c: string) => (c === 'n' ? '\n' : c))).toBe(version)
    }),
    { numRuns: 100 },
  )
})

test.each([
  ['cut off', (text: string) => text.slice(0, -20)],
  ['cut off at the end of a line', (text: string) => text.replace(/# EOF\n$/, '')],
  ['empty', () => ''],
  ['with a number that is none', (text: string) => text.replace(/ 1\n/, ' one\n')],
  ['with a counter below zero', (text: string) => text.replace(/ 1\n/, ' -1\n')],
])('a file that is damaged (%s) starts again, and that is said once', (_, damage) => {
  const { open, path, said, value } = machine()
  const count = () => {
    const meter = open()
    meter.add('runs', { exit_code: '0' })
    meter.flush()
  }
  count()
  writeFileSync(path, damage(readFileSync(path, 'utf8')))
  count()
  expect(value('runs_total', 'exit_code="0"')).toBe(1)
  count()
  expect(said).toEqual([expect.stringContaining(path)])
})

test('files for all to read, one for each profile and tier in a folder that may be shared', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'oc-textfiles-')), 'textfiles')
  const before = process.umask(0o077)
  onTestFinished(() => {
    process.umask(before)
    rmSync(join(folder, '..'), { recursive: true })
  })
  const main = machine({ PROMETHEUS_TEXTFILE_DIR: folder })
  const work = machine({ PROMETHEUS_TEXTFILE_DIR: folder, OPENCLAW_PROFILE: 'work' })
  for (const tier of ['watchdog', 'monitor'] as const) main.open(tier).flush()
  work.open().flush()
  main.open('guardian', true).flush() // a dry run
  expect(readdirSync(folder)).toEqual([
    'openclaw-self-healing-default-monitor.prom',
    'openclaw-self-healing-default-watchdog.prom',
    'openclaw-self-healing-work-watchdog.prom',
  ])
  expect([folder, main.path].map((path) => statSync(path).mode & 0o777)).toEqual([0o755, 0o644])
  expect(work.value('incidents_total')).toBe(0)
})

test('a folder that cannot be written does a tier no harm, and is said once a day', async () => {
  const box = await createSandbox()
  onTestFinished(box.close)
  const inTheWay = join(box.root, 'file')
  writeFileSync(inTheWay, '')
  box.writeEnvFile({ PROMETHEUS_TEXTFILE_DIR: join(inTheWay, 'textfiles') })
  await box.startGateway()
  for (let i = 0; i < 2; i++) expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
  expect(box.log('watchdog-').split(join(inTheWay, 'textfiles'))).toHaveLength(2)
  rmSync(inTheWay)
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
  expect(existsSync(join(inTheWay, 'textfiles', 'openclaw-self-healing-default-watchdog.prom'))).toBe(true)
})
