/** Who stopped it, who starts it again, and who is at work on it: what the tiers must leave to others. */
import { spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { CHECKOUT, slowly } from '../real/patient-machine.ts'
import { USER } from '../support/container.ts'
import { waitFor } from '../support/wait-for.ts'
import { type Fault, killGateway, type RealFault, type Scene, type StandInScene, type SystemdScene } from './fault.ts'

const UNIT = 'openclaw-gateway.service'
const BASE = { keeps: ['config'] as const }
/** Left as it is by every level, and told. */
const LEFT_TO_A_HUMAN = { ...BASE, healedBy: 'a human' as const, verdict: 'supervised-elsewhere' as const }

// --- on the stand-in's stage

const startsOf = ({ box }: StandInScene) =>
  box.openclawCalls().filter((call) => /^gateway (?:run|restart|start)/.test(call))
const tick = async ({ box }: StandInScene, code: number) =>
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code })

/** A process of the sandbox's HOME with that title; returns what ends it. */
async function startTitled({ box, onClose }: StandInScene, title: string, code = ''): Promise<() => Promise<void>> {
  const keep = `process.title = ${JSON.stringify(title)}; setInterval(() => {}, 1000); ${code}; console.log('up')`
  const child = spawn(process.execPath, ['-e', keep, '_'.repeat(title.length)], { env: box.env, detached: true })
  const end = async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL'))
      await new Promise((resolve) => child.once('exit', resolve))
  }
  onClose(end)
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return end
}

/** The gateway runs as the child of a process with that title, and Level 1 has seen it so. */
async function startBelow(
  scene: StandInScene,
  title: string,
  env: Record<string, string>,
  spawning = '',
): Promise<void> {
  await killGateway(scene)
  const { box } = scene
  const spawningIt = `require('node:child_process').spawn('openclaw', ['gateway', 'run'], { env: { ...process.env, ...${JSON.stringify(env)} }, stdio: 'ignore' })`
  const before = box.events().length
  await startTitled(scene, title, spawning || spawningIt)
  await becomeKnown(scene, before)
}

/** Waits for the gateway that was started since those events, lets Level 1 see it, and kills it. */
async function becomeKnown(scene: StandInScene, before: number, isKilled = true): Promise<void> {
  const { box } = scene
  const ready = () =>
    box
      .events()
      .slice(before)
      .some(({ what }) => what === 'ready')
  await waitFor(ready, 'the gateway')
  await tick(scene, 0)
  countStarts(scene)
  if (!isKilled) return
  for (const pid of box.processes().filter((one) => /openclaw-gateway/.test(commandOf(one))))
    await scene.signal('SIGKILL', pid)
}

const commandOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8')
/** The plays run side by side. */
const starts = new WeakMap<StandInScene, number>()
const countStarts = (scene: StandInScene) => starts.set(scene, startsOf(scene).length)
const startsSince = (scene: StandInScene) => startsOf(scene).length - starts.get(scene)!
const isNotStarted = (scene: StandInScene) => expect(startsSince(scene)).toBe(0)
const supervisorIn = (status: string): string => JSON.parse(status).gateway.supervisor
const linuxRoot = () =>
  process.platform === 'linux' && process.getuid?.() === 0 ? undefined : 'only root of Linux can make a container'

/** A systemctl with one unit, which `start` starts; without a journal, that is not readable. */
const unitThat =
  (restart: string, journal = '') =>
  async (scene: StandInScene) => {
    const { box } = scene
    // It was started later than its package was installed.
    const state =
      'LoadState=loaded UnitFileState=enabled ExecMainStartTimestampMonotonic=' +
      process.hrtime.bigint() / 1000n +
      ' ExecMainCode=1 ExecMainStatus=0'
    box.addTool(
      'systemctl',
      `case "$*" in
  *--system*) echo LoadState=not-found ;;
  *' show openclaw-gateway.service '*) p=$(cat '${box.root}/unit.pid' 2>/dev/null)
    if kill -0 "$p" 2>/dev/null; then set -- ActiveState=active SubState=running MainPID=$p; else set -- ActiveState=inactive SubState=dead MainPID=0; fi
    printf '%s\\n' ${state} Result=success Restart=${restart} "$@" ;;
  *' show '*) echo LoadState=not-found ;;
  *' start '*) openclaw gateway run >>'${box.gatewayLog}' 2>&1 & echo $! >'${box.root}/unit.pid' ;;
esac`,
    )
    const unreadable = 'echo "No journal files were opened due to insufficient permissions." >&2'
    box.addTool('journalctl', journal ? `case "$*" in *' -u '*) cat <<'EOF'\n${journal}\nEOF\n;; esac` : unreadable)
    countStarts(scene)
    await scene.signal('SIGTERM')
    await waitFor(() => !box.processes().includes(scene.pid), 'its end')
  }

