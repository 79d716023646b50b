import { type Fault, killGateway } from './fault.ts'

export default {
  id: '9',
  name: 'newer database schema',
  signs: 'exit 78, `uses newer schema version`',
  produce: async (scene) => {
    await killGateway(scene)
    const stderr = 'Gateway failed to start: state database uses newer schema version 42 (this build supports 41)'
    await scene.box.startGateway({ exitAtBoot: { code: 78, stderr } }, 'exit')
  },
  verdict: 'unusable-state',
  exits: [1, 1],
  healedBy: 'a human',
  restarts: 0,
  told: /uses newer schema version/,
  keeps: ['config'],
  repair: async ({ box }) => void (await box.startGateway()),
} satisfies Fault
