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
  CONFIG_KNOWN_GOOD_AFTER: '0',
  OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1',
  OPENCLAW_WATCHDOG_RETRY_DELAY: '0.2',
  OPENCLAW_STOP_GRACE: '1',
  OPENCLAW_STARTUP_GRACE: '120',
}

const answers = ({ port }: Sandbox) => isLive(port, 500)

/** A crash, after the config was replaced. */
const crashWith = (configOf?: (box: Sandbox) => string) => async (box: Sandbox) => {
  if (configOf) box.writeConfig(configOf(box))
  process.kill(gatewayPid(box), 'SIGKILL')
  await waitFor(async () => !(await answers(box)), 'the end of the gateway')
}
const level1 = ['gateway-watchdog']
const bothLevels = ['gateway-watchdog', 'gateway-healthcheck']
const withoutMode = ({ port }: Sandbox) => JSON.stringify({ gateway: { port } })

/** The name, how it is made, the tiers that heal it, and whether probes confirm it before that. */
const FAULTS: [string, (box: Sandbox) => Promise<void>, string[], boolean][] = [
  ['crash (SIGKILL)', crashWith(), level1, false],
  ['frozen (SIGSTOP)', async (box) => void process.kill(gatewayPid(box), 'SIGSTOP'), level1, true],
  ['broken config, then a crash', crashWith(() => '{ broken'), bothLevels, false],
  ['valid config that is refused, then a crash', crashWith(withoutMode), bothLevels, false],
]

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, real: { type: 'boolean' } } })
const rows: unknown[][] = []
for (const [name, produce, tiers, isConfirmed] of FAULTS) {
  const seconds: number[] = []
  while (seconds.length < Number(values.rounds)) seconds.push(await heal(produce, tiers))
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
    // When it last began to answer: a frozen one that is ended may do so for a moment, too.
    let liveAt = Number.NaN
    const watching = (async () => {
      for (let wasLive = true; !isOver; await delay(20)) {
        const isNow = await answers(box)
        if (isNow && !wasLive) liveAt = performance.now()
        wasLive = isNow
      }
    })()
    for (const script of tiers) await box.runScript(script, [], { timeoutMs: 600_000 })
    isOver = true
    await watching
    return (liveAt - began) / 1000
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

/** What the tiers have on record as the gateway's process. */
function gatewayPid(box: Sandbox): number {
  return Number(JSON.parse(readFileSync(join(box.stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid)
}
