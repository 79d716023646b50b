/**
 * `npm run bench:tick [-- [--rounds N] <node> …]`: what a healthy tick costs, and all of them together a day. Each script is
 * started as launchd, systemd and cron start it, through run-tier.sh, beside floors of the same minutes: `node -e 0`, a
 * curl of /health, and what the bash version runs when all is well (bench/bash). A pulse is a whole quiet minute of it.
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
const PULSE = 'a quiet minute of the pulse'
const QUIET_MINUTES = 5
const BASH = 'bash version: '
const BASH_A_DAY = { 'gateway-watchdog': 480, 'gateway-healthcheck': 288, 'emergency-recovery-monitor': 288 }
const HEAD = [
  ...['', 'CPU ms: least', 'median', 'least ÷ `node -e 0`', 'median ÷ `node -e 0`'],
  ...['wall ms: least', 'median', 'runs a day', 'CPU s a day', 'of one core'],
]
const options = { rounds: { type: 'string', default: '21' } } as const
const { values, positionals } = parseArgs({ allowPositionals: true, options })
for (const node of positionals.length > 0 ? positionals : [process.execPath])
  await measureTicks(node, Number(values.rounds))

async function measureTicks(node: string, rounds: number): Promise<void> {
  const version = (await $({ quiet: true })`${node} --version`).stdout.trim()
  const box = await installedSandbox(node)
  try {
    const tier = (name: string) => `sh '${join(projectDir, 'scripts', 'run-tier.sh')}' ${name}`
    const commands: [name: string, line: string, aDay?: number][] = [
      ['node -e 0', `'${node}' -e 0`],
      ['curl /health', `curl -s -o /dev/null http://127.0.0.1:${box.port}/health`],
      ...WATCHERS.map((name): [string, string, number] => {
        return [name, tier(TIERS[name].script), 86_400 / TIERS[name].intervalSec]
      }),
      ...Object.entries(BASH_A_DAY).map(([name, aDay]): [string, string, number] => {
        return [BASH + name, `bash '${join(import.meta.dirname, 'bash', name)}.sh'`, aDay]
      }),
    ]
    const sampleOf = (name: string, line: string, aDay = 0) => ({
      name,
      line,
      aDay,
      cpu: [] as number[],
      wall: [] as number[],
    })
    const samples = commands.map((command) => sampleOf(...command))
    const measure = async ({ name, line, cpu, wall }: ReturnType<typeof sampleOf>, isKept: boolean) => {
      const { user, system, real, code, output } = await timed(line, { ...box.env, PORT: String(box.port) })
      if (!isKept) return
      if (code !== 0) throw new Error(`${name}: ${output}`)
      cpu.push((user + system) * 1000)
      wall.push(real * 1000)
    }
    // In turns, so that a busy machine is busy for all. The first rounds fill the compile cache, and get to know gateway and peers.
    for (let round = -3; round < rounds; round++) for (const sample of samples) await measure(sample, round >= 0)
    const pulse = sampleOf(PULSE, tier('gateway-watchdog --pulse'), 1440)
    samples.splice(2, 0, pulse)
    for (let round = 0; round < Math.min(rounds, QUIET_MINUTES); round++) {
      // Right after a tick none is due.
      await timed(tier('gateway-watchdog'), box.env)
      const before = box.log('watchdog')
      await measure(pulse, true)
      if (box.log('watchdog') !== before) throw new Error('the pulse was not silent')
    }

    const floor = spread(samples[0]!.cpu)
    const inAll = { ours: 0, bash: 0 }
    const rows = samples.map(({ name, aDay, ...sample }) => {
      const [cpu, wall] = [spread(sample.cpu), spread(sample.wall)]
      const ratios = (['least', 'median'] as const).map((part) => (cpu[part] / floor[part]).toFixed(2))
      const cpuSec = (cpu.median * aDay) / 1000
      inAll[name.startsWith(BASH) ? 'bash' : 'ours'] += cpuSec
      return [
        name,
        cpu.least,
        cpu.median,
        ...ratios,
        wall.least,
        wall.median,
        ...(aDay ? inADay(aDay, cpuSec) : ['', '', '']),
      ]
    })
    const none = ['', '', '', '', '', '']
    rows.push(
      ['**all together**', ...none, ...inADay('', inAll.ours)],
      [`**${BASH}all together**`, ...none, ...inADay('', inAll.bash)],
    )
    publish(`tick-node${version.slice(1, 3)}`, `A healthy tick on Node ${version}, ${rounds} rounds`, HEAD, rows)
  } finally {
    await box.close()
  }
}

function inADay(runs: number | '', cpuSec: number): unknown[] {
  return [runs, Math.round(cpuSec), `${(cpuSec / 864).toFixed(2)} %`]
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
