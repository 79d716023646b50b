import { type Fault, killGateway } from './fault.ts'
import { untilRemark } from './scene.ts'

export default {
  id: '10',
  name: 'slow start, migration',
  signs: 'its process lives, its port is closed',
  produce: async (scene) => {
    await killGateway(scene)
    await scene.box.startGateway({ heldIn: 'boot' }, 'boot')
  },
  meanwhile: async (scene) => {
    await untilRemark(scene)
    scene.box.setFaults({})
  },
  verdict: 'starting',
  exits: [0, 0],
  healedBy: 'itself',
  restarts: 0,
  told: undefined,
  keeps: ['config'],
  real: {
    // It boots as slowly as it does, and stands still in the middle until Level 1 has decided.
    produce: async (scene) => {
      await killGateway(scene)
      scene.pid = await scene.start(/spawn broker ready/)
      await scene.signal('SIGSTOP')
    },
    meanwhile: async (scene) => {
      await untilRemark(scene)
      await scene.signal('SIGCONT')
    },
    keeps: ['process', 'config'],
  },
} satisfies Fault
