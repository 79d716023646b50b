/** What stands in prometheus/ and grafana/, as Prometheus's own tools see it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import type { TierName } from '../../lib/tier/contract.ts'
import { METRICS } from '../../lib/tier/metrics.ts'
import { projectDir } from '../support/sandbox.ts'
import { queriesOf, readDashboard } from './dashboard.ts'

const at = (path: string) => join(projectDir, path)
const text = (path: string) => readFileSync(at(path), 'utf8')

test.each([
  ['promtool', ['check', 'rules', at('prometheus/alerts.yml')]],
  ['promtool', ['test', 'rules', at('prometheus/alerts.test.yml')]],
  ['promtool', ['check', 'config', at('prometheus/prometheus.yml')]],
  ['amtool', ['check-config', at('prometheus/alertmanager.yml')]],
])('%s %s is content', async (tool, args) => {
  const { exitCode, all } = await execa(tool, args, { all: true, reject: false, timeout: 60_000 })
  expect(exitCode, all).toBe(0)
})

test('every alert rule has a unit test in which it fires', () => {
  const alerts = [...text('prometheus/alerts.yml').matchAll(/- alert: (\w+)/g)].map((m) => m[1])
  const fired = [...text('prometheus/alerts.test.yml').matchAll(/alertname: (\w+)\n\s+eval_time: \w+\n\s+exp_alerts:/g)]
  expect(alerts.length).toBeGreaterThan(10)
  expect(new Set(fired.map((m) => m[1]))).toEqual(new Set(alerts))
})

test('the dashboard shows a pause that is over as over, whatever a tier that has not run since says', async () => {
  const panel = readDashboard().panels.find(({ title }) => title === 'Paused')!
  const of = (tier: TierName, isPaused: 0 | 1, ranAtSec: number) => [
    { series: `${METRICS.paused.name}{instance="a",profile="default",tier="${tier}"}`, values: `${isPaused}x9` },
    { series: `${METRICS.lastRun.name}{instance="a",profile="default",tier="${tier}"}`, values: `${ranAtSec}x9` },
  ]
  const shows = (input_series: object[], value: 0 | 1) => ({
    interval: '1m',
    input_series,
    promql_expr_test: queriesOf(panel).map((expr) => ({
      expr,
      eval_time: '5m',
      exp_samples: [{ labels: '{instance="a", profile="default"}', value }],
    })),
  })
  const tests = [
    shows([...of('watchdog', 1, 60), ...of('guardian', 0, 30)], 1),
    shows([...of('watchdog', 0, 60), ...of('emergency-recovery', 1, -86_400)], 0),
  ]
  const path = join(scratch(), 'paused.test.json')
  writeFileSync(path, JSON.stringify({ rule_files: [], evaluation_interval: '1m', tests }))
  const { exitCode, all } = await execa('promtool', ['test', 'rules', path], {
    all: true,
    reject: false,
    timeout: 60_000,
  })
  expect(exitCode, all).toBe(0)
})

/** A folder that goes when the test ends. */
function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'oc-dashboard-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

/** The names of ours in a text, whatever part of a histogram they name. */
function namesIn(promql: string): Set<string> {
  const found = promql.match(/openclaw_self_healing_\w+/g) ?? []
  return new Set(found.map((name) => name.replace(/(recovery_seconds)_(?:bucket|sum|count)$/, '$1')))
}

test('dashboard, rules and their tests name only numbers that exist', () => {
  const known = new Set<string>(Object.values(METRICS).map(({ name }) => name))
  const sources = ['prometheus/alerts.yml', 'prometheus/alerts.test.yml', 'grafana/openclaw-self-healing.json']
  for (const source of sources) {
    // A recorded number is named after the one that it is made of.
    const names = namesIn(text(source).replaceAll('_up:latest', '_up'))
    expect(names.size, source).toBeGreaterThan(5)
    for (const name of names) expect(known, `${source} names ${name}`).toContain(name)
  }
})

test('every number stands in the dashboard or in a rule: nothing is written for nobody', () => {
  const used = namesIn(text('prometheus/alerts.yml') + text('grafana/openclaw-self-healing.json'))
  expect([...Object.values(METRICS)].map(({ name }) => name).filter((name) => !used.has(name))).toEqual([])
})

test('the dashboard’s panels have ids of their own, a place that no other has, and queries that Prometheus can parse', async () => {
  const { panels, templating, schemaVersion } = readDashboard()
  expect(schemaVersion).toBeGreaterThanOrEqual(36)
  expect(templating.list.map(({ name }) => name)).toEqual(['datasource', 'instance', 'profile'])
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  )
  expect(new Set(cells).size).toBe(cells.length)
  expect(Math.max(...panels.map(({ gridPos: { x, w } }) => x + w))).toBeLessThanOrEqual(24)
  const queries = panels.flatMap(queriesOf)
  expect(queries.length).toBeGreaterThan(10)
  const rules = queries.map((expr, i) => ({ record: `query:${i}`, expr }))
  const path = join(scratch(), 'rules.json')
  writeFileSync(path, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }))
  const { exitCode, all } = await execa('promtool', ['check', 'rules', path], {
    all: true,
    reject: false,
    timeout: 60_000,
  })
  expect(exitCode, all).toBe(0)
})
