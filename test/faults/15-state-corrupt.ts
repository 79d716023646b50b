import { type Fault, killGateway } from './fault.ts'

export default {
  id: '15',
  name: 'state corrupt',
  signs: '`database disk image is malformed`',
  produce: async (scene) => {
    await killGateway(scene)
    const stderr = 'Gateway failed to start: SqliteError: database disk image is malformed'
    await scene.box.startGateway({ exitAtBoot: { code: 1, stderr } }, 'exit')
  },
  verdict: 'unusable-state',
  exits: [1, 1],
  healedBy: 'a human',
  restarts: 0,
  told: /database disk image is malformed/,
  keeps: ['config'],
  repair: async ({ box }) => void (await box.startGateway()),
} satisfies Fault
