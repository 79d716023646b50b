/**
 * A shell as the last instance: runs a command line in a folder where every program is a stub that writes down its own
 * name, and tells which programs really ran and which files appeared. Nothing that it runs can do harm.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Outcome {
  /** The programs that were started, in order. */
  programs: string[]
  /** Files that appeared beside those that were there. */
  files: string[]
}

export interface ShellOracle {
  home: string
  run(command: string): Outcome
  remove(): void
}

/** @param programs every program that shall exist, harmless and dangerous alike */
export function shellOracle(shell: string, programs: readonly string[]): ShellOracle {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'oracle-')))
  const bin = join(root, 'bin')
  const home = join(root, 'home')
  const record = join(root, 'record')
  mkdirSync(bin)
  mkdirSync(join(home, 'logs'), { recursive: true })
  writeFileSync(join(home, 'logs', 'a.log'), 'line\n')
  for (const name of programs) {
    const path = join(bin, name)
    // Only builtins and an absolute path: the stubs must not need the PATH that they stand on.
    writeFileSync(path, `#!/bin/sh\necho '${name}' >> '${record}'\n`)
    chmodSync(path, 0o755)
  }
  return {
    home,
    run(command) {
      rmSync(record, { force: true })
      const before = listing(home)
      // Claude Code runs its commands inside an eval, too.
      spawnSync(shell, ['-c', `eval "$COMMAND"`], {
        cwd: home,
        env: { PATH: bin, HOME: home, COMMAND: command },
        input: '',
        timeout: 10_000,
        killSignal: 'SIGKILL',
      })
      const started = existsSync(record) ? readFileSync(record, 'utf8').split('\n').filter(Boolean) : []
      const files = listing(home).filter((name) => !before.includes(name))
      for (const name of files) rmSync(join(home, name), { recursive: true, force: true })
      return { programs: started, files }
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  }
}

function listing(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
}
