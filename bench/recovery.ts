/**
 * `npm run bench:recovery [-- --rounds N] [--real]`: the seconds that a user feels, from the fault until the gateway
 * answers again; with --real on the real OpenClaw, which `npm run test:real` installs.
 *
 * Measured with shortened waits, each tier started in the moment in which it is due; the waits of the default settings
 * are added by arithmetic: from nothing to a whole interval until the next tick, the confirming probes, the stop grace.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { TIERS } from '../lib/tier/contract.ts'
import { loadSettings } from '../lib/tier/settings.ts'
import { isLive } from '../test/faults/scene.ts'
import { createSandbox, type Sandbox, waitFor } from '../test/support/sandbox.ts'
import { publish, spread } from './figures.ts'

const SHORT = {
  ...{ OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '0.2' },
  ...{ CONFIG_KNOWN_GOOD_AFTER: '0', OPENCLAW_STOP_GRACE: '1', OPENCLAW_STARTUP_GRACE: '120' },
}

const answers = ({ port }: Sandbox) => isLive(port, 500)
const recordOf = ({ stateDir }: Sandbox) => readFileSync(join(stateDir, 'watchdog', 'gateway.json'), 'utf8')
const gatewayPid = (box: Sandbox) => Number(JSON.parse(recordOf(box)).pid)

/** A crash, after the config was replaced. */
const crashWith = (configOf?: (box: Sandbox) => string) => async (box: Sandbox) => {
  if (configOf) box.writeConfig(configOf(box))
  process.kill(gatewayPid(box), 'SIGKILL')
  await waitFor(async () => !(await answers(box)), 'the end of the gateway')
}
const LEVELS = ['gateway-watchdog', 'gateway-healthcheck']
const withoutMode = ({ port }: Sandbox) => JSON.stringify({ gateway: { port } })

/** The name, how it is made, the level that heals it, and whether probes confirm it before that. */
const FAULTS: [string, (box: Sandbox) => Promise<void>, level: number, boolean][] = [
  ['crash (SIGKILL)', crashWith(), 1, false],
  ['frozen (SIGSTOP)', async (box) => void process.kill(gatewayPid(box), 'SIGSTOP'), 1, true],
  ['broken config, then a crash', crashWith(() => '{ broken'), 2, false],
  ['valid config that is refused, then a crash', crashWith(withoutMode), 2, false],
]

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, real: { type: 'boolean' } } })
const rows: unknown[][] = []
for (const [name, produce, level, isConfirmed] of FAULTS) {
  const seconds: number[] = []
  while (seconds.length < Number(values.rounds)) seconds.push(await heal(produce, LEVELS.slice(0, level)))
  const { median, worst } = spread(seconds)
  const added = isConfirmed ? confirmationSec({}) - confirmationSec(SHORT) : 0
  // Level 1 comes by its interval, Level 2 at once after its exit code 1 (systemd `OnFailure`, launchd `WatchPaths`).
  const byDefault = (sec: number, waitSec: number) => Math.round(sec + added + waitSec)
  const interval = TIERS.watchdog.intervalSec
  rows.push([name, median, worst, byDefault(median, interval / 2), byDefault(worst, interval)])
}
const [file, stage] = values.real ? ['recovery-real', 'the real OpenClaw'] : ['recovery-stand-in', 'the stand-in']
const title = `From the fault until it answers again, on ${stage}, Node ${process.version}, ${values.rounds} rounds`
publish(file!, title, ['seconds', 'measured: median', 'worst', 'with default settings: median', 'worst'], rows)

function confirmationSec(env: Record<string, string>): number {
  const settings = loadSettings({ HOME: '/nonexistent', ...env })
  const { watchdogMaxRetries: probes, watchdogHealthTimeoutSec, watchdogRetryDelaySec } = settings
  return probes * watchdogHealthTimeoutSec + (probes - 1) * watchdogRetryDelaySec
}

/** Seconds from the fault until the gateway answers again. */
async function heal(produce: (box: Sandbox) => Promise<void>, tiers: string[]): Promise<number> {
  const box = await createSandbox({ settings: SHORT })
  try {
    await (values.real ? startRealGateway(box) : box.startGateway())
    // The first tick gets to know the gateway, the second keeps its config as known-good.
    for (let i = 0; i < 2; i++) await box.runScript('gateway-watchdog')
    await produce(box)
    const began = performance.now()
    let isOver = false
    const lastDown = (async () => {
      // Until it last did not answer: a frozen one that is ended may do so for a moment.
      let downAt = Number.NaN
      for (; !isOver; await delay(20)) if (!(await answers(box))) downAt = performance.now()
      return downAt
    })()
    for (const script of tiers) await box.runScript(script, [], { timeoutMs: 600_000 })
    isOver = true
    return ((await lastDown) - began) / 1000
  } finally {
    await box.close()
  }
}

/** As its user would start it by hand; closing the sandbox ends it. */
async function startRealGateway(box: Sandbox): Promise<void> {
  const { useRealOpenClaw } = await import('../test/real/real-sandbox.ts')
  useRealOpenClaw(box)
  const options = { env: box.env, cwd: '/', detached: true, stdio: 'ignore' } as const
  spawn(join(box.binDir, 'openclaw'), ['gateway', 'run'], options).unref()
  await waitFor(() => answers(box), 'the real gateway', 300_000)
}
