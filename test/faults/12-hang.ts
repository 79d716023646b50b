import { expect } from 'vitest'
import type { Fault } from './fault.ts'

export default {
  id: '12',
  name: 'hang',
  signs: 'it takes connections, answers nothing, and ignores signals',
  settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '1' },
  produce: async ({ pid }) => void process.kill(pid, 'SIGSTOP'),
  verdict: 'hung',
  exits: [0, 0],
  healedBy: 'level 1',
  restarts: 1,
  told: undefined,
  keeps: ['config'],
  check: ({ box, pid }) => {
    expect(box.processes()).not.toContain(pid)
    expect(box.log('watchdog').match(/probe \d\/3: hung/g)).toHaveLength(2)
    expect(box.log('watchdog')).toMatch(/evidence before the restart/)
  },
} satisfies Fault
