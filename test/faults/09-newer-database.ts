import { expect } from 'vitest'
import { type Fault, killGateway } from './fault.ts'

export default {
  id: '9',
  name: 'newer database schema',
  signs: 'exit 78, `uses newer schema version`',
  produce: async (scene) => {
    await killGateway(scene)
    const stderr = 'Gateway failed to start: state database uses newer schema version 42 (this build supports 41)'
    await scene.box.startGateway({ exitAtBoot: { code: 78, stderr } }, 'exit')
  },
  verdict: 'unusable-state',
  exits: [1, 1],
  healedBy: 'a human',
  restarts: 0,
  told: /uses newer schema version/,
  keeps: ['config'],
  repair: async ({ box }) => void (await box.startGateway()),
  real: {
    // As after a downgrade: the version in the database is ahead of the program's.
    produce: async (scene) => {
      await killGateway(scene)
      const version = await scene.inDatabase(
        'const { user_version } = db.prepare("PRAGMA user_version").get(); db.exec("PRAGMA user_version = 9999"); console.log(user_version)',
      )
      restore = () => scene.inDatabase(`db.exec("PRAGMA user_version = ${Number(version)}")`)
      expect(await scene.start('exit')).toBe(78)
    },
    repair: async (scene) => {
      await restore()
      await scene.start('live')
    },
  },
} satisfies Fault

let restore: () => Promise<unknown>
