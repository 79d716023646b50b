/**
 * The doctor's room: a tmux server of its own, so that Claude Code has a terminal, and so that nothing stays behind when
 * it is closed. The user's own tmux (server, sessions, ~/.tmux.conf) is never touched.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isGatewayCommand } from '../gateway/processes.ts'
import { type CommandResult, runCommand } from '../tier/command.ts'
import { isRecord } from '../tier/state.ts'

/** Large enough that a dialog and the input box are never cut, and wide enough that a log line rarely wraps. */
const COLUMNS = 200
const ROWS = 50
const SESSION = 'doctor'

export type Key = 'Enter' | 'Up' | 'Down' | 'Escape'

export interface Room {
  /** What stands on the screen now, and whether the program still runs. Of one that has ended, its last words. */
  look(): Promise<{ isOccupied: boolean; text: string }>
  /** Everything that was shown, from the first line on; undefined when the room is gone. */
  story(): Promise<string | undefined>
  /** Types text as a person would; no Enter. For one short line: a longer text would count as pasted. */
  type(text: string): Promise<void>
  /** Pastes text of any length as one piece (bracketed paste); no Enter. */
  paste(text: string): Promise<void>
  press(key: Key): Promise<void>
  /** Ends the program, everything that it started (but for the gateway), and the room. Can be called twice. */
  close(): Promise<void>
}

export interface RoomOptions {
  /** The run's own folder (0700): the room's notes are kept there. */
  folder: string
  /** A name for the tmux socket that no other run has. */
  socket: string
  program: string
  args: string[]
  cwd: string
  /** The whole environment of the program: it is handed over by inheritance and stands on no command line. */
  env: Record<string, string>
  /** Every byte that the program shows is appended there. */
  recordingPath: string
}

/**
 * Opens the room and starts the program in it. Returns why it could not be opened, as a sentence.
 * Measured on tmux 3.3a: a server that is being killed and a new one on the same socket race, hence a socket per run.
 */
export async function openRoom(options: RoomOptions): Promise<Room | { failure: string }> {
  const { folder, socket, recordingPath } = options
  const env = { ...options.env, OPENCLAW_DOCTOR_RECORDING: recordingPath }
  const conf = join(folder, 'tmux.conf')
  writeFileSync(
    conf,
    [
      'set -g remain-on-exit on',
      'set -g history-limit 50000',
      'set -g default-terminal screen-256color',
      'set -g status off',
      'set -s escape-time 0',
      '',
    ].join('\n'),
    { mode: 0o600 },
  )
  writeFileSync(recordingPath, '', { mode: 0o600 })
  const tmux = (args: string[], input?: string) => runTmux(socket, conf, args, env, options.cwd, input)

  // Before there is a room: a run that is killed while it opens one must leave a trace of it, too.
  const note = (notes: RoomNotes | OpeningNotes) =>
    writeFileSync(join(folder, NOTES), JSON.stringify(notes), { mode: 0o600 })
  note({ socket, tierPid: process.pid })
  const size = ['-x', String(COLUMNS), '-y', String(ROWS)]
  const opened = await tmux([
    ...['new-session', '-d', '-s', SESSION, ...size, '--', options.program, ...options.args],
    // In the same breath, so that the recording misses nothing; its path comes from the environment, which needs no quoting.
    ...[';', 'pipe-pane', '-t', SESSION, 'exec cat >> "$OPENCLAW_DOCTOR_RECORDING"'],
    ...[';', 'display-message', '-p', '-t', SESSION, '#{pane_pid} #{socket_path}'],
  ])
  const m = /^(\d+) (\/.+)$/m.exec(opened.stdout)
  if (opened.missing) return { failure: 'tmux is not on the PATH' }
  if (!m) {
    await tmux(['kill-server'])
    return { failure: `tmux could not open a session: ${opened.failure ?? 'it did not say why'}` }
  }
  const notes: RoomNotes = { socket, socketPath: m[2]!, pid: Number(m[1]), tierPid: process.pid }
  note(notes)

  const story = async () => {
    const result = await tmux(['capture-pane', '-p', '-J', '-S', '-', '-t', SESSION])
    return result.code === 0 ? result.stdout : undefined
  }
  const look = async () => {
    const state = ['list-panes', '-t', SESSION, '-F', '#{pane_dead}']
    const { code, stdout, timedOut } = await tmux([...state, ';', 'capture-pane', '-p', '-t', SESSION])
    // A tmux that is slow to answer says nothing about the program.
    if (timedOut) return { isOccupied: true, text: '' }
    if (code === 0 && stdout.startsWith('0\n')) return { isOccupied: true, text: stdout.slice(2) }
    // tmux 3.3a scrolls the last words of a short-lived program off the screen when it notes that the pane is dead.
    const words = ((await story()) ?? '').trimEnd().split('\n').slice(-ROWS)
    return { isOccupied: false, text: words.filter((line) => !line.startsWith('Pane is dead')).join('\n') }
  }
  let closing: Promise<void> | undefined
  return {
    look,
    story,
    type: async (text) => void (await tmux(['send-keys', '-t', SESSION, '-l', '--', text])),
    paste: async (text) => {
      await tmux(['load-buffer', '-b', 'prompt', '-'], text)
      // -p: in brackets, so that line breaks stay line breaks; -r: as they are, not as Enter; -d: and forget it.
      await tmux(['paste-buffer', '-p', '-r', '-d', '-b', 'prompt', '-t', SESSION])
    },
    press: async (key) => void (await tmux(['send-keys', '-t', SESSION, key])),
    close: () => (closing ??= clear(notes, env)),
  }
}

