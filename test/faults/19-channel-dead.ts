import { readFileSync } from 'node:fs'
import { slowly } from '../real/patient-machine.ts'
import type { Fault } from './fault.ts'

export default {
  id: '19',
  name: 'one channel dead',
  signs: '/health is live, /readyz is 503',
  produce: async ({ box }) => box.setFaults({ failing: ['telegram'] }),
  verdict: 'healthy',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  told: /telegram/,
  keeps: ['process', 'config'],
  // On the machine that has no network but itself: Telegram cannot be reached. The gateway gives a channel two minutes.
  systemd: {
    produce: async (scene) => {
      const telegram = { enabled: true, botToken: '123456:of-no-use', apiRoot: 'http://127.0.0.1:9' }
      const config = JSON.parse(readFileSync(scene.configPath, 'utf8'))
      scene.writeConfig(JSON.stringify({ ...config, channels: { telegram } }))
      const ready = () => scene.machine.tries('curl', '-sm', '5', `http://127.0.0.1:${scene.port}/readyz`)
      await slowly(async () => (await ready()).stdout.includes('"failing":["telegram"]'), 'the dead channel', 300_000)
    },
    keeps: ['process'],
  },
} satisfies Fault
