import { type Fault, killGateway } from './fault.ts'

export default {
  id: '10',
  name: 'slow start, migration',
  signs: 'its process lives, its port is closed',
  produce: async (scene) => {
    await killGateway(scene)
    await scene.box.startGateway({ bootDelayMs: 6000 }, 'boot')
  },
  verdict: 'starting',
  exits: [0, 0],
  healedBy: 'itself',
  restarts: 0,
  told: undefined,
  keeps: ['config'],
} satisfies Fault
