/** A program with everything that it started, seen from outside: for one that is to leave nothing behind. */
import { setTimeout as delay } from 'node:timers/promises'
import { runCommand } from '../tier/command.ts'

export interface TreeProcess {
  pid: number
  parent: number
  started: string
  command: string
}

/** The process and all its descendants, but for those that are spared by their command, and their children. */
export async function processTree(
  root: number,
  env: Record<string, string>,
  isSpared: (command: string) => boolean,
): Promise<TreeProcess[]> {
  const all = await listProcesses(env)
  const tree: TreeProcess[] = []
  const add = (process: TreeProcess) => {
    if (process.pid !== root && isSpared(process.command)) return
    tree.push(process)
    for (const child of all) if (child.parent === process.pid) add(child)
  }
  const first = all.find(({ pid }) => pid === root)
  if (first) add(first)
  return tree
}

/** Waits until none of these is left, and kills those that still are after `graceMs`. */
export async function endTree(
  tree: readonly TreeProcess[],
  env: Record<string, string>,
  graceMs: number,
): Promise<void> {
  for (const deadline = performance.now() + graceMs; ; await delay(100)) {
    const left = await stillThere(tree, env)
    if (left.length === 0) return
    if (performance.now() < deadline) continue
    for (const { pid } of left) kill(pid)
    return
  }
}

async function stillThere(tree: readonly TreeProcess[], env: Record<string, string>): Promise<TreeProcess[]> {
  if (tree.length === 0) return []
  const now = await listProcesses(env)
  return tree.filter((one) => now.some(({ pid, started }) => pid === one.pid && started === one.started))
}

/** All living processes. `lstart` (24 characters) tells a pid that was given to another process. */
export async function listProcesses(env: Record<string, string>): Promise<TreeProcess[]> {
  const ps = await runCommand('ps', ['-axo', 'pid=,ppid=,stat=,lstart=,command='], {
    timeoutMs: 10_000,
    env: { ...env, LC_ALL: 'C' },
  })
  return ps.stdout.split('\n').flatMap((line) => {
    const m = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\w{3}\s+\w{3}\s+\d+\s+[\d:]+\s+\d{4})\s+(.*)$/.exec(line)
    if (!m || m[3]!.startsWith('Z')) return []
    return [{ pid: Number(m[1]), parent: Number(m[2]), started: m[4]!, command: m[5]! }]
  })
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in the same moment.
  }
}
