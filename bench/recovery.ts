/**
 * From the fault to a healthy gateway, second by second: what the tiers need (to start, look and decide; to act; to see
 * that it worked), and what the gateway's own boot takes, which nobody can shorten.
 *
 * Measured with shortened waits, each tier started in the moment in which it is due; the waits of the default settings
 * are added by arithmetic: from nothing to a whole interval until the next tick, the confirming probes, the stop grace.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { TIERS } from '../lib/tier/contract.ts'
import { loadSettings, type Settings } from '../lib/tier/settings.ts'
import { createSandbox, projectDir, type Sandbox, waitFor } from '../test/support/sandbox.ts'
import { nodeMajor, publish, spread } from './figures.ts'

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
  /** Seconds that the settings make the tiers wait before they act: confirming probes, a grace before SIGKILL. */
  waits: (settings: Settings) => number
}

const nothing = () => 0
/** The first look and the probes that confirm it each wait for an answer; a signal that cannot be heard is not sent. */
const confirmed = (settings: Settings) =>
  settings.watchdogMaxRetries * settings.watchdogHealthTimeoutSec +
  (settings.watchdogMaxRetries - 1) * settings.watchdogRetryDelaySec

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
    tiers: ['gateway-watchdog', 'gateway-healthcheck'],
    waits: nothing,
  },
  {
    name: 'valid config that is refused, then a crash',
    produce: (box) => crashWith(box, JSON.stringify({ gateway: { port: box.port } })),
    tiers: ['gateway-watchdog', 'gateway-healthcheck'],
    waits: nothing,
  },
]

/** One healing, in seconds. */
interface Healing {
  /** Of the last tier: from the start of its process until it says what is wrong, without the waits of the settings. */
  decision: number
  /** From there until the new gateway is started: puts a config back, ends the old process. */
  restart: number
  /** From there until it answers. */
  boot: number
  /** From its first answer until the tier says so and ends. */
  verification: number
  /** All together, the tiers before the last one and the waits included. */
  total: number
}

export async function measureRecovery(rounds: number, real: boolean): Promise<void> {
  const results = []
  for (const fault of FAULTS) {
    const healings: Healing[] = []
    for (let round = 0; round < rounds; round++) healings.push(await heal(fault, real))
    const part = (name: keyof Healing) =>
      spread(
        healings.map((healing) => healing[name]),
        2,
      )
    const [decision, restart, boot, verification, total] = (
      ['decision', 'restart', 'boot', 'verification', 'total'] as const
    ).map(part)
    results.push({
      fault: fault.name,
      healings,
      decision,
      restart,
      boot,
      verification,
      total,
      byDefault: byDefault(fault, total!.median),
    })
  }
  const stage = real ? 'the real OpenClaw' : 'the stand-in gateway'
  const rows = [
    [
      'seconds, median (worst)',
      'decision',
      'restart',
      "gateway's boot",
      'verification',
      'measured in all',
      'with default settings: median',
      'worst',
    ],
    ...results.map(({ fault, decision, restart, boot, verification, total, byDefault: expected }) => [
      fault,
      ...[decision, restart, boot, verification, total].map((one) => `${one!.median} (${one!.worst})`),
      expected.median,
      expected.worst,
    ]),
  ]
  const name = `recovery-${real ? 'real' : 'stand-in'}-${nodeMajor()}`
  publish(name, `From the fault to a healthy gateway, on ${stage}, ${rounds} rounds`, { rounds, stage, results }, rows)
}

/** Level 1 comes by its interval, Level 2 at once after its exit code 1 (systemd `OnFailure`, launchd `WatchPaths`). */
function byDefault(fault: Fault, measuredSec: number) {
  const standard = loadSettings({ HOME: '/nonexistent' })
  const short = loadSettings({ HOME: '/nonexistent', ...SHORT })
  const shouldBe = measuredSec - fault.waits(short) + fault.waits(standard)
  const interval = TIERS.watchdog.intervalSec
  return { median: Math.round(shouldBe + interval / 2), worst: Math.round(shouldBe + interval) }
}

async function heal(fault: Fault, real: boolean): Promise<Healing> {
  const box = await createSandbox({ settings: SHORT })
  try {
    await (real ? startRealGateway(box) : box.startGateway())
    // The first tick gets to know the gateway, the second keeps its config as known-good.
    for (let i = 0; i < 2; i++) await tick(box, 'gateway-watchdog')
    await fault.produce(box)
    const began = performance.now()
    const waitsSec = fault.waits(loadSettings({ HOME: box.home }))
    const watching = new AbortController()
    const becameLive = watchUntil(box, watching.signal)
    let last = { startedAt: Number.NaN, decidedAt: Number.NaN, actedAt: Number.NaN, endedAt: Number.NaN }
    for (const script of fault.tiers) last = await tick(box, script)
    watching.abort()
    const live = await becameLive
    const seconds = (from: number, to: number) => (to - from) / 1000
    return {
      decision: seconds(last.startedAt, last.decidedAt) - waitsSec,
      restart: seconds(last.decidedAt, last.actedAt),
      boot: seconds(last.actedAt, live),
      verification: seconds(live, last.endedAt),
      total: seconds(began, last.endedAt),
    }
  } finally {
    await box.close()
  }
}

/** Runs a tier through the launcher, and notes when it says what is wrong, and that it acted. */
async function tick(box: Sandbox, script: string) {
  const startedAt = performance.now()
  let decidedAt = Number.NaN
  let actedAt = Number.NaN
  let said = ''
  const child = spawn('/bin/sh', [join(projectDir, 'scripts', 'run-tier.sh'), script], { env: box.env, cwd: '/' })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
    if (Number.isNaN(decidedAt) && /\] DOWN /.test(said)) decidedAt = performance.now()
    if (Number.isNaN(actedAt) && /\] restart: /.test(said)) actedAt = performance.now()
  })
  await new Promise((resolve) => child.once('close', resolve))
  return { startedAt, decidedAt, actedAt, endedAt: performance.now(), said }
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
  const child = spawn(join(box.binDir, 'openclaw'), ['gateway', 'run'], {
    env: box.env,
    cwd: '/',
    detached: true,
    stdio: 'ignore',
  })
  child.unref()
  await waitFor(() => answers(box), 'the real gateway', 300_000)
}

/** What the tiers have on record as the gateway's process. */
function gatewayPid(box: Sandbox): number {
  return Number(JSON.parse(readFileSync(join(box.stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid)
}

async function killGateway(box: Sandbox): Promise<void> {
  const pid = gatewayPid(box)
  process.kill(pid, 'SIGKILL')
  await waitFor(async () => !(await answers(box)), 'the end of the gateway')
}

async function crashWith(box: Sandbox, config: string): Promise<void> {
  box.writeConfig(config)
  await killGateway(box)
}
