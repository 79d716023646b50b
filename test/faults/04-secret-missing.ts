import { type Fault, killGateway } from './fault.ts'

export default {
  id: '4',
  name: 'secret missing',
  signs: 'it refuses to start: `required secrets are unavailable`',
  produce: async (scene) => {
    await killGateway(scene)
    const stderr = 'Gateway failed to start: required secrets are unavailable: OPENAI_API_KEY'
    await scene.box.startGateway({ exitAtBoot: { code: 1, stderr } }, 'exit')
  },
  verdict: 'blocked',
  exits: [1, 1],
  healedBy: 'a human',
  // One, for a secret store that was late; and not one more in the second round.
  restarts: 1,
  told: /required secrets are unavailable/,
  keeps: ['config'],
  repair: async ({ box }) => void (await box.startGateway()),
} satisfies Fault
