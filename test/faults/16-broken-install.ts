import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needsMount } from './14-disk-full.ts'
import { type Fault, killGateway, type RealFault, type RealScene, type StandInScene } from './fault.ts'

function writeDoctor({ box }: StandInScene | RealScene): void {
  box.writeDoctorScript({
    steps: [
      { call: 'read_log', args: { log: 'gateway.log', lines: 5 } },
      { call: 'reinstall_package' },
      { call: 'start_gateway' },
      { call: 'wait_until_healthy', args: { seconds: 300 } },
    ],
    report: {
      symptom: 'Cannot find module.',
      root_cause: 'A part of the package is missing.',
      fix: 'Reinstalled the same version.',
    },
  })
}

/** The package as this sandbox sees it, writable; the one below is everybody's. */
function ownPackage(scene: RealScene): string {
  const [upper, work, merged] = ['upper', 'work', 'node_modules'].map((name) => join(scene.box.root, 'package', name))
  for (const folder of [upper!, work!, merged!]) mkdirSync(folder, { recursive: true })
  const options = `lowerdir=${scene.modules},upperdir=${upper},workdir=${work}`
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged!])
  scene.onClose(() => execFileSync('umount', ['-l', merged!]))
  return merged!
}

const settings = { EMERGENCY_RECOVERY_CHECK_INTERVAL: '1' }

export default [
  {
    id: '16',
    name: 'broken install',
    signs: '`Cannot find module`',
    cause: /cannot find|missing|module|damaged|incomplete/i,
    settings,
    produce: async (scene) => {
      const { box } = scene
      const module = join(box.root, 'package', 'run-command.mjs')
      box.addTool('npm', `mkdir -p '${join(module, '..')}'; echo >'${module}'; echo "changed 1 package"`)
      writeDoctor(scene)
      await killGateway(scene)
      rmSync(module, { force: true })
      writeFileSync(join(box.home, '.note'), '')
      await box.startGateway({ missingModule: module }, 'exit')
    },
    verdict: 'broken-install',
    exits: [1, 0],
    healedBy: 'level 3',
    // After the reinstallation; before it, none.
    restarts: 1,
    told: undefined,
    keeps: ['config'],
    real: {
      cannotBeMade: needsMount,
      // A package that it needs is gone, as after an update that was cut off. The doctor is the scripted one, and so is
      // npm: it puts the package back.
      produce: async (scene) => {
        const modules = ownPackage(scene)
        const needed = join(modules, '@openclaw')
        rmSync(needed, { recursive: true })
        const whole = join(scene.modules, '@openclaw')
        scene.box.addTool('npm', `cp -a '${whole}' '${needed}' && echo "changed 1 package"`)
        scene.linkOpenClaw(modules)
        scene.bringDoctor()
        writeDoctor(scene)
        await killGateway(scene)
        expect(await scene.start('exit')).toBe(1)
      },
    },
  } satisfies Fault,
  {
    id: '16b',
    name: "the unit's Node is gone",
    signs: 'systemd: status=203/EXEC',
    verdict: 'broken-install',
    exits: [1, 1],
    // There is no doctor on that machine.
    healedBy: 'a human',
    restarts: 0,
    told: /203\/EXEC/,
    keeps: ['config'],
    systemd: {
      // As after `nvm uninstall` or `brew upgrade node`: the unit names a Node by its full path.
      produce: async (scene) => {
        const unit = join(scene.machine.home, '.config/systemd/user/openclaw-gateway.service')
        const text = readFileSync(unit, 'utf8')
        writeFileSync(unit, text.replace(/^ExecStart=\S*node /m, 'ExecStart=/home/otto/.nvm/v24.0.0/bin/node '))
        expect(readFileSync(unit, 'utf8')).not.toBe(text)
        await scene.systemctl('daemon-reload')
        scene.onClose(async () => {
          writeFileSync(unit, text)
          await scene.systemctl('daemon-reload')
        })
        await killGateway(scene)
        await scene.until('ExecMainStatus', '203')
      },
      check: async ({ unit }) => expect(await unit('ExecMainStatus')).toBe('203'),
    },
  } satisfies RealFault,
]
