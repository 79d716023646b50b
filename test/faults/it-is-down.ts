/** Faults of a gateway that has no process, or one that is late or hangs: who starts it, and who waits. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { slowly } from '../real/patient-machine.ts'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { type Stranger, startStranger } from '../support/stranger.ts'
import { remarksIn, untilRemark } from '../support/tier-logs.ts'
import { waitFor } from '../support/wait-for.ts'
import { type Fault, killGateway, type RealScene, type Scene, type StandInScene, type SystemdScene } from './fault.ts'
import { isRunning } from './scene.ts'

let stranger: Stranger
const takenPort = {
  produce: async (scene: StandInScene) => {
    await killGateway(scene)
    stranger = await startStranger(scene.box)
    scene.onClose(stranger.end)
  },
  check: () => expect(stranger.isAlive()).toBe(true),
  repair: async () => stranger.end(),
}

/** The killed gateway is a job of launchd, which says this of it. */
const jobOf = (state: string) => async (scene: StandInScene) => {
  await killGateway(scene)
  standInLaunchctl(scene.box, state)
}

const isActive = async ({ unit }: SystemdScene) => expect(await unit('ActiveState')).toBe('active')

const stop = (scene: Scene) => scene.signal('SIGSTOP')

/** Once Level 1 has logged so many remarks of its own, it goes on or is well again. */
const afterRemarks = (count: number) => ({
  goesOn: async (scene: Scene) => {
    await untilRemark(scene, 'watchdog', count)
    await scene.signal('SIGCONT')
  },
  isWell: async (scene: StandInScene) => {
    await untilRemark(scene, 'watchdog', count)
    scene.box.setFaults({})
  },
})

/** At least two more probes, and how its process stood before it was ended. */
function isConfirmed({ log }: Scene): void {
  const [before = '', after] = log('watchdog').split('DOWN hung')
  expect(remarksIn(before.slice(before.lastIndexOf('RUN started')))).toBeGreaterThanOrEqual(2)
  expect(after).toMatch(/ \(pid \d+.*\), state [A-Z], [\d.]+ s of CPU time/)
}

function isReplaced(scene: StandInScene): void {
  expect(scene.box.processes()).not.toContain(scene.pid)
  isConfirmed(scene)
}

async function dieOfMemory(scene: StandInScene): Promise<void> {
  // The second time it is the process that Level 1 started.
  const pid = scene.box.events().findLast(({ what }) => what === 'ready')?.pid ?? scene.pid
  await scene.signal('SIGKILL', pid)
  appendFileSync(
    scene.box.gatewayLog,
    `\n<--- Last few GCs --->\n\n[${pid}:0x16a15000]    30622 ms: Mark-Compact 380.9 (513.6) -> 380.1 (512.8) MB\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n`,
  )
}

/** It keeps everything it makes, in a heap that is small: V8 itself ends it, in its own words. */
const leak = (scene: RealScene | SystemdScene) =>
  scene.inGateway('setTimeout(() => { const kept = []; for (;;) kept.push(new Array(1e5).fill(kept.length)) }, 50)')

async function leakAndDie(scene: RealScene): Promise<void> {
  const pid = await scene.pidNow()
  await leak(scene)
  await waitFor(() => !isRunning(pid), 'its end', 120_000)
}

let startsBefore: number

function sleepEightHours({ stateDir }: Scene): void {
  const path = join(stateDir, 'watchdog', 'watchdog.json')
  const state = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...state, lastTickMs: Date.now() - 8 * 3_600_000 }))
}

/** An ordinary failure is confirmed by three probes; after a sleep that is too few. */
const thirdProbe = afterRemarks(3)

