import { expect } from 'vitest'
import { slowly } from '../real/patient-machine.ts'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { type Fault, killGateway } from './fault.ts'

export default {
  id: '8',
  name: 'supervisor gave up',
  signs: 'loaded, and not running; `Start request repeated too quickly`',
  produce: async (scene) => {
    await killGateway(scene)
    standInLaunchctl(scene.box, 'state = not running\nruns = 12\nlast exit code = 1\n')
  },
  verdict: 'parked',
  exits: [0, 0],
  healedBy: 'level 1',
  restarts: 1,
  told: undefined,
  keeps: ['config'],
  check: ({ box }) => expect(launchctlCalls(box).match(/kickstart/g)).toHaveLength(1),
  systemd: {
    produce: async (scene) => {
      // OpenClaw's own limit is ten starts in 300 s.
      await scene.changeUnit('[Unit]\nStartLimitBurst=1\n')
      const isGivenUp = async () => {
        // Killed as often as it comes back.
        await scene.machine.tries('systemctl', '--user', 'kill', '--signal=KILL', 'openclaw-gateway.service')
        return (await scene.unit('ActiveState')) === 'failed'
      }
      await slowly(isGivenUp, 'the start limit', 120_000)
    },
    check: async ({ unit }) => expect(await unit('ActiveState')).toBe('active'),
  },
} satisfies Fault
