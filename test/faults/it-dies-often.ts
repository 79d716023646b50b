/** Faults that only counting shows: a crash loop, a gateway that is up at each check, boots that take longer than the grace. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { CHECKOUT, slowly } from '../real/patient-machine.ts'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { untilRemark } from '../support/tier-logs.ts'
import { waitFor } from '../support/wait-for.ts'
import { type Fault, killGateway, type Scene, type StandInScene, type SystemdScene } from './fault.ts'

const DEATHS = 6

/** From now on launchd has the gateway: it starts it again, a second after it ended, and `print` says how often it did. */
async function superviseIt(scene: StandInScene): Promise<void> {
  const { box } = scene
  await killGateway(scene)
  standInLaunchctl(box, 'state = not running\n')
  box.addTool(
    'launchd',
    `say() { printf "$@" >'${box.root}/job.new'; mv '${box.root}/job.new' '${box.root}/job'; }
runs=0
while :; do
  openclaw gateway run >>'${box.gatewayLog}' 2>&1 & pid=$!
  runs=$((runs + 1))
  say 'state = running\\nruns = %s\\npid = %s\\n' $runs $pid
  wait $pid; code=$?
  say 'state = spawn scheduled\\nruns = %s\\nlast exit code = %s\\nx = {\\n\\tlast exit code = 0\\n\\tstate = active\\n}\\n' $runs $code
  sleep 1
done`,
  )
  spawn(join(box.binDir, 'launchd'), { env: box.env, detached: true, stdio: 'ignore' })
  scene.pid = await readyAfter(scene, scene.pid)
  // The watchdog gets to know its supervisor.
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
}

/** The pid of the process that is ready after that one. */
function readyAfter({ box }: StandInScene, before: number): Promise<number> {
  const next = () => {
    const ready = box.events().filter(({ what }) => what === 'ready')
    return ready.slice(ready.findLastIndex(({ pid }) => pid === before) + 1).at(-1)?.pid
  }
  return waitFor(async () => next() ?? 0, `a gateway after ${before}`)
}

/** Longer than the grace of 10b. */
const olderThanGrace = async () => {
  const since = performance.now()
  await waitFor(() => performance.now() - since > 4500, 'the end of its grace')
}

/** What status, report and metrics say of the processes that ended. */
async function areCounted(scene: Scene, atLeast: number, run: (script: string) => Promise<string>): Promise<void> {
  const status = JSON.parse(await run('status'))
  const report = JSON.parse(await run('incident-report'))
  const metrics = join(scene.stateDir, 'watchdog', 'metrics', 'openclaw-self-healing-default-watchdog.prom')
  const [, total] = /_gateway_process_deaths_total\{.*\} (\d+)/.exec(readFileSync(metrics, 'utf8')) ?? []
  const { lastHour, last7Days } = status.gateway.processesEnded
  for (const count of [lastHour, last7Days, report.processesEnded, Number(total)])
    expect(count).toBeGreaterThanOrEqual(atLeast)
  expect(report.figures.Uptime).toContain(String(report.processesEnded))
}

const bootFault = (how: string, more = '') =>
  `[Unit]\nStartLimitIntervalSec=0\n[Service]\n${more}Environment=BOOT_FAULT=${how} "NODE_OPTIONS=--require ${CHECKOUT}/test/faults/in-boot.cjs"\n`

/** Its next boot is held up before OpenClaw's own code, and is older than its grace. */
const holdUp = (how: string) => async (scene: SystemdScene) => {
  await scene.changeUnit(bootFault(how))
  const letGo = () => scene.machine.must('touch', '/tmp/boot-goes-on')
  scene.onClose(() => scene.machine.must('rm', '-f', '/tmp/boot-goes-on'))
  scene.onClose(letGo)
  const before = scene.pid
  await killGateway(scene)
  await slowly(async () => ![before, 0].includes(Number(await scene.unit('MainPID'))), 'its next process')
  scene.pid = Number(await scene.unit('MainPID'))
  const ageSec = async () => Number(await scene.machine.must('ps', '-o', 'etimes=', '-p', String(scene.pid)))
  await slowly(async () => (await ageSec()) > 20, 'the end of its grace')
}

const goesOn = async (scene: SystemdScene, remarks: number) => {
  await untilRemark(scene, 'watchdog', remarks)
  await scene.machine.must('touch', '/tmp/boot-goes-on')
}

/** It is live some time before that. */
const hasStarted = async ({ machine }: SystemdScene) => {
  const startup = () => machine.tries('curl', '-sm', '5', 'http://127.0.0.1:18789/startupz')
  await slowly(async () => /"status":"started"/.test((await startup()).stdout), 'its readiness')
}

/** Two more probes, and that it makes progress. */
const REMARKS = 3

let restartsBefore = 0