export const down: Fault[] = [
  {
    id: '5',
    name: 'foreign port owner',
    verdict: 'impostor',
    healedBy: 'a human',
    told: /\bnode\b.{1,4}pid \d+/,
    ...takenPort,
    real: takenPort,
  },
  {
    id: '7',
    name: 'job unloaded',
    verdict: 'unloaded',
    healedBy: 'level 1',
    produce: jobOf(''),
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
      check: isActive,
    },
  },
  {
    id: '8',
    name: 'supervisor gave up',
    verdict: 'parked',
    healedBy: 'level 1',
    produce: jobOf('state = not running\nruns = 12\nlast exit code = 1\n'),
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
      check: isActive,
    },
  },
  {
    id: '10',
    name: 'slow start, migration',
    verdict: 'starting',
    healedBy: 'itself',
    produce: async (scene) => {
      await killGateway(scene)
      await scene.box.startGateway({ heldIn: 'boot' }, 'boot')
    },
    meanwhile: afterRemarks(1).isWell,
    real: {
      // It boots as slowly as it does, and stands still in the middle until Level 1 has decided.
      produce: async (scene) => {
        await killGateway(scene)
        scene.pid = await scene.start(/spawn broker ready/)
        await stop(scene)
      },
      meanwhile: afterRemarks(1).goesOn,
      keeps: ['process', 'config'],
    },
  },
  {
    id: '11',
    name: 'planned restart, update',
    verdict: 'draining',
    healedBy: 'itself',
    keeps: ['process', 'config'],
    produce: async ({ box, pid }) => {
      box.setFaults({ heldIn: 'drain' })
      process.kill(pid, 'SIGUSR2')
      await waitFor(() => box.events().some(({ what }) => what === 'draining'), 'the drain')
    },
    meanwhile: afterRemarks(1).isWell,
    real: {
      // A gateway without work drains at once: what is left to see is that its port is closed for some seconds.
      produce: async (scene) => {
        await scene.signal('SIGUSR2')
        await waitFor(async () => !(await scene.isLive()), 'the restart', 60_000)
      },
      verdict: 'starting',
    },
  },
  {
    id: '12',
    name: 'hang',
    cause: /hang|hung|stuck|stopped|unresponsive|not respond|event loop|SIGSTOP/i,
    settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '3', OPENCLAW_STOP_GRACE: '1' },
    verdict: 'hung',
    healedBy: 'level 1',
    produce: stop,
    check: isReplaced,
    real: { settings: {}, produce: stop, check: isReplaced },
    systemd: {
      settings: {},
      produce: stop,
      check: async (scene) => {
        isConfirmed(scene)
        await isActive(scene)
        expect(await scene.pidNow()).not.toBe(scene.pid)
      },
    },
  },
  {
    id: '13',
    name: 'out of memory',
    verdict: 'absent',
    healedBy: 'level 1',
    restarts: 2,
    told: /memory/,
    produce: dieOfMemory,
    again: dieOfMemory,
    real: { produce: leakAndDie, again: leakAndDie },
    // systemd starts it again each time: that no tier had to does not make it well.
    systemd: {
      produce: async (scene) => {
        await leak(scene)
        await scene.until('ActiveState', 'activating')
      },
      again: async (scene) => {
        // Its unit gives it a heap of 8 GB: until that is full it does not answer, and would rightly be taken for hung.
        const pid = await scene.unit('MainPID')
        await leak(scene)
        const isAnother = async () => (await scene.unit('MainPID')) !== pid && scene.isLive()
        await waitFor(isAnother, 'systemd to start it again', 300_000)
      },
      verdict: 'starting',
      healedBy: 'itself',
      restarts: 0,
    },
  },
  {
    id: '17',
    name: 'crash',
    verdict: 'absent',
    healedBy: 'level 1',
    produce: killGateway,
    real: { produce: killGateway },
  },
  {
    id: '17b',
    name: 'crash, supervised',
    verdict: 'starting',
    healedBy: 'itself',
    produce: jobOf('state = spawn scheduled\nruns = 4\nlast exit code = 1\n'),
    meanwhile: async (scene) => {
      await untilRemark(scene)
      // launchd's own restart, after its throttle interval.
      const { pid } = await scene.box.startGateway()
      writeFileSync(join(scene.box.root, 'job'), `state = running\npid = ${pid}\n`)
    },
    check: ({ box }) => expect(launchctlCalls(box)).not.toMatch(/kickstart|bootstrap/),
    systemd: {
      produce: async (scene) => {
        // Later than after OpenClaw's own 5 s: a busy machine, too, sees it waiting.
        await scene.changeUnit('[Service]\nRestartSec=20\n')
        startsBefore = Number(await scene.unit('NRestarts'))
        await killGateway(scene)
        await scene.until('ActiveState', 'activating')
      },
      check: async ({ unit }) => expect(await unit('NRestarts')).toBe(String(startsBefore + 1)),
    },
  },
  {
    // Everything is late at once.
    id: '21',
    name: 'sleep, wake',
    settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '3' },
    verdict: 'hung',
    healedBy: 'itself',
    keeps: ['process', 'config'],
    produce: async (scene) => {
      sleepEightHours(scene)
      scene.box.setFaults({ health: 'silent' })
    },
    meanwhile: thirdProbe.isWell,
    real: {
      settings: {},
      produce: async (scene) => {
        sleepEightHours(scene)
        await stop(scene)
      },
      meanwhile: thirdProbe.goesOn,
    },
  },
]
