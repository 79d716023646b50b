import { expect } from 'vitest'
import { type Stranger, startStranger } from '../support/stranger.ts'
import { type Fault, killGateway } from './fault.ts'

let stranger: Stranger

export default {
  id: '5',
  name: 'foreign port owner',
  signs: 'somebody else answers 200 on the port',
  produce: async (scene) => {
    await killGateway(scene)
    stranger = await startStranger(scene.box)
  },
  verdict: 'impostor',
  exits: [1, 1],
  healedBy: 'a human',
  restarts: 0,
  told: /node \(pid \d+/,
  keeps: ['config'],
  check: () => expect(stranger.isAlive()).toBe(true),
  repair: async () => stranger.end(),
} satisfies Fault
