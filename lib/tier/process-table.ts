/** The machine's processes, and who listens on TCP: from /proc where there is one, else (macOS) by ps and lsof. */
import { closeSync, existsSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs'
import type { Settings } from './settings.ts'
import { shell } from './shell.ts'
import { namesIn, tried } from './state.ts'

export interface ProcessInfo {
  pid: number
  parentPid: number
  memoryMb: number
  ageSec: number
  command: string
}

/** `started` tells a pid that was given to another process; `state` is the first letter that ps shows: R, S, D, T, … */
export type ListedProcess = ProcessInfo & { started: string; uid: number; group: number; state: string; cpuSec: number }

/** `pid` and `uid`: as far as this account is shown them. `address`: `127.0.0.1:18789`, `[::1]:18789`, `*:80`. */
export type Listener = { pid?: number; uid?: number; address: string }

/** By its own entry: what is mounted at /proc may be empty, or another system's. */
const hasProc = () => existsSync('/proc/self/stat')
const pidsInProc = () => namesIn('/proc').filter((name) => /^\d+$/.test(name))

/** The processes that are alive, as far as this account is shown them: these, or all. Dead and not yet reaped (Z) is not alive. */
export async function listProcesses(settings: Settings, pids?: readonly number[]): Promise<ListedProcess[]> {
  return (await askFor(settings, pids)) ?? []
}

/** Its command line, empty when it has ended or is hidden; undefined when ps gives no answer. */
export async function commandOf(settings: Settings, pid: number): Promise<string | undefined> {
  const found = await askFor(settings, [pid])
  return found && (found[0]?.command ?? '')
}

export async function lineage(settings: Settings, pid: number): Promise<ListedProcess[]> {
  const all = new Map((await listProcesses(settings)).map((one) => [one.pid, one]))
  const line: ListedProcess[] = []
  for (let one = all.get(pid); one && line.length < 12; one = all.get(one.parentPid)) line.push(one)
  return line
}

async function askFor(settings: Settings, pids?: readonly number[]): Promise<ListedProcess[] | undefined> {
  if (pids?.length === 0) return []
  if (!hasProc()) return askPs(settings, pids)
  const nowSec = secondsOfProc()
  // One may end while it is read, and another account's may be hidden (hidepid).
  return (pids ?? pidsInProc()).flatMap((pid) => tried(() => readProcess(Number(pid), nowSec)) ?? [])
}

/** Anyone may start a process with a command line of megabytes. */
const COMMAND_BYTES = 2000
/** USER_HZ of all architectures on which Node runs. */
const TICKS_A_SECOND = 100

function readProcess(pid: number, nowSec: number): ListedProcess | undefined {
  const { name, state, numbers } = readStat(`/proc/${pid}/stat`)
  if (state === 'Z' || state === 'X') return undefined
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const [uid, kilobytes] = [/^Uid:\s+\d+\s+(\d+)/m, /^VmRSS:\s+(\d+)/m].map((field) =>
    Number(field.exec(status)?.[1] ?? 0),
  )
  // The fields are numbered as in proc(5).
  const [parentPid, group, userTicks, systemTicks, startTicks] = [4, 5, 14, 15, 22].map((field) => numbers[field - 4]!)
  return {
    ...{ pid, parentPid: parentPid!, group: group!, uid: uid!, state, started: String(startTicks) },
    ...{ memoryMb: Math.round(kilobytes! / 1024), cpuSec: (userTicks! + systemTicks!) / TICKS_A_SECOND },
    ageSec: Math.max(0, Math.floor(nowSec - startTicks! / TICKS_A_SECOND)),
    command: beginningOf(`/proc/${pid}/cmdline`) || `[${name}]`,
  }
}

/** The name in parentheses may hold anything, parentheses and line feeds too. */
function readStat(path: string) {
  const text = readFileSync(path, 'utf8')
  const [begin, end] = [text.indexOf('('), text.lastIndexOf(')')]
  const [state = '', ...rest] = text.slice(end + 2).split(' ')
  return { name: text.slice(begin + 1, end), state, numbers: rest.map(Number) }
}

/** On the clock of the starts in /proc, whichever is later: a container may have an uptime of its own (lxcfs), and what this
 * process has counted lacks a sleep of the machine. Its second thread began with it; the first may be as old as a shell that became it. */
function secondsOfProc(): number {
  const uptimeSec = Number(tried(() => readFileSync('/proc/uptime', 'latin1'))?.split(' ')[0] ?? 0)
  const [first, second = first] = namesIn('/proc/self/task')
  return Math.max(
    uptimeSec,
    readStat(`/proc/self/task/${second}/stat`).numbers[22 - 4]! / TICKS_A_SECOND + process.uptime(),
  )
}

function beginningOf(path: string): string {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(COMMAND_BYTES)
    const text = bytes.toString('utf8', 0, readSync(file, bytes))
    // As ps does: an argument with a line feed in it would look like two lines.
    return text.replace(/\p{Cc}+/gu, ' ').trim()
  } finally {
    closeSync(file)
  }
}

