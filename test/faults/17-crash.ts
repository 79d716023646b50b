import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { delayRestart, type Fault, killGateway } from './fault.ts'
import { untilRemark } from './scene.ts'

let startedBefore = 0

const usual = { keeps: ['config'], exits: [0, 0] } as const

export default [
  {
    ...usual,
    id: '17',
    name: 'crash',
    signs: 'no process, and nobody who starts it',
    produce: killGateway,
    verdict: 'absent',
    healedBy: 'level 1',
    restarts: 1,
    told: undefined,
    real: { produce: killGateway },
  },
  {
    ...usual,
    id: '17b',
    name: 'crash, supervised',
    signs: 'no process; its supervisor is about to start it',
    produce: async (scene) => {
      const { box } = scene
      standInLaunchctl(box, 'state = spawn scheduled\nruns = 4\nlast exit code = 1\n')
      await killGateway(scene)
    },
    meanwhile: async (scene) => {
      const { box } = scene
      await untilRemark(scene)
      // launchd's own restart, after its throttle interval.
      const { pid } = await box.startGateway()
      writeFileSync(join(box.root, 'job'), `state = running\npid = ${pid}\n`)
    },
    verdict: 'starting',
    healedBy: 'itself',
    restarts: 0,
    told: undefined,
    check: ({ box }) => expect(launchctlCalls(box)).not.toMatch(/kickstart|bootstrap/),
    systemd: {
      produce: async (scene) => {
        await delayRestart(scene)
        startedBefore = Number(await scene.unit('NRestarts'))
        await killGateway(scene)
        await scene.until('ActiveState', 'activating')
      },
      check: async ({ unit }) => expect(await unit('NRestarts')).toBe(String(startedBefore + 1)),
    },
  },
] satisfies Fault[]
