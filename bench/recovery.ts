/**
 * `npm run bench:recovery [-- --rounds N] [--real]`: the seconds that a user feels, from the fault until the gateway
 * answers again; with --real on the real OpenClaw, which `npm run test:real` installs.
 *
 * Measured with shortened waits, each tier started in the moment in which it is due; the waits of the default settings
 * are added by arithmetic: from nothing to a whole interval until the next tick, the confirming probes, the stop grace.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { TIERS } from '../lib/tier/contract.ts'
import { loadSettings, type Settings } from '../lib/tier/settings.ts'
import { createSandbox, type Sandbox, waitFor } from '../test/support/sandbox.ts'
import { publish, spread } from './figures.ts'

const SHORT = {
  CONFIG_KNOWN_GOOD_AFTER: '0',
  OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1',
  OPENCLAW_WATCHDOG_RETRY_DELAY: '0.2',
  OPENCLAW_STOP_GRACE: '1',
  OPENCLAW_STARTUP_GRACE: '120',
}

interface Fault {
  name: string
  produce: (box: Sandbox) => Promise<void>
  tiers: readonly ('gateway-watchdog' | 'gateway-healthcheck')[]
  /** Seconds that the settings make the tiers wait before they act: the probes that confirm it. */
  waits: (settings: Settings) => number
}

const nothing = () => 0
const confirmed = (settings: Settings) =>
  settings.watchdogMaxRetries * settings.watchdogHealthTimeoutSec +
  (settings.watchdogMaxRetries - 1) * settings.watchdogRetryDelaySec
const bothLevels = ['gateway-watchdog', 'gateway-healthcheck'] as const

const FAULTS: readonly Fault[] = [
  { name: 'crash (SIGKILL)', produce: killGateway, tiers: ['gateway-watchdog'], waits: nothing },
  {
    name: 'stopped in its tracks (SIGSTOP)',
    produce: async (box) => void process.kill(gatewayPid(box), 'SIGSTOP'),
    tiers: ['gateway-watchdog'],
    waits: confirmed,
  },
  {
    name: 'broken config, then a crash',
    produce: (box) => crashWith(box, '{ broken'),
    tiers: bothLevels,
    waits: nothing,
  },
  {
    name: 'valid config that is refused, then a crash',
    produce: (box) => crashWith(box, JSON.stringify({ gateway: { port: box.port } })),
    tiers: bothLevels,
    waits: nothing,
  },
]

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, real: { type: 'boolean' } } })
const rounds = Number(values.rounds)
const rows: unknown[][] = [['seconds', 'measured: median', 'worst', 'with default settings: median', 'worst']]
for (const fault of FAULTS) {
  const healings: number[] = []
  for (let round = 0; round < rounds; round++) healings.push(await heal(fault))
  const measured = spread(healings)
  const standard = loadSettings({ HOME: '/nonexistent' })
  const short = loadSettings({ HOME: '/nonexistent', ...SHORT })
  // Level 1 comes by its interval, Level 2 at once after its exit code 1 (systemd `OnFailure`, launchd `WatchPaths`).
  const interval = TIERS.watchdog.intervalSec
  const byDefault = (sec: number, waitSec: number) =>
    Math.round(sec - fault.waits(short) + fault.waits(standard) + waitSec)
  const expected = [byDefault(measured.median, interval / 2), byDefault(measured.worst, interval)]
  rows.push([fault.name, measured.median, measured.worst, ...expected])
}
const [name, stage] = values.real
  ? ['recovery-real', 'the real OpenClaw']
  : ['recovery-stand-in', 'the stand-in gateway']
publish(name!, `From the fault until it answers again, on ${stage}, Node ${process.version}, ${rounds} rounds`, rows)

/** Seconds from the fault until the gateway answers again. */
async function heal(fault: Fault): Promise<number> {
  const box = await createSandbox({ settings: SHORT })
  try {
    await (values.real ? startRealGateway(box) : box.startGateway())
    // The first tick gets to know the gateway, the second keeps its config as known-good.
    for (let i = 0; i < 2; i++) await box.runScript('gateway-watchdog')
    await fault.produce(box)
    const began = performance.now()
    const watching = new AbortController()
    const becameLive = watchUntil(box, watching.signal)
    for (const script of fault.tiers) await box.runScript(script, [], { timeoutMs: 600_000 })
    watching.abort()
    return ((await becameLive) - began) / 1000
  } finally {
    await box.close()
  }
}

/** When it last began to answer: a stopped one that is ended may do so for a moment, too. */
async function watchUntil(box: Sandbox, end: AbortSignal): Promise<number> {
  let at = Number.NaN
  for (let wasLive = true; !end.aborted; await delay(20)) {
    const isLive = await answers(box)
    if (isLive && !wasLive) at = performance.now()
    wasLive = isLive
  }
  return at
}

async function answers(box: Sandbox): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${box.port}/health`, { signal: AbortSignal.timeout(500) })
    return (await response.text()).includes('"live"')
  } catch {
    return false
  }
}

/** As its user would start it by hand; closing the sandbox ends it. */
async function startRealGateway(box: Sandbox): Promise<void> {
  const { openclawBin } = await import('../test/real/parts.ts')
  const { useRealOpenClaw } = await import('../test/real/real-sandbox.ts')
  if (!existsSync(openclawBin)) throw new Error('the real OpenClaw is not installed: `npm run test:real` does that')
  useRealOpenClaw(box)
  const options = { env: box.env, cwd: '/', detached: true, stdio: 'ignore' } as const
  spawn(join(box.binDir, 'openclaw'), ['gateway', 'run'], options).unref()
  await waitFor(() => answers(box), 'the real gateway', 300_000)
}

/** What the tiers have on record as the gateway's process. */
function gatewayPid(box: Sandbox): number {
  return Number(JSON.parse(readFileSync(join(box.stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid)
}

async function killGateway(box: Sandbox): Promise<void> {
  process.kill(gatewayPid(box), 'SIGKILL')
  await waitFor(async () => !(await answers(box)), 'the end of the gateway')
}

async function crashWith(box: Sandbox, config: string): Promise<void> {
  box.writeConfig(config)
  await killGateway(box)
}