/** Undefined when it gives no answer. */
async function askPs(settings: Settings, pids?: readonly number[]): Promise<ListedProcess[] | undefined> {
  const $ = shell(settings, { env: { ...settings.childEnv, LC_ALL: 'C' } })
  const which = pids ? ['-p', pids.join(',')] : ['-ax']
  const columns = 'pid=,ppid=,pgid=,uid=,rss=,stat=,time=,etime=,lstart=,command='
  const { stdout, timedOut, missing } = await $`ps ${which} -o ${columns} | cut -c 1-${COMMAND_BYTES}`
  if (timedOut || missing) return undefined
  const line =
    /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([^\sZ])\S*\s+([\d:.-]+)\s+([\d:-]+)\s+(\w{3}\s+\w{3}\s+\d+\s+[\d:]+\s+\d{4}) +(.*)$/gm
  return [...stdout.matchAll(line)].map(
    ([, pid, parent, group, uid, kilobytes, state = '', cpu, age, started = '', command = '']) => ({
      ...{ pid: Number(pid), parentPid: Number(parent), group: Number(group), uid: Number(uid), state, started },
      ...{ memoryMb: Math.round(Number(kilobytes) / 1024), cpuSec: secondsOf(cpu), ageSec: secondsOf(age) },
      command: command.trim(),
    }),
  )
}

/** `12-03:04:05`, `02:11:09`, `3:20.55` */
function secondsOf(clock = ''): number {
  const [days = '0', time = ''] = clock.includes('-') ? clock.split('-') : ['0', clock]
  return time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400
}

/** Who listens on TCP. A process that this account is not shown has no pid here; a Mac leaves it out. */
export async function listeners(settings: Settings): Promise<Listener[]> {
  if (hasProc()) return readListeners()
  const { stdout } = await shell(settings)`lsof -nP -iTCP -sTCP:LISTEN -Fpn`
  let pid = 0
  return stdout.split('\n').flatMap((line) => {
    if (line.startsWith('p')) pid = Number(line.slice(1))
    return line.startsWith('n') ? [{ pid, address: line.slice(1) }] : []
  })
}

const LISTENS = '0A'

function readListeners(): Listener[] {
  const lines = ['tcp', 'tcp6'].flatMap(
    (name) => tried(() => readFileSync(`/proc/self/net/${name}`, 'latin1'))?.split('\n') ?? [],
  )
  const sockets = lines.flatMap((line) => {
    const [, local = '', , state, , , , uid, , inode] = line.trim().split(/\s+/)
    return state === LISTENS ? [{ address: addressOf(local), uid: Number(uid), link: `socket:[${inode}]` }] : []
  })
  const pidsOf = new Map(sockets.map(({ link }) => [link, new Set<number>()]))
  for (const pid of sockets.length > 0 ? pidsInProc() : [])
    for (const fd of namesIn(`/proc/${pid}/fd`))
      pidsOf.get(tried(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? '')?.add(Number(pid))
  return sockets.flatMap(({ link, ...socket }) => {
    // A child may have inherited it.
    const pids = [...pidsOf.get(link)!]
    return pids.length > 0 ? pids.map((pid) => ({ ...socket, pid })) : [socket]
  })
}

/** `0100007F:4965` is 127.0.0.1:18789: words of 32 bits as this machine has them in memory, and the port. */
function addressOf(local: string): string {
  const [words = '', port = ''] = local.split(':')
  const numbers = words.match(/.{8}/g)!.map((word) => Number.parseInt(word, 16))
  const bytes = Buffer.from(Uint32Array.from(numbers).buffer)
  const isMapped = bytes.length === 16 && bytes.subarray(0, 12).equals(MAPPED)
  const host = bytes.every((byte) => byte === 0)
    ? '*'
    : isMapped || bytes.length === 4
      ? bytes.subarray(-4).join('.')
      : new URL(`http://[${bytes.toString('hex').match(/.{4}/g)!.join(':')}]`).hostname
  return `${host}:${Number.parseInt(port, 16)}`
}

/** What stands before an IPv4 address in an IPv6 socket: `::ffff:127.0.0.1`. */
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')
