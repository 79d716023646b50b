/** Refusals whose reason is easily mistaken, and configs that must not be touched. The must-nots of field reports. */
import { execFileSync } from 'node:child_process'
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { killGateway, type RealScene, type Scene, type StandInScene, type SystemdScene, type Way } from './fault.ts'
import type { AnyFault } from './library.ts'
import { needsMount } from './scene.ts'

const BROKEN = '{ gateway: { mode: "local", // saved in the midst of a word'

/** A person's good edit. */
function editConfig(scene: Scene): void {
  const config = JSON.parse(readFileSync(scene.configPath, 'utf8'))
  scene.writeConfig(JSON.stringify({ ...config, logging: { ...config.logging, level: 'debug' } }, null, 2))
}

const keepsTheEdit = ({ configPath, stateDir }: Scene) => {
  expect(readFileSync(configPath, 'utf8')).toContain('"level": "debug"')
  expect(readdirSync(stateDir).filter((name) => name.includes('.broken-'))).toEqual([])
}

/** For what only a human ends here: there is no doctor on that machine. */
const sendDoctorAway = ({ box }: StandInScene) => rmSync(join(box.binDir, 'claude'))

const copies = ({ stateDir }: Scene) => readdirSync(stateDir).filter((name) => name.includes('.broken-'))

/** Another `openclaw` that is first on the PATH and older than the config. */
const OLDER_CLI = `case "$*" in *validate*)
echo '{"valid":false,"issues":[{"path":"gateway","message":"Unrecognized key: \\"newer\\""}]}'; exit 1;; esac`

/** A unit whose program is the installed package; it gives up after the first crash. */
function superviseByStandIn({ box }: StandInScene): void {
  const program = join(box.packageDir, 'openclaw.mjs')
  const pidFile = join(box.controlDir, 'unit.pid')
  box.addTool(
    'systemctl',
    `pid=$(cat '${pidFile}' 2>/dev/null) && kill -0 "$pid" 2>/dev/null || pid=0
case "$*" in
*ExecStart) echo 'ExecStart={ path=${program} ; argv[]=${program} gateway run ; ignore_errors=no ; }' ;;
*' show '*) printf '%s\\n' LoadState=loaded UnitFileState=enabled ExecMainStartTimestampMonotonic=1 MainPID="$pid"
  if [ "$pid" = 0 ]; then printf '%s\\n' ActiveState=failed SubState=failed Result=signal ExecMainCode=2 ExecMainStatus=9
  else printf '%s\\n' ActiveState=active SubState=running; fi ;;
*' start '*) '${program}' gateway run >>'${box.gatewayLog}' 2>&1 & echo $! >'${pidFile}' ;;
esac`,
  )
}

/** The next boots of the stand-in end like this, until `openclaw doctor --fix` was run or for ever. */
async function untilDoctorFix(scene: StandInScene, stderr: string, helps: boolean, tool = ''): Promise<void> {
  const { box } = scene
  if (!helps) sendDoctorAway(scene)
  await killGateway(scene)
  await box.startGateway({ exitAtBoot: { code: 78, stderr } }, 'exit')
  const heals = helps ? `printf '{}' >'${box.controlDir}/faults.json'; touch '${box.controlDir}/fixed'` : ':'
  box.addTool(
    'openclaw',
    `case "$1" in doctor) ${heals};; esac
${tool}
exec '${join(box.packageDir, 'openclaw.mjs')}' "$@"`,
  )
}

const fixedOnce = ({ box, stateDir }: StandInScene) => {
  expect(box.openclawCalls().filter((call) => call.startsWith('doctor'))).toEqual([
    'doctor --fix --yes --non-interactive',
  ])
  expect(readdirSync(stateDir).filter((name) => name.includes('.before-doctor-fix-'))).toHaveLength(1)
}

const MIGRATION =
  'Gateway failed to start: OpenClaw startup migrations did not complete cleanly; refusing to report the gateway ready.\n- state lease heartbeat did not become ready (phase=startup, timeoutMs=5000)'
const REMOVED_KEY = 'Gateway failed to start: Invalid config at openclaw.json:\ngateway: Unrecognized key: "nosuch"'
const REJECTS = `case "$*" in *validate*) [ -e "$STAND_IN_FIXED" ] ||
{ echo '{"valid":false,"issues":[{"path":"gateway","message":"Unrecognized key: \\"nosuch\\""}]}'; exit 1; };; esac`
const rejects = ({ box }: StandInScene) => `STAND_IN_FIXED='${box.controlDir}/fixed'\n${REJECTS}`

