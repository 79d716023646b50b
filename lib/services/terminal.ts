/**
 * The doctor's terminal: a tmux session on a server of its own, which a human can attach to and which takes everything
 * with it when it is closed. The user's own tmux (server, sessions, ~/.tmux.conf) is never touched.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from '../tier/command.ts'
import { isRecord } from '../tier/state.ts'
import { endTree, processTree } from './process-tree.ts'

/** How a program is started in it. */
export interface Launch {
  program: string
  args: string[]
  /** The whole environment. */
  env: Record<string, string>
}

export interface Terminal {
  /** `gone`: tmux has ended, or was ended, before the doctor did. */
  state(): Promise<'running' | 'ended' | 'gone'>
  /** Ends the doctor, everything that it started (but for the gateway), and the terminal. Can be called twice. */
  close(): Promise<void>
}

/** The doctor's streams, in the folder of its session. */
export const STREAM = { briefing: 'briefing.md', events: 'events.jsonl', errors: 'errors.log', ended: 'ended' } as const

/** What was started from the terminal and outlives it, by its command: the gateway. */
type Spared = (command: string) => boolean

interface Notes {
  socket: string
  socketPath?: string
  /** The shell in the terminal. */
  pid?: number
}
const NOTES = 'terminal.json'
/** How many terminals this process has opened. */
let opened = 0

/**
 * Opens the terminal and starts the doctor in it. Returns why it could not be opened, as a sentence.
 * Measured on tmux 3.3a: a server that is being killed and a new one on the same socket race, hence a socket per run.
 * @param recordingPath what is appended there is what the terminal shows
 */
export async function openTerminal(
  launch: Launch,
  folder: string,
  recordingPath: string,
  isSpared: Spared,
): Promise<Terminal | { failure: string }> {
  opened++
  const socket = `openclaw-doctor-${process.pid}${opened === 1 ? '' : `-${opened}`}`
  // Another doctor may have been here before.
  for (const name of [STREAM.events, STREAM.errors, STREAM.ended]) rmSync(join(folder, name), { force: true })
  const { env } = launch
  // Before there is a terminal: a run that is killed while it opens one must leave a trace of it, too.
  const note = (notes: Notes) => writeFileSync(join(folder, NOTES), JSON.stringify(notes), { mode: 0o600 })
  note({ socket })
  writeFileSync(join(folder, 'doctor.sh'), scriptOf(launch, folder, recordingPath), { mode: 0o700 })
  // `-u`: without a UTF-8 locale (launchd, cron) tmux would print every character beyond ASCII as `_`.
  const answer = await tmux(
    env,
    ['-u', '-L', socket, '-f', '/dev/null', 'new-session', '-d', '-s', 'doctor'],
    [
      ...['-x', '160', '-y', '50', '-c', folder, '--', 'sh', join(folder, 'doctor.sh')],
      ...[';', 'display-message', '-p', '-t', 'doctor', '#{pane_pid} #{socket_path}'],
    ],
  )
  const m = /^(\d+) (\/.+)$/m.exec(answer.stdout)
  if (!m) {
    await tmux(env, ['-L', socket, 'kill-server'])
    return { failure: answer.missing ? 'tmux is not on the PATH' : `tmux could not open a session: ${answer.failure}` }
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
    close: async () => void (await (closing ??= clear(notes, env, isSpared))),
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
export async function closeLeftTerminals(runs: string, env: Record<string, string>, isSpared: Spared): Promise<number> {
  if (!existsSync(runs)) return 0
  let running = 0
  for (const folder of readdirSync(runs).map((name) => join(runs, name))) {
    const left = readNotes(join(folder, NOTES))
    if (!left) continue
    if ((await clear(left, env, isSpared)) > 0) running++
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
async function clear({ socket, socketPath }: Notes, env: Record<string, string>, isSpared: Spared): Promise<number> {
  const server = socketPath ? ['-S', socketPath] : ['-L', socket]
  const panes = await tmux(env, [...server, 'list-panes', '-a', '-F', '#{pane_pid} #{socket_path}'])
  const m = /^(\d+) (\/.+)$/m.exec(panes.stdout)
  const tree = m ? await processTree(Number(m[1]), env, isSpared) : []
  await tmux(env, [...server, 'kill-server'])
  // The hangup that tmux sends gives the doctor the time to end by itself.
  await endTree(tree, env, 3000)
  const path = socketPath ?? m?.[2]
  if (path) rmSync(path, { force: true })
  return tree.length
}
