import { type Fault, killGateway } from './fault.ts'

export default {
  id: '3',
  name: 'config valid, but refused',
  signs: 'exit 78, `Gateway start blocked`; `config validate` says valid',
  produce: async (scene) => {
    const { box } = scene
    await killGateway(scene)
    box.writeConfig(`{ "gateway": { "port": ${box.port} } }`)
    await box.startGateway({}, 'exit')
  },
  verdict: 'misconfigured',
  exits: [1, 0],
  healedBy: 'level 2',
  restarts: 1,
  told: /config rolled back/,
  keeps: ['config'],
} satisfies Fault
