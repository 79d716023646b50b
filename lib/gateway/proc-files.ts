/** What Linux says of a process in /proc: the answers of `ps` without starting a process, for every healthy tick. */
import { existsSync, readFileSync } from 'node:fs'

export interface ProcessInfo {
  pid: number
  parentPid: number
  memoryMb: number
  ageSec: number
  command: string
}

/** /proc counts in hundredths of a second on every architecture that Node runs on (USER_HZ). */
const TICKS_PER_SEC = 100

export function hasProcFiles(): boolean {
  return existsSync('/proc/self/status')
}

/**
 * Undefined: there is no such process, or it is dead and not yet reaped. `unclear`: /proc hides it (hidepid), or its
 * times make no sense (a container with an uptime of its own); then `ps` has to tell.
 */
export function readProcess(pid: number): ProcessInfo | undefined | 'unclear' {
  if (!existsSync(`/proc/${pid}`)) return undefined
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1]
    if (field('State') === 'Z') return undefined
    // The name in parentheses may hold anything; behind it come field 3 and the rest.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const startedSec = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) / TICKS_PER_SEC
    const ageSec = Math.floor(Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) - startedSec)
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0+/g, ' ').trim()
    if (!(ageSec >= 0)) return 'unclear'
    return {
      pid,
      parentPid: Number(field('PPid')),
      memoryMb: Math.round(Number(field('VmRSS') ?? 0) / 1024),
      ageSec,
      command: command || `[${field('Name')}]`,
    }
  } catch {
    return existsSync(`/proc/${pid}`) ? 'unclear' : undefined
  }
}
