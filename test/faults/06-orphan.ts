import { expect } from 'vitest'
import { slowly } from '../real/patient-machine.ts'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { type Fault, killGateway } from './fault.ts'
import { isRunning } from './scene.ts'

let orphan: number

export default {
  id: '6',
  name: 'orphan gateway',
  signs: '/health is live, the process is not the supervised one',
  produce: async (scene) => {
    await killGateway(scene)
    standInLaunchctl(scene.box, 'state = not running\nruns = 3\nlast exit code = 1\n')
    orphan = (await scene.box.startGateway()).pid
  },
  verdict: 'orphan',
  exits: [0, 0],
  healedBy: 'nobody needed',
  restarts: 0,
  // It is reported and not ended: the service works, ending it would cost the work it is doing.
  told: /ai\.openclaw\.gateway|openclaw-gateway\.service/,
  keeps: ['config'],
  check: ({ box }) => {
    expect(isRunning(orphan)).toBe(true)
    expect(launchctlCalls(box)).not.toMatch(/kickstart|bootstrap/)
  },
  systemd: {
    produce: async (scene) => {
      await scene.systemctl('stop', 'openclaw-gateway.service')
      const start = 'nohup openclaw gateway run >~/by-hand.log 2>&1 &'
      await scene.machine.must('sh', '-c', start)
      const said = () => scene.machine.tries('grep', '-F', '[gateway] ready', '/home/otto/by-hand.log')
      await slowly(async () => (await said()).code === 0, 'the gateway started by hand', 300_000)
      // The service comes second, finds the first at work, and ends.
      await scene.machine.tries('systemctl', '--user', 'start', 'openclaw-gateway.service')
      await scene.until('ActiveState', 'failed')
      scene.pid = await scene.pidNow()
    },
    keeps: ['process', 'config'],
    check: async ({ unit }) => expect(await unit('ActiveState')).toBe('failed'),
    repair: async (scene) => {
      await scene.signal('SIGKILL')
      await scene.systemctl('reset-failed', 'openclaw-gateway.service')
      await scene.systemctl('start', 'openclaw-gateway.service')
    },
  },
} satisfies Fault
