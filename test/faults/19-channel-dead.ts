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
  told: /not ready: telegram/,
  keeps: ['process', 'config'],
} satisfies Fault
