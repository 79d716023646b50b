import type { Fault } from './fault.ts'

export default {
  id: '18',
  name: "the gateway's own breaker",
  signs: '/health is live, /readyz names suppressed channels',
  produce: async ({ box }) => box.setFaults({ suppressed: ['telegram', 'discord'] }),
  verdict: 'healthy',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  told: /safe mode: channels suppressed/,
  keeps: ['process', 'config'],
} satisfies Fault
