import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { waitFor } from '../support/sandbox.ts'
import type { Fault } from './fault.ts'

export default {
  id: '21',
  name: 'sleep, wake',
  signs: 'everything is late at once',
  settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '0.7' },
  produce: async ({ box }) => {
    const path = join(box.stateDir, 'watchdog', 'watchdog.json')
    const state = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify({ ...state, lastTickMs: Date.now() - 8 * 3_600_000 }))
    box.setFaults({ health: 'silent' })
  },
  meanwhile: async ({ box }) => {
    // An ordinary failure is confirmed by three probes; after a sleep that is too few.
    await waitFor(() => box.log('watchdog').includes('probe 3/6'), 'the third probe')
    box.setFaults({})
  },
  verdict: 'hung',
  exits: [0, 0],
  healedBy: 'itself',
  restarts: 0,
  told: undefined,
  keeps: ['process', 'config'],
} satisfies Fault
