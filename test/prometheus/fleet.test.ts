/** Three machines with a gateway each, and one real Prometheus over all of them: one gateway dies. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'
import { queriesOf, readDashboard } from './dashboard.ts'
import { openObservatory } from './fleet-parts.ts'

const NAMES = ['alpha', 'beta', 'gamma']
const LATEST = 'instance_profile:openclaw_self_healing_gateway_up:latest'
const TICKS = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian']

/** A scrape that a busy machine was too slow for makes a number vanish for a second. */
const becomes = (ask: () => Promise<unknown>, expected: unknown) =>
  expect.poll(ask, { timeout: 60_000, interval: 250 }).toEqual(expected)

const textfiles = (machine: Sandbox) => join(machine.stateDir, 'watchdog', 'metrics')

test('one Prometheus over three machines: the gateway that dies is reported through Alertmanager, and its recovery', async () => {
  const machines: Sandbox[] = []
  for (const _ of NAMES) {
    const machine = await createSandbox()
    onTestFinished(machine.close)
    await machine.startGateway()
    machines.push(machine)
  }
  const beta = machines[1]!
  for (const tick of TICKS) await Promise.all(machines.map((machine) => machine.runScript(tick)))
  const folders = Object.fromEntries(NAMES.map((name, i) => [name, textfiles(machines[i]!)]))
  const { query, messages, close } = await openObservatory(folders)
  onTestFinished(close)

  // All is well, and every tier of every machine is there.
  await becomes(() => query(LATEST, 'instance'), { alpha: 1, beta: 1, gamma: 1 })
  await becomes(() => query('count by (instance) (openclaw_self_healing_last_run_timestamp_seconds)', 'instance'), {
    alpha: 4,
    beta: 4,
    gamma: 4,
  })
  await becomes(() => query('node_textfile_scrape_error', 'instance'), { alpha: 0, beta: 0, gamma: 0 })
  expect(messages.filter(({ status }) => status === 'firing')).toEqual([])

  // A gateway dies, and with its config broken Level 1 cannot bring it back.
  const { pid } = beta.events().findLast(({ what }) => what.startsWith('ready'))!
  beta.writeConfig('{ "gateway": ')
  process.kill(pid, 'SIGKILL')
  expect((await beta.runScript('gateway-watchdog')).code).toBe(1)
  const fired = await waitFor(
    () => messages.find(({ status, labels }) => status === 'firing' && labels.alertname === 'OpenClawGatewayDown'),
    'the alert at the receiver',
  )
  expect(fired.labels).toMatchObject({ instance: 'beta', profile: 'default', severity: 'critical' })
  expect(fired.annotations.summary).toBe('The OpenClaw Gateway (default) on beta is down')
  await becomes(() => query(LATEST, 'instance'), { alpha: 1, beta: 0, gamma: 1 })
  const verdict = 'openclaw_self_healing_gateway_verdict{instance="beta",tier="watchdog"} == 1'
  await becomes(() => query(verdict, 'verdict'), { misconfigured: 1 })

  // Somebody repairs the config; the next tick starts the gateway.
  beta.writeConfig()
  expect((await beta.runScript('gateway-watchdog')).code).toBe(0)
  await waitFor(
    () => messages.find(({ status, labels }) => status === 'resolved' && labels.alertname === 'OpenClawGatewayDown'),
    'the alert’s end at the receiver',
  )
  const sum = (name: string, by: string) => () =>
    query(`sum by (instance, ${by}) (openclaw_self_healing_${name}) > 0`, 'instance', by)
  await becomes(sum('incidents_total', 'tier'), { 'beta watchdog': 1 })
  await becomes(sum('restarts_total', 'result'), { 'beta done': 1 })
  await becomes(sum('escalations_total', 'tier'), { 'beta watchdog': 1 })
  await becomes(sum('recovery_seconds_count', 'level'), { 'beta 1': 1 })
  await becomes(sum('runs_total{tier="watchdog"}', 'exit_code'), {
    'alpha 0': 1,
    'beta 0': 2,
    'beta 1': 1,
    'gamma 0': 1,
  })
  expect(messages.filter(({ labels }) => labels.instance !== 'beta')).toEqual([])

  // Every panel of the dashboard has something to show, but for what did not happen.
  const emptyPanels = async () => {
    const empty = new Set<string>()
    for (const panel of readDashboard().panels)
      for (const promql of queriesOf(panel)) if (Object.keys(await query(promql)).length === 0) empty.add(panel.title)
    return empty
  }
  await becomes(emptyPanels, new Set(['The doctor in the last 24 hours', 'Calls to a human']))

  // Prometheus's own linter has nothing to say about what the tiers wrote.
  const files = machines.flatMap((machine) =>
    readdirSync(textfiles(machine)).map((name) => join(textfiles(machine), name)),
  )
  expect(files.length).toBe(12)
  for (const file of files) {
    const lint = await execa('promtool', ['check', 'metrics'], {
      input: readFileSync(file, 'utf8'),
      all: true,
      reject: false,
    })
    expect(`${lint.exitCode} ${lint.all}`, file).toBe('0 ')
  }
})
