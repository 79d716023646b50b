import { appendFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { Fault } from './fault.ts'

const UNAUTHORIZED = { code: 1, stderr: 'unauthorized: gateway token mismatch (set gateway.remote.token to match)\n' }
/** What the real one writes for each try (2026.9.6), cut in the middle. */
const REFUSAL =
  '[ws] unauthorized conn=6feb5599 peer=127.0.0.1:39046->127.0.0.1:18789 remote=127.0.0.1 client=cli cli v2026.9.6 role=operator scopes=0 auth=token device=no reason=token_mismatch guidance=unauthorized: gateway token mismatch'

export default {
  id: '20',
  name: 'token mismatch',
  signs: '/health is live, every command of the CLI is unauthorized',
  produce: async ({ box }) => {
    box.planCli({ health: UNAUTHORIZED, status: UNAUTHORIZED, 'gateway status': UNAUTHORIZED })
    for (let i = 0; i < 3; i++) appendFileSync(box.gatewayLog, `${new Date().toISOString()} ${REFUSAL}\n`)
  },
  verdict: 'healthy',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  told: /token_mismatch/,
  keeps: ['process', 'config'],
  // Its health is asked over HTTP alone: no command of the CLI, which would fail, decides anything.
  check: ({ box }) =>
    expect(box.openclawCalls().filter((call) => !/^(?:gateway run|config validate --json)$/.test(call))).toEqual([]),
  real: {
    produce: async (scene) => {
      const call = ['gateway', 'call', 'health', '--url', `ws://127.0.0.1:${scene.port}`, '--token', 'outdated']
      for (let i = 0; i < 3; i++) {
        const { code, stderr } = await scene.openclaw(...call)
        expect(stderr).toMatch(/unauthorized: gateway token mismatch/)
        expect(code).not.toBe(0)
      }
    },
  },
} satisfies Fault
