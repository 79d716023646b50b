/** A real Prometheus, Alertmanager and node_exporter on loopback ports of the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../support/ports.ts'
import { projectDir } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'

/** One alert in a message of Alertmanager's webhook. */
export interface AlertMessage {
  status: 'firing' | 'resolved'
  labels: Record<string, string>
  annotations: Record<string, string>
}

export type Observatory = Awaited<ReturnType<typeof openObservatory>>

/**
 * Starts them with our own alert rules, evaluated every second and without the rules' patience, and a receiver for
 * what Alertmanager sends.
 * @param machines the `instance` of each machine, and the folder of its .prom files
 */
export async function openObservatory(machines: Record<string, string>) {
  const folder = mkdtempSync('/tmp/oc-prometheus-')
  const children: ChildProcess[] = []
  const messages: AlertMessage[] = []
  const receiver = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text) => (body += text))
    request.on('end', () => {
      messages.push(...(JSON.parse(body) as { alerts: AlertMessage[] }).alerts)
      response.end()
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))

  const run = async (names: string[], args: string[], port: number, path: string) => {
    const log = join(folder, `${names[0]}-${port}.log`)
    const out = openSync(log, 'a')
    const child = await spawnFirst(names, args, out)
    children.push(child)
    await waitFor(async () => {
      if (child.exitCode !== null) throw new Error(`${names[0]} ended: ${readFileSync(log, 'utf8')}`)
      return (await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined))?.ok
    }, `${names[0]} to answer`)
  }

  const targets: { targets: string[]; labels: { instance: string } }[] = []
  for (const [instance, textfiles] of Object.entries(machines)) {
    const port = await freePort()
    mkdirSync(textfiles, { recursive: true })
    const args = [
      '--collector.disable-defaults',
      '--collector.textfile',
      `--collector.textfile.directory=${textfiles}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]
    await run(['prometheus-node-exporter', 'node_exporter'], args, port, '/metrics')
    targets.push({ targets: [`127.0.0.1:${port}`], labels: { instance } })
  }

  const alertmanagerPort = await freePort()
  const webhook = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`
  const alertmanagerConfig = {
    route: { receiver: 'test', group_by: ['...'], group_wait: '0s', group_interval: '1s', repeat_interval: '1h' },
    receivers: [{ name: 'test', webhook_configs: [{ url: webhook, send_resolved: true }] }],
  }
  writeFileSync(join(folder, 'alertmanager.yml'), JSON.stringify(alertmanagerConfig))
  await run(
    ['prometheus-alertmanager', 'alertmanager'],
    [
      `--config.file=${join(folder, 'alertmanager.yml')}`,
      `--storage.path=${join(folder, 'alertmanager')}`,
      `--web.listen-address=127.0.0.1:${alertmanagerPort}`,
      '--cluster.listen-address=',
    ],
    alertmanagerPort,
    '/-/ready',
  )

  // The rules as they are shipped, but for their patience; that with a machine which does not answer within a second
  // they keep: this one may be busy.
  const rules = readFileSync(join(projectDir, 'prometheus', 'alerts.yml'), 'utf8')
  const impatient = rules.replaceAll(/(expr: up\{.*\n *)?for: \d+[mh]/g, (whole, up) => (up ? whole : 'for: 1s'))
  writeFileSync(join(folder, 'alerts.yml'), impatient)
  const prometheusPort = await freePort()
  const prometheusConfig = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [join(folder, 'alerts.yml')],
    alerting: { alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertmanagerPort}`] }] }] },
    scrape_configs: [{ job_name: 'openclaw', static_configs: targets }],
  }
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(prometheusConfig))
  await run(
    ['prometheus'],
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${prometheusPort}`,
    ],
    prometheusPort,
    '/-/ready',
  )

  /** A PromQL query's answer: the value by the labels that are named, joined by a blank. */
  async function query(promql: string, ...labels: string[]): Promise<Record<string, number>> {
    const url = `http://127.0.0.1:${prometheusPort}/api/v1/query?query=${encodeURIComponent(promql)}`
    const answer = (await (await fetch(url)).json()) as {
      error?: string
      data: { result: { metric: Record<string, string>; value: [number, string] }[] }
    }
    if (answer.error) throw new Error(`${promql}: ${answer.error}`)
    return Object.fromEntries(
      answer.data.result.map(({ metric, value }) => [labels.map((label) => metric[label]).join(' '), Number(value[1])]),
    )
  }

  async function close(): Promise<void> {
    for (const child of children) child.kill('SIGKILL')
    await Promise.all(children.map((child) => child.exitCode ?? new Promise((resolve) => child.once('exit', resolve))))
    receiver.closeAllConnections()
    receiver.close()
    rmSync(folder, { recursive: true, force: true })
  }

  return { query, messages, close }
}

/** Debian gives the programs names of its own. */
async function spawnFirst(names: string[], args: string[], out: number): Promise<ChildProcess> {
  for (const name of names) {
    const child = spawn(name, args, { stdio: ['ignore', out, out] })
    const started = await new Promise<boolean>((resolve) => {
      child.once('spawn', () => resolve(true))
      child.once('error', () => resolve(false))
    })
    if (started) return child
  }
  throw new Error(
    `none of ${names.join(', ')} is installed (Debian: prometheus, prometheus-node-exporter, prometheus-alertmanager)`,
  )
}
