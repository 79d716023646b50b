/** The doctor's terminal: a tmux server of its own; the user's tmux is never touched. */
import { existsSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type ListedProcess, listProcesses } from '../tier/process-table.ts'
import type { Settings } from '../tier/settings.ts'
import { quote, shell } from '../tier/shell.ts'
import { isRecord, tried } from '../tier/state.ts'

export interface Launch {
  program: string
  args: string[]
  env: Record<string, string>
}

export type Terminal = Exclude<Awaited<ReturnType<typeof openTerminal>>, { failure: string }>

export const STREAM = { briefing: 'briefing.md', events: 'events.jsonl', errors: 'errors.log', ended: 'ended' } as const

type Spared = (command: string) => boolean

const NOTES = 'terminal.json'
let opened = 0

/** Starts the doctor, with `shown` on the screen; or why not. tmux 3.3a: a server being killed and a new one on its socket race, hence a socket per run. */
export async function openTerminal(settings: Settings, launch: Launch, folder: string, shown: string, spares: Spared) {
  const socket = `openclaw-doctor-${process.pid}${opened++ === 0 ? '' : `-${opened}`}`
  const base = tried(() => realpathSync(launch.env.TMUX_TMPDIR || '/tmp')) ?? '/tmp'
  const socketPath = join(base, `tmux-${process.getuid?.()}`, socket)
  for (const name of [STREAM.events, STREAM.errors, STREAM.ended]) rmSync(join(folder, name), { force: true })
  const $ = shell(settings, { timeoutSec: 20, env: launch.env })
  // Before there is a terminal: a killed run must leave a trace of it.
  writeFileSync(join(folder, NOTES), JSON.stringify({ socketPath }), { mode: 0o600 })
  const script = join(folder, 'doctor.sh')
  writeFileSync(script, scriptOf(launch, folder, shown), { mode: 0o700 })
  // `-u`: without a UTF-8 locale (launchd, cron) tmux prints `_` for characters beyond ASCII.
  const { code, missing, failure } =
    await $`tmux -u -L ${socket} -f /dev/null new-session -d -s doctor -x 160 -y 50 -c ${folder} -- sh ${script}`
  if (code !== 0) {
    await clear(settings, socketPath, spares)
    return { failure: missing ? 'tmux is not on the PATH' : `tmux could not open a session: ${failure}` }
  }
  const hasEnded = () => existsSync(join(folder, STREAM.ended))
  return {
    /** `gone`: tmux has ended, or was ended, before the doctor did. */
    state: async () => {
      if (hasEnded()) return 'ended'
      const { code, timedOut } = await $`tmux -S ${socketPath} has-session -t doctor`
      // A tmux that is slow to answer says nothing about the doctor.
      if (code === 0 || timedOut) return 'running'
      return hasEnded() ? 'ended' : 'gone'
    },
    /** Ends the doctor and all it started but the gateway. Can be called twice. */
    close: async () => void (await clear(settings, socketPath, spares)),
  }
}

function scriptOf({ program, args }: Launch, folder: string, recordingPath: string): string {
  const file = (name: string) => quote(join(folder, name))
  return `tail -n +1 -f ${quote(recordingPath)} &
shown=$!
${[program, ...args].map(quote).join(' ')} <${file(STREAM.briefing)} >${file(STREAM.events)} 2>${file(STREAM.errors)}
echo $? >${file(STREAM.ended)}
sleep 1
kill "$shown"
`
}

/** Ends what a killed run left in that folder; true when its doctor was still running. */
export async function closeLeftTerminal(settings: Settings, folder: string, isSpared: Spared): Promise<boolean> {
  const left: unknown = tried(() => JSON.parse(readFileSync(join(folder, NOTES), 'utf8')))
  return isRecord(left) && (await clear(settings, String(left.socketPath), isSpared)) > 0
}

async function clear(settings: Settings, socketPath: string, isSpared: Spared): Promise<number> {
  const $ = shell(settings, { timeoutSec: 20 })
  const { stdout } = await $`tmux -S ${socketPath} list-panes -a -F '#{pane_pid}'`
  const all = await listProcesses(settings)
  const withChildren = (one: ListedProcess): ListedProcess[] => {
    const children = all.filter(({ parentPid, command }) => parentPid === one.pid && !isSpared(command))
    return [one, ...children.flatMap(withChildren)]
  }
  const tree = all.filter(({ pid }) => pid === Number.parseInt(stdout, 10)).flatMap(withChildren)
  await $`tmux -S ${socketPath} kill-server`
  const left = async () => {
    const now = await listProcesses(settings)
    return tree.filter((one) => now.some(({ pid, started }) => pid === one.pid && started === one.started))
  }
  // The hangup that tmux sends gives the doctor the time to end by itself.
  const deadline = performance.now() + 3000
  while ((await left()).length > 0 && performance.now() < deadline) await delay(100)
  for (const { pid } of await left()) tried(() => process.kill(pid, 'SIGKILL'))
  rmSync(socketPath, { force: true })
  return tree.length
}
