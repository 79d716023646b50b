/** What stands in prometheus/ and grafana/, as the real tools see it; and what they make of a gateway that dies and is healed. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { which } from 'zx'
import { METRICS } from '../../lib/tier/metrics.ts'
import { freePort } from '../support/ports.ts'
import { createSandbox, projectDir, waitFor } from '../support/sandbox.ts'
import { ANSWERS, listen, startWebhookReceiver } from '../support/webhook-receiver.ts'

const at = (name: string) => join(projectDir, 'prometheus', name)
const rules = readFileSync(at('alerts.yml'), 'utf8')
const ruleTests = readFileSync(at('alerts.test.yml'), 'utf8')
const dashboard = readFileSync(join(projectDir, 'grafana', 'openclaw-self-healing.json'), 'utf8')
interface Panel {
  title: string
  id: number
  gridPos: Record<'x' | 'y' | 'w' | 'h', number>
  targets?: { expr: string; legendFormat: string }[]
}
const { panels, templating } = JSON.parse(dashboard) as {
  panels: Panel[]
  templating: { list: { name: string; definition?: string }[] }
}

/** A panel's queries, with Grafana's variables filled in, for machines that are seconds old. */
const queriesOf = ({ targets = [] }: (typeof panels)[number]) =>
  targets.map(({ expr }) =>
    expr
      .replaceAll('$__range:1m', '10m:1s')
      .replaceAll('$__range', '10m')
      .replaceAll('$__rate_interval', '5m')
      .replaceAll(/\$(?:instance|profile)/g, '.*'),
  )

async function expectContent(command: string, input = ''): Promise<void> {
  const [tool = '', ...args] = command.split(' ')
  const { exitCode, all } = await execa(tool, args, { cwd: at(''), input, all: true, reject: false, timeout: 300_000 })
  expect(exitCode, all).toBe(0)
}

test.each([
  'promtool check rules alerts.yml',
  'promtool test rules alerts.test.yml',
  'promtool check config prometheus.yml',
  'amtool check-config alertmanager.yml',
])('%s is content', (command) => expectContent(command))

test('every alert rule has a unit test in which it fires; rules and dashboard name the numbers that exist, and no other', () => {
  const names = [...rules.matchAll(/- alert: (\w+)/g)].map((m) => m[1])
  const fired = ruleTests.matchAll(/alertname: (\w+)\n\s+eval_time: \w+\n\s+exp_alerts:/g)
  expect(names.length).toBeGreaterThan(10)
  expect(new Set([...fired].map((m) => m[1]))).toEqual(new Set(names))
  // A recorded number is named after the one that it is made of, the parts of a histogram after the whole.
  const namesIn = (text: string) =>
    (text.replaceAll('_up:latest', '_up').match(/openclaw_self_healing_\w+/g) ?? []).map((name) =>
      name.replace(/(recovery_seconds)_(?:bucket|sum|count)$/, '$1'),
    )
  const known = Object.values(METRICS).map(({ name }) => name)
  expect(new Set(namesIn(rules + dashboard))).toEqual(new Set(known))
  for (const name of namesIn(ruleTests)) expect(known).toContain(name)
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
})

test('no panel of the dashboard covers another, and every variable is declared', () => {
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
    expect(x + w).toBeLessThanOrEqual(24)
    return Array.from({ length: w * h }, (_, i) => `${x + (i % w)} ${y + Math.floor(i / w)}`)
  })
  expect(new Set(cells).size).toBe(cells.length)
  const used = [...dashboard.matchAll(/\$\{?(\w+)/g)].flatMap(([, name]) => (name!.startsWith('__') ? [] : [name]))
  expect(new Set(used)).toEqual(new Set(templating.list.map(({ name }) => name)))
})