const hoursLater = async ({ stateDir }: Scene) => {
  const path = join(stateDir, 'watchdog', 'gateway.json')
  const record = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...record, stoppedSinceMs: record.stoppedSinceMs - 7 * 3_600_000 }))
}

const STOPPED = {
  ...BASE,
  verdict: 'stopped-on-purpose' as const,
  healedBy: 'a human' as const,
  exits: [3, 3, 3] as const,
  told: /stopped/,
  again: hoursLater,
}

const AT_WORK = [
  ['npm install -g openclaw@2026.9.7'],
  ['node /tmp/openclaw-update-run-handoff-x1/handoff.cjs handoff.json'],
  ['openclaw-triage'],
  // Its repair agent.
  ['openclaw', "require('node:child_process').spawn('sleep', ['600'], { argv0: 'codex' })"],
] as const
let endProxy: () => Promise<void>
let endUpdate: () => Promise<void>

const onStandIn: Fault[] = [
  {
    id: 'W1',
    name: 'pm2’s gateway died',
    ...LEFT_TO_A_HUMAN,
    told: /pm2 restart claw/,
    produce: (scene) => startBelow(scene, 'PM2 v7.0.4: God Daemon (/home/otto/.pm2)', { pm_id: '0', name: 'claw' }),
    check: async (scene) => {
      isNotStarted(scene)
      expect(supervisorIn((await scene.box.runScript('status', ['--json'])).stdout)).toBe('pm2')
    },
  },
  {
    id: 'W1d',
    name: 'pm2’s gateway died, and a unit was left behind',
    ...LEFT_TO_A_HUMAN,
    told: /pm2 restart claw/,
    produce: async (scene) => {
      const unit = 'LoadState=loaded ActiveState=inactive SubState=dead UnitFileState=disabled'
      scene.box.addTool('systemctl', `case "$*" in *' show '*) printf '%s\\n' ${unit} ;; esac`)
      await startBelow(scene, 'PM2 v7.0.4: God Daemon (/home/otto/.pm2)', { pm_id: '0', name: 'claw' })
    },
    check: isNotStarted,
  },
  ...(
    [
      ['W1b', 'a shell loop’s gateway died', '/bin/bash -c while true; do openclaw gateway run; sleep 60; done'],
      ['W1c', 'nodemon’s gateway died', 'node /usr/local/bin/nodemon --exec openclaw gateway run'],
    ] as const
  ).map(([id, name, title]) => ({
    ...{ id, name, ...LEFT_TO_A_HUMAN, told: /a loop of a shell|its service supervisor/ },
    produce: (scene: StandInScene) => startBelow(scene, title, {}),
    check: isNotStarted,
  })),
  {
    id: 'W1e',
    name: 'it was started by hand in a terminal that a loop keeps alive, and it died',
    ...BASE,
    verdict: 'absent',
    healedBy: 'level 1',
    produce: (scene) => {
      const terminal = `process.title = 'node /opt/wetty'; require('node:child_process').spawn('openclaw', ['gateway', 'run'])`
      const spawning = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(terminal)}, '_'.repeat(80)])`
      return startBelow(scene, 'bash -c until wetty; do sleep 1; done', {}, spawning)
    },
  },
  {
    id: 'W2',
    name: 'a container’s gateway died',
    ...LEFT_TO_A_HUMAN,
    told: /container/,
    cannotBeMade: linuxRoot,
    produce: async (scene) => {
      await killGateway(scene)
      const { box } = scene
      const before = box.events().length
      const inside = ['--pid', '--fork', '--kill-child', 'openclaw', 'gateway', 'run']
      const child = spawn('/usr/bin/unshare', inside, { env: box.env, detached: true, stdio: 'ignore' })
      scene.onClose(() => void child.kill('SIGKILL'))
      await becomeKnown(scene, before)
    },
    check: isNotStarted,
  },
  {
    id: 'W2b',
    name: 'a container’s gateway died, and Docker still has its port',
    ...LEFT_TO_A_HUMAN,
    told: /container/,
    produce: async (scene) => {
      countStarts(scene)
      await killGateway(scene)
      const known = { kind: 'elsewhere', name: 'another account or a container', scope: '--user' }
      writeFileSync(join(scene.stateDir, 'watchdog', 'supervision.json'), JSON.stringify(known))
      const listening = `require('node:net').createServer((one) => one.resetAndDestroy()).listen(${scene.port}, '127.0.0.1')`
      endProxy = await startTitled(scene, 'docker-proxy', listening)
    },
    check: isNotStarted,
    repair: async ({ box, stateDir }) => {
      await endProxy()
      rmSync(join(stateDir, 'watchdog', 'supervision.json'))
      await box.startGateway()
    },
  },
  {
    id: 'W3',
    name: 'an external supervisor’s gateway died',
    ...LEFT_TO_A_HUMAN,
    told: /external/,
    produce: async (scene) => {
      await killGateway(scene)
      const before = scene.box.events().length
      await scene.box.startGateway({}, 'ready', { OPENCLAW_SUPERVISOR_MODE: 'external' })
      await becomeKnown(scene, before)
    },
    check: isNotStarted,
  },
  {
    id: 'W3b',
    name: 'OPENCLAW_SUPERVISOR_MODE=external, and it died',
    settings: { OPENCLAW_SUPERVISOR_MODE: 'external' },
    ...LEFT_TO_A_HUMAN,
    told: /external/,
    produce: async (scene) => {
      countStarts(scene)
      await killGateway(scene)
    },
    check: isNotStarted,
  },
  {
    id: 'W4',
    name: 'OpenClaw’s updater or triage is at work',
    ...BASE,
    verdict: 'absent',
    healedBy: 'level 1',
    exits: [3, 3, 0],
    produce: async (scene) => {
      countStarts(scene)
      await killGateway(scene)
      endUpdate = await startTitled(scene, 'openclaw-update')
    },
    again: async (scene) => {
      await endUpdate()
      for (const [title, code] of AT_WORK) {
        const end = await startTitled(scene, title, code)
        await tick(scene, 3)
        await end()
      }
      isNotStarted(scene)
    },
    check: (scene) => expect(startsSince(scene)).toBe(1),
  },
  {
    id: 'W5',
    name: 'a unit was stopped, its journal is closed',
    ...STOPPED,
    produce: unitThat('always'),
    check: isNotStarted,
    repair: ({ box }) => box.startGateway(),
  },
  {
    id: 'W5b',
    name: 'a unit was restarted by a person, and its start took too long',
    ...BASE,
    verdict: 'absent',
    healedBy: 'level 1',
    produce: async (scene) => {
      const said = ['Stopping', 'Stopped', 'Starting'].map((what) =>
        JSON.stringify({ _COMM: 'systemd', MESSAGE: `${what} x.`, __REALTIME_TIMESTAMP: `${Date.now()}000` }),
      )
      await unitThat('always', said.toReversed().join('\n'))(scene)
    },
    check: (scene) => expect(startsSince(scene)).toBe(1),
  },
  {
    id: 'W5c',
    name: 'its unit’s file has an error, and it died',
    ...BASE,
    verdict: 'absent',
    healedBy: 'a human',
    restarts: 0,
    told: /bad-setting/,
    produce: async (scene) => {
      const { box } = scene
      rmSync(join(box.binDir, 'claude'))
      box.addTool(
        'systemctl',
        `case "$*" in
  *' show openclaw-gateway.service '*) printf '%s\\n' LoadState=bad-setting ActiveState=inactive SubState=dead UnitFileState=enabled ;;
  *' show '*) echo LoadState=not-found ;;
  *) echo 'Unit has a bad unit file setting.' >&2; exit 1 ;;
