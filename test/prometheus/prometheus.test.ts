/** One gateway dies under the eyes of a real node_exporter, Prometheus and Alertmanager, with the rules as they are shipped. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { createSandbox } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'
import { queriesOf, readDashboard } from './dashboard.ts'
import { openObservatory } from './observatory.ts'

/** A scrape that a busy machine was too slow for makes a number vanish for a second. */
const becomes = (ask: () => Promise<unknown>, expected: unknown) =>
  expect.poll(ask, { timeout: 60_000, interval: 250 }).toEqual(expected)

test('a gateway that dies is reported through Alertmanager, and its recovery; the dashboard has something to show', async () => {
  const machine = await createSandbox()
  onTestFinished(machine.close)
  const { pid } = await machine.startGateway()
  for (const tick of ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian'])
    await machine.runScript(tick)
  const folder = join(machine.stateDir, 'watchdog', 'metrics')
  const { query, messages, close } = await openObservatory('alpha', folder)
  onTestFinished(close)
  const latest = 'instance_profile:openclaw_self_healing_gateway_up:latest'
  await becomes(() => query(latest, 'instance'), { alpha: 1 })
  await becomes(() => query('count(openclaw_self_healing_last_run_timestamp_seconds)'), { '': 4 })
  await becomes(() => query('node_textfile_scrape_error'), { '': 0 })
  expect(messages.filter(({ status }) => status === 'firing')).toEqual([])

  // A gateway dies, and with its config broken Level 1 cannot bring it back.
  const alert = (wanted: string) =>
    waitFor(
      () => messages.find(({ status, labels }) => status === wanted && labels.alertname === 'OpenClawGatewayDown'),
      `the alert, ${wanted}`,
    )
  machine.writeConfig('{ "gateway": ')
  process.kill(pid, 'SIGKILL')
  expect((await machine.runScript('gateway-watchdog')).code).toBe(1)
  const fired = await alert('firing')
  expect(fired.labels).toMatchObject({ instance: 'alpha', profile: 'default', severity: 'critical' })
  expect(fired.annotations.summary).toBe('The OpenClaw Gateway (default) on alpha is down')
  await becomes(() => query('openclaw_self_healing_gateway_verdict == 1', 'tier', 'verdict'), {
    'watchdog misconfigured': 1,
    'healthcheck healthy': 1,
  })

  // The config is repaired; the next tick starts the gateway.
  machine.writeConfig()
  expect((await machine.runScript('gateway-watchdog')).code).toBe(0)
  await alert('resolved')
  const sum = (name: string, by: string) => () => query(`sum by (${by}) (openclaw_self_healing_${name}) > 0`, by)
  await becomes(sum('incidents_total', 'tier'), { watchdog: 1 })
  await becomes(sum('restarts_total', 'result'), { done: 1 })
  await becomes(sum('escalations_total', 'tier'), { watchdog: 1 })
  await becomes(sum('recovery_seconds_count', 'level'), { 1: 1 })
  await becomes(sum('runs_total{tier="watchdog"}', 'exit_code'), { 0: 2, 1: 1 })

  // Every panel of the dashboard has something to show, but for what did not happen.
  const emptyPanels = async () => {
    const empty = new Set<string>()
    for (const panel of readDashboard().panels)
      for (const promql of queriesOf(panel)) if (Object.keys(await query(promql)).length === 0) empty.add(panel.title)
    return empty
  }
  await becomes(emptyPanels, new Set(['The doctor in the last 24 hours', 'Calls to a human']))
  // Prometheus's own linter has nothing to say about what the tiers wrote.
  for (const name of readdirSync(folder)) {
    const input = readFileSync(join(folder, name), 'utf8')
    const lint = await execa('promtool', ['check', 'metrics'], { input, all: true, reject: false })
    expect(`${lint.exitCode} ${lint.all}`, name).toBe('0 ')
  }
})
