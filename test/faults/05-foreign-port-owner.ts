import { expect } from 'vitest'
import { type Stranger, startStranger } from '../support/stranger.ts'
import { type Fault, killGateway, type RealScene, type StandInScene } from './fault.ts'

let stranger: Stranger

async function takePort(scene: StandInScene | RealScene): Promise<void> {
  await killGateway(scene)
  stranger = await startStranger(scene.box)
  scene.onClose(stranger.end)
}

const way = {
  produce: takePort,
  check: () => expect(stranger.isAlive()).toBe(true),
  repair: async () => stranger.end(),
}

export default {
  ...way,
  id: '5',
  name: 'foreign port owner',
  signs: 'somebody else answers 200 on the port',
  verdict: 'impostor',
  exits: [1, 1],
  healedBy: 'a human',
  restarts: 0,
  told: /\bnode\b.{1,4}pid \d+/,
  keeps: ['config'],
  real: way,
} satisfies Fault
