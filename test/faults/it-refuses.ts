/** Faults with which the gateway does not come up: its config, a secret, its database, its package. */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  cpSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import {
  type Fault,
  killGateway,
  type RealFault,
  type RealScene,
  refusing,
  type Scene,
  type StandInScene,
} from './fault.ts'
import { needsMount } from './scene.ts'

const BROKEN = '{ gateway: { mode: "local", // and then the power went'

async function breakConfig(scene: Scene): Promise<void> {
  await killGateway(scene)
  scene.writeConfig(BROKEN)
}

/** As an update or a hand has left it: all but the mode. */
const loseMode = (scene: Scene) => scene.writeConfig(`{ "gateway": { "port": ${scene.port} } }`)

/** The real gateway is killed, something is done to it, and its next boot ends so. */
const realRefusal = (code: number, damage: (scene: RealScene) => unknown) => async (scene: RealScene) => {
  await killGateway(scene)
  await damage(scene)
  expect(await scene.start('exit')).toBe(code)
}

/** OpenClaw reads secrets from the `.env` in its folder. */
function setSecret({ stateDir }: Scene, value: string): void {
  const path = join(stateDir, '.env')
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace(/^OPENCLAW_FAULTS_TOKEN=.*$/m, `OPENCLAW_FAULTS_TOKEN="${value}"`))
}

let versionBefore: string

const database = ({ stateDir }: Scene) => join(stateDir, 'state', 'openclaw.sqlite')
const backup = ({ box }: StandInScene) => join(box.root, 'backup')

/** As a failing disk would: the beginning of the file is whole, half of each later page is not. */
function corrupt(path: string): void {
  const file = openSync(path, 'r+')
  const { size } = fstatSync(file)
  for (let at = 4096; at < size; at += 4096) writeSync(file, Buffer.alloc(2048, 0xa5), 0, 2048, at)
  closeSync(file)
}

const writeDoctor = ({ box }: StandInScene) =>
  box.writeDoctorScript({
    steps: [
      { call: 'read_log', args: { log: 'gateway.log', lines: 5 } },
      { call: 'reinstall_package' },
      { call: 'start_gateway' },
      { call: 'wait_until_healthy', args: { seconds: 300 } },
    ],
    report: { symptom: 'Cannot find module.', root_cause: 'A part is missing.', fix: 'Reinstalled the same version.' },
  })

/** The package as this sandbox sees it, writable; the one below is shared. */
function ownPackage(scene: RealScene): string {
  const [upper, work, merged] = ['upper', 'work', 'node_modules'].map((name) => join(scene.box.root, 'package', name))
  for (const folder of [upper!, work!, merged!]) mkdirSync(folder, { recursive: true })
  const options = `lowerdir=${scene.modules},upperdir=${upper},workdir=${work}`
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged!])
  scene.onClose(() => execFileSync('umount', ['-l', merged!]))
  return merged!
}

