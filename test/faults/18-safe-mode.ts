import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { type Fault, killGateway } from './fault.ts'

export default {
  id: '18',
  name: "the gateway's own breaker",
  signs: '/health is live, /readyz names suppressed channels',
  produce: async ({ box }) => box.setFaults({ suppressed: ['telegram', 'discord'] }),
  verdict: 'healthy',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  told: /telegram/,
  keeps: ['process', 'config'],
  real: {
    // Killed three times in its boot, before a channel was started; the fourth boot starts none.
    produce: async (scene) => {
      const config = JSON.parse(readFileSync(scene.configPath, 'utf8'))
      const telegram = { enabled: true, botToken: '123456:of-no-use', apiRoot: 'http://127.0.0.1:9' }
      await killGateway(scene)
      scene.writeConfig(JSON.stringify({ ...config, channels: { telegram } }))
      for (let boot = 1; boot <= 3; boot++) await scene.signal('SIGKILL', await scene.start(/spawn broker ready/))
      scene.pid = await scene.start('live')
    },
    keeps: ['process'],
    check: ({ log }) => expect(log('watchdog')).toMatch(/\[WARN\] .*telegram/),
  },
} satisfies Fault
