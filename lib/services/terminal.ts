/** The doctor's terminal: a tmux server of its own; the user's tmux is never touched. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, tried } from '../tier/state.ts'

export interface Launch {
  program: string
  args: string[]
  env: Record<string, string>
}

export interface Terminal {
  /** `gone`: tmux has ended, or was ended, before the doctor did. */
  state(): Promise<'running' | 'ended' | 'gone'>
  /** Ends the doctor and all it started but the gateway. Can be called twice. */
  close(): Promise<void>
}

export const STREAM = { briefing: 'briefing.md', events: 'events.jsonl', errors: 'errors.log', ended: 'ended' } as const

type Spared = (command: string) => boolean

interface Notes {
  socket: string
  socketPath?: string
}
const NOTES = 'terminal.json'
let opened = 0

/** Starts the doctor; or why not. tmux 3.3a: a server being killed and a new one on its socket race, hence a socket per run. */
export async function openTerminal(
  settings: Settings,
  launch: Launch,
  folder: string,
  recordingPath: string,
  isSpared: Spared,
): Promise<Terminal | { failure: string }> {
  opened++
  const socket = `openclaw-doctor-${process.pid}${opened === 1 ? '' : `-${opened}`}`
  for (const name of [STREAM.events, STREAM.errors, STREAM.ended]) rmSync(join(folder, name), { force: true })
  const $ = shell(settings, { timeoutSec: 20, env: launch.env })
  // Before there is a terminal: a killed run must leave a trace of it.
  const note = (notes: Notes) => writeFileSync(join(folder, NOTES), JSON.stringify(notes), { mode: 0o600 })
  note({ socket })
  const script = join(folder, 'doctor.sh')
  writeFileSync(script, scriptOf(launch, folder, recordingPath), { mode: 0o700 })
  // `-u`: without a UTF-8 locale (launchd, cron) tmux prints `_` for characters beyond ASCII.
  const tmux =
    await $`tmux -u -L ${socket} -f /dev/null new-session -d -s doctor -x 160 -y 50 -c ${folder} -- sh ${script} ';' display-message -p -t doctor '#{socket_path}'`
  const socketPath = /^\/.+$/m.exec(tmux.stdout)?.[0]
  if (!socketPath) {
    await $`tmux -L ${socket} kill-server`
    return { failure: tmux.missing ? 'tmux is not on the PATH' : `tmux could not open a session: ${tmux.failure}` }
  }
  note({ socket, socketPath })
  const hasEnded = () => existsSync(join(folder, STREAM.ended))
  let closing: Promise<unknown> | undefined
  return {
    state: async () => {
      if (hasEnded()) return 'ended'
      const { code, timedOut } = await $`tmux -S ${socketPath} has-session -t doctor`
      // A tmux that is slow to answer says nothing about the doctor.
      if (code === 0 || timedOut) return 'running'
      return hasEnded() ? 'ended' : 'gone'
    },
    close: async () => void (await (closing ??= clear(settings, { socket, socketPath }, isSpared))),
  }
}

function scriptOf({ program, args }: Launch, folder: string, recordingPath: string): string {
  const file = (name: string) => quoted(join(folder, name))
  return `tail -n +1 -f ${quoted(recordingPath)} &
shown=$!
${[program, ...args].map(quoted).join(' ')} <${file(STREAM.briefing)} >${file(STREAM.events)} 2>${file(STREAM.errors)}
echo $? >${file(STREAM.ended)}
sleep 1
kill "$shown"
`
}

export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Returns how many doctors were still running. Needs the doctor's lock. */
export async function closeLeftTerminals(settings: Settings, runs: string, isSpared: Spared): Promise<number> {
  let running = 0
  for (const folder of existsSync(runs) ? readdirSync(runs).map((name) => join(runs, name)) : []) {
    const left: unknown = tried(() => JSON.parse(readFileSync(join(folder, NOTES), 'utf8')))
    if (!isRecord(left) || typeof left.socket !== 'string' || !left.socket) continue
    if ((await clear(settings, left as unknown as Notes, isSpared)) > 0) running++
    rmSync(join(folder, NOTES), { force: true })
  }
  return running
}

async function clear(settings: Settings, { socket, socketPath }: Notes, isSpared: Spared): Promise<number> {
  const $ = shell(settings, { timeoutSec: 20 })
  const server = socketPath ? ['-S', socketPath] : ['-L', socket]
  const { stdout } = await $`tmux ${server} list-panes -a -F '#{pane_pid} #{socket_path}'`
  const m = /^(\d+) (\/.+)$/m.exec(stdout)
  const tree = m ? await processTree(settings, Number(m[1]), isSpared) : []
  await $`tmux ${server} kill-server`
  // The hangup that tmux sends gives the doctor the time to end by itself.
  await endTree(settings, tree, 3000)
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

/** The process and its descendants, but for those that are spared by their command, and their children. */
async function processTree(settings: Settings, root: number, isSpared: Spared): Promise<TreeProcess[]> {
  const all = await listProcesses(settings)
  const withChildren = (one: TreeProcess): TreeProcess[] =>
    one.pid !== root && isSpared(one.command)
      ? []
      : [one, ...all.filter(({ parent }) => parent === one.pid).flatMap(withChildren)]
  return all.filter(({ pid }) => pid === root).flatMap(withChildren)
}

async function endTree(settings: Settings, tree: readonly TreeProcess[], graceMs: number): Promise<void> {
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
