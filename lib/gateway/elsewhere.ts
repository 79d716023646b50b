/**
 * A gateway that is up at another address than the one that is asked: its port was changed in `openclaw.json` and not in
 * `.env`, it binds to one address of the network (`gateway.bind`), or it speaks TLS. To restart it would help nothing,
 * and would go on for ever.
 */
import { runCommand } from '../tier/command.ts'
import type { Settings } from '../tier/settings.ts'
import { type Probe, probe } from './probe.ts'
import type { ProcessInfo } from './processes.ts'

/** Where the gateway answers, as the settings should have it, and what it said there. */
export interface Elsewhere {
  there: Settings
  answer: Probe
}

/** A gateway has one port, and a few more for its browser and canvas. */
const MAX_ADDRESSES = 12

/**
 * Asks the process at every address at which it listens.
 * @param timeoutMs for each request
 * @returns undefined when it says nowhere that it is the gateway
 */
export async function findElsewhere(
  settings: Settings,
  { pid }: ProcessInfo,
  timeoutMs: number,
): Promise<Elsewhere | undefined> {
  const addresses = await listeningAddresses(settings, pid)
  // One that is silent keeps nobody waiting when another one has spoken.
  return Promise.any(addresses.slice(0, MAX_ADDRESSES).map((at) => askAt(settings, at, timeoutMs))).catch(
    () => undefined,
  )
}

/** Throws when it is not the gateway that answers there. */
async function askAt(settings: Settings, address: string, timeoutMs: number): Promise<Elsewhere> {
  for (const scheme of ['http', 'https']) {
    const gatewayUrl = `${scheme}://${address}/`
    // It was asked there already.
    if (gatewayUrl === new URL(settings.gatewayUrl).href) continue
    const there = { ...settings, gatewayUrl, gatewayPort: Number(/\d+$/.exec(address)![0]) }
    const answer = await probe(there, timeoutMs)
    if (answer.kind === 'live') return { there, answer }
    // A server that speaks TLS breaks the connection of one who does not.
    if (answer.kind !== 'broken') break
  }
  throw new Error(`no gateway at ${address}`)
}

/** `127.0.0.1:18789`, `[::1]:18789`; whoever listens everywhere is asked on this machine. */
async function listeningAddresses(settings: Settings, pid: number): Promise<string[]> {
  const options = { timeoutMs: 10_000, env: settings.childEnv }
  const lsof = await runCommand('lsof', ['-nP', '-a', '-p', String(pid), '-iTCP', '-sTCP:LISTEN', '-Fn'], options)
  let found = [...lsof.stdout.matchAll(/^n(\S+:\d+)$/gm)].map((m) => m[1]!)
  if (lsof.missing) {
    // Debian has no lsof by default; iproute2's ss it has.
    const ss = await runCommand('ss', ['-ltnpH'], options)
    const own = ss.stdout.split('\n').filter((line) => line.includes(`pid=${pid},`))
    found = own.flatMap((line) => line.split(/\s+/).find((word) => /:\d+$/.test(word)) ?? [])
  }
  const local = found.map((address) =>
    address.replace(/^(?:\*|0\.0\.0\.0):/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:'),
  )
  return [...new Set(local)].filter((address) => /^(?:[\d.]+|\[[\da-f:.]+\]):\d+$/i.test(address))
}
