/** Faults of a gateway that is up: no restart helps, and a human is told what does. */
import { appendFileSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { FULL_DISK_MB, freeDiskMb, LOW_DISK_MB } from '../../lib/gateway/judge.ts'
import { slowly } from '../real/patient-machine.ts'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { addTelegram, type Fault, killGateway, type RealScene, type Scene, type StandInScene } from './fault.ts'
import { isRunning, needsMount, onSmallDisk } from './scene.ts'

const BROKEN = '{ gateway: { mode: "local", '
// It may be the user's half-done work: it is not replaced while the gateway runs well.
const isStillBroken = (scene: Scene) => expect(readFileSync(scene.configPath, 'utf8')).toBe(`${BROKEN}\n`)

/** As after the seconds in which it may still be written. */
function settle({ configPath }: Scene): void {
  const ago = new Date(Date.now() - 10_000)
  utimesSync(configPath, ago, ago)
}

let orphan: number

const hog = ({ stateDir }: Scene) => join(stateDir, 'hog')

function fillUp(scene: Scene, leaveMb: number): void {
  writeFileSync(hog(scene), Buffer.alloc((freeDiskMb(scene.stateDir)! - leaveMb) * 1024 * 1024))
  scene.onClose(() => rmSync(hog(scene), { force: true }))
}

const dieOnFullDisk = async (scene: RealScene | StandInScene) => {
  await killGateway(scene)
  fillUp(scene, FULL_DISK_MB / 2)
}
const makeRoom = async (scene: Scene) => rmSync(hog(scene))

const UNAUTHORIZED = { code: 1, stderr: 'unauthorized: gateway token mismatch (set gateway.remote.token to match)\n' }
/** What the real one writes for each try (2026.9.6), cut in the middle. */
const REFUSAL =
  '[ws] unauthorized conn=6feb5599 peer=127.0.0.1:39046->127.0.0.1:18789 remote=127.0.0.1 client=cli cli v2026.9.6 role=operator scopes=0 auth=token device=no reason=token_mismatch guidance=unauthorized: gateway token mismatch'

const UP = { verdict: 'healthy', healedBy: 'nobody needed', keeps: ['process', 'config'] } as const

export const up: Fault[] = [
  {
    ...UP,
    id: '2',
    name: 'config broken while running',
    told: /\bconfig\b/,
    keeps: ['process'],
    produce: async (scene) => {
      scene.writeConfig(BROKEN)
      settle(scene)
    },
    check: isStillBroken,
    real: {
      produce: async (scene) => {
        scene.writeConfig(BROKEN)
        await scene.until(/config reload skipped/)
        settle(scene)
      },
      check: isStillBroken,
    },
  },
  {
    id: '6',
    name: 'orphan gateway',
    verdict: 'orphan',
    healedBy: 'nobody needed',
    // It is reported and not ended: the service works, ending it would cost the work it is doing.
    told: /ai\.openclaw\.gateway|openclaw-gateway\.service/,
    produce: async (scene) => {
      await killGateway(scene)
      standInLaunchctl(scene.box, 'state = not running\nruns = 3\nlast exit code = 1\n')
      orphan = (await scene.box.startGateway()).pid
    },
    check: ({ box }) => {
      expect(isRunning(orphan)).toBe(true)
      expect(launchctlCalls(box)).not.toMatch(/kickstart|bootstrap/)
    },
    systemd: {
      produce: async (scene) => {
        const { machine } = scene
        await scene.systemctl('stop', 'openclaw-gateway.service')
        await machine.must('sh', '-c', 'nohup openclaw gateway run >~/by-hand.log 2>&1 &')
        const said = () => machine.tries('grep', '-F', '[gateway] ready', '/home/otto/by-hand.log')
        await slowly(async () => (await said()).code === 0, 'the gateway started by hand', 300_000)
        // The service comes second, finds the first at work, and ends.
        await machine.tries('systemctl', '--user', 'start', 'openclaw-gateway.service')
        await scene.until('ActiveState', 'failed')
        scene.pid = await scene.pidNow()
      },
      keeps: ['process', 'config'],
      check: async ({ unit }) => expect(await unit('ActiveState')).toBe('failed'),
      repair: async (scene) => {
        await killGateway(scene)
        await scene.systemctl('reset-failed', 'openclaw-gateway.service')
        await scene.systemctl('start', 'openclaw-gateway.service')
      },
    },
  },
  {
    ...UP,
    id: '14',
    name: 'disk full',
    told: /\d+ MB/,
    cannotBeMade: needsMount,
    produce: async (scene) => scene.onClose(onSmallDisk(scene.stateDir, '64m')),
    // OpenClaw's folder is on a small file system of its own from the beginning.
    real: {
      cannotBeMade: needsMount,
      produce: async (scene) => fillUp(scene, LOW_DISK_MB / 2),
    },
  },
  {
    id: '14b',
    name: 'down, disk full',
    verdict: 'disk-full',
    healedBy: 'a human',
    told: /\d+ MB/,
    cannotBeMade: needsMount,
    produce: async (scene) => {
      scene.onClose(onSmallDisk(scene.stateDir, '64m'))
      await dieOnFullDisk(scene)
    },
    repair: makeRoom,
    real: { cannotBeMade: needsMount, produce: dieOnFullDisk, repair: makeRoom },
  },
  {
    ...UP,
    id: '18',
    name: "the gateway's own breaker",
    told: /telegram/,
    produce: async ({ box }) => box.setFaults({ suppressed: ['telegram', 'discord'] }),
    real: {
      // Killed three times in its boot, before a channel was started; the fourth boot starts none.
      produce: async (scene) => {
        await killGateway(scene)
        addTelegram(scene)
        for (let boot = 1; boot <= 3; boot++) await scene.signal('SIGKILL', await scene.start(/spawn broker ready/))
        scene.pid = await scene.start('live')
      },
      keeps: ['process'],
      check: ({ log }) => expect(log('watchdog')).toMatch(/\[WARN\] .*telegram/),
    },
  },
  {
    ...UP,
    id: '19',
    name: 'one channel dead',
    told: /telegram/,
    produce: async ({ box }) => box.setFaults({ failing: ['telegram'] }),
    // On the machine that has no network but itself. The gateway gives a channel two minutes.
    systemd: {
      produce: async (scene) => {
        // A stop would wait minutes for a channel that the config no longer names and that is being restarted.
        scene.onClose(async () => {
          await scene.signal('SIGKILL')
          await scene.systemctl('stop', 'openclaw-gateway.service')
        })
        addTelegram(scene)
        const ready = () => scene.machine.tries('curl', '-sm', '5', `http://127.0.0.1:${scene.port}/readyz`)
        await slowly(async () => (await ready()).stdout.includes('"failing":["telegram"]'), 'the dead channel', 300_000)
      },
      keeps: ['process'],
    },
  },
  {
    ...UP,
    id: '20',
    name: 'token mismatch',
    told: /token_mismatch/,
    produce: async ({ box }) => {
      box.planCli({ health: UNAUTHORIZED, status: UNAUTHORIZED, 'gateway status': UNAUTHORIZED })
      for (let i = 0; i < 3; i++) appendFileSync(box.gatewayLog, `${new Date().toISOString()} ${REFUSAL}\n`)
    },
    // Its health is asked over HTTP alone: no command of the CLI, which would fail, decides anything.
    check: ({ box }) =>
      expect(box.openclawCalls().filter((call) => !/^(?:gateway run|config validate --json)$/.test(call))).toEqual([]),
    real: {
      produce: async (scene) => {
        const call = ['gateway', 'call', 'health', '--url', `ws://127.0.0.1:${scene.port}`, '--token', 'outdated']
        for (let i = 0; i < 3; i++) {
          const { code, stderr } = await scene.openclaw(...call)
          expect(stderr).toMatch(/unauthorized: gateway token mismatch/)
          expect(code).not.toBe(0)
        }
      },
    },
  },
  {
    ...UP,
    id: '20b',
    name: 'alive but silent: its model provider is dead',
    told: /3 runs of its agents failed.*openai/,
    produce: async ({ box }) => {
      const end = (next: string) =>
        `model fallback decision: decision=candidate_failed requested=openai/gpt-5 candidate=openai/gpt-5 reason=timeout next=${next} detail=Connection error.`
      // A run that goes on with another model, or is quoted in a chat, has not failed.
      const said = ['none', 'none', 'other/m2', 'none'].map((next) => `[model-fallback/decision] ${end(next)}`)
      for (const text of [...said, `[whatsapp] inbound: ${said[0]}`, `[whatsapp] see\n${said[0]}`])
        appendFileSync(box.gatewayLog, `${new Date().toISOString()} ${text}\n`)
    },
  },
]
