import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { tried } from '../../lib/tier/state.ts'

/**
 * The living processes (zombies left out) whose environment says `HOME=<home>`, whatever they call themselves and
 * whatever started them: gateways that a tier left behind, tmux servers, doctors.
 */
export function processesOfHome(home: string): number[] {
  const environments = process.platform === 'linux' ? fromProc() : fromPs()
  return environments.flatMap(([pid, words]) => (pid !== process.pid && words.includes(`HOME=${home}`) ? [pid] : []))
}

/** Empty when it has ended. */
export function commandLineOf(pid: number): string {
  if (process.platform !== 'linux')
    return spawnSync('ps', ['-o', 'command=', '-p', `${pid}`])
      .stdout.toString()
      .trim()
  return (tried(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')) ?? '').replaceAll('\0', ' ').trim()
}

function fromProc(): [pid: number, words: string[]][] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      return /^\d+$/.test(name) ? [[Number(name), readFileSync(`/proc/${name}/environ`, 'utf8').split('\0')]] : []
    } catch {
      // It ended in the meantime, or belongs to another user.
      return []
    }
  })
}

/** macOS has no /proc; its ps shows the environment of this user's processes behind the command. */
function fromPs(): [pid: number, words: string[]][] {
  const options = { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 } as const
  const lines = execFileSync('ps', ['-Eww', '-ax', '-o', 'pid=,command='], options).split('\n')
  return lines.map((line) => [Number.parseInt(line, 10), line.split(' ')])
}
