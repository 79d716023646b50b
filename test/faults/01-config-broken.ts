import { type Fault, killGateway, type Scene } from './fault.ts'

async function breakConfig(scene: Scene): Promise<void> {
  await killGateway(scene)
  scene.writeConfig('{ gateway: { mode: "local", // and then the power went')
}

export default {
  id: '1',
  name: 'config broken',
  signs: 'port closed, exit 78, the file cannot be parsed',
  cause: /pars|syntax|JSON5|cut off|truncat|incomplete|unfinished/i,
  produce: breakConfig,
  verdict: 'misconfigured',
  exits: [1, 0],
  healedBy: 'level 2',
  restarts: 1,
  told: /openclaw\.json/,
  keeps: ['config'],
  real: { produce: breakConfig },
  // systemd starts it again by itself, and it says 78: then systemd gives up, too.
  systemd: {
    produce: async (scene) => {
      await breakConfig(scene)
      await scene.until('ExecMainStatus', '78')
    },
  },
} satisfies Fault
