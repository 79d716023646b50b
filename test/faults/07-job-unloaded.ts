import { expect } from 'vitest'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { type Fault, killGateway } from './fault.ts'

export default {
  id: '7',
  name: 'job unloaded',
  signs: 'launchctl: 113, could not find service',
  produce: async (scene) => {
    await killGateway(scene)
    standInLaunchctl(scene.box, '')
  },
  verdict: 'unloaded',
  exits: [0, 0],
  healedBy: 'level 1',
  restarts: 1,
  told: undefined,
  keeps: ['config'],
  check: ({ box }) => {
    expect(launchctlCalls(box)).toMatch(/enable [\s\S]*bootstrap /)
    expect(launchctlCalls(box)).not.toMatch(/kickstart/)
  },
} satisfies Fault