export const refuses: (Fault | RealFault)[] = [
  {
    id: '1',
    name: 'config broken',
    cause: /pars|syntax|JSON5|cut off|truncat|incomplete|unfinished/i,
    verdict: 'misconfigured',
    healedBy: 'level 2',
    told: /openclaw\.json/,
    produce: breakConfig,
    check: ({ stateDir }) => {
      const [copy, ...more] = readdirSync(stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))
      expect(more).toEqual([])
      expect(readFileSync(join(stateDir, copy!), 'utf8')).toBe(`${BROKEN}\n`)
      expect(statSync(join(stateDir, copy!)).mode & 0o777).toBe(0o600)
    },
    real: { produce: breakConfig },
    // systemd starts it again by itself, and it says 78: then systemd gives up, too.
    systemd: {
      produce: async (scene) => {
        await breakConfig(scene)
        await scene.until('ExecMainStatus', '78')
      },
    },
  },
  {
    // `config validate` says valid.
    id: '3',
    name: 'config valid, but refused',
    cause: /gateway\.mode|mode\b.*(?:missing|lost|unset)/i,
    verdict: 'misconfigured',
    healedBy: 'level 2',
    told: /Gateway start blocked/,
    produce: async (scene) => {
      await killGateway(scene)
      loseMode(scene)
      await scene.box.startGateway({}, 'exit')
    },
    real: { produce: realRefusal(78, loseMode) },
  },
  {
    id: '4',
    name: 'secret missing',
    verdict: 'blocked',
    healedBy: 'a human',
    // One, for a secret store that was late; and not one more in the second round.
    restarts: 1,
    told: /required secrets are unavailable/,
    ...refusing(1, 'Gateway failed to start: Startup failed: required secrets are unavailable.'),
    real: {
      // Before it ends it gathers a diagnosis of its own (`openclaw triage`), for half a minute and more.
      produce: realRefusal(1, (scene) => setSecret(scene, '')),
      repair: async (scene) => {
        setSecret(scene, 'of-no-use-elsewhere')
        await scene.start('live')
      },
    },
  },
  {
    id: '9',
    name: 'newer database schema',
    verdict: 'unusable-state',
    healedBy: 'a human',
    told: /uses newer schema version/,
    ...refusing(78, 'Gateway failed to start: state database uses newer schema version 42 (this build supports 41)'),
    real: {
      told: /needs you: it refuses to start: .*`Gateway failed to start: [^`]* schema\(s\) are newer than this build/,
      // As after a downgrade: the version in the database is ahead of the program's.
      produce: realRefusal(78, async (scene) => {
        const version = 'db.prepare("PRAGMA user_version").get().user_version'
        versionBefore = await scene.inDatabase(`console.log(${version}); db.exec("PRAGMA user_version = 9999")`)
      }),
      repair: async (scene) => {
        await scene.inDatabase(`db.exec("PRAGMA user_version = ${Number(versionBefore)}")`)
        await scene.start('live')
      },
    },
  },
  {
    id: '15',
    name: 'state corrupt',
    verdict: 'unusable-state',
    healedBy: 'a human',
    told: /database disk image is malformed/,
    ...refusing(1, 'Gateway failed to start: SqliteError: database disk image is malformed'),
    real: {
      produce: realRefusal(78, async (scene) => {
        await scene.inDatabase('db.exec("PRAGMA wal_checkpoint(TRUNCATE)")')
        cpSync(database(scene), backup(scene))
        corrupt(database(scene))
      }),
      repair: async (scene) => {
        for (const rest of ['-wal', '-shm']) rmSync(`${database(scene)}${rest}`, { force: true })
        cpSync(backup(scene), database(scene))
        await scene.start('live')
      },
    },
  },
  {
    id: '16',
    name: 'broken install',
    cause: /cannot find|missing|module|damaged|incomplete/i,
    settings: { EMERGENCY_RECOVERY_CHECK_INTERVAL: '1' },
    verdict: 'broken-install',
    // It starts it once, after the reinstallation.
    healedBy: 'level 3',
    produce: async (scene) => {
      const { box } = scene
      const module = join(box.root, 'package', 'run-command.mjs')
      box.addTool('npm', `mkdir -p '${join(module, '..')}'; echo >'${module}'; echo "changed 1 package"`)
      writeDoctor(scene)
      await killGateway(scene)
      await box.startGateway({ missingModule: module }, 'exit')
    },
    real: {
      settings: { EMERGENCY_RECOVERY_CHECK_INTERVAL: '1', EMERGENCY_RECOVERY_TIMEOUT: '300' },
      cannotBeMade: needsMount,
      // As after an update that was cut off. The doctor is the scripted one, and so is npm: it puts the package back.
      produce: realRefusal(1, (scene) => {
        const modules = ownPackage(scene)
        const needed = join(modules, '@openclaw')
        rmSync(needed, { recursive: true })
        const whole = join(scene.modules, '@openclaw')
        scene.box.addTool('npm', `cp -a '${whole}' '${needed}' && echo "changed 1 package"`)
        scene.linkOpenClaw(modules)
        scene.bringDoctor()
        writeDoctor(scene)
      }),
    },
  },
  {
    id: '16b',
    name: "the unit's Node is gone",
    verdict: 'broken-install',
    // There is no doctor on that machine.
    healedBy: 'a human',
    told: /203\/EXEC/,
    systemd: {
      // As after `nvm uninstall` or `brew upgrade node`: the unit names a Node by its full path.
      produce: async (scene) => {
        const unit = join(scene.machine.home, '.config/systemd/user/openclaw-gateway.service')
        const text = readFileSync(unit, 'utf8')
        const changed = text.replace(/^ExecStart=\S*node /m, 'ExecStart=/home/otto/.nvm/v24.0.0/bin/node ')
        expect(changed).not.toBe(text)
        const write = async (content: string) => {
          writeFileSync(unit, content)
          await scene.systemctl('daemon-reload')
        }
        await write(changed)
        scene.onClose(() => write(text))
        await killGateway(scene)
        await scene.until('ExecMainStatus', '203')
      },
      check: async ({ unit }) => expect(await unit('ExecMainStatus')).toBe('203'),
    },
  },
]