/**
 * `;` alone separates tmux commands, so no argument of ours may be or end in one; ours are flags, paths and words.
 * `-u`: without a UTF-8 locale (launchd, cron) tmux would print every character beyond ASCII as `_`.
 */
function runTmux(
  socket: string,
  conf: string,
  args: string[],
  env: Record<string, string>,
  cwd: string,
  input?: string,
): Promise<CommandResult> {
  return runCommand('tmux', ['-u', '-L', socket, '-f', conf, ...args], {
    timeoutMs: 20_000,
    env,
    cwd,
    ...(input === undefined ? {} : { input }),
  })
}

const NOTES = 'room.json'

/** Of a room that is being opened. */
interface OpeningNotes {
  socket: string
  /** The tier that opens it. */
  tierPid: number
}

interface RoomNotes extends OpeningNotes {
  socketPath: string
  /** The program in the room. */
  pid: number
}

/**
 * Clears the rooms of runs that were killed before they could do it themselves. Only called by the one tier that holds
 * the doctor's lock: whatever room there is then is a left one. Returns how many programs were still running.
 */
export async function clearLeftRooms(runsFolder: string, env: Record<string, string>): Promise<number> {
  let names: string[]
  try {
    names = readdirSync(runsFolder)
  } catch {
    return 0
  }
  let running = 0
  for (const name of names) {
    const left = readNotes(join(runsFolder, name, NOTES))
    if (!left) continue
    const notes = 'pid' in left ? left : await findRoom(left, env)
    if (!notes) {
      rmSync(join(runsFolder, name, NOTES), { force: true })
      continue
    }
    if ((await processTree(notes.pid, env)).length > 0) running++
    await clear(notes, env)
    rmSync(join(runsFolder, name, NOTES), { force: true })
  }
  return running
}

function readNotes(path: string): RoomNotes | OpeningNotes | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (!isRecord(value) || typeof value.socket !== 'string' || value.socket === '') return undefined
    const opening = { socket: value.socket, tierPid: Number(value.tierPid) }
    if (typeof value.socketPath !== 'string' || !Number.isInteger(value.pid) || Number(value.pid) <= 1) return opening
    return { ...opening, socketPath: value.socketPath, pid: Number(value.pid) }
  } catch {
    return undefined
  }
}

/** Asks tmux for the room whose opening was cut short; undefined when it was never there. */
async function findRoom(left: OpeningNotes, env: Record<string, string>): Promise<RoomNotes | undefined> {
  const panes = await runCommand('tmux', ['-L', left.socket, 'list-panes', '-a', '-F', '#{pane_pid} #{socket_path}'], {
    timeoutMs: 20_000,
    env,
  })
  const m = /^(\d+) (\/.+)$/m.exec(panes.stdout)
  return m ? { ...left, pid: Number(m[1]), socketPath: m[2]! } : undefined
}

/** Ends the tmux server and then whatever of the program's process tree outlives it. */
async function clear(notes: RoomNotes, env: Record<string, string>): Promise<void> {
  const server = await runCommand('tmux', ['-S', notes.socketPath, 'list-panes', '-a', '-F', '#{pane_pid}'], {
    timeoutMs: 20_000,
    env,
  })
  // After a reboot or a crash the noted pid may be somebody else's: the tree counts only if tmux still names it ours.
  const isOurs = server.stdout.split('\n').includes(String(notes.pid))
  const tree = isOurs ? await processTree(notes.pid, env) : []
  await runCommand('tmux', ['-S', notes.socketPath, 'kill-server'], { timeoutMs: 20_000, env })
  // The hangup that tmux sends gives Claude Code the time to end by itself; what is left then is killed.
  for (const deadline = performance.now() + 3000; ; await delay(100)) {
    const left = await stillThere(tree, env)
    if (left.length === 0) break
    if (performance.now() < deadline) continue
    for (const { pid } of left) kill(pid)
    break
  }
  rmSync(notes.socketPath, { force: true })
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
  const visit = (process: TreeProcess) => {
    if (process.pid !== root && isGatewayCommand(process.command) && !SHELL.test(process.command)) return
    tree.push(process)
    for (const child of all) if (child.parent === process.pid) visit(child)
  }
  const first = all.find(({ pid }) => pid === root)
  if (first) visit(first)
  return tree
}

/** A shell whose command line speaks of the gateway is not the gateway. */
const SHELL = /^\S*\b(?:ba|da|z|k)?sh\s/

async function stillThere(tree: readonly TreeProcess[], env: Record<string, string>): Promise<TreeProcess[]> {
  if (tree.length === 0) return []
  const now = await listProcesses(env)
  return tree.filter((one) => now.some(({ pid, started }) => pid === one.pid && started === one.started))
}

/** All living processes. `lstart` (24 characters) makes sure that a pid that was given to another process is told. */
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
