import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Fault, killGateway } from './fault.ts'

export default {
  id: '16',
  name: 'broken install',
  signs: '`Cannot find module`',
  settings: { EMERGENCY_RECOVERY_CHECK_INTERVAL: '1' },
  produce: async (scene) => {
    const { box } = scene
    const module = join(box.root, 'package', 'run-command.mjs')
    const install = 'npm install -g openclaw@2026.9.6'
    box.addTool('npm', `mkdir -p '${join(module, '..')}'; echo >'${module}'; echo "changed 1 package"`)
    box.writeDoctorScript({
      mode: 'usual',
      steps: [{ bash: `tail -n 5 ${box.gatewayLog}` }, { bash: install }],
      report: '# Report\n\n## Symptom\nCannot find module.\n\n## Fix\nReinstalled the same version.\n',
    })
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
} satisfies Fault
