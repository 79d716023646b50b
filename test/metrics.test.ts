/** The numbers that the tiers leave for Prometheus, as files. test/prometheus has the real parts read them. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { TREATMENTS } from '../lib/gateway/treat.ts'
import { GATEWAY_VERDICTS, noteMarker, noteRun, noteVerdict } from '../lib/tier/metrics.ts'
import { metricsPath, openMeter, readMetrics } from '../lib/tier/metrics-file.ts'
import { loadSettings } from '../lib/tier/settings.ts'
import { createSandbox } from './support/sandbox.ts'

function machine(env: Record<string, string> = {}) {
  const home = mkdtempSync(join(tmpdir(), 'oc-metrics-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const settings = loadSettings({ HOME: home, ...env })
  mkdirSync(settings.watchdogDir, { recursive: true })
  const said: string[] = []
  const open = (tier: Parameters<typeof openMeter>[1] = 'watchdog', dryRun = false) =>
    openMeter(settings, tier, (text) => said.push(text), dryRun)
  const path = metricsPath(settings, 'watchdog')
  /** A value by name and labels beside profile and tier, as they stand in the file. */
  const value = (name: string, labels = '', tier = 'watchdog') =>
    readMetrics(metricsPath(settings, tier as 'watchdog')).series.get(
      `openclaw_self_healing_${name}{profile="${settings.profile}",tier="${tier}"${labels && `,${labels}`}}`,
    )
  return { home, settings, said, open, path, value }
}

test('every verdict of the examination is one that the numbers know', () => {
  expect([...GATEWAY_VERDICTS].sort()).toEqual(Object.keys(TREATMENTS).sort())
})

test('counters go on from run to run, begin at 0, and a run that is overtaken by another takes nothing from it', () => {
  const { open, value } = machine()
  const first = open()
  const second = open()
  first.add('restarts', { result: 'done' })
  second.add('restarts', { result: 'done' })
  second.flush()
  first.flush()
  open().flush()
  expect(value('restarts_total', 'result="done"')).toBe(2)
  expect(value('restarts_total', 'result="failed"')).toBe(0)
  expect(value('incidents_total')).toBe(0)
  // What only other tiers count is not in this one's file: a series may stand in one file only.
  expect(value('alert_deliveries_total')).toBeUndefined()
  expect(value('doctor_visits_total', 'result="down"')).toBeUndefined()
})

test('the lines of the log are what is counted', () => {
  const { open, value } = machine()
  const meter = open()
  noteMarker(meter, { kind: 'down', verdict: 'hung', evidence: 'x' }, true)
  // It is written at once: the run may be killed before its end.
  expect(value('gateway_up')).toBe(0)
  noteMarker(meter, { kind: 'down', verdict: 'absent', evidence: 'x' }, false)
  expect([value('gateway_verdict', 'verdict="hung"'), value('gateway_verdict', 'verdict="absent"')]).toEqual([0, 1])
  noteMarker(meter, { kind: 'escalate', level: 2, why: 'x' }, false)
  noteMarker(meter, { kind: 'manual', why: 'watchers: healthcheck has written no log' }, false)
  noteMarker(meter, { kind: 'recovered', level: 1, seconds: 42 }, false)
  expect(value('incidents_total')).toBe(1)
  expect(value('escalations_total')).toBe(1)
  expect(value('human_calls_total', 'about="watchers"')).toBe(1)
  expect(value('human_calls_total', 'about="gateway"')).toBe(0)
  expect(value('gateway_up')).toBe(1)
  expect(value('recovery_seconds_sum', 'level="1"')).toBe(42)
  expect(value('recovery_seconds_bucket', 'level="1",le="30"')).toBe(0)
  expect(value('recovery_seconds_bucket', 'level="1",le="60"')).toBe(1)
  expect(value('recovery_seconds_bucket', 'level="1",le="+Inf"')).toBe(1)
  expect(value('recovery_seconds_count', 'level="none"')).toBe(0)
})

test('a run that did not look at the gateway leaves what the last look said', () => {
  const { open, value } = machine()
  const meter = open()
  noteVerdict(meter, 'hung', 5000)
  noteRun(meter, 'watchdog', { code: 3, verdict: 'stood down', seconds: 1, isPaused: true, longestSec: 60 })
  meter.flush()
  expect(value('gateway_up')).toBe(0)
  expect(value('gateway_seen_timestamp_seconds')).toBe(5)
  expect([value('paused'), value('runs_total', 'exit_code="3"'), value('last_run_exit_code')]).toEqual([1, 1, 3])
})

test('another version of the gateway takes the place of the one before', () => {
  const { open, path } = machine()
  for (const version of ['2026.9.5', '2026.9.6']) {
    const meter = open()
    meter.setOnly('gatewayInfo', { version })
    meter.flush()
  }
  const infos = [...readMetrics(path).series.keys()].filter((one) => one.includes('gateway_info'))
  expect(infos).toEqual(['openclaw_self_healing_gateway_info{profile="default",tier="watchdog",version="2026.9.6"}'])
})

