/** Which process is this gateway, and who owns its port. */
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
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

async function askPs(settings: Settings, pids: readonly number[]): Promise<ProcessInfo[]> {
  // ps exits 1 when one of the pids is gone; what it printed of the others is still the answer.
  const { stdout } = await shell(settings)`ps -o pid=,ppid=,rss=,stat=,etime=,command= -p ${pids.join(',')}`
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
 * True for the command line of a gateway: its title (`openclaw` while it boots, then `openclaw-gateway`; 2026.9.6), or
 * `node …/openclaw… gateway` before that. It never tells *whose* gateway it is.
 */
export function isGatewayCommand(command: string): boolean {
  const line = command.trim()
  return /^openclaw(?:-gateway)?$/.test(line) || NODE_GATEWAY.test(line)
}

/** From end to end: a tunnel to a host called openclaw-gateway, or an editor with such a file open, is none. */
const NODE_GATEWAY =
  /^(?:(?:\S*\/)?(?:node|bun)\d*\s(?:.*\s)?)?(?:\S.*\/)?openclaw(?:\.m?js|\/(?:dist\/)?[\w-]+\.m?js)?\s+(?:--?\S+\s+)*gateway(?:\s+(?:run\b|-).*)?$/

/**
 * The gateway of this state folder, by the lock files that it keeps there (2026.9.x; they outlive kill -9), by its
 * supervisor's pid, or as the port's owner; never another profile's.
 * @param rememberedPids processes that were this gateway before, or that we started: it has no lock while it restarts
 */
export async function findGateway(
  settings: Settings,
  supervisedPid: number | undefined,
  rememberedPids: readonly (number | undefined)[],
): Promise<ProcessInfo | undefined> {
  const known = [...lockedPids(settings), supervisedPid, ...rememberedPids].filter((pid) => pid !== undefined)
  const alive = await processInfo(settings, [...new Set(known)])
  const titled = alive.filter((one) => isGatewayCommand(one.command) && !isOthersGateway(settings, one))
  const found = titled[0] ?? alive.find((one) => one.pid === supervisedPid)
  if (found) return found
  return (await portOwners(settings)).find(
    (owner) => isGatewayCommand(owner.command) && !isOthersGateway(settings, owner),
  )
}

/** True for the gateway of another profile, as its lock in `~/.openclaw-<profile>` shows. */
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

/** True when the process is proven (by lock, supervisor or port) to be the gateway, or descends from it. */
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

/** Who listens on the gateway's port; empty when it is free, or its owner (of another user) is not shown. */
export async function portOwners(settings: Settings): Promise<ProcessInfo[]> {
  const owners = (await listeners(settings)).filter(({ address }) => address.endsWith(`:${settings.gatewayPort}`))
  return processInfo(settings, [...new Set(owners.map(({ pid }) => pid))])
}

/** Who listens where on TCP, as far as this user may see: `127.0.0.1:18789`, `[::1]:18789`, `*:80`. */
export async function listeners(settings: Settings): Promise<{ pid: number; address: string }[]> {
  const $ = shell(settings)
  const lsof = await $`lsof -nP -iTCP -sTCP:LISTEN -Fpn`
  if (lsof.missing) {
    // Debian has no lsof by default; iproute2's ss it has.
    const { stdout } = await $`ss -ltnpH`
    return stdout.split('\n').flatMap((line) => {
      const address = line.split(/\s+/).find((word) => /:\d+$/.test(word))
      return address ? [...line.matchAll(/pid=(\d+)/g)].map((m) => ({ pid: Number(m[1]), address })) : []
    })
  }
  let pid = 0
  return lsof.stdout.split('\n').flatMap((line) => {
    if (line.startsWith('p')) pid = Number(line.slice(1))
    return line.startsWith('n') ? [{ pid, address: line.slice(1) }] : []
  })
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

export function isStranger(settings: Settings, owner: ProcessInfo): boolean {
  return !isGatewayCommand(owner.command) || isOthersGateway(settings, owner)
}

export function impostor(settings: Settings, owner: ProcessInfo) {
  const who = isGatewayCommand(owner.command)
    ? `the gateway of another profile (pid ${owner.pid})`
    : describeProcess(owner)
  const evidence = `port ${settings.gatewayPort} belongs to ${who}, not to the gateway`
  return { verdict: 'impostor' as const, evidence, portOwner: owner, answersHttp: false }
}
