import { expect } from 'vitest'
import { remarksIn } from '../support/tier-logs.ts'
import type { Fault, Scene } from './fault.ts'

const stopInItsTracks = (scene: Scene) => scene.signal('SIGSTOP')

/** At least two more probes, and what it looked like to `ps` before it was ended. */
function isConfirmed({ log }: Scene): void {
  const [before = '', after] = log('watchdog').split('DOWN hung')
  expect(remarksIn(before.slice(before.lastIndexOf('RUN started')))).toBeGreaterThanOrEqual(2)
  expect(after).toMatch(/\n {4}\s*PID /)
}

export default {
  id: '12',
  name: 'hang',
  signs: 'it takes connections, answers nothing, and ignores signals',
  cause: /hang|hung|stuck|stopped|unresponsive|not respond|event loop|SIGSTOP/i,
  settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '3', OPENCLAW_STOP_GRACE: '1' },
  produce: stopInItsTracks,
  verdict: 'hung',
  exits: [0, 0],
  healedBy: 'level 1',
  restarts: 1,
  told: undefined,
  keeps: ['config'],
  check: (scene) => {
    expect(scene.box.processes()).not.toContain(scene.pid)
    isConfirmed(scene)
  },
  real: {
    settings: {},
    produce: stopInItsTracks,
    check: async (scene) => {
      expect(scene.box.processes()).not.toContain(scene.pid)
      isConfirmed(scene)
    },
  },
  systemd: {
    settings: {},
    produce: stopInItsTracks,
    check: async (scene) => {
      isConfirmed(scene)
      expect(await scene.unit('ActiveState')).toBe('active')
      expect(await scene.pidNow()).not.toBe(scene.pid)
    },
  },
} satisfies Fault