esac`,
      )
      countStarts(scene)
      await killGateway(scene)
    },
    check: ({ box }) => expect(box.openclawCalls().filter((call) => call === 'gateway run')).toHaveLength(1),
    repair: async ({ box }) => {
      rmSync(join(box.binDir, 'systemctl'))
      await box.startGateway()
    },
  },
  {
    id: 'W6',
    name: 'a unit ended cleanly, its journal is closed',
    ...BASE,
    verdict: 'absent',
    healedBy: 'level 1',
    produce: unitThat('on-failure'),
    check: (scene) => expect(startsSince(scene)).toBe(1),
  },
]

// --- on a real systemd

const SYSTEM_UNITS = '/etc/systemd/system'
const UNITS = `${USER.home}/.config/systemd/user`

async function asRoot({ machine }: SystemdScene, ...command: string[]): Promise<string> {
  const { code, stdout, stderr } = await machine.runAsRoot(command)
  if (code !== 0) throw new Error(`\`${command.join(' ')}\`: exit ${code}\n${stdout}${stderr}`)
  return stdout
}

const gateways = async ({ machine }: SystemdScene) =>
  (await machine.tries('pgrep', '-f', 'openclaw-gateway|index.js gateway|openclaw gateway run')).stdout
    .split('\n')
    .filter(Boolean)
