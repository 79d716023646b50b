/**
 * Preloaded into a tier's script: SIGKILL at its n-th change of the file system (CRASH_AT), before it is made, or, for
 * a write, in the middle of it. Children of the script are left alone.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const { CRASH_SCRIPT, CRASH_AT } = process.env
const WRITES = ['writeFileSync', 'appendFileSync', 'writeSync']
const CHANGES = ['mkdirSync', 'renameSync', 'linkSync', 'unlinkSync', 'rmSync', 'copyFileSync', 'chmodSync', ...WRITES]

if (CRASH_SCRIPT && process.argv.some((arg) => arg.endsWith(`/scripts/${CRASH_SCRIPT}.ts`))) {
  let changes = 0
  for (const name of CHANGES) {
    const real = fs[name]
    fs[name] = (target, content, ...rest) => {
      // Standard output is no file of ours.
      if (target === 1 || target === 2 || ++changes !== Number(CRASH_AT)) return real(target, content, ...rest)
      const half = WRITES.includes(name) && content.slice(0, Math.floor(content.length / 2))
      if (half) real(target, half, ...(name === 'writeSync' ? [] : rest))
      process.kill(process.pid, 'SIGKILL')
    }
  }
  syncBuiltinESMExports()
}
