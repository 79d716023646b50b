import { expect } from 'vitest'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { type Fault, killGateway } from './fault.ts'

let orphan: number

export default {
  id: '6',
  name: 'orphan gateway',
  signs: '/health is live, the process is not the supervised one',
  produce: async (scene) => {
    await killGateway(scene)
    standInLaunchctl(scene.box, 'state = not running\nruns = 3\nlast exit code = 1\n')
    orphan = (await scene.box.startGateway()).pid
  },
  verdict: 'orphan',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  // It is reported and not ended: the service works, ending it would cost the work it is doing.
  told: /which is not what ai\.openclaw\.gateway supervises/,
  keeps: ['config'],
  check: ({ box }) => {
    expect(box.processes()).toContain(orphan)
    expect(launchctlCalls(box)).not.toMatch(/kickstart|bootstrap/)
  },
} satisfies Fault
