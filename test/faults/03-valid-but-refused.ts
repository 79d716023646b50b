import { expect } from 'vitest'
import { type Fault, killGateway, type RealScene, type StandInScene } from './fault.ts'

/** As an update or a hand has left it: all but the mode. */
async function loseMode(scene: StandInScene | RealScene): Promise<void> {
  await killGateway(scene)
  scene.writeConfig(`{ "gateway": { "port": ${scene.port} } }`)
}

export default {
  id: '3',
  name: 'config valid, but refused',
  signs: 'exit 78, `Gateway start blocked`; `config validate` says valid',
  cause: /gateway\.mode|mode\b.*(?:missing|lost|unset)/i,
  produce: async (scene) => {
    await loseMode(scene)
    await scene.box.startGateway({}, 'exit')
  },
  verdict: 'misconfigured',
  exits: [1, 0],
  healedBy: 'level 2',
  restarts: 1,
  told: /Gateway start blocked/,
  keeps: ['config'],
  real: {
    produce: async (scene) => {
      await loseMode(scene)
      expect(await scene.start('exit')).toBe(78)
    },
  },
} satisfies Fault
