/** What stands in prometheus/ and grafana/, as Prometheus's own tools see it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { METRICS } from '../../lib/tier/metrics.ts'
import { projectDir } from '../support/sandbox.ts'
import { dashboardText, panels, queriesOf } from './dashboard.ts'

const at = (name: string) => join(projectDir, 'prometheus', name)
const alerts = readFileSync(at('alerts.yml'), 'utf8')
const alertTests = readFileSync(at('alerts.test.yml'), 'utf8')

async function expectContent(tool: string, args: string[]): Promise<void> {
  const { exitCode, all } = await execa(tool, args, { all: true, reject: false, timeout: 60_000 })
  expect(exitCode, all).toBe(0)
}

/** Has promtool check a file with this content. */
async function promtool(verb: 'check' | 'test', content: object): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'oc-dashboard-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(content))
  await expectContent('promtool', [verb, 'rules', join(folder, 'rules.json')])
}

test.each([
  ['promtool', ['check', 'rules', at('alerts.yml')]],
  ['promtool', ['test', 'rules', at('alerts.test.yml')]],
  ['promtool', ['check', 'config', at('prometheus.yml')]],
  ['amtool', ['check-config', at('alertmanager.yml')]],
])('%s %s is content', expectContent)

test('every alert rule has a unit test in which it fires', () => {
  const names = [...alerts.matchAll(/- alert: (\w+)/g)].map((m) => m[1])
  const fired = alertTests.matchAll(/alertname: (\w+)\n\s+eval_time: \w+\n\s+exp_alerts:/g)
  expect(names.length).toBeGreaterThan(10)
  expect(new Set([...fired].map((m) => m[1]))).toEqual(new Set(names))
})

test.each([
  ['while the watchdog sees it', [1, 60], ['guardian', 0, 30], 1],
  ['no longer, though a tier that has not run since says so', [0, 60], ['emergency-recovery', 1, -86_400], 0],
] as const)('the dashboard shows a pause %s', async (_, watchdog, [other, ...otherSeen], value) => {
  const panel = panels.find(({ title }) => title === 'Paused')!
  const seriesOf = (tier: string, [isPaused, ranAtSec]: readonly [number, number]) => {
    const labels = `{instance="a",profile="default",tier="${tier}"}`
    return [
      { series: METRICS.paused.name + labels, values: `${isPaused}x9` },
      { series: METRICS.lastRun.name + labels, values: `${ranAtSec}x9` },
    ]
  }
  const exp_samples = [{ labels: '{instance="a", profile="default"}', value }]
  const input_series = [...seriesOf('watchdog', watchdog), ...seriesOf(other, otherSeen)]
  const promql_expr_test = queriesOf(panel).map((expr) => ({ expr, eval_time: '5m', exp_samples }))
  await promtool('test', { rule_files: [], tests: [{ interval: '1m', input_series, promql_expr_test }] })
})

test('dashboard, rules and their tests name the numbers that exist, and no other', () => {
  // A recorded number is named after the one that it is made of, the parts of a histogram after the whole.
  const namesIn = (text: string) =>
    (text.replaceAll('_up:latest', '_up').match(/openclaw_self_healing_\w+/g) ?? []).map((name) =>
      name.replace(/(recovery_seconds)_(?:bucket|sum|count)$/, '$1'),
    )
  const known = Object.values(METRICS).map(({ name }) => name)
  expect(new Set(namesIn(alerts + dashboardText))).toEqual(new Set(known))
  for (const name of namesIn(alertTests)) expect(known).toContain(name)
})

test('the dashboard’s panels have ids of their own, and queries that Prometheus can parse', async () => {
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  const rules = panels.flatMap(queriesOf).map((expr, i) => ({ record: `query:${i}`, expr }))
  expect(rules.length).toBeGreaterThan(10)
  await promtool('check', { groups: [{ name: 'dashboard', rules }] })
})
