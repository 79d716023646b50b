/**
 * `npm run bench [-- [--rounds N] <node> …]`: what a healthy tick costs. Each script is started as launchd, systemd and
 * cron start it, through run-tier.sh, beside floors of the same minutes: `node -e 0`, and a curl of /health.
 * Measured with each Node that is named; default: the one that runs this.
 */
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { $ } from 'zx'
import { TIERS } from '../lib/tier/contract.ts'
import { installedOn } from '../test/support/installed.ts'
import { projectDir } from '../test/support/sandbox.ts'
import { publish, spread } from './figures.ts'

const WATCHERS = ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const
const HEAD = [
  ...['', 'CPU ms: least', 'median', 'least ÷ `node -e 0`', 'median ÷ `node -e 0`'],
  ...['wall ms: least', 'median', 'CPU s a day'],
]
const options = { rounds: { type: 'string', default: '21' } } as const
const { values, positionals } = parseArgs({ allowPositionals: true, options })
for (const node of positionals.length > 0 ? positionals : [process.execPath])
  await measureTicks(node, Number(values.rounds))

async function measureTicks(node: string, rounds: number): Promise<void> {
  const version = (await $({ quiet: true })`${node} --version`).stdout.trim()
  const box = await installedSandbox(node)
  try {
    const launcher = join(projectDir, 'scripts', 'run-tier.sh')
    const commands: [string, string][] = [
      ['node -e 0', `'${node}' -e 0`],
      ['curl /health', `curl -s -o /dev/null http://127.0.0.1:${box.port}/health`],
      ...WATCHERS.map((tier): [string, string] => [tier, `sh '${launcher}' ${TIERS[tier].script}`]),
    ]
    const samples = commands.map(([name, command]) => ({ name, command, cpu: [] as number[], wall: [] as number[] }))
    // In turns, so that a busy machine is busy for all. The first rounds fill the compile cache, and get to know gateway and peers.
    for (let round = -3; round < rounds; round++)
      for (const { name, command, cpu, wall } of samples) {
        const { user, system, real, code, output } = await timed(command, box.env)
        if (round < 0) continue
        if (code !== 0) throw new Error(`${name}: ${output}`)
        cpu.push((user + system) * 1000)
        wall.push(real * 1000)
      }
    const floor = spread(samples[0]!.cpu)
    const rows = samples.map((sample) => {
      const [cpu, wall] = [spread(sample.cpu), spread(sample.wall)]
      const tier = WATCHERS.find((one) => one === sample.name)
      const aDay = tier && Math.round((cpu.median * 86_400) / TIERS[tier].intervalSec / 1000)
      const ratios = (['least', 'median'] as const).map((part) => (cpu[part] / floor[part]).toFixed(2))
      return [sample.name, cpu.least, cpu.median, ...ratios, wall.least, wall.median, aDay ?? '']
    })
    publish(`tick-node${version.slice(1, 3)}`, `A healthy tick on Node ${version}, ${rounds} rounds`, HEAD, rows)
  } finally {
    await box.close()
  }
}

/** bash's `time` counts the children that were waited for, and theirs. In seconds. */
async function timed(command: string, env: Record<string, string>) {
  const script = `TIMEFORMAT='%3U %3S %3R'; { time { ${command} >/dev/null 2>&1; code=$?; }; } 2>&1; echo "$code"`
  const { stdout: output } = await $({ env, cwd: '/', quiet: true, timeout: '2m' })`bash -c ${script}`
  const [user, system, real, code] = output.split(/\s+/).map(Number) as [number, number, number, number]
  return { user, system, real, code, output }
}

/** A healthy gateway, and an installation with systemd, so that peers are looked at. */
async function installedSandbox(node: string) {
  // It is closed by its user.
  const box = await installedOn({ onTestFinished: () => {} }, 'linux')
  box.env.PATH = `${box.binDir}:${dirname(node)}:/usr/local/bin:/usr/bin:/bin`
  writeFileSync(join(dirname(box.receipt), 'launcher'), `${node}\n${box.env.PATH}\n`)
  await box.startGateway()
  return box
}
