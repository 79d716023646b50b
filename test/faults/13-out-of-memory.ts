import { appendFileSync } from 'node:fs'
import { waitFor } from '../support/wait-for.ts'
import { type Fault, killGateway, type RealScene, type StandInScene, type SystemdScene } from './fault.ts'
import { isRunning } from './scene.ts'

async function dieOfMemory(scene: StandInScene): Promise<void> {
  // The second time it is the process that Level 1 started.
  const pid = scene.box.events().findLast(({ what }) => what === 'ready')?.pid ?? scene.pid
  await killGateway({ ...scene, pid })
  appendFileSync(
    scene.box.gatewayLog,
    `\n<--- Last few GCs --->\n\n[${pid}:0x16a15000]    30622 ms: Mark-Compact 380.9 (513.6) -> 380.1 (512.8) MB\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n`,
  )
}

/** It keeps everything it makes, in a heap that is small: V8 itself ends it, in its own words. */
const LEAK = 'setTimeout(() => { const kept = []; for (;;) kept.push(new Array(1e5).fill(kept.length)) }, 50)'

const leak = (scene: RealScene | SystemdScene) => scene.inGateway(LEAK)

async function leakAndDie(scene: RealScene): Promise<void> {
  const pid = await scene.pidNow()
  await leak(scene)
  await waitFor(() => !isRunning(pid), 'its end', 120_000)
}

export default {
  id: '13',
  name: 'out of memory',
  signs: '`Reached heap limit`, SIGABRT',
  produce: dieOfMemory,
  again: dieOfMemory,
  verdict: 'absent',
  exits: [0, 0],
  healedBy: 'level 1',
  restarts: 2,
  told: /memory/,
  keeps: ['config'],
  real: { produce: leakAndDie, again: leakAndDie },
  // systemd starts it again each time: that nobody of us had to does not make it well.
  systemd: {
    produce: async (scene) => {
      await leak(scene)
      await scene.until('ActiveState', 'activating')
    },
    again: async (scene) => {
      // Its unit gives it a heap of 8 GB: until that is full it answers nobody, and would rightly be taken for hung.
      const pid = await scene.unit('MainPID')
      await leak(scene)
      const isAnother = async () => (await scene.unit('MainPID')) !== pid && scene.isLive()
      await waitFor(isAnother, 'systemd to start it again', 300_000)
    },
    verdict: 'starting',
    healedBy: 'itself',
    restarts: 0,
  },
} satisfies Fault
