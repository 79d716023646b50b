import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { Fault, Scene } from './fault.ts'

const BROKEN = '{ gateway: { mode: "local", '

const breakConfig = async (scene: Scene) => scene.writeConfig(BROKEN)
// It may be the user's half-done work: nobody replaces it while the gateway runs well.
const check = (scene: Scene) => expect(readFileSync(scene.configPath, 'utf8')).toBe(`${BROKEN}\n`)

export default {
  id: '2',
  name: 'config broken while running',
  signs: '/health is live, the log says `config reload skipped`',
  produce: breakConfig,
  verdict: 'healthy',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  told: /\bconfig\b/,
  keeps: ['process'],
  check,
  real: {
    produce: async (scene) => {
      await breakConfig(scene)
      await scene.until(/config reload skipped/)
    },
    check,
  },
} satisfies Fault