const isLive = (scene: SystemdScene) => slowly(() => scene.isLive(), 'the gateway', 300_000)
const level1 = async (scene: SystemdScene) =>
  expect(await scene.machine.level('gateway-watchdog')).toMatchObject({ code: 0 })
const isGone = async (scene: SystemdScene) => {
  expect(await gateways(scene)).toEqual([])
  expect(await scene.isLive()).toBe(false)
}
/** The one gateway is its unit's. */
const isUnits =
  (name = UNIT) =>
  async (scene: SystemdScene) => {
    const pid = (await scene.systemctl('show', name, '--property=MainPID', '--value')).trim()
    expect(await gateways(scene)).toEqual([pid])
  }

/** Takes OpenClaw's own user unit away until the scene is closed. */
async function withoutOwnUnit(scene: SystemdScene): Promise<string> {
  const path = join(scene.machine.root, UNITS, UNIT)
  const text = readFileSync(path, 'utf8')
  await scene.systemctl('stop', UNIT)
  rmSync(path)
  await scene.systemctl('daemon-reload')
  scene.onClose(async () => {
    writeFileSync(path, text)
    await scene.systemctl('daemon-reload')
    await scene.systemctl('enable', UNIT)
  })
  return text
}

/** The gateway as a unit of that name of the machine's own systemd, for this user. */
async function asSystemUnit(scene: SystemdScene, name: string, isRoots = false): Promise<void> {
  const own = await withoutOwnUnit(scene)
  const path = join(scene.machine.root, SYSTEM_UNITS, name)
  const ofUser = own.replace('[Service]\n', `[Service]\nUser=${USER.name}\n`)
  const text = isRoots ? own.replaceAll(USER.home, '/root') : ofUser
  scene.onClose(async () => {
    await asRoot(scene, 'systemctl', 'disable', '--now', name)
    rmSync(path)
    await asRoot(scene, 'systemctl', 'daemon-reload')
  })
  writeFileSync(
    path,
    text.replace(/^Environment=OPENCLAW_SYSTEMD_UNIT=.*$/m, `Environment=OPENCLAW_SYSTEMD_UNIT=${name}`),
  )
  await asRoot(scene, 'systemctl', 'daemon-reload')
  await asRoot(scene, 'systemctl', 'enable', '--now', name)
  await isLive(scene)
}

async function asOtherUserUnit(scene: SystemdScene): Promise<void> {
  const text = await withoutOwnUnit(scene)
  const path = join(scene.machine.root, UNITS, 'claw.service')
  scene.onClose(async () => {
    await scene.systemctl('stop', 'claw.service')
    rmSync(path)
    await scene.systemctl('daemon-reload')
  })
  writeFileSync(path, text.replace('Restart=always', 'Restart=no'))
  await scene.systemctl('daemon-reload')
  await scene.systemctl('start', 'claw.service')
  await isLive(scene)
  await level1(scene)
}

const killClaw = async (scene: SystemdScene) => {
  await scene.systemctl('kill', '--signal=KILL', 'claw.service')
  await slowly(async () => (await gateways(scene)).length === 0, 'its end', 60_000)
}

/** Root stops the machine's own unit; it stays so. */
const rootStops = (name: string, isKnown: boolean) => ({
  produce: async (scene: SystemdScene) => {
    await asSystemUnit(scene, name)
    if (isKnown) await level1(scene)
    await asRoot(scene, 'systemctl', 'stop', name)
  },
  check: async (scene: SystemdScene) => {
    await isGone(scene)
    expect(await asRoot(scene, 'systemctl', 'show', name, '--property=ActiveState,NRestarts')).toMatch(
      /NRestarts=0\nActiveState=inactive/,
    )
  },
  repair: async (scene: SystemdScene) => {
    await asRoot(scene, 'systemctl', 'start', name)
    await isLive(scene)
  },
})