test('the dashboard shows a pause while the watchdog sees it, whatever tiers say that have not run since', async () => {
  const input_series = (
    [
      ['paused', 'watchdog', 1, 60],
      ['paused', 'guardian', 0, 30],
      ['not', 'watchdog', 0, 60],
      ['not', 'emergency-recovery', 1, -86_400],
    ] as const
  ).flatMap(([instance, tier, isPaused, ranAtSec]) =>
    Object.entries({ [METRICS.paused.name]: isPaused, [METRICS.lastRun.name]: ranAtSec }).map(([name, value]) => {
      return { series: `${name}{instance="${instance}",profile="default",tier="${tier}"}`, values: `${value}x9` }
    }),
  )
  const exp_samples = Object.entries({ paused: 1, not: 0 }).map(([instance, value]) => {
    return { labels: `{instance="${instance}", profile="default"}`, value }
  })
  const panel = panels.find(({ title }) => title === 'Paused')!
  const promql_expr_test = queriesOf(panel).map((expr) => ({ expr, eval_time: '5m', exp_samples }))
  const folder = mkdtempSync('/tmp/oc-dashboard-')
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const tests = [{ interval: '1m', input_series, promql_expr_test }]
  writeFileSync(join(folder, 'rules.json'), JSON.stringify({ rule_files: [], tests }))
  await expectContent(`promtool test rules ${folder}/rules.json`)
})

type Alert = Record<'labels' | 'annotations', Record<string, string>> & { status: 'firing' | 'resolved' }

/** A scrape that a busy machine was too slow for makes a number vanish for a second. */
const becomes = (ask: () => Promise<unknown>, expected: unknown) =>
  expect.poll(ask, { timeout: 60_000, interval: 250 }).toEqual(expected)

/** Starts all three on loopback ports. @param textfiles the folder of the .prom files of the machine `alpha` */
async function openObservatory(textfiles: string) {
  const folder = mkdtempSync('/tmp/oc-prometheus-')
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const alerts: Alert[] = []
  const receiver = await listen((_, text) => {
    alerts.push(...(JSON.parse(text) as { alerts: Alert[] }).alerts)
    return { status: 200 }
  })
  onTestFinished(receiver.close)
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
    receivers: [{ name: 'test', webhook_configs: [{ url: `${receiver.origin}/`, send_resolved: true }] }],
  }
  const alertmanager = await run('alertmanager', 'prometheus-alertmanager', '/-/ready', [
    `--config.file=${write('alertmanager.yml', alertmanagerConfig)}`,
    `--storage.path=${join(folder, 'alertmanager')}`,
    '--cluster.listen-address=',
  ])
  // The rules as they are shipped, but for their patience; that with a machine which does not answer within a second
  // they keep: this one may be busy.
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
    type Result = { metric: Record<string, string>; value: [number, string] }[]
    const { error, data } = (await response.json()) as { error?: string; data: { result: Result } }
    if (error) throw new Error(`${promql}: ${error}`)
    const named = (metric: Result[0]['metric']) => labels.map((label) => metric[label]).join(' ')
    return Object.fromEntries(data.result.map(({ metric, value }) => [named(metric), Number(value[1])]))
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
  discord.answerNext(ANSWERS.unknownWebhook)
  for (const code of [0, 1]) {
    rmSync(missing, { force: true })
    await box.endProcesses()
    await box.startGateway({ missingModule: missing }, 'exit')
    await run('emergency-recovery', code)
  }
  // Level 3 has called Level 4.
  await becomes(() => query('openclaw_self_healing_alerts_waiting > 0', 'tier'), { monitor: 1 })
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
    ['alert_deliveries_total', 'result', { gone: 1, delivered: 2 }],
    ['alerts_waiting', 'tier', {}],
  ] as const)
    await becomes(() => query(`sum by (${label}) (openclaw_self_healing_${name}) > 0`, label), expected)

  // Every panel of the dashboard has something to show, and the labels of its legend; so has every list of values.
  const show = async (promql: string, labels: string[]) => {
    await expect.poll(async () => Object.keys(await query(promql)), { timeout: 60_000 }).not.toEqual([])
    for (const label of labels) expect(Object.keys(await query(promql, label)), `${promql}: ${label}`).not.toContain('')
  }
  for (const panel of panels)
    for (const [i, promql] of queriesOf(panel).entries())
      await show(
        promql,
        [...panel.targets![i]!.legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!),
      )
  for (const { definition = '' } of templating.list)
    for (const [, metric, label] of definition.matchAll(/^label_values\((.*), (\w+)\)$/g))
      await show(metric!.replaceAll('$instance', '.*'), [label!])
  // Prometheus's own linter has nothing to say about what the tiers wrote.
  for (const name of readdirSync(folder))
    await expectContent('promtool check metrics', readFileSync(join(folder, name), 'utf8'))
})
