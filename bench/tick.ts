/**
 * `npm run bench [-- [--rounds N] <node> …]`: what a healthy tick costs. Each script is started as launchd, systemd and
 * cron start it, through run-tier.sh, beside floors of the same minutes: `node -e 0`, and a curl of /health.
 * Measured with each Node that is named; default: the one that runs this.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { $ } from 'zx'
import { TIERS } from '../lib/tier/contract.ts'
import { freePort } from '../test/support/ports.ts'
import { publish, type Spread, spread } from './figures.ts'

const WATCHERS = ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const
const GATEWAY = `
  process.title = 'openclaw-gateway'
  const bodies = {
    '/health': '{"ok":true,"status":"live"}',
    '/startupz': '{"ok":true,"status":"started","version":"2026.9.6"}',
    '/readyz': '{"ready":true,"failing":[]}',
  }
  const server = require('node:http').createServer((request, response) => response.end(bodies[request.url] ?? ''))
  server.listen(Number(process.argv[1]), '127.0.0.1', () => console.log('up'))`
const root = join(import.meta.dirname, '..')
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '21' } },
})
for (const node of positionals.length > 0 ? positionals : [process.execPath])
  await measureTicks(node, Number(values.rounds))

async function measureTicks(node: string, rounds: number): Promise<void> {
  const version = (await $({ quiet: true })`${node} --version`).stdout.trim()
  const machine = await createMachine(node)
  try {
    const launcher = join(root, 'scripts', 'run-tier.sh')
    const commands = {
      'node -e 0': `'${node}' -e 0`,
      'curl /health': `curl -s -o /dev/null ${machine.url}`,
      ...Object.fromEntries(WATCHERS.map((tier) => [tier, `sh '${launcher}' ${TIERS[tier].script}`])),
    }
    const costs = await measure(commands, machine.env, rounds)
    const floor = costs['node -e 0']!.cpu
    const rows = Object.entries(costs).map(([name, { cpu, wall }]) => {
      const tier = WATCHERS.find((one) => one === name)
      const aDay = tier && Math.round((cpu.median * 86_400) / TIERS[tier].intervalSec / 1000)
      const ratio = (part: 'least' | 'median') => (cpu[part] / floor[part]).toFixed(2)
      return [name, cpu.least, cpu.median, ratio('least'), ratio('median'), wall.least, wall.median, aDay ?? '']
    })
    const head = [
      ...['', 'CPU ms: least', 'median', 'least ÷ `node -e 0`', 'median ÷ `node -e 0`'],
      ...['wall ms: least', 'median', 'CPU s a day'],
    ]
    publish(`tick-node${version.slice(1, 3)}`, `A healthy tick on Node ${version}, ${rounds} rounds`, [head, ...rows])
  } finally {
    machine.close()
  }
}

/** All commands in turns, so that a busy machine is busy for all. */
async function measure(commands: Record<string, string>, env: Record<string, string>, rounds: number) {
  const samples = Object.keys(commands).map((name) => ({ name, cpu: [] as number[], wall: [] as number[] }))
  // The first rounds fill the compile cache, and get to know gateway and peers.
  for (let round = -3; round < rounds; round++)
    for (const { name, cpu, wall } of samples) {
      // bash's `time` counts the children that were waited for, and theirs.
      const script = `TIMEFORMAT='%3U %3S %3R'; { time { ${commands[name]} >/dev/null 2>&1; code=$?; }; } 2>&1; echo "exit $code"`
      const { stdout } = await $({ env, cwd: '/', quiet: true, timeout: '2m' })`bash -c ${script}`
      const [, user, system, real, code] = /([\d.]+) ([\d.]+) ([\d.]+)\s+exit (\d+)/.exec(stdout) ?? []
      if (round < 0) continue
      if (code !== '0') throw new Error(`${name}: ${stdout}`)
      cpu.push((Number(user) + Number(system)) * 1000)
      wall.push(Number(real) * 1000)
    }
  const costs: Record<string, { cpu: Spread; wall: Spread }> = {}
  for (const { name, cpu, wall } of samples) costs[name] = { cpu: spread(cpu), wall: spread(wall) }
  return costs
}

/** A HOME, something that answers as the gateway does, and an installation with systemd, so that peers are looked at. */
async function createMachine(node: string) {
  const home = mkdtempSync(join(tmpdir(), 'bench-'))
  const stateDir = join(home, '.openclaw')
  const binDir = join(home, 'bin')
  const port = await freePort()
  const env = { HOME: home, PATH: `${binDir}:${dirname(node)}:/usr/local/bin:/usr/bin:/bin` }
  for (const folder of [join(stateDir, 'watchdog'), join(home, 'openclaw', 'memory'), binDir])
    mkdirSync(folder, { recursive: true })
  writeFileSync(join(stateDir, '.env'), `OPENCLAW_GATEWAY_PORT=${port}\n`)
  writeFileSync(join(stateDir, 'openclaw.json'), `{ "gateway": { "mode": "local", "port": ${port} } }\n`)
  const receipt = { installedAt: new Date().toISOString(), root, scheduler: 'systemd', cronLines: ['x'], entries: [] }
  writeFileSync(join(stateDir, 'watchdog', 'receipt.json'), JSON.stringify(receipt))
  writeFileSync(join(stateDir, 'watchdog', 'launcher'), `${node}\n${env.PATH}\n`)
  const units = ['watchdog', 'healthcheck'].flatMap((tier) => [
    `Id=com.openclaw.${tier}.timer\nLoadState=loaded\nActiveState=active\nSubState=waiting\n`,
    `Id=com.openclaw.${tier}.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead\nMainPID=0\n`,
  ])
  // The gateway has no service: it runs as a bare process.
  const systemctl = `case $* in *openclaw-gateway*) echo LoadState=not-found ;; *) printf '%s' '${units.join('\n')}' ;; esac`
  writeFileSync(join(binDir, 'systemctl'), `#!/bin/sh\n${systemctl}\n`, { mode: 0o755 })
  const gateway = spawn(process.execPath, ['-e', GATEWAY, String(port)], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => gateway.stdout.once('data', resolve))
  const close = () => {
    gateway.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
  return { env, url: `http://127.0.0.1:${port}/health`, close }
}