test('any text whatever in a label comes back as it was', () => {
  const { open, path } = machine()
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (version) => {
      const meter = open()
      meter.setOnly('gatewayInfo', { version })
      meter.flush()
      expect(readMetrics(path).problem).toBeUndefined()
      const line = readFileSync(path, 'utf8')
        .split('\n')
        .find((one) => /^\w+_gateway_info\{/.test(one))!
      const written = /version="(.*)"\} 1$/s.exec(line)![1]!
      expect(written.replace(/\\(.)/gs, (_, c: string) => (c === 'n' ? '\n' : c))).toBe(version)
    }),
    { numRuns: 100 },
  )
})

test.each([
  ['cut off', (text: string) => text.slice(0, -20)],
  ['cut off at the end of a line', (text: string) => text.replace(/# EOF\n$/, '')],
  ['empty', () => ''],
  ['full of zeros', () => '\0'.repeat(4096)],
  ['with a number that is none', (text: string) => text.replace(/ 1\n/, ' one\n')],
  ['with a counter below zero', (text: string) => text.replace(/ 1\n/, ' -1\n')],
])('a file that is damaged (%s) is begun anew, and that is said', (_, damage) => {
  const { open, path, said, value } = machine()
  const count = () => {
    const meter = open()
    meter.add('runs', { exit_code: '0' })
    meter.flush()
  }
  count()
  count()
  expect(value('runs_total', 'exit_code="0"')).toBe(2)
  writeFileSync(path, damage(readFileSync(path, 'utf8').replace('exit_code="0"} 2', 'exit_code="0"} 1')))
  count()
  expect(value('runs_total', 'exit_code="0"')).toBe(1)
  expect(said).toEqual([`${path} was damaged; its numbers begin anew`])
  count()
  expect(said.length).toBe(1)
})

test('everybody may read the file, whatever the umask, and nothing else is left in the folder', () => {
  const { open, path } = machine()
  const before = process.umask(0o077)
  onTestFinished(() => void process.umask(before))
  open().flush()
  expect(statSync(path).mode & 0o777).toBe(0o644)
  expect(statSync(join(path, '..')).mode & 0o777).toBe(0o755)
  expect(readdirSync(join(path, '..'))).toEqual(['openclaw-self-healing-default-watchdog.prom'])
})

test('a folder of node_exporter’s can be named; profiles and tiers have files of their own in it', () => {
  const folder = join(tmpdir(), `oc-textfiles-${process.pid}`)
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const main = machine({ PROMETHEUS_TEXTFILE_DIR: folder })
  const work = machine({ PROMETHEUS_TEXTFILE_DIR: folder, OPENCLAW_PROFILE: 'work' })
  for (const tier of ['watchdog', 'monitor'] as const) for (const one of [main, work]) one.open(tier).flush()
  expect(readdirSync(folder)).toEqual([
    'openclaw-self-healing-default-monitor.prom',
    'openclaw-self-healing-default-watchdog.prom',
    'openclaw-self-healing-work-monitor.prom',
    'openclaw-self-healing-work-watchdog.prom',
  ])
  expect(work.value('incidents_total')).toBe(0)
})

test('a dry run writes nothing', () => {
  const { open, path } = machine()
  const meter = open('watchdog', true)
  meter.add('incidents')
  meter.flush()
  expect(existsSync(path)).toBe(false)
})

test('where our own state cannot be written either, that is the tier’s to say', () => {
  const { open, settings, said } = machine()
  rmSync(settings.watchdogDir, { recursive: true })
  writeFileSync(settings.watchdogDir, '')
  open().flush()
  expect(said).toEqual([])
})

test('a folder that cannot be written does a tier no harm, and is said once per trouble', async () => {
  const box = await createSandbox()
  onTestFinished(box.close)
  const inTheWay = join(box.root, 'file')
  writeFileSync(inTheWay, '')
  box.writeEnvFile({ PROMETHEUS_TEXTFILE_DIR: join(inTheWay, 'textfiles') })
  await box.startGateway()
  const complaint = 'no numbers for Prometheus'
  const first = await box.runScript('gateway-watchdog')
  expect(first.code).toBe(0)
  expect(first.stdout).toContain(complaint)
  const second = await box.runScript('gateway-watchdog')
  expect(second.code).toBe(0)
  expect(second.stdout).not.toContain(complaint)
  // The first line and the last line of a run are what they always are.
  expect(first.stdout.trim().split('\n').at(-1)).toContain('RUN ended: healthy, exit 0')
  rmSync(inTheWay)
  const third = await box.runScript('gateway-watchdog')
  expect(third.code).toBe(0)
  expect(readdirSync(join(inTheWay, 'textfiles'))).toEqual(['openclaw-self-healing-default-watchdog.prom'])
  rmSync(inTheWay, { recursive: true })
  writeFileSync(inTheWay, '')
  expect((await box.runScript('gateway-watchdog')).stdout).toContain(complaint)
})
