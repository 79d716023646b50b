/**
 * Does a tick stay cheap on a machine that has run for long? Logs by the thousand (all within the days for which they are
 * kept, so that none is tidied away), and a gateway's log of 1 GB, which only a tick that finds the gateway down reads.
 */
import { closeSync, ftruncateSync, openSync, readdirSync, rmSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { localDay } from '../lib/tier/contract.ts'
import { type Cost, measure } from './cost.ts'
import { nodeMajor, publish } from './figures.ts'
import { createWorld, type World } from './world.ts'

const SCRIPTS = {
  watchdog: 'gateway-watchdog',
  'health check': 'gateway-healthcheck',
  monitor: 'emergency-recovery-monitor',
  guardian: 'watchdog-guardian',
}

export async function measureScale(rounds: number): Promise<void> {
  const world = await createWorld()
  try {
    const results: Record<string, Cost[]> = {}
    const healthy = { 'node -e 0': 'node -e 0', ...mapValues(SCRIPTS, world.tick) }
    for (const count of [1, 100, 10_000]) {
      fillWithLogs(world, count)
      results[`${count} log files`] = measure(healthy, world.env, rounds)
    }
    // A look at a gateway that is down; a dry run, because an ordinary one would start it.
    const down = { 'node -e 0': 'node -e 0', watchdog: `${world.tick('gateway-watchdog')} --dry-run` }
    world.stopGateway()
    for (const megabytes of [1, 1024]) {
      writeGatewayLog(world, megabytes)
      results[`down, gateway's log of ${megabytes} MB`] = measure(down, world.env, rounds, [0, 1])
    }
    const rows = Object.entries(results).map(([what, costs]) => [
      what,
      ...Object.keys(SCRIPTS).map((name) => costs.find((cost) => cost.name === name)?.cpuMs.least ?? ''),
      costs[0]!.cpuMs.least,
    ])
    const head = ['CPU ms, least', ...Object.keys(SCRIPTS), '`node -e 0`']
    publish(`scale-${nodeMajor()}`, `Ticks at scale, ${rounds} rounds`, { rounds, results }, [head, ...rows])
  } finally {
    world.close()
  }
}

/** Logs of incidents, one every two minutes of the last 13 days and before: with a few lines each, as Level 3 writes them. */
function fillWithLogs({ memoryDir }: World, count: number): void {
  const have = readdirSync(memoryDir).filter((name) => name.startsWith('emergency-recovery-')).length
  const now = Date.now()
  for (let i = have; i < count; i++) {
    const at = new Date(now - 3_600_000 - i * 110_000)
    const time = at.toISOString().slice(11, 19).replaceAll(':', '')
    const line = `[${at.toISOString().slice(0, 19)}+00:00] [emergency-recovery] [INFO] RUN started (pid 1)\n`
    const path = join(memoryDir, `emergency-recovery-${localDay(at)}-${time}.log`)
    writeFileSync(path, line.repeat(20))
    utimesSync(path, at, at)
  }
}

/** Real text of a gateway at its end, where it is read; before that a hole in the file, which is never read. */
function writeGatewayLog({ stateDir }: World, megabytes: number): void {
  const path = join(stateDir, 'logs', 'gateway.log')
  rmSync(path, { force: true })
  const fd = openSync(path, 'w')
  const tail = '2026-11-22T05:44:10.123Z [gateway] something ordinary was done in 12 ms for a client\n'.repeat(10_000)
  ftruncateSync(fd, megabytes * 1024 * 1024)
  writeSync(fd, tail, megabytes * 1024 * 1024 - tail.length)
  closeSync(fd)
}

function mapValues<T, U>(record: Record<string, T>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
}
