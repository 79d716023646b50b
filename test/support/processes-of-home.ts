/** Finds every process of one sandbox, and nobody else's: by the HOME in its environment. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/**
 * The living processes (zombies left out) whose environment says `HOME=<home>`, whatever they call themselves and
 * whoever started them: gateways that a tier left behind, tmux servers, doctors.
 */
export function processesOfHome(home: string): number[] {
  const pids = process.platform === 'linux' ? fromProc(home) : fromPs(home)
  return pids.filter((pid) => pid !== process.pid)
}

function fromProc(home: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`HOME=${home}`)
      } catch {
        // It ended in the meantime, or belongs to another user.
        return false
      }
    })
    .map(Number)
}

/** macOS has no /proc; its ps shows the environment of this user's processes behind the command. */
function fromPs(home: string): number[] {
  const out = execFileSync('ps', ['-Eww', '-ax', '-o', 'pid=,command='], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  return out
    .split('\n')
    .filter((line) => `${line} `.includes(` HOME=${home} `))
    .map((line) => Number.parseInt(line, 10))
}
