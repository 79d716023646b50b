/** A program with everything that it started, seen from outside. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { tried } from '../tier/state.ts'

interface TreeProcess {
  pid: number
  parent: number
  started: string
  command: string
}

/** The process and its descendants, but for those that are spared by their command, and their children. */
export async function processTree(
  settings: Settings,
  root: number,
  isSpared: (command: string) => boolean,
): Promise<TreeProcess[]> {
  const all = await listProcesses(settings)
  const withChildren = (one: TreeProcess): TreeProcess[] =>
    one.pid !== root && isSpared(one.command)
      ? []
      : [one, ...all.filter(({ parent }) => parent === one.pid).flatMap(withChildren)]
  return all.filter(({ pid }) => pid === root).flatMap(withChildren)
}

/** Waits until none of these is left, and kills those that still are after `graceMs`. */
export async function endTree(settings: Settings, tree: readonly TreeProcess[], graceMs: number): Promise<void> {
  for (const deadline = performance.now() + graceMs; tree.length > 0; await delay(100)) {
    const now = await listProcesses(settings)
    const left = tree.filter((one) => now.some(({ pid, started }) => pid === one.pid && started === one.started))
    if (left.length === 0) return
    if (performance.now() < deadline) continue
    for (const { pid } of left) tried(() => process.kill(pid, 'SIGKILL'))
    return
  }
}

/** All living processes. `lstart` (24 characters) tells a pid that was given to another process. */
export async function listProcesses(settings: Settings): Promise<TreeProcess[]> {
  const env = { ...settings.childEnv, LC_ALL: 'C' }
  const { stdout } = await shell(settings, { env, timeoutSec: 10 })`ps -axo pid=,ppid=,stat=,lstart=,command=`
  return stdout.split('\n').flatMap((line) => {
    const m = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\w{3}\s+\w{3}\s+\d+\s+[\d:]+\s+\d{4})\s+(.*)$/.exec(line)
    if (!m || m[3]!.startsWith('Z')) return []
    return [{ pid: Number(m[1]), parent: Number(m[2]), started: m[4]!, command: m[5]! }]
  })
}