export const diesOften: Fault[] = [
  {
    id: '22',
    name: 'crash loop',
    verdict: 'crash-looping',
    // No level can help; in life the doctor may.
    healedBy: 'a human',
    told: /flux capacitor exceeded/,
    produce: async (scene) => {
      await superviseIt(scene)
      const { box, pid } = scene
      box.setFaults({ exitAtBoot: { code: 1, stderr: 'Error: flux capacitor exceeded' } })
      await scene.signal('SIGKILL', pid)
      const exits = () => box.events().filter(({ what }) => what === 'exit 1').length
      await waitFor(() => exits() >= DEATHS, 'its deaths')
    },
    check: (scene) => {
      expect(launchctlCalls(scene.box)).not.toMatch(/kickstart|bootstrap|bootout/)
      expect(scene.log('watchdog')).toMatch(/DOWN crash-looping: .*exited with code 1\b/)
    },
    repair: async (scene) => {
      scene.box.setFaults({})
      scene.pid = await readyAfter(scene, scene.pid)
    },
    systemd: {
      produce: async (scene) => {
        restartsBefore = Number(await scene.unit('NRestarts'))
        await scene.changeUnit(bootFault('dies', 'RestartSec=1\n'))
        await killGateway(scene)
        await slowly(async () => Number(await scene.unit('NRestarts')) >= restartsBefore + DEATHS, 'its deaths')
      },
      check: async (scene) => {
        // A start by a tier would have set its number back to 0.
        expect(Number(await scene.unit('NRestarts'))).toBeGreaterThanOrEqual(restartsBefore + DEATHS)
        expect(scene.log('watchdog')).toMatch(/DOWN crash-looping: .*flux capacitor exceeded/)
      },
      repair: async (scene) => {
        await scene.changeUnit('')
        await slowly(() => scene.isLive(), 'the gateway')
      },
    },
  },
  {
    id: '22b',
    name: 'it dies often, and is up at each check',
    settings: { OPENCLAW_CRASH_LOOP_DEATHS: '50' },
    verdict: 'healthy',
    healedBy: 'nobody needed',
    told: /processes/,
    produce: async (scene) => {
      await superviseIt(scene)
      for (let i = 0; i < DEATHS; i++) {
        const { pid } = scene
        await scene.signal('SIGKILL', pid)
        scene.pid = await readyAfter(scene, pid)
      }
    },
    check: (scene) =>
      areCounted(scene, DEATHS, async (script) => (await scene.box.runScript(script, ['--json'])).stdout),
    systemd: {
      settings: { OPENCLAW_CRASH_LOOP_DEATHS: '50', OPENCLAW_FLAPPING_DEATHS: '2' },
      produce: async (scene) => {
        for (let i = 0; i < 2; i++) {
          const pid = await scene.unit('MainPID')
          await scene.signal('SIGKILL', Number(pid))
          await slowly(async () => (await scene.unit('MainPID')) !== pid && scene.isLive(), 'systemd to start it again')
        }
        scene.pid = await scene.pidNow()
        await hasStarted(scene)
      },
      check: (scene) => {
        const run = (script: string) => scene.machine.tries('node', `${CHECKOUT}/scripts/${script}.ts`, '--json')
        return areCounted(scene, 2, async (script) => (await run(script)).stdout)
      },
    },
  },
  {
    id: '10b',
    name: 'a boot longer than the grace, with progress',
    // Its log has to grow within it, also on a busy machine.
    settings: { OPENCLAW_STARTUP_GRACE: '3' },
    verdict: 'hung',
    healedBy: 'itself',
    keeps: ['process', 'config'],
    produce: async (scene) => {
      await killGateway(scene)
      scene.pid = (await scene.box.startGateway({ heldIn: 'boot', talks: true }, 'boot')).pid
      await olderThanGrace()
    },
    meanwhile: async (scene) => {
      await untilRemark(scene, 'watchdog', REMARKS)
      scene.box.setFaults({})
    },
    systemd: {
      settings: { OPENCLAW_STARTUP_GRACE: '20' },
      produce: holdUp('works'),
      meanwhile: (scene) => goesOn(scene, REMARKS),
      again: hasStarted,
    },
  },
  {
    id: '10c',
    name: 'a boot longer than the grace, without progress',
    // It has the same grace once more for the boot after that.
    settings: { OPENCLAW_STARTUP_GRACE: '10', OPENCLAW_STOP_GRACE: '1' },
    verdict: 'hung',
    healedBy: 'level 1',
    produce: async (scene) => {
      await killGateway(scene)
      scene.pid = (await scene.box.startGateway({ heldIn: 'boot' }, 'boot')).pid
      const since = performance.now()
      await waitFor(() => performance.now() - since > 12_000, 'the end of its grace')
    },
    meanwhile: async (scene) => {
      await waitFor(() => !scene.box.processes().includes(scene.pid), 'its end', 120_000)
      scene.box.setFaults({})
    },
    check: (scene) => expect(scene.box.processes()).not.toContain(scene.pid),
  },
  {
    id: '17c',
    name: 'no supervisor, and it ends at each start without a word',
    verdict: 'absent',
    healedBy: 'a human',
    // One by Level 1, two by Level 2: a third would be the same.
    restarts: 3,
    told: /exited with code 78/,
    produce: async (scene) => {
      await killGateway(scene)
      scene.box.setFaults({ exitAtBoot: { code: 78, stderr: '' } })
    },
    repair: ({ box }) => box.startGateway(),
  },
]
