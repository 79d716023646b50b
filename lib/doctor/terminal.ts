/**
 * The doctor's terminal: a tmux session on a server of its own, which a human can attach to and which takes everything
 * with it when it is closed. The user's own tmux (server, sessions, ~/.tmux.conf) is never touched.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isGatewayCommand } from '../gateway/processes.ts'
import { runCommand } from '../tier/command.ts'
import { isRecord } from '../tier/state.ts'
import type { Launch } from './doctors.ts'

export interface Terminal {
  /** `gone`: tmux has ended, or was ended, before the doctor did. */
  state(): Promise<'running' | 'ended' | 'gone'>
  /** Ends the doctor, everything that it started (but for the gateway), and the terminal. Can be called twice. */
  close(): Promise<void>
}

/** The doctor's streams, in the folder of its session. */
export const STREAM = { briefing: 'briefing.md', events: 'events.jsonl', errors: 'errors.log', ended: 'ended' } as const

interface Notes {
  socket: string
  socketPath?: string
  /** The shell in the terminal. */
  pid?: number
}
const NOTES = 'terminal.json'

/**
 * Opens the terminal and starts the doctor in it. Returns why it could not be opened, as a sentence.
 * Measured on tmux 3.3a: a server that is being killed and a new one on the same socket race, hence a socket per run.
 * @param recordingPath what is appended there is what the terminal shows
 */
export async function openTerminal(
  launch: Launch,
  folder: string,
  recordingPath: string,
): Promise<Terminal | { failure: string }> {
  const socket = `openclaw-doctor-${process.pid}`
  const { env } = launch
  // Before there is a terminal: a run that is killed while it opens one must leave a trace of it, too.
  const note = (notes: Notes) => writeFileSync(join(folder, NOTES), JSON.stringify(notes), { mode: 0o600 })
  note({ socket })
  writeFileSync(join(folder, 'doctor.sh'), scriptOf(launch, folder, recordingPath), { mode: 0o700 })
  // `-u`: without a UTF-8 locale (launchd, cron) tmux would print every character beyond ASCII as `_`.
  const opened = await tmux(
    env,
    ['-u', '-L', socket, '-f', '/dev/null', 'new-session', '-d', '-s', 'doctor'],
    [
      ...['-x', '160', '-y', '50', '-c', folder, '--', 'sh', join(folder, 'doctor.sh')],
      ...[';', 'display-message', '-p', '-t', 'doctor', '#{pane_pid} #{socket_path}'],
    ],
  )
  const m = /^(\d+) (\/.+)$/m.exec(opened.stdout)
  if (!m) {
    await tmux(env, ['-L', socket, 'kill-server'])
    return { failure: opened.missing ? 'tmux is not on the PATH' : `tmux could not open a session: ${opened.failure}` }
  }
  const notes = { socket, socketPath: m[2]!, pid: Number(m[1]) }
  note(notes)
  let closing: Promise<unknown> | undefined
  return {
    state: async () => {
      if (existsSync(join(folder, STREAM.ended))) return 'ended'
      const { code, timedOut } = await tmux(env, ['-S', notes.socketPath, 'has-session', '-t', 'doctor'])
      // A tmux that is slow to answer says nothing about the doctor.
      if (code === 0 || timedOut) return 'running'
      return existsSync(join(folder, STREAM.ended)) ? 'ended' : 'gone'
    },
    close: async () => void (await (closing ??= clear(notes, env))),
  }
}

/** What runs in the terminal: the doctor with its streams in files, and beside it what is made readable of them. */
function scriptOf({ program, args }: Launch, folder: string, recordingPath: string): string {
  const file = (name: string) => quoted(join(folder, name))
  return [
    `tail -n +1 -f ${quoted(recordingPath)} &`,
    'shown=$!',
    `${[program, ...args].map(quoted).join(' ')} <${file(STREAM.briefing)} >${file(STREAM.events)} 2>${file(STREAM.errors)}`,
    `echo $? >${file(STREAM.ended)}`,
    'sleep 1',
    'kill "$shown"',
    '',
  ].join('\n')
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function tmux(env: Record<string, string>, args: string[], more: string[] = []) {
  return runCommand('tmux', [...args, ...more], { timeoutMs: 20_000, env })
}

/**
 * Closes the terminals of runs that were killed before they could do it themselves. Only called by the one tier that
 * holds the doctor's lock. Returns how many doctors were still at work.
 */
export async function closeLeftTerminals(runs: string, env: Record<string, string>): Promise<number> {
  if (!existsSync(runs)) return 0
  let running = 0
  for (const folder of readdirSync(runs).map((name) => join(runs, name))) {
    const left = readNotes(join(folder, NOTES))
    if (!left) continue
    if ((await clear(left, env)) > 0) running++
    rmSync(join(folder, NOTES), { force: true })
  }
  return running
}

function readNotes(path: string): Notes | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return isRecord(value) && typeof value.socket === 'string' && value.socket !== ''
      ? (value as unknown as Notes)
      : undefined
  } catch {
    return undefined
  }
}

/**
 * Ends the tmux server and then whatever of the doctor's processes outlives it. After a reboot a noted pid may be
 * another program's: only what tmux still names is ours.
 * @returns how many processes there were
 */
async function clear({ socket, socketPath }: Notes, env: Record<string, string>): Promise<number> {
  const server = socketPath ? ['-S', socketPath] : ['-L', socket]
  const panes = await tmux(env, [...server, 'list-panes', '-a', '-F', '#{pane_pid} #{socket_path}'])
  const m = /^(\d+) (\/.+)$/m.exec(panes.stdout)
  const tree = m ? await processTree(Number(m[1]), env) : []
  await tmux(env, [...server, 'kill-server'])
  // The hangup that tmux sends gives the doctor the time to end by itself; what is left then is killed.
  for (const deadline = performance.now() + 3000; ; await delay(100)) {
    const left = await stillThere(tree, env)
    if (left.length === 0) break
    if (performance.now() < deadline) continue
    for (const { pid } of left) kill(pid)
    break
  }
  const path = socketPath ?? m?.[2]
  if (path) rmSync(path, { force: true })
  return tree.length
}

interface TreeProcess {
  pid: number
  parent: number
  started: string
  command: string
}

/** The process and all its descendants, but not a gateway that was started from here, nor that one's children. */
async function processTree(root: number, env: Record<string, string>): Promise<TreeProcess[]> {
  const all = await listProcesses(env)
  const tree: TreeProcess[] = []
  const add = (process: TreeProcess) => {
    if (process.pid !== root && isGatewayCommand(process.command)) return
    tree.push(process)
    for (const child of all) if (child.parent === process.pid) add(child)
  }
  const first = all.find(({ pid }) => pid === root)
  if (first) add(first)
  return tree
}

async function stillThere(tree: readonly TreeProcess[], env: Record<string, string>): Promise<TreeProcess[]> {
  if (tree.length === 0) return []
  const now = await listProcesses(env)
  return tree.filter((one) => now.some(({ pid, started }) => pid === one.pid && started === one.started))
}

/** All living processes. `lstart` (24 characters) tells a pid that was given to another process. */
async function listProcesses(env: Record<string, string>): Promise<TreeProcess[]> {
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