/** The real gateway is killed, something is done to it, and its next boot ends so; `mend` undoes it. */
const realRefusal = (
  code: number,
  damage: (scene: RealScene) => unknown,
  mend: (scene: RealScene) => unknown,
): Way<RealScene> => ({
  async produce(scene) {
    await killGateway(scene)
    await damage(scene)
    expect(await scene.start('exit')).toBe(code)
  },
  async repair(scene) {
    await mend(scene)
    await scene.start('live')
  },
})

const linkAgain = (scene: RealScene) => scene.linkOpenClaw(scene.modules)
const program = ({ modules }: RealScene) => join(modules, 'openclaw', 'openclaw.mjs')
const database = ({ stateDir }: Scene) => join(stateDir, 'state', 'openclaw.sqlite')

/** A config that was changed to one that validates, and at whose boot the gateway names it. */
const editedSo = (change: Record<string, unknown>): Way<RealScene> => ({
  async produce(scene) {
    await killGateway(scene)
    const { gateway, ...rest } = JSON.parse(readFileSync(scene.configPath, 'utf8'))
    scene.writeConfig(JSON.stringify({ ...rest, gateway: { ...gateway, ...change } }))
    expect(await scene.start('exit')).toBe(1)
  },
})

/** Puts the config into a folder that is then read-only, as in a container; the link to it stays. */
function makeConfigReadOnly(scene: Scene): void {
  const folder = join(scene.stateDir, 'etc')
  const target = join(folder, 'openclaw.json')
  mkdirSync(folder)
  renameSync(scene.configPath, target)
  symlinkSync(target, scene.configPath)
  execFileSync('mount', ['--bind', folder, folder])
  execFileSync('mount', ['-o', 'remount,ro,bind', folder])
  scene.onClose(() => {
    execFileSync('umount', ['-l', folder])
    if (existsSync(target)) cpSync(target, `${scene.configPath}.away`)
    rmSync(scene.configPath)
    renameSync(`${scene.configPath}.away`, scene.configPath)
    rmSync(folder, { recursive: true })
  })
}

const anotherHoldsIt = {
  check: keepsTheEdit,
  async produce(scene: StandInScene | RealScene) {
    const second = async () => ('start' in scene ? scene.start('exit') : scene.box.startGateway({}, 'exit'))
    const ended = await second()
    expect(typeof ended === 'number' ? ended : ended.exitCode).toBe(78)
    editConfig(scene)
    await killGateway(scene)
  },
}

const brokenInFirstMinutes = async (scene: Scene) => {
  rmSync(join(scene.stateDir, 'watchdog', 'known-good'), { recursive: true, force: true })
  const good = readFileSync(scene.configPath, 'utf8')
  writeFileSync(`${scene.configPath}.bak`, good)
  writeFileSync(`${scene.configPath}.last-good`, good.replace('{', '{ "nosuch": 1,'))
  scene.onClose(() => {
    for (const ending of ['bak', 'last-good']) rmSync(`${scene.configPath}.${ending}`, { force: true })
  })
  await killGateway(scene)
  scene.writeConfig(BROKEN)
}

let textBefore: string
let savedMs: number

