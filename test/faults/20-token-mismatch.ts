import { expect } from 'vitest'
import type { Fault } from './fault.ts'

const UNAUTHORIZED = { code: 1, stderr: 'unauthorized: gateway token mismatch (set gateway.remote.token to match)\n' }

export default {
  id: '20',
  name: 'token mismatch',
  signs: '/health is live, every command of the CLI is unauthorized',
  produce: async ({ box }) =>
    box.planCli({ health: UNAUTHORIZED, status: UNAUTHORIZED, 'gateway status': UNAUTHORIZED }),
  verdict: 'healthy',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  // The health of the gateway is asked over HTTP alone, so this is not even seen; its user sees it.
  told: undefined,
  keeps: ['process', 'config'],
  check: ({ box }) => expect(box.openclawCalls().filter((call) => call !== 'gateway run')).toEqual([]),
} satisfies Fault
