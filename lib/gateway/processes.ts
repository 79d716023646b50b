/** Which process is this gateway, and who owns its port. */
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from '../tier/command.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord, readWhole } from '../tier/state.ts'
import { hasProcFiles, type ProcessInfo, readProcess } from './proc-files.ts'

export type { ProcessInfo }

/** What is known of the processes; those that are gone, or dead and not yet reaped (state Z), are left out. */
export async function processInfo(settings: Settings, pids: readonly number[]): Promise<ProcessInfo[]> {
  if (pids.length === 0) return []
  if (!hasProcFiles()) return askPs(settings, pids)
  const read = pids.map(readProcess)
  if (read.includes('unclear')) return askPs(settings, pids)
  return read.filter((one) => one !== undefined && one !== 'unclear')
}

/** The same by `ps`, in the form that the programs of macOS and Linux share. One fork. */
async function askPs(settings: Settings, pids: readonly number[]): Promise<ProcessInfo[]> {
  const { execFile } = await import('node:child_process')
  const args = ['-o', 'pid=,ppid=,rss=,stat=,etime=,command=', '-p', pids.join(',')]
  const stdout = await new Promise<string>((resolve) => {
    execFile('ps', args, { timeout: 10_000, env: settings.childEnv, maxBuffer: 4 * 1024 * 1024 }, (_error, out) =>
      // ps exits 1 when one of the pids is gone: what it printed of the others is still the answer.
      resolve(out),
    )
  })
  return stdout.split('\n').flatMap((line) => {
    const m = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+([\d:-]+)\s+(.*)$/.exec(line)
    if (!m || m[4]!.startsWith('Z')) return []
    return [
      {
        pid: Number(m[1]),
        parentPid: Number(m[2]),
        memoryMb: Math.round(Number(m[3]) / 1024),
        ageSec: elapsedSeconds(m[5]!),
        command: m[6]!.trim(),
      },
    ]
  })
}

/** `[[dd-]hh:]mm:ss`, the one elapsed-time form that both ps programs share. */
function elapsedSeconds(etime: string): number {
  const [days, clock] = etime.includes('-') ? etime.split('-') : ['0', etime]
  const seconds = clock!.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)
  return Number(days) * 86_400 + seconds
}

/**
 * True for the command line of a gateway: the title it gives itself (`openclaw` for the first seconds of its boot,
 * then `openclaw-gateway`; measured on 2026.9.6), or `node …/openclaw… gateway` before that. A title hides the
 * arguments, so this alone never tells *whose* gateway it is.
 */
export function isGatewayCommand(command: string): boolean {
  const line = command.trim()
  return /^openclaw(?:-gateway)?$/.test(line) || NODE_GATEWAY.test(line)
}

/**
 * `node [flags] …/openclaw gateway run`, `openclaw gateway --port 1`. From end to end: a tunnel to a host that is called
 * openclaw-gateway, or an editor with such a file open, is somebody else's and would be killed as hung.
 */
const NODE_GATEWAY =
  /^(?:(?:\S*\/)?(?:node|bun)\d*\s(?:.*\s)?)?(?:\S.*\/)?openclaw(?:\.m?js|\/(?:dist\/)?[\w-]+\.m?js)?\s+(?:--?\S+\s+)*gateway(?:\s+(?:run\b|-).*)?$/

/**
 * The gateway of this state folder, whether its port is open or not; undefined when no living process is it.
 * Evidence in this order: the lock files that the gateway keeps in its own state folder (2026.9.x; they name pid and
 * config and stay behind after kill -9, so the process is looked at too), the supervisor's pid, the port's owner.
 * Never one that a lock of another profile shows to be that one's.
 * @param supervisedPid the process its supervisor has, if any
 * @param rememberedPids processes that were this gateway before, or that we started as one: while a gateway restarts
 *   itself its lock is gone for a moment (measured), and a new one has none for its first seconds
 */
export async function findGateway(
  settings: Settings,
  supervisedPid: number | undefined,
  rememberedPids: readonly (number | undefined)[],
): Promise<ProcessInfo | undefined> {
  const known = [...lockedPids(settings), supervisedPid, ...rememberedPids].filter((pid) => pid !== undefined)
  const alive = await processInfo(settings, [...new Set(known)])
  const titled = alive.filter((one) => isGatewayCommand(one.command) && !isOthersGateway(settings, one))
  // Whatever the supervisor runs as the gateway is the gateway, be it a wrapper by another name.
  const found = titled[0] ?? alive.find((one) => one.pid === supervisedPid)
  if (found) return found
  return (await portOwners(settings)).find(
    (owner) => isGatewayCommand(owner.command) && !isOthersGateway(settings, owner),
  )
}

/**
 * True when a process is shown to be the gateway of another profile: all call themselves the same, but each keeps a lock
 * in its own state folder. A gateway whose folder is elsewhere (`OPENCLAW_STATE_DIR`) cannot be told so.
 */
export function isOthersGateway(settings: Settings, one: ProcessInfo): boolean {
  if (lockedPids(settings).includes(one.pid)) return false
  let names: string[]
  try {
    names = readdirSync(settings.home)
  } catch {
    return false
  }
  const others = names
    .filter((name) => /^\.openclaw(?:-[\w-]+)?$/.test(name))
    .map((name) => join(settings.home, name))
    .filter((folder) => !samePath(folder, settings.stateDir))
  const startedMs = Date.now() - one.ageSec * 1000
  return others
    .flatMap((folder) => readLocks(lockFolder(folder)))
    .some(({ pid, createdAt }) => {
      // A lock stays behind after kill -9, and its pid may be given to our gateway later.
      const lockedMs = typeof createdAt === 'string' ? Date.parse(createdAt) : Number.NaN
      return pid === one.pid && !(lockedMs < startedMs - 5000)
    })
}

