import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault, Scene } from './fault.ts'
import { untilRemark } from './scene.ts'

function sleepEightHours({ stateDir }: Scene): void {
  const path = join(stateDir, 'watchdog', 'watchdog.json')
  const state = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...state, lastTickMs: Date.now() - 8 * 3_600_000 }))
}

/** An ordinary failure is confirmed by three probes; after a sleep that is too few. */
const thirdProbe = (scene: Scene) => untilRemark(scene, 'watchdog', 3)

export default {
  id: '21',
  name: 'sleep, wake',
  signs: 'everything is late at once',
  settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '3' },
  produce: async (scene) => {
    sleepEightHours(scene)
    scene.box.setFaults({ health: 'silent' })
  },
  meanwhile: async (scene) => {
    await thirdProbe(scene)
    scene.box.setFaults({})
  },
  verdict: 'hung',
  exits: [0, 0],
  healedBy: 'itself',
  restarts: 0,
  told: undefined,
  keeps: ['process', 'config'],
  real: {
    settings: {},
    produce: async (scene) => {
      sleepEightHours(scene)
      await scene.signal('SIGSTOP')
    },
    meanwhile: async (scene) => {
      await thirdProbe(scene)
      await scene.signal('SIGCONT')
    },
  },
} satisfies Fault
