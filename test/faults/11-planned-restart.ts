import { waitFor } from '../support/sandbox.ts'
import type { Fault } from './fault.ts'
import { untilRemark } from './scene.ts'

export default {
  id: '11',
  name: 'planned restart, update',
  signs: '/startupz says draining, then the port is refused for seconds',
  produce: async ({ box, pid }) => {
    box.setFaults({ heldIn: 'drain', restartMs: 1500 })
    process.kill(pid, 'SIGUSR2')
    await waitFor(() => box.events().some(({ what }) => what === 'draining'), 'the drain')
  },
  meanwhile: async (scene) => {
    await untilRemark(scene)
    scene.box.setFaults({ restartMs: 1500 })
  },
  verdict: 'draining',
  exits: [0, 0],
  healedBy: 'itself',
  restarts: 0,
  told: undefined,
  keeps: ['process', 'config'],
  real: {
    // A gateway without work drains at once: what is left to see is that its port is closed for some seconds.
    produce: async (scene) => {
      await scene.signal('SIGUSR2')
      await waitFor(async () => !(await scene.isLive()), 'the restart', 60_000)
    },
    verdict: 'starting',
  },
} satisfies Fault
