/**
 * What a healthy tick costs. Each script is started as launchd, systemd and cron start it, through run-tier.sh, beside
 * floors that are measured in the same minutes: `node -e 0`, and bash with curl on the same URL.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cost, measure } from './cost.ts'
import { nodeMajor, publish } from './figures.ts'
import { bars } from './picture.ts'
import { createWorld } from './world.ts'

export async function measureTicks(rounds: number): Promise<void> {
  const world = await createWorld()
  try {
    const commands = {
      'node -e 0': 'node -e 0',
      'bash + curl': `bash -c 'curl -s -o /dev/null ${world.url}'`,
      watchdog: world.tick('gateway-watchdog'),
      'health check': world.tick('gateway-healthcheck'),
      monitor: world.tick('emergency-recovery-monitor'),
      guardian: world.tick('watchdog-guardian'),
    }
    const results = measure(commands, world.env, rounds)
    const title = `A healthy tick, ${rounds} rounds`
    publish(`tick-${nodeMajor()}`, title, { rounds, results }, table(results))
    const folder = join(import.meta.dirname, 'results')
    const shown = results.map(({ name, cpuMs, ratio }, i) => ({
      name,
      value: cpuMs.least,
      label: `${cpuMs.least} ms (×${ratio.least})`,
      isFloor: i < 2,
    }))
    const heading = `CPU of a healthy tick, Node ${process.versions.node} (least of ${rounds})`
    writeFileSync(join(folder, `tick-${nodeMajor()}.svg`), bars(heading, shown))
  } finally {
    world.close()
  }
}

function table(results: readonly Cost[]) {
  return [
    ['', 'CPU ms, least', 'median', 'against `node -e 0`', 'wall ms, least', 'peak MB', 'processes'],
    ...results.map(({ name, cpuMs, wallMs, ratio, peakMb, processes }) => [
      name,
      cpuMs.least,
      cpuMs.median,
      ratio.least,
      wallMs.least,
      peakMb ?? '',
      processes ?? '',
    ]),
  ]
}
