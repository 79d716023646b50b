/** A gateway that dies and is healed, and what Prometheus, node_exporter and Alertmanager, all real, make of our numbers and rules. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { which } from 'zx'
import { freePort } from '../support/ports.ts'
import { createSandbox, projectDir, waitFor } from '../support/sandbox.ts'
import { ANSWERS, startWebhookReceiver } from '../support/webhook-receiver.ts'
import { panels, queriesOf } from './dashboard.ts'

/** One alert in a message of Alertmanager's webhook. */
interface Alert {
  status: 'firing' | 'resolved'
  labels: Record<string, string>
  annotations: Record<string, string>
}

/** A scrape that a busy machine was too slow for makes a number vanish for a second. */
const becomes = (ask: () => Promise<unknown>, expected: unknown) =>
  expect.poll(ask, { timeout: 60_000, interval: 250 }).toEqual(expected)

/**
 * Starts all three on loopback ports, with our own alert rules, evaluated every second and without the rules' patience.
 * @param textfiles the folder of the .prom files of the machine that is called `alpha`
 * @returns what Alertmanager has sent, and a PromQL query's answer: the value by the labels that are named
 */
async function openObservatory(textfiles: string) {
  const folder = mkdtempSync('/tmp/oc-prometheus-')
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const alerts: Alert[] = []
  const receiver = createServer(async (request, response) => {
    alerts.push(...((await json(request)) as { alerts: Alert[] }).alerts)
    response.end()
  })
  const receiverPort = await freePort()
  receiver.listen(receiverPort, '127.0.0.1')
  onTestFinished(() => {
    receiver.close()
    receiver.closeAllConnections()
  })

  const write = (name: string, content: unknown) => {
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
    return join(folder, name)
  }
  /** Debian gives the programs names of its own. */
  const run = async (name: string, debianName: string, path: string, args: string[]) => {
    const address = `127.0.0.1:${await freePort()}`
    const program = (await which(debianName, { nothrow: true })) ?? name
    const child = execa(program, [...args, `--web.listen-address=${address}`], { all: true, reject: false })
    onTestFinished(async () => {
      child.kill('SIGKILL')
      await child
    })
    await waitFor(async () => {
      if (child.exitCode !== null) throw new Error(`${name} ended: ${(await child).all}`)
      return (await fetch(`http://${address}${path}`).catch(() => undefined))?.ok
    }, `${name} to answer`)
    return address
  }

  const exporter = await run('node_exporter', 'prometheus-node-exporter', '/metrics', [
    '--collector.disable-defaults',
    '--collector.textfile',
    `--collector.textfile.directory=${textfiles}`,
  ])
  const alertmanagerConfig = {
    route: { receiver: 'test', group_by: ['...'], group_wait: '0s', group_interval: '1s', repeat_interval: '1h' },
    receivers: [{ name: 'test', webhook_configs: [{ url: `http://127.0.0.1:${receiverPort}/`, send_resolved: true }] }],
  }
  const alertmanager = await run('alertmanager', 'prometheus-alertmanager', '/-/ready', [
    `--config.file=${write('alertmanager.yml', alertmanagerConfig)}`,
    `--storage.path=${join(folder, 'alertmanager')}`,
    '--cluster.listen-address=',
  ])
  // The rules as they are shipped, but for their patience; that with a machine which does not answer within a second
  // they keep: this one may be busy.
  const rules = readFileSync(join(projectDir, 'prometheus', 'alerts.yml'), 'utf8')
  const impatient = rules.replaceAll(/(expr: up\{.*\n *)?for: \d+[mh]/g, (whole, up) => (up ? whole : 'for: 1s'))
  const targets = [{ targets: [exporter], labels: { instance: 'alpha' } }]
  const prometheusConfig = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [write('alerts.yml', impatient)],
    alerting: { alertmanagers: [{ static_configs: [{ targets: [alertmanager] }] }] },
    scrape_configs: [{ job_name: 'openclaw', static_configs: targets }],
  }
  const prometheus = await run('prometheus', 'prometheus', '/-/ready', [
    `--config.file=${write('prometheus.yml', prometheusConfig)}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
  ])

  async function query(promql: string, ...labels: string[]): Promise<Record<string, number>> {
    const response = await fetch(`http://${prometheus}/api/v1/query?query=${encodeURIComponent(promql)}`)
    const { error, data } = (await response.json()) as {
      error?: string
      data: { result: { metric: Record<string, string>; value: [number, string] }[] }
    }
    if (error) throw new Error(`${promql}: ${error}`)
    return Object.fromEntries(
      data.result.map(({ metric, value }) => [labels.map((label) => metric[label]).join(' '), Number(value[1])]),
    )
  }
  return { query, alerts }
}

test('outages and what the levels do about them reach Prometheus, its alerts and the dashboard', async () => {
  const discord = await startWebhookReceiver()
  onTestFinished(discord.close)
  const settings = { CONFIG_KNOWN_GOOD_AFTER: '0', DOCTOR_MAX_PER_DAY: '1' }
  const box = await createSandbox({ settings: { ...settings, DISCORD_WEBHOOK_URL: discord.url } })
  onTestFinished(box.close)
  const run = async (script: string, code: number) => {
    const { stdout, ...ended } = await box.runScript(script)
    expect(ended, stdout).toMatchObject({ code })
  }
  const missing = join(box.root, 'package', 'run-command.mjs')
  box.addTool('npm', `mkdir -p '${join(missing, '..')}' && touch '${missing}'`)
  box.writeDoctorScript({
    steps: [
      { call: 'set_config', args: { path: 'gateway.bind', value: 'lan' } },
      { call: 'reinstall_package' },
      { call: 'start_gateway' },
      { call: 'wait_until_healthy' },
    ],
    report: { symptom: 'It exits at once.', root_cause: 'A file was missing.', fix: 'Reinstalled it.' },
  })
  const { pid } = await box.startGateway()
  const tiers = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian']
  for (const script of ['gateway-watchdog', ...tiers]) await run(script, 0)
  const folder = join(box.stateDir, 'watchdog', 'metrics')
  const { query, alerts } = await openObservatory(folder)
  await becomes(() => query('instance_profile:openclaw_self_healing_gateway_up:latest', 'instance'), { alpha: 1 })
  await becomes(() => query('count(openclaw_self_healing_last_run_timestamp_seconds)'), { '': 4 })
  await becomes(() => query('node_textfile_scrape_error'), { '': 0 })
  expect(alerts.filter(({ status }) => status === 'firing')).toEqual([])

  // A gateway dies, and with its config broken Level 1 cannot bring it back.
  const alert = (wanted: string) =>
    waitFor(
      () => alerts.find(({ status, labels }) => status === wanted && labels.alertname === 'OpenClawGatewayDown'),
      `the alert, ${wanted}`,
    )
  box.writeConfig('{ "gateway": ')
  process.kill(pid, 'SIGKILL')
  await run('gateway-watchdog', 1)
  const fired = await alert('firing')
  expect(fired.labels).toMatchObject({ instance: 'alpha', profile: 'default', severity: 'critical' })
  expect(fired.annotations.summary).toBe('The OpenClaw Gateway (default) on alpha is down')
  await becomes(() => query('openclaw_self_healing_gateway_verdict == 1', 'tier', 'verdict'), {
    'watchdog misconfigured': 1,
    'healthcheck healthy': 1,
  })
  await run('gateway-healthcheck', 0)
  await alert('resolved')

  // A package is damaged: the doctor repairs it, and may not be called a second time; its channel takes no message.
  for (const code of [0, 1]) {
    rmSync(missing, { force: true })
    await box.endProcesses()
    await box.startGateway({ missingModule: missing }, 'exit')
    await run('emergency-recovery', code)
  }
  discord.answerNext(ANSWERS.unknownWebhook)
  await run('emergency-recovery-monitor', 1)
  await becomes(() => query('openclaw_self_healing_alerts_waiting > 0', 'tier'), { monitor: 2 })
  // Another address is another channel.
  box.writeEnvFile({ ...settings, DISCORD_WEBHOOK_URL: `${discord.url}-2` })
  await run('emergency-recovery-monitor', 0)

  for (const [name, label, expected] of [
    ['incidents_total', 'tier', { watchdog: 1, 'emergency-recovery': 2 }],
    ['escalations_total', 'tier', { watchdog: 1 }],
    ['restarts_total', 'result', { done: 1 }],
    ['config_rollbacks_total', 'tier', { healthcheck: 1 }],
    ['recovery_seconds_count', 'level', { 2: 1, 3: 1 }],
    ['runs_total{tier="watchdog"}', 'exit_code', { 0: 2, 1: 1 }],
    ['doctor_visits_total', 'result', { recovered: 1 }],
    ['doctor_tool_calls_total', 'decision', { allowed: 4, refused: 1 }],
    ['doctor_refused_total', 'tier', { 'emergency-recovery': 1 }],
    ['doctor_daily_limit', 'tier', { 'emergency-recovery': 1 }],
    ['human_calls_total', 'about', { gateway: 1 }],
    ['alert_deliveries_total', 'result', { gone: 1, delivered: 1 }],
    ['alerts_waiting', 'tier', {}],
  ] as const)
    await becomes(() => query(`sum by (${label}) (openclaw_self_healing_${name}) > 0`, label), expected)

  // Every panel of the dashboard has something to show.
  const emptyPanels = async () => {
    const empty = new Set<string>()
    for (const panel of panels)
      for (const promql of queriesOf(panel)) if (Object.keys(await query(promql)).length === 0) empty.add(panel.title)
    return empty
  }
  await becomes(emptyPanels, new Set())
  // Prometheus's own linter has nothing to say about what the tiers wrote.
  for (const name of readdirSync(folder)) {
    const input = readFileSync(join(folder, name), 'utf8')
    const lint = await execa('promtool', ['check', 'metrics'], { input, all: true, reject: false })
    expect(`${lint.exitCode} ${lint.all}`, name).toBe('0 ')
  }
})
