/**
 * `npm run bench`: what a healthy tick costs. Each script is started as launchd and cron start it, through run-tier.sh,
 * beside floors that are measured in the same minutes: `node -e 0`, and bash with curl on the same URL. CPU seconds of
 * the whole process tree from the shell's `time`; all of them taken in turns, so that a busy machine is busy for all.
 *
 * Usage: node bench/tick.ts [rounds]     (the Node that runs this is the Node that is measured)
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { picture } from './picture.ts'

const rounds = Number(process.argv[2] ?? 15)
const root = join(import.meta.dirname, '..')
const launcher = join(root, 'scripts', 'run-tier.sh')
const home = mkdtempSync(join(tmpdir(), 'bench-'))
const state = join(home, '.openclaw')
const port = await freePort()
const url = `http://127.0.0.1:${port}/health`
const env = { HOME: home, PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin` }

const PARTS: Record<string, string> = {
  'node -e 0': 'node -e 0',
  'bash + curl': `bash -c 'curl -s -o /dev/null -w %{http_code} ${url}'`,
  watchdog: `sh '${launcher}' gateway-watchdog`,
  'health check': `sh '${launcher}' gateway-healthcheck`,
  monitor: `sh '${launcher}' emergency-recovery-monitor`,
  guardian: `sh '${launcher}' watchdog-guardian`,
}

export interface Cost {
  name: string
  /** Milliseconds of CPU and of the clock: the least and the middle one of all rounds. */
  cpuMs: { least: number; median: number }
  wallMs: { least: number; median: number }
  /** CPU against `node -e 0`, middle against middle. */
  ratio: number
}

const gateway = await startGateway()
try {
  const results = measure()
  const host = {
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: cpus().length,
    platform: process.platform,
  }
  const name = `tick-node${process.versions.node.split('.')[0]}`
  const folder = join(import.meta.dirname, 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, `${name}.json`),
    `${JSON.stringify({ measuredAt: new Date().toISOString(), rounds, host, results }, null, 2)}\n`,
  )
  writeFileSync(
    join(folder, `${name}.svg`),
    picture(`CPU of a healthy tick, Node ${process.versions.node} (ms, median of ${rounds})`, results),
  )
  process.stdout.write(`${table(results)}\n`)
} finally {
  gateway.kill()
  rmSync(home, { recursive: true, force: true })
}

function measure(): Cost[] {
  mkdirSync(join(state, 'watchdog'), { recursive: true })
  writeFileSync(join(state, '.env'), `OPENCLAW_GATEWAY_PORT=${port}\n`)
  writeFileSync(join(state, 'openclaw.json'), `{ "gateway": { "mode": "local", "port": ${port} } }\n`)
  const samples: Record<string, { cpu: number[]; wall: number[] }> = {}
  // The first rounds fill the compile cache and get to know the gateway.
  for (let round = -2; round < rounds; round++) {
    for (const [name, command] of Object.entries(PARTS)) {
      const one = time(name, command)
      if (round < 0) continue
      samples[name] ??= { cpu: [], wall: [] }
      samples[name].cpu.push(one.cpuMs)
      samples[name].wall.push(one.wallMs)
    }
  }
  const floor = median(samples['node -e 0']!.cpu)
  return Object.entries(samples).map(([name, { cpu, wall }]) => ({
    name,
    cpuMs: { least: Math.round(Math.min(...cpu)), median: Math.round(median(cpu)) },
    wallMs: { least: Math.round(Math.min(...wall)), median: Math.round(median(wall)) },
    ratio: Math.round((median(cpu) / floor) * 100) / 100,
  }))
}

/** bash's `time` counts the children that were waited for, and theirs. */
function time(name: string, command: string): { cpuMs: number; wallMs: number } {
  const script = `TIMEFORMAT='%3U %3S %3R'; time ${command} >/dev/null 2>&1 || echo FAILED >&2`
  const out = execFileSync('bash', ['-c', `{ ${script}; } 2>&1`], { env, cwd: '/', encoding: 'utf8', timeout: 60_000 })
  const m = /([\d.]+) ([\d.]+) ([\d.]+)/.exec(out)
  if (!m || out.includes('FAILED')) throw new Error(`${name}: ${out}`)
  return { cpuMs: (Number(m[1]) + Number(m[2])) * 1000, wallMs: Number(m[3]) * 1000 }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function table(results: readonly Cost[]): string {
  const rows = results.map(
    ({ name, cpuMs, wallMs, ratio }) => `| ${name} | ${cpuMs.median} | ${cpuMs.least} | ${wallMs.median} | ${ratio} |`,
  )
  return [
    '| | CPU ms, median | least | wall ms, median | against `node -e 0` |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

/** Something that answers as the gateway does, under its title, in a process of its own. */
async function startGateway() {
  const code = `
    process.title = 'openclaw-gateway'
    const bodies = { '/health': '{"ok":true,"status":"live"}', '/startupz': '{"ok":true,"status":"started","version":"2026.9.6"}', '/readyz': '{"ready":true,"failing":[]}' }
    require('node:http').createServer((q, r) => r.end(bodies[q.url] ?? '')).listen(${port}, '127.0.0.1', () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', code], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return child
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port: free } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return free
}
