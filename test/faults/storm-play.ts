/** Plays a pair of faults through Levels 1, 2 and 4, round by round, and checks what must be so of every pair. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { TIERS } from '../../lib/tier/contract.ts'
import { freePort } from '../support/ports.ts'
import { waitFor } from '../support/wait-for.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import type { StandInScene } from './fault.ts'
import { letTimePass } from './play.ts'
import { isRunning } from './scene.ts'
import type { Pair, Storm } from './storm.ts'

const ROUND = ['watchdog', 'healthcheck', 'monitor'] as const
const PRELOAD = `--import=${new URL('../fire/shifted-clock.mjs', import.meta.url).href}`

/** The receiver of the alerts, and what lies between it and this machine. */
export async function openNetwork() {
  const receiver = await startWebhookReceiver()
  const port = await freePort()
  const { port: far, pathname } = new URL(receiver.url)
  let server: ReturnType<typeof createServer> | undefined
  const cut = () => {
    server?.close()
    server = undefined
  }
  const mend = () =>
    new Promise<void>((resolve) => {
      server = createServer((near) => {
        const other = connect(Number(far), '127.0.0.1')
        for (const one of [near, other]) one.on('error', () => [near, other].map((both) => both.destroy()))
        near.pipe(other).pipe(near)
      }).listen(port, '127.0.0.1', resolve)
    })
  await mend()
  const close = async () => {
    cut()
    await receiver.close()
  }
  return { receiver, url: `http://127.0.0.1:${port}${pathname}`, cut, mend, close }
}

export type Network = Awaited<ReturnType<typeof openNetwork>>

/** @param run starts a tier and returns its exit code */
export function stormIn(scene: StandInScene, network: Network, noise: number | undefined, run: Storm['run']): Storm {
  const present = () => readFileSync(scene.configPath, 'utf8')
  const good = present()
  const versions = [good]
  const foreign: number[] = []
  let ownStarts = 0
  return {
    ...scene,
    ...{ network, run, good, versions, foreign },
    edit(text) {
      // What its owner writes over is not ours to keep.
      if (versions.length > 1 && present() === versions.at(-1)) versions.pop()
      scene.writeConfig(text)
      versions.push(present())
    },
    faults: (faults) => scene.box.setFaults({ noise, ...faults }),
    async start(faults = {}, until = 'ready') {
      return (await this.byHand(() => scene.box.startGateway({ noise, ...faults }, until))).pid
    },
    byHand: (start) => {
      ownStarts++
      return start()
    },
    starts: () => scene.box.openclawCalls().filter((call) => call === 'gateway run').length - ownStarts,
  }
}

/** Returns what is noted of it: the cells behind number, name and stage. */
export async function playPair(pair: Pair, storm: Storm): Promise<string[]> {
  const { box, network, stateDir } = storm
  const startsBefore = storm.starts()
  await pair.first(storm)
  for (const [i, code] of pair.exits.entries()) {
    const tier = ROUND[i % ROUND.length]!
    if (i > 0 && i % ROUND.length === 0) letTimePass(storm)
    const now = pair.later.filter(({ at }) => at === i)
    for (const one of now.filter(({ once }) => !once)) await one.happens(storm)
    const shiftSec = pair.clockSec?.[i]
    const env: Record<string, string> = shiftSec ? { NODE_OPTIONS: PRELOAD, CLOCK_SHIFT_SEC: String(shiftSec) } : {}
    const before = box.log(tier).length
    const tick = storm.run(TIERS[tier].script, env)
    for (const { once, happens } of now.filter((one) => one.once)) {
      await Promise.race([
        waitFor(() => once!(storm, box.log(tier).slice(before)), `${pair.name}: what is waited for`),
        tick,
      ])
      await happens(storm)
    }
    expect(await tick, `tick ${i}, ${tier}:\n${box.log()}`).toBe(code)
  }

  const sent = network.receiver.requests.filter(({ status }) => status === 204).map(({ text }) => text)
  const all = `${sent.join('\n')}\n${box.log()}`
  expect(sent.length, `alerts: ${all}`).toBe(pair.told.length)
  for (const [i, words] of pair.told.entries()) expect(sent[i], all).toMatch(words)
  expect(network.receiver.requests.flatMap(({ problems }) => problems)).toEqual([])
  expect(storm.starts() - startsBefore, `starts: ${all}`).toBe(pair.starts)
  expect(await storm.isLive(), `live: ${all}`).toBe(pair.ends === 'live')
  for (const pid of storm.foreign) expect(isRunning(pid), 'a process that is not ours').toBe(true)
  const kept = filesIn(stateDir).map((path) => readFileSync(path, 'latin1'))
  for (const version of storm.versions) expect(kept, version).toContain(Buffer.from(version).toString('latin1'))
  expect(readdirSync(join(stateDir, 'watchdog')).filter((name) => /\.lock\.|\.tmp$/.test(name))).toEqual([])
  await pair.check?.(storm)
  const log = box.log('watchdog') + box.log('healthcheck') + box.log('emergency-recovery-2')
  const [, level, seconds] = /RECOVERED by (?:(level \d)|itself).* after (\d+) s/.exec(log) ?? []
  const isHuman = pair.told.some((words) => words.test('is back'))
  const verdict = /\] DOWN ([a-z-]+)/.exec(log)?.[1] ?? 'healthy'
  const healer = isHuman ? 'a human' : (level ?? 'itself')
  return [verdict, healer, String(pair.starts), isHuman || !seconds ? '–' : seconds, sent.length > 0 ? 'yes' : '–']
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((one) => {
    const path = join(folder, one.name)
    if (one.isDirectory()) return one.name === 'compile-cache' ? [] : filesIn(path)
    return one.isFile() && existsSync(path) ? [path] : []
  })
}
