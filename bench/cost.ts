/** What one command costs: CPU and wall time from the shell's `time`, peak memory and processes from the system. */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Spread, spread } from './figures.ts'

export interface Cost {
  name: string
  cpuMs: Spread
  wallMs: Spread
  /** CPU against the first command measured with it, least against least and middle against middle. */
  ratio: { least: number; median: number }
  /** Resident memory of the Node process at its peak; undefined for what is no Node. */
  peakMb: number | undefined
  /** Processes in all, the first one included; undefined without strace. */
  processes: number | undefined
}

export type Environment = Record<string, string>

/**
 * Measures all commands in turns, so that a busy machine is busy for all. The first one is the floor of the ratios.
 * @param expected exit codes that are no failure of the measurement
 */
export function measure(
  commands: Record<string, string>,
  env: Environment,
  rounds: number,
  expected: readonly number[] = [0],
): Cost[] {
  const samples: Record<string, { cpu: number[]; wall: number[] }> = {}
  // The first rounds make the builds, fill the compile cache, and get to know gateway and peers.
  for (let round = -3; round < rounds; round++) {
    for (const [name, command] of Object.entries(commands)) {
      const one = time(name, command, env, round < 0 ? undefined : expected)
      if (round < 0) continue
      samples[name] ??= { cpu: [], wall: [] }
      samples[name].cpu.push(one.cpuMs)
      samples[name].wall.push(one.wallMs)
    }
  }
  const floor = spread(Object.values(samples)[0]!.cpu, 1)
  return Object.entries(samples).map(([name, { cpu, wall }]) => {
    const cpuMs = spread(cpu, 1)
    const ratio = (part: 'least' | 'median') => Math.round((cpuMs[part] / floor[part]) * 100) / 100
    return {
      name,
      cpuMs,
      wallMs: spread(wall),
      ratio: { least: ratio('least'), median: ratio('median') },
      peakMb: peakMb(commands[name]!, env),
      processes: countProcesses(commands[name]!, env),
    }
  })
}

/** bash's `time` counts the children that were waited for, and theirs. */
function time(name: string, command: string, env: Environment, expected: readonly number[] | undefined) {
  const script = `TIMEFORMAT='%3U %3S %3R'; { time { ${command} >/dev/null 2>&1; code=$?; }; } 2>&1; echo "exit $code"`
  const out = execFileSync('bash', ['-c', script], { env, cwd: '/', encoding: 'utf8', timeout: 120_000 })
  const m = /([\d.]+) ([\d.]+) ([\d.]+)\s+exit (\d+)/.exec(out)
  if (!m || expected?.includes(Number(m[4])) === false) throw new Error(`${name}: ${out}`)
  return { cpuMs: (Number(m[1]) + Number(m[2])) * 1000, wallMs: Number(m[3]) * 1000 }
}

/** In a run of its own: Node tells its own peak when it ends. */
function peakMb(command: string, env: Environment): number | undefined {
  const note = join(tmpdir(), `bench-peak-${process.pid}`)
  const code = `process.on('exit', () => process.getBuiltinModule('node:fs').writeFileSync(${JSON.stringify(note)}, String(process.resourceUsage().maxRSS)))`
  const preload = `--import=data:text/javascript,${encodeURIComponent(code)}`
  try {
    run(command, { ...env, NODE_OPTIONS: preload })
    return Math.round(Number(readFileSync(note, 'utf8')) / 1024)
  } catch {
    return undefined
  } finally {
    rmSync(note, { force: true })
  }
}

/** In a run of its own, under strace: itself and what was forked, threads not counted. */
function countProcesses(command: string, env: Environment): number | undefined {
  const trace = join(tmpdir(), `bench-trace-${process.pid}`)
  try {
    execFileSync(
      'strace',
      ['-f', '-qq', '-e', 'trace=clone,clone3,fork,vfork', '-o', trace, 'sh', '-c', `exec ${command}`],
      {
        env: { ...env, PATH: `${env.PATH}:/usr/bin` },
        cwd: '/',
        stdio: 'ignore',
        timeout: 120_000,
      },
    )
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
  }
  const calls = readFileSync(trace, 'utf8').split('\n')
  rmSync(trace, { force: true })
  const isFork = (line: string) => /\b(?:v?fork|clone3?)\(/.test(line) && !line.includes('CLONE_THREAD')
  return 1 + calls.filter(isFork).length
}

function run(command: string, env: Environment): void {
  try {
    execFileSync('sh', ['-c', command], { env, cwd: '/', stdio: 'ignore', timeout: 120_000 })
  } catch {
    // Its exit code was judged when its time was taken.
  }
}
