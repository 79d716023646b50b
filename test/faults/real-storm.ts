/** Pairs of faults, and the control without one, on the real OpenClaw as a bare process, which says the noise itself. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import type { RealScene } from './fault.ts'
import { noteResults, type Performance } from './play.ts'
import { blockFor, editValidly, saveInTwoSteps, tickQuietly } from './quiet.ts'
import { pairs } from './storm.ts'
import { openNetwork, playPair, stormIn } from './storm-play.ts'

interface Stage {
  open(settings?: Record<string, string>): Promise<Performance<RealScene>>
  close(): Promise<void>
}

const NOISE = new URL('../support/noise.mjs', import.meta.url).pathname

/** In its own process, by its own standard output. */
const talkIn = (scene: RealScene, perSec: number) =>
  scene.inGateway(`{
    const { talk } = process.getBuiltinModule('node:module').createRequire('/')('${NOISE}')
    let said = 0
    setInterval(() => process.stdout.write(talk(said, (said += ${perSec / 10}))), 100).unref()
  }`)

const TIMEOUT_MS = 420_000

export function playStorms(build: () => Promise<Stage>): void {
  let stage: Stage
  beforeAll(async () => {
    stage = await build()
  })
  afterAll(() => stage.close())

  for (const [i, { real, ...pair }] of pairs.entries()) {
    if (!real) continue
    test(`storm: ${pair.name}`, async ({ skip, onTestFinished }) => {
      const why = pair.cannotBeMade?.()
      if (why) skip(why)
      const network = await openNetwork()
      onTestFinished(network.close)
      const { scene, close } = await stage.open({ DISCORD_WEBHOOK_URL: network.url, ...pair.settings })
      const { box } = scene
      try {
        for (let i = 0; i < 2; i++) expect((await box.runScript('gateway-watchdog')).code).toBe(0)
        if (pair.noise) await talkIn(scene, pair.noise)
        const run = async (script: string) => (await box.runScript(script, [], { timeoutMs: TIMEOUT_MS })).code
        const storm = {
          ...stormIn(scene, network, undefined, run),
          faults: () => {},
          starts: scene.starts,
          start: () => scene.start('live'),
        }
        const cells = await playPair({ ...pair, ...real }, storm)
        noteResults([[`P${i + 1}`, pair.name, 'real', ...cells]])
      } finally {
        await close()
      }
    })
  }

  test('storm: ten ticks without a fault: no restart, no escalation, no alert', async ({ onTestFinished }) => {
    const network = await openNetwork()
    onTestFinished(network.close)
    const { scene, close } = await stage.open({ DISCORD_WEBHOOK_URL: network.url, NOTIFY: 'all' })
    const { box } = scene
    const isUp = async () => (await scene.isLive()) && (await scene.pidNow()) > 0
    const restartBy = (how: () => unknown) => async () => {
      await how()
      await waitFor(async () => !(await isUp()), 'the restart', 60_000).catch(() => {})
      await waitFor(isUp, 'its end', 300_000)
    }
    try {
      await talkIn(scene, 200)
      await tickQuietly(
        box,
        network.receiver,
        10,
        [
          () => editValidly(box, '>'),
          restartBy(() => scene.openclaw('gateway', 'restart')),
          () => blockFor(scene.pid, 1500),
          restartBy(() => scene.signal('SIGUSR2')),
          () => saveInTwoSteps(box),
        ],
        false,
      )
      expect(await box.processes()).toContain(scene.pid)
    } finally {
      await close()
    }
  })
}
