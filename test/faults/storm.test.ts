/** Faults that meet, with a noisy log, against the stand-in gateway. */
import { afterAll, expect } from 'vitest'
import { test } from '../support/boxes.ts'
import { noteResults } from './play.ts'
import { sandboxScene, undoings } from './scene.ts'
import { pairs } from './storm.ts'
import { openNetwork, playPair, stormIn } from './storm-play.ts'

const USUAL = { OPENCLAW_STARTUP_GRACE: '120', CONFIG_KNOWN_GOOD_AFTER: '0', OPENCLAW_STOP_GRACE: '1' }

const rows: string[][] = []
afterAll(() => noteResults(rows))

for (const [i, pair] of pairs.entries())
  test(pair.name, async ({ known, skip, onTestFinished }) => {
    const why = pair.cannotBeMade?.()
    if (why) skip(why)
    const network = await openNetwork()
    onTestFinished(network.close)
    const settings = { ...USUAL, DISCORD_WEBHOOK_URL: network.url, ...pair.settings }
    const { box, pid } = await known({ absent: pair.absent, settings }, { noise: pair.noise })
    // The second tick keeps its config as known-good.
    expect((await box.runScript('gateway-watchdog')).code).toBe(0)
    const { onClose, undo } = undoings()
    const scene = { ...sandboxScene(box, pid, onClose), box }
    const run = async (script: string, env: Record<string, string>) => (await box.runScript(script, [], { env })).code
    try {
      const cells = await playPair(pair, stormIn(scene, network, pair.noise, run))
      rows.push([`P${i + 1}`, pair.name, 'stand-in', ...cells])
      expect(box.events().filter(({ what }) => what === 'debugger opened')).toEqual([])
    } finally {
      await undo()
    }
  })
