/**
 * Preloaded into a tier's script: SIGKILL at its n-th change of the file system (CRASH_AT), before it is made, or, for
 * a write, in the middle of it. Children of the script are left alone.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const { CRASH_SCRIPT, CRASH_AT } = process.env
const CHANGES = 'mkdirSync renameSync linkSync unlinkSync rmSync copyFileSync chmodSync'.split(' ')
const WRITES = 'writeFileSync appendFileSync writeSync'.split(' ')

if (CRASH_SCRIPT && process.argv.some((arg) => arg.endsWith(`/scripts/${CRASH_SCRIPT}.ts`))) {
  let changes = 0
  const die = () => process.kill(process.pid, 'SIGKILL')
  for (const name of CHANGES) {
    const real = fs[name]
    fs[name] = (...args) => {
      if (++changes === Number(CRASH_AT)) die()
      return real(...args)
    }
  }
  for (const name of WRITES) {
    const real = fs[name]
    fs[name] = (target, content, ...rest) => {
      // Standard output is no file of ours.
      if (target === 1 || target === 2 || ++changes !== Number(CRASH_AT)) return real(target, content, ...rest)
      real(target, content.slice(0, Math.floor(content.length / 2)), ...(name === 'writeSync' ? [] : rest))
      return die()
    }
  }
  syncBuiltinESMExports()
}
