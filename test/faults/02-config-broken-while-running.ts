import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { Fault } from './fault.ts'

const BROKEN = '{ gateway: { mode: "local", '

export default {
  id: '2',
  name: 'config broken while running',
  signs: '/health is live, the log says `config reload skipped`',
  produce: async ({ box }) => box.writeConfig(BROKEN),
  verdict: 'healthy',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  told: /the config was broken while the gateway runs/,
  keeps: ['process'],
  // It may be the user's half-done work: nobody replaces it while the gateway runs well.
  check: ({ box }) => expect(readFileSync(box.configPath, 'utf8')).toBe(`${BROKEN}\n`),
} satisfies Fault
