import { expect } from 'vitest'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { type Fault, killGateway } from './fault.ts'

export default {
  id: '7',
  name: 'job unloaded',
  signs: 'launchctl: 113, could not find service; systemd: enabled, and never started',
  produce: async (scene) => {
    await killGateway(scene)
    standInLaunchctl(scene.box, '')
  },
  verdict: 'unloaded',
  exits: [0, 0],
  healedBy: 'level 1',
  restarts: 1,
  told: undefined,
  keeps: ['config'],
  check: ({ box }) => {
    // The first bootstrap fails with 5, as while launchd has not let go of the job.
    expect(launchctlCalls(box)).toMatch(/enable gui\/UID\/ai\.openclaw\.gateway\n[\s\S]*bootstrap [\s\S]*bootstrap /)
    expect(launchctlCalls(box)).not.toMatch(/kickstart -k/)
  },
  systemd: {
    // The user's systemd has come up without it, as after a boot at which its start was cancelled.
    produce: async (scene) => {
      await scene.systemctl('disable', 'openclaw-gateway.service')
      await scene.restartUserManager()
      await scene.systemctl('enable', 'openclaw-gateway.service')
      expect(await scene.unit('ActiveState')).toBe('inactive')
    },
    // systemd has every unit that is there; it only does not run.
    verdict: 'absent',
    check: async ({ unit }) => expect(await unit('ActiveState')).toBe('active'),
  },
} satisfies Fault
