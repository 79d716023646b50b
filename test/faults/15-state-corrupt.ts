import { closeSync, cpSync, fstatSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Fault, killGateway, type Scene } from './fault.ts'

const database = ({ stateDir }: Scene) => join(stateDir, 'state', 'openclaw.sqlite')

/** As a failing disk would: the beginning of the file is whole, half of each later page is not. */
function corrupt(path: string): void {
  const file = openSync(path, 'r+')
  const { size } = fstatSync(file)
  for (let at = 4096; at < size; at += 4096) writeSync(file, Buffer.alloc(2048, 0xa5), 0, 2048, at)
  closeSync(file)
}

export default {
  id: '15',
  name: 'state corrupt',
  signs: '`database disk image is malformed`',
  produce: async (scene) => {
    await killGateway(scene)
    const stderr = 'Gateway failed to start: SqliteError: database disk image is malformed'
    await scene.box.startGateway({ exitAtBoot: { code: 1, stderr } }, 'exit')
  },
  verdict: 'unusable-state',
  exits: [1, 1],
  healedBy: 'a human',
  restarts: 0,
  told: /database disk image is malformed/,
  keeps: ['config'],
  repair: async ({ box }) => void (await box.startGateway()),
  real: {
    produce: async (scene) => {
      await killGateway(scene)
      await scene.inDatabase('db.exec("PRAGMA wal_checkpoint(TRUNCATE)")')
      cpSync(database(scene), join(scene.box.root, 'backup'))
      corrupt(database(scene))
      expect(await scene.start('exit')).toBe(78)
    },
    // The user's backup.
    repair: async (scene) => {
      for (const rest of ['-wal', '-shm']) rmSync(`${database(scene)}${rest}`, { force: true })
      cpSync(join(scene.box.root, 'backup'), database(scene))
      await scene.start('live')
    },
  },
} satisfies Fault
