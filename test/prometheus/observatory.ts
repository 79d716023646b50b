/** A real Prometheus, Alertmanager and node_exporter on loopback ports of the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../support/ports.ts'
import { projectDir } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'

/** One alert in a message of Alertmanager's webhook. */
interface AlertMessage {
  status: 'firing' | 'resolved'
  labels: Record<string, string>
  annotations: Record<string, string>
}

/**
 * Starts them with our own alert rules, evaluated every second and without the rules' patience, and a receiver for
 * what Alertmanager sends.
 * @param textfiles the folder of the .prom files of the machine that is called `instance`
 */
export async function openObservatory(instance: string, textfiles: string) {
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

  const write = (name: string, content: unknown) => {
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
    return join(folder, name)
  }
  const run = async (names: string[], path: string, args: string[]) => {
    const port = await freePort()
    const log = write(`${names[0]}.log`, '')
    const child = await spawnFirst(names, [...args, `--web.listen-address=127.0.0.1:${port}`], openSync(log, 'a'))
    children.push(child)
    await waitFor(async () => {
      if (child.exitCode !== null) throw new Error(`${names[0]} ended: ${readFileSync(log, 'utf8')}`)
      return (await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined))?.ok
    }, `${names[0]} to answer`)
    return `127.0.0.1:${port}`
  }

  const exporter = await run(['prometheus-node-exporter', 'node_exporter'], '/metrics', [
    '--collector.disable-defaults',
    '--collector.textfile',
    `--collector.textfile.directory=${textfiles}`,
  ])
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`
  const alertmanagerConfig = {
    route: { receiver: 'test', group_by: ['...'], group_wait: '0s', group_interval: '1s', repeat_interval: '1h' },
    receivers: [{ name: 'test', webhook_configs: [{ url, send_resolved: true }] }],
  }
  const alertmanager = await run(['prometheus-alertmanager', 'alertmanager'], '/-/ready', [
    `--config.file=${write('alertmanager.yml', alertmanagerConfig)}`,
    `--storage.path=${join(folder, 'alertmanager')}`,
    '--cluster.listen-address=',
  ])
  // The rules as they are shipped, but for their patience; that with a machine which does not answer within a second
  // they keep: this one may be busy.
  const rules = readFileSync(join(projectDir, 'prometheus', 'alerts.yml'), 'utf8')
  const impatient = rules.replaceAll(/(expr: up\{.*\n *)?for: \d+[mh]/g, (whole, up) => (up ? whole : 'for: 1s'))
  const prometheusConfig = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [write('alerts.yml', impatient)],
    alerting: { alertmanagers: [{ static_configs: [{ targets: [alertmanager] }] }] },
    scrape_configs: [{ job_name: 'openclaw', static_configs: [{ targets: [exporter], labels: { instance } }] }],
  }
  const prometheus = await run(['prometheus'], '/-/ready', [
    `--config.file=${write('prometheus.yml', prometheusConfig)}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
  ])

  /** A PromQL query's answer: the value by the labels that are named, joined by a blank. */
  async function query(promql: string, ...labels: string[]): Promise<Record<string, number>> {
    const answer = (await (
      await fetch(`http://${prometheus}/api/v1/query?query=${encodeURIComponent(promql)}`)
    ).json()) as {
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
  throw new Error(`none of ${names.join(', ')} is installed`)
}