export const saysWhy: AnyFault[] = [
  {
    id: '101',
    name: '78 since another gateway held the place, config edited well meanwhile',
    verdict: 'refused-by-another-gateway',
    healedBy: 'level 2',
    keeps: [],
    ...anotherHoldsIt,
    real: anotherHoldsIt,
    systemd: {
      check: keepsTheEdit,
      async produce(scene) {
        const { machine, systemctl, until } = scene
        await systemctl('stop', 'openclaw-gateway.service')
        await machine.must('sh', '-c', 'nohup openclaw gateway run >/tmp/foreground.log 2>&1 & echo $!')
        await machine.waitUntilHealthy()
        const foreground = await scene.pidNow()
        await systemctl('start', 'openclaw-gateway.service')
        await until('ExecMainStatus', '78')
        editConfig(scene)
        await scene.signal('SIGHUP', foreground)
        await waitFor(async () => !(await scene.isLive()), 'the end of the one in the foreground', 120_000)
        if ((await machine.tries('kill', '-0', String(foreground))).code === 0)
          await scene.signal('SIGKILL', foreground)
      },
    },
  },
  {
    id: '102',
    name: 'an older openclaw is first on the PATH',
    verdict: 'parked',
    healedBy: 'level 1',
    keeps: [],
    async produce(scene) {
      editConfig(scene)
      superviseByStandIn(scene)
      scene.box.addTool('openclaw', `${OLDER_CLI}\nexec '${join(scene.box.packageDir, 'openclaw.mjs')}' "$@"`)
      await killGateway(scene)
    },
    check: async (scene) => {
      keepsTheEdit(scene)
      // Edited once more while it runs, and settled.
      scene.writeConfig(`${readFileSync(scene.configPath, 'utf8')}\n`)
      utimesSync(scene.configPath, Date.now() / 1000 - 60, Date.now() / 1000 - 60)
      expect(await scene.box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
      expect(scene.log('watchdog')).not.toContain('NOTICE')
    },
    systemd: {
      async produce(scene: SystemdScene) {
        const first = join(scene.machine.home, 'bin', 'openclaw')
        mkdirSync(dirname(first), { recursive: true })
        writeFileSync(first, `#!/bin/sh\n${OLDER_CLI}\nexec /opt/openclaw/node_modules/.bin/openclaw "$@"\n`, {
          mode: 0o755,
        })
        scene.onClose(() => rmSync(first))
        editConfig(scene)
        await scene.changeUnit('[Service]\nRestart=no\n')
        await killGateway(scene)
        await scene.until('ActiveState', 'failed')
      },
      check: keepsTheEdit,
    },
  },
  {
    id: '103',
    name: 'its config is open in an editor',
    verdict: 'misconfigured',
    healedBy: 'level 2',
    told: /openclaw\.json/,
    async produce(scene) {
      await killGateway(scene)
      scene.writeConfig(BROKEN)
      writeFileSync(join(scene.stateDir, '.openclaw.json.swp'), '')
      savedMs = Date.now() - 45_000
      utimesSync(scene.configPath, savedMs / 1000, savedMs / 1000)
    },
    // Its copy was made when the known-good one was put in its place.
    check: (scene) =>
      expect(statSync(join(scene.stateDir, copies(scene)[0]!)).mtimeMs).toBeGreaterThan(savedMs + 59_900),
  },
  {
    id: '103b',
    name: 'its user saves it broken, then well',
    verdict: 'misconfigured',
    healedBy: 'level 2',
    keeps: [],
    async produce(scene) {
      await killGateway(scene)
      const good = readFileSync(scene.configPath, 'utf8')
      const swap = join(scene.stateDir, '.openclaw.json.swp')
      scene.writeConfig(BROKEN)
      writeFileSync(swap, '')
      void waitFor(() => scene.log('healthcheck').includes('DOWN misconfigured'), 'Level 2', 120_000).then(() => {
        writeFileSync(scene.configPath, good)
        editConfig(scene)
        rmSync(swap)
      })
    },
    check: keepsTheEdit,
  },
  {
    id: '104',
    name: 'it says twice alike what no rule knows',
    verdict: 'unknown',
    healedBy: 'a human',
    // The second is not followed by a third.
    restarts: 2,
    told: /flux capacitor exceeded/,
    async produce(scene) {
      sendDoctorAway(scene)
      await killGateway(scene)
      const stderr = 'Gateway failed to start: flux capacitor exceeded 1.21 gigawatts (run RANDOM)'
      await scene.box.startGateway({ exitAtBoot: { code: 1, stderr } }, 'exit')
    },
    repair: ({ box }) => box.startGateway(),
    real: realRefusal(
      1,
      (scene) => {
        const thrower = join(scene.box.root, 'thrower.cjs')
        writeFileSync(
          thrower,
          "if (process.argv.includes('run')) throw Error('flux capacitor exceeded 1.21 gigawatts')",
        )
        scene.box.addTool('openclaw', `NODE_OPTIONS='--require=${thrower}' exec '${program(scene)}' "$@"`)
      },
      linkAgain,
    ),
  },
  {
    id: '105',
    name: 'a migration that `doctor --fix` completes',
    verdict: 'needs-migration',
    healedBy: 'level 2',
    // One by Level 1, for a machine that was busy.
    restarts: 2,
    produce: (scene) => untilDoctorFix(scene, MIGRATION, true),
    check: (scene) => fixedOnce(scene as StandInScene),
  },
  {
    id: '105b',
    name: 'a migration that `doctor --fix` cannot complete',
    verdict: 'needs-migration',
    healedBy: 'a human',
    restarts: 2,
    told: /startup migrations did not complete cleanly/,
    produce: (scene) => untilDoctorFix(scene, MIGRATION, false),
    check: (scene) => fixedOnce(scene as StandInScene),
  },
  {
    id: '105c',
    name: 'its new program removed a key that it was healthy on',
    verdict: 'needs-migration',
    healedBy: 'level 2',
    produce: (scene) => untilDoctorFix(scene, REMOVED_KEY, true, rejects(scene)),
    check: (scene) => fixedOnce(scene as StandInScene),
  },
  {
    id: '105d',
    name: 'the same, and `doctor --fix` does not help',
    verdict: 'needs-migration',
    healedBy: 'a human',
    restarts: 1,
    told: /Unrecognized key: .{0,4}nosuch/,
    produce: (scene) => untilDoctorFix(scene, REMOVED_KEY, false, rejects(scene)),
    check: (scene) => fixedOnce(scene as StandInScene),
  },
  {
    id: '105e',
    name: 'a file that its config includes was broken',
    verdict: 'misconfigured',
    healedBy: 'a human',
    told: /Unrecognized key: .{0,4}nosuch/,
    async produce(scene) {
      const config = JSON.parse(readFileSync(scene.configPath, 'utf8'))
      scene.writeConfig(JSON.stringify({ ...config, $include: './channels.json5' }))
      await scene.box.runScript('gateway-watchdog')
      await untilDoctorFix(scene, REMOVED_KEY, false, rejects(scene))
    },
    check: ({ box }) => expect(box.openclawCalls().filter((call) => call.startsWith('doctor'))).toEqual([]),
    keeps: [],
  },
  {
    id: '105f',
    name: 'a key that its program rejects was added while it ran, and it died',
    verdict: 'misconfigured',
    healedBy: 'level 2',
    restarts: 2,
    told: /known-good/,
    async produce(scene) {
      const config = JSON.parse(readFileSync(scene.configPath, 'utf8'))
      scene.writeConfig(JSON.stringify({ ...config, nosuch: 1 }))
      expect(await scene.box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
      await killGateway(scene)
    },
    check: ({ box }) => expect(box.openclawCalls().filter((call) => call.startsWith('doctor'))).toEqual([]),
  },
  {
    id: '106',
    name: 'config broken in the first minutes',
    settings: { CONFIG_KNOWN_GOOD_AFTER: '600' },
    verdict: 'misconfigured',
    healedBy: 'level 2',
    told: /openclaw\.json\.bak/,
    produce: brokenInFirstMinutes,
    real: { produce: brokenInFirstMinutes },
  },
  {
    id: '106b',
    name: 'its user has moved an old copy of the config into its place',
    verdict: 'absent',
    healedBy: 'level 1',
    async produce(scene) {
      const { configPath, box } = scene
      renameSync(configPath, `${configPath}.mine`)
      utimesSync(`${configPath}.mine`, Date.now() / 1000 - 3600, Date.now() / 1000 - 3600)
      await killGateway(scene)
      scene.writeConfig('{ "gateway": {} }')
      expect((await box.startGateway({}, 'exit')).exitCode).toBe(78)
      renameSync(`${configPath}.mine`, configPath)
    },
    check: (scene) => expect(copies(scene)).toEqual([]),
  },
  {
    id: '107',
    name: 'config broken and read-only',
    verdict: 'misconfigured',
    healedBy: 'a human',
    told: /may not write/,
    keeps: [],
    cannotBeMade: needsMount,
    async produce(scene) {
      sendDoctorAway(scene)
      await killGateway(scene)
      scene.writeConfig(BROKEN)
      makeConfigReadOnly(scene)
    },
    check(scene) {
      expect(scene.log('')).not.toContain('without its state')
      expect(copies(scene)).toEqual([])
    },
    systemd: {
      async produce(scene) {
        textBefore = readFileSync(scene.configPath, 'utf8')
        await killGateway(scene)
        scene.writeConfig(BROKEN)
        execFileSync('chmod', ['644', scene.configPath])
        chownSync(scene.configPath, 0, 0)
        await scene.until('ExecMainStatus', '78')
      },
      check(scene) {
        expect(scene.log('')).not.toContain('without its state')
        expect(statSync(scene.configPath).uid).toBe(0)
        expect(copies(scene)).toEqual([])
      },
      async repair(scene) {
        scene.writeConfig(textBefore.trimEnd())
        await scene.systemctl('reset-failed', 'openclaw-gateway.service')
        await scene.systemctl('start', 'openclaw-gateway.service')
        await scene.machine.waitUntilHealthy()
      },
    },
  },
  {
    id: '108',
    name: 'launchd says 78, since the Node of the plist is gone',
    verdict: 'broken-install',
    healedBy: 'a human',
    told: /Cellar\/node\/25/,
    async produce(scene) {
      sendDoctorAway(scene)
      const agents = join(scene.box.home, 'Library', 'LaunchAgents')
      mkdirSync(agents, { recursive: true })
      writeFileSync(join(agents, 'ai.openclaw.gateway.plist'), '<plist/>')
      const print = `ai.openclaw.gateway = {
	state = not running
	program = /opt/homebrew/Cellar/node/25.9.0_3/bin/node
	runs = 6
	last exit code = 78: EX_CONFIG
	job state = spawn failed
}`
      scene.box.addTool('launchctl', `[ "$1" != print ] || cat <<'EOF'\n${print}\nEOF`)
      await killGateway(scene)
    },
  },
  {
    id: '109',
    name: 'its certificate is not there',
    verdict: 'misconfigured',
    healedBy: 'level 2',
    told: /cert\/key missing/,
    real: editedSo({
      tls: { enabled: true, autoGenerate: false, certPath: '/nowhere/c.pem', keyPath: '/nowhere/k.pem' },
    }),
  },
  {
    id: '109b',
    name: 'its address is not of this machine',
    verdict: 'misconfigured',
    healedBy: 'level 2',
    told: /refusing fallback/,
    real: editedSo({ bind: 'custom', customBindHost: '10.99.99.99' }),
  },
  {
    id: '110',
    name: 'its database is none',
    verdict: 'unusable-state',
    healedBy: 'a human',
    told: /file is not a database/,
    real: realRefusal(
      78,
      async (scene) => {
        await scene.inDatabase('db.exec("PRAGMA wal_checkpoint(TRUNCATE)")')
        cpSync(database(scene), join(scene.box.root, 'whole.sqlite'))
        writeFileSync(database(scene), 'A backup program wrote this.\n'.repeat(999))
      },
      (scene) => {
        for (const rest of ['-wal', '-shm']) rmSync(`${database(scene)}${rest}`, { force: true })
        cpSync(join(scene.box.root, 'whole.sqlite'), database(scene))
      },
    ),
  },
  {
    id: '111',
    name: 'its state is on a read-only disk',
    verdict: 'blocked',
    healedBy: 'a human',
    restarts: 1,
    told: /readonly database|read-only file system/i,
    real: {
      cannotBeMade: needsMount,
      ...realRefusal(
        78,
        ({ stateDir, onClose }) => {
          const folder = join(stateDir, 'state')
          execFileSync('mount', ['--bind', folder, folder])
          onClose(() => execFileSync('sh', ['-c', `umount -l '${folder}' 2>/dev/null || true`]))
          execFileSync('mount', ['-o', 'remount,ro,bind', folder])
        },
        ({ stateDir }) => execFileSync('umount', ['-l', join(stateDir, 'state')]),
      ),
    },
  },
  {
    id: '112',
    name: 'no Node on its PATH',
    verdict: 'broken-install',
    healedBy: 'a human',
    told: /node.{1,3}: No such file/,
    real: realRefusal(
      127,
      (scene) => scene.box.addTool('openclaw', `PATH=/nowhere exec '${program(scene)}' "$@"`),
      linkAgain,
    ),
  },
  {
    id: '112b',
    name: 'its Node is too old',
    verdict: 'broken-install',
    healedBy: 'a human',
    told: /node:sqlite is unavailable/,
    real: {
      cannotBeMade: () => (Number.parseInt(process.versions.node, 10) > 20 ? 'no Node 20 here' : undefined),
      ...realRefusal(
        1,
        (scene) => scene.box.addTool('openclaw', `exec '${process.execPath}' '${program(scene)}' "$@"`),
        linkAgain,
      ),
    },
  },
  {
    id: '113',
    name: 'it is older than what wrote its config',
    verdict: 'unusable-state',
    healedBy: 'a human',
    told: /older than the config last written by OpenClaw 2027/,
    keeps: [],
    real: {
      ...realRefusal(
        1,
        (scene) => {
          textBefore = readFileSync(scene.configPath, 'utf8')
          const meta = { lastTouchedVersion: '2027.3.1' }
          scene.writeConfig(JSON.stringify({ ...JSON.parse(textBefore), meta }))
        },
        (scene) => writeFileSync(scene.configPath, textBefore),
      ),
      check: ({ configPath }) => expect(readFileSync(configPath, 'utf8')).toContain('2027.3.1'),
    },
  },
]
