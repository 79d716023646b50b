import { type Fault, killGateway } from './fault.ts'

export default {
  id: '1',
  name: 'config broken',
  signs: 'port closed, exit 78, the file cannot be parsed',
  produce: async (scene) => {
    await killGateway(scene)
    scene.box.writeConfig('{ gateway: { mode: "local", // and then the power went')
  },
  verdict: 'misconfigured',
  exits: [1, 0],
  healedBy: 'level 2',
  restarts: 1,
  told: /config rolled back/,
  keeps: ['config'],
} satisfies Fault
