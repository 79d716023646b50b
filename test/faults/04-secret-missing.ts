import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Fault, killGateway, type Scene } from './fault.ts'

/** OpenClaw reads secrets from the `.env` in its folder. */
function setSecret({ stateDir }: Scene, value: string): void {
  const path = join(stateDir, '.env')
  writeFileSync(
    path,
    readFileSync(path, 'utf8').replace(/^OPENCLAW_FAULTS_TOKEN=.*$/m, `OPENCLAW_FAULTS_TOKEN="${value}"`),
  )
}

export default {
  id: '4',
  name: 'secret missing',
  signs: 'it refuses to start: `required secrets are unavailable`',
  produce: async (scene) => {
    await killGateway(scene)
    const stderr = 'Gateway failed to start: Startup failed: required secrets are unavailable.'
    await scene.box.startGateway({ exitAtBoot: { code: 1, stderr } }, 'exit')
  },
  verdict: 'blocked',
  exits: [1, 1],
  healedBy: 'a human',
  // One, for a secret store that was late; and not one more in the second round.
  restarts: 1,
  told: /required secrets are unavailable/,
  keeps: ['config'],
  repair: async ({ box }) => void (await box.startGateway()),
  real: {
    // Its token is a reference to a variable that is not set any more. Before it ends it gathers a diagnosis of its own
    // (`openclaw triage`), for half a minute and more.
    produce: async (scene) => {
      await killGateway(scene)
      setSecret(scene, '')
      expect(await scene.start('exit')).toBe(1)
    },
    repair: async (scene) => {
      setSecret(scene, 'of-no-use-elsewhere')
      await scene.start('live')
    },
  },
} satisfies Fault