/** As Docker has it: a scope of the machine's systemd with the container's name, and a numbering of processes of its own. */
const CONTAINER = 'docker-0123456789abcdef0123456789abcdef.scope'
const INSIDE = `exec systemd-run --scope --quiet --unit=${CONTAINER} unshare --pid --fork --kill-child setpriv --reuid=${USER.uid} --regid=${USER.uid} --init-groups env -i HOME=${USER.home} PATH=/opt/openclaw/node_modules/.bin:/opt/node24/node_modules/.bin:/usr/bin:/bin openclaw gateway run`

const isStopped = {
  ...STOPPED,
  check: async (scene: SystemdScene) => {
    // Told once.
    expect(await scene.machine.level('gateway-watchdog')).toMatchObject({ code: 3 })
    expect(scene.log('watchdog').match(/\] NOTICE /g)).toHaveLength(1)
    await isGone(scene)
    expect(await scene.unit('ActiveState')).toBe('inactive')
  },
  repair: async (scene: SystemdScene) => {
    await scene.systemctl('start', UNIT)
    await isLive(scene)
  },
}
const levelOneStarts = { ...BASE, verdict: 'absent' as const, healedBy: 'level 1' as const }

const onSystemd: RealFault[] = [
  {
    id: 'S1',
    name: 'an update stopped its unit and died',
    ...levelOneStarts,
    systemd: {
      produce: async (scene) => {
        const { code } = await scene.machine.tries(
          'systemd-run',
          '--user',
          '--wait',
          'sh',
          '-c',
          `systemctl --user stop ${UNIT}; exit 127`,
        )
        expect(code).toBe(127)
      },
      check: isUnits(),
    },
  },
  {
    id: 'S2',
    name: 'OpenClaw’s own update helper stopped its unit and died',
    ...levelOneStarts,
    systemd: {
      produce: async (scene) => {
        const scope = ['--user', '--scope', '--collect', '--unit=openclaw-update-4f2a.scope']
        await scene.machine.tries('systemd-run', ...scope, 'sh', '-c', `systemctl --user stop ${UNIT}; kill -9 $$`)
      },
      check: isUnits(),
    },
  },
  {
    id: 'S3',
    name: 'a clean exit under Restart=on-failure',
    ...levelOneStarts,
    systemd: {
      produce: async (scene) => {
        await scene.changeUnit('[Service]\nRestart=on-failure\n')
        await scene.signal('SIGTERM', Number(await scene.unit('MainPID')))
        await scene.until('ActiveState', 'inactive')
      },
      check: isUnits(),
    },
  },
  {
    id: 'S4',
    name: 'a person’s `systemctl --user stop`',
    ...isStopped,
    systemd: { ...isStopped, produce: (scene) => scene.systemctl('stop', UNIT) },
  },
  {
    id: 'S5',
    name: 'a person’s `openclaw gateway stop`',
    ...isStopped,
    systemd: { ...isStopped, produce: (scene) => scene.machine.must('openclaw', 'gateway', 'stop', '--force') },
  },
  {
    id: 'S6',
    name: 'a user unit of another name died',
    ...BASE,
    verdict: 'parked',
    healedBy: 'level 1',
    restarts: 2,
    systemd: {
      produce: async (scene) => {
        await asOtherUserUnit(scene)
        await killClaw(scene)
      },
      again: async (scene) => {
        await killClaw(scene)
        expect(await scene.machine.level('gateway-healthcheck')).toMatchObject({ code: 0 })
      },
      check: async (scene) => {
        await isUnits('claw.service')(scene)
        const status = await scene.machine.must('node', `${CHECKOUT}/scripts/status.ts`, '--json').catch(String)
        expect(status).toContain('"supervisor": "systemd (user): claw.service"')
      },
    },
  },
  {
    id: 'S7',
    name: 'its unit file was removed, and it died',
    ...LEFT_TO_A_HUMAN,
    told: /openclaw gateway install/,
    systemd: {
      produce: async (scene) => void (await withoutOwnUnit(scene)),
      check: isGone,
    },
  },
  {
    id: 'S8',
    name: 'its unit file was removed, and it runs on without',
    ...BASE,
    verdict: 'healthy',
    healedBy: 'nobody needed',
    told: /without a supervisor/,
    systemd: {
      produce: async (scene) => {
        await withoutOwnUnit(scene)
        await scene.machine.must('sh', '-c', 'nohup setsid openclaw gateway run >/dev/null 2>&1 &')
        await isLive(scene)
        await level1(scene)
        scene.onClose(() => scene.machine.tries('pkill', '-9', '-x', 'openclaw-gatewa'))
      },
      check: async (scene) => expect(await gateways(scene)).toEqual([String(await scene.pidNow())]),
    },
  },
  {
    id: 'S9',
    name: 'root stopped OpenClaw’s system unit',
    ...LEFT_TO_A_HUMAN,
    told: /sudo systemctl restart openclaw-gateway/,
    systemd: rootStops(UNIT, false),
  },
  {
    id: 'S10',
    name: 'root stopped a system unit of another name',
    ...LEFT_TO_A_HUMAN,
    told: /sudo systemctl restart claw/,
    systemd: rootStops('claw.service', true),
  },
  {
    id: 'S11',
    name: 'a system unit crashed and is started again',
    ...BASE,
    verdict: 'starting',
    healedBy: 'itself',
    systemd: {
      produce: async (scene) => {
        await asSystemUnit(scene, UNIT)
        await level1(scene)
        await scene.signal('SIGKILL', await scene.pidNow())
      },
      check: async (scene) => {
        const shown = await asRoot(scene, 'systemctl', 'show', UNIT, '--property=MainPID,NRestarts', '--value')
        expect(await gateways(scene)).toEqual([shown.split('\n')[0]])
        expect(shown).toMatch(/\n1\n/)
      },
    },
  },
  {
    id: 'S12',
    name: 'a container’s gateway was stopped',
    ...LEFT_TO_A_HUMAN,
    told: /docker restart 0123456789ab/,
    systemd: {
      produce: async (scene) => {
        await withoutOwnUnit(scene)
        await asRoot(scene, 'sh', '-c', `nohup setsid sh -c '${INSIDE}' >/dev/null 2>&1 &`)
        scene.onClose(() => scene.machine.runAsRoot(['systemctl', 'kill', '--signal=KILL', CONTAINER]))
        await isLive(scene)
        await level1(scene)
        await asRoot(scene, 'systemctl', 'stop', CONTAINER)
      },
      check: isGone,
    },
  },
  {
    id: 'S13',
    name: 'another account’s gateway was stopped',
    ...LEFT_TO_A_HUMAN,
    told: /another account/,
    systemd: {
      produce: async (scene) => {
        const home = join(scene.machine.root, 'root', '.openclaw')
        await asRoot(
          scene,
          'sh',
          '-c',
          `mkdir -p ~root/.openclaw && cp ${USER.home}/.openclaw/openclaw.json ~root/.openclaw/`,
        )
        scene.onClose(() => rmSync(home, { recursive: true, force: true }))
        await asSystemUnit(scene, 'claw.service', true)
        await level1(scene)
        await asRoot(scene, 'systemctl', 'stop', 'claw.service')
      },
      check: isGone,
    },
  },
]