/** Pids in the gateway's lock files: in its state folder, or (before the 2026.9 layout) in the temporary folder. */
function lockedPids(settings: Settings): number[] {
  const own = readLocks(lockFolder(settings.stateDir))
  const shared = readLocks(lockFolder(tmpdir(), '')).filter((lock) => samePath(lock.configPath, settings.configPath))
  return [...own, ...shared].map((lock) => lock.pid)
}

function lockFolder(folder: string, within = 'tmp'): string {
  return join(folder, within, `openclaw-${process.getuid?.() ?? ''}`)
}

function readLocks(folder: string): { pid: number; configPath: unknown; createdAt: unknown }[] {
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => name.startsWith('gateway.') && name.endsWith('.lock'))
  } catch {
    return []
  }
  return names.flatMap((name) => {
    try {
      const lock: unknown = JSON.parse(readWhole(join(folder, name)))
      // Other roles (agent-embedded, sqlite-maintenance, …) are not the gateway.
      if (!isRecord(lock) || (lock.role !== undefined && lock.role !== 'gateway')) return []
      const { pid, configPath, createdAt } = lock
      return Number.isInteger(pid) ? [{ pid: Number(pid), configPath, createdAt }] : []
    } catch {
      // Being rewritten at this moment (an in-process restart does that), or not a lock.
      return []
    }
  })
}

function samePath(a: unknown, b: string): boolean {
  if (typeof a !== 'string') return false
  const real = (path: string) => {
    try {
      return realpathSync(path)
    } catch {
      return path
    }
  }
  return a === b || real(a) === real(b)
}

/**
 * Proof that a process is the gateway's own: it is the one that holds the gateway's lock, that its supervisor started,
 * or that owns its port and calls itself the gateway, or it descends from that one. The command line alone is none:
 * another gateway of this user calls itself the same.
 */
export async function isGatewayProcess(settings: Settings, pid: number): Promise<boolean> {
  const { gatewayService } = await import('../services/supervisor.ts')
  const { pid: supervised } = await gatewayService(settings)
  const gateway = await findGateway(settings, supervised, [])
  const owners = (await portOwners(settings)).filter((owner) => !isStranger(settings, owner))
  const own = new Set([gateway?.pid, supervised, ...owners.map((owner) => owner.pid)])
  for (let at: number | undefined = pid, steps = 0; at !== undefined && at > 1 && steps < 8; steps++) {
    if (own.has(at)) return true
    const [info] = await processInfo(settings, [at])
    at = info?.parentPid
  }
  return false
}

/** Who listens on the gateway's port; empty when nobody does, or when it cannot be told (owner of another user). */
export async function portOwners(settings: Settings): Promise<ProcessInfo[]> {
  const port = settings.gatewayPort
  const options = { timeoutMs: 10_000, env: settings.childEnv }
  const lsof = await runCommand('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fp'], options)
  let pids = [...lsof.stdout.matchAll(/^p(\d+)$/gm)].map((m) => Number(m[1]))
  if (lsof.missing || (lsof.code !== 0 && pids.length === 0)) {
    // Debian has no lsof by default; iproute2's ss it has.
    const ss = await runCommand('ss', ['-ltnpH', `sport = :${port}`], options)
    pids = [...ss.stdout.matchAll(/pid=(\d+)/g)].map((m) => Number(m[1]))
  }
  return processInfo(settings, [...new Set(pids)])
}

/** `nginx (pid 123)`, ``python3 (pid 123, `python3 -m http.server 8080`)``: how an owner is named to a human. */
export function describeProcess(one: ProcessInfo): string {
  const [program = '', ...words] = one.command.split(' ')
  const name = program.split('/').at(-1) || one.command
  const rest = words.length > 0 ? `, \`${oneLine([program, ...withoutValues(words)].join(' '), 120)}\`` : ''
  return `${name} (pid ${one.pid}${rest})`
}

/** The arguments of a program without the values of its options: any of them may be a secret, by no name that tells. */
function withoutValues(words: readonly string[]): string[] {
  let isValue = false
  return words.map((word) => {
    if (/^-(?:m|jar)$/.test(word) || (word.startsWith('/') && existsSync(word))) return word
    const option = /^(?:--[\w-]+|-\w)/.exec(word)?.[0]
    if (option) isValue = true
    if (option) return option === word ? word : `${option}…`
    // A word of letters and digits looks like a key wherever it stands.
    return isValue || word.includes('=') || /^(?=.*\d)(?=.*[a-z])[^./]{8,}$/i.test(word) ? '…' : word
  })
}

/** The gateway of another profile is as foreign here as any other program. */
export function isStranger(settings: Settings, owner: ProcessInfo): boolean {
  return !isGatewayCommand(owner.command) || isOthersGateway(settings, owner)
}

/** What an examination says when a stranger has the port. */
export function impostor(settings: Settings, owner: ProcessInfo) {
  const who = isGatewayCommand(owner.command)
    ? `the gateway of another profile (pid ${owner.pid})`
    : describeProcess(owner)
  const evidence = `port ${settings.gatewayPort} belongs to ${who}, not to the gateway`
  return { verdict: 'impostor' as const, evidence, portOwner: owner, answersHttp: false }
}