/** A terminal of the user's, as a unit, in which the gateway was started by hand. */
const inTerminal: RealFault = {
  id: 'S14',
  name: 'started in a terminal that is a unit, and it died',
  ...levelOneStarts,
  systemd: {
    produce: async (scene) => {
      const { machine, stateDir, systemctl } = scene
      await withoutOwnUnit(scene)
      rmSync(join(stateDir, 'watchdog', 'supervision.json'))
      const path = (await machine.must('sh', '-c', 'echo $PATH')).trim()
      await machine.must(
        ...['systemd-run', '--user', '--unit=tmux.service', `--setenv=PATH=${path}`],
        // On a busy machine OpenClaw may give up by itself: it gives its lease 5 s (2026.9.6).
        ...['script', '-qfc', 'openclaw gateway run; [ $? != 78 ] || openclaw gateway run; sleep 9999', '/dev/null'],
      )
      scene.onClose(async () => {
        await systemctl('stop', 'tmux.service')
        await machine.tries('pkill', '-9', '-x', 'openclaw-gatewa')
      })
      await isLive(scene)
      await level1(scene)
      terminal = await systemctl('show', 'tmux.service', '--property=MainPID,ActiveState')
      await scene.signal('SIGKILL', await scene.pidNow())
    },
    check: async ({ systemctl }) =>
      expect(await systemctl('show', 'tmux.service', '--property=MainPID,ActiveState')).toBe(terminal),
  },
}
let terminal: string

export const whoRunsIt: (Fault | RealFault)[] = [...onStandIn, ...onSystemd, inTerminal]
