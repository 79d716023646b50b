/** Which process is this gateway, and who owns its port. */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, readWhole, tried } from '../tier/state.ts'

export interface ProcessInfo {
  pid: number
  parentPid: number
  memoryMb: number
  ageSec: number
  command: string
}

/** The processes that are alive; one that is dead and not yet reaped (state Z) is not. */
export async function processInfo(settings: Settings, pids: readonly number[]): Promise<ProcessInfo[]> {
  if (pids.length === 0) return []
  const isThere = existsSync('/proc/self/status')
  return (isThere ? tried(() => pids.flatMap(readProcess)) : undefined) ?? askPs(settings, pids)
}

/** Empty: gone, or not yet reaped. Throws when /proc hides it (hidepid), or a container has an uptime of its own. */
function readProcess(pid: number): ProcessInfo[] {
  if (!existsSync(`/proc/${pid}`)) return []
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1]
  if (field('State') === 'Z') return []
  // The name in parentheses may hold anything; behind it come field 3 and the rest.
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const startedSec = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) / 100
  const ageSec = Math.floor(Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) - startedSec)
  if (!(ageSec >= 0)) throw new Error('its age cannot be read')
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0+/g, ' ').trim()
  const [parentPid, memoryMb] = [Number(field('PPid')), Math.round(Number(field('VmRSS') ?? 0) / 1024)]
  return [{ pid, parentPid, memoryMb, ageSec, command: words || `[${field('Name')}]` }]
}

async function askPs(settings: Settings, pids: readonly number[]): Promise<ProcessInfo[]> {
  const { stdout } = await shell(settings)`ps -o pid=,ppid=,rss=,stat=,etime=,command= -p ${pids.join(',')}`
  return stdout.split('\n').flatMap((line) => {
    const m = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+([\d:-]+)\s+(.*)$/.exec(line)
    if (!m || m[4]!.startsWith('Z')) return []
    const [pid, parentPid, memoryMb] = [Number(m[1]), Number(m[2]), Math.round(Number(m[3]) / 1024)]
    return [{ pid, parentPid, memoryMb, ageSec: elapsedSeconds(m[5]!), command: m[6]!.trim() }]
  })
}

function elapsedSeconds(etime: string): number {
  const [days, clock] = etime.includes('-') ? etime.split('-') : ['0', etime]
  const seconds = clock!.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)
  return Number(days) * 86_400 + seconds
}

/** By its title (2026.9.6) or as `node …/openclaw… gateway`. It never tells *whose* gateway it is. */
export function isGatewayCommand(command: string): boolean {
  const line = command.trim()
  return /^openclaw(?:-gateway)?$/.test(line) || NODE_GATEWAY.test(line)
}

/** From end to end: a tunnel to a host called openclaw-gateway, or an editor with such a file open, is none. */
const NODE_GATEWAY =
  /^(?:(?:\S*\/)?(?:node|bun)\d*\s(?:.*\s)?)?(?:\S.*\/)?openclaw(?:\.m?js|\/(?:dist\/)?[\w-]+\.m?js)?\s+(?:--?\S+\s+)*gateway(?:\s+(?:run\b|-).*)?$/

/** This state folder's gateway, by its lock files (they outlive kill -9), its supervisor's pid, pids that were it before, or its port. */
export async function findGateway(
  settings: Settings,
  supervisedPid: number | undefined,
  rememberedPids: readonly (number | undefined)[],
): Promise<ProcessInfo | undefined> {
  const known = [...lockedPids(settings), supervisedPid, ...rememberedPids].filter((pid) => pid !== undefined)
  const alive = await processInfo(settings, [...new Set(known)])
  const isOurs = (one: ProcessInfo) => !isStranger(settings, one)
  const found = alive.find(isOurs) ?? alive.find((one) => one.pid === supervisedPid)
  return found ?? (await portOwners(settings)).find(isOurs)
}

export function isOthersGateway(settings: Settings, one: ProcessInfo): boolean {
  if (lockedPids(settings).includes(one.pid)) return false
  const others = (tried(() => readdirSync(settings.home)) ?? [])
    .filter((name) => /^\.openclaw(?:-[\w-]+)?$/.test(name))
    .map((name) => join(settings.home, name))
    .filter((folder) => !samePath(folder, settings.stateDir))
  const startedMs = Date.now() - one.ageSec * 1000
  return others
    .flatMap((folder) => readLocks(lockFolder(folder)))
    .some(({ pid, createdAt }) => {
      // A lock outlives kill -9, and its pid may be given to our gateway later.
      const lockedMs = typeof createdAt === 'string' ? Date.parse(createdAt) : Number.NaN
      return pid === one.pid && !(lockedMs < startedMs - 5000)
    })
}

function lockedPids(settings: Settings): number[] {
  const own = readLocks(lockFolder(settings.stateDir))
  const shared = readLocks(lockFolder(tmpdir(), '')).filter((lock) => samePath(lock.configPath, settings.configPath))
  return [...own, ...shared].map((lock) => lock.pid)
}

function lockFolder(folder: string, within = 'tmp'): string {
  return join(folder, within, `openclaw-${process.getuid?.() ?? ''}`)
}

/** The gateway's locks in a folder, or those of its embedded agents. */
function readLocks(folder: string, role = 'gateway') {
  const names = (tried(() => readdirSync(folder)) ?? []).filter((name) => name.endsWith('.lock'))
  return names.flatMap((name) => {
    // One that is being rewritten at this moment (an in-process restart does that) is no JSON.
    const lock: unknown = tried(() => JSON.parse(readWhole(join(folder, name))))
    if (!isRecord(lock) || !Number.isInteger(lock.pid)) return []
    const isOfRole = lock.role === role || (role === 'gateway' && lock.role === undefined)
    if (!isOfRole || (role === 'gateway' && !name.startsWith('gateway.'))) return []
    return [{ pid: Number(lock.pid), configPath: lock.configPath, createdAt: lock.createdAt }]
  })
}

function samePath(a: unknown, b: string): boolean {
  if (typeof a !== 'string') return false
  const real = (path: string) => tried(() => realpathSync(path)) ?? path
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

/** Who listens on TCP, as far as this user may see: `127.0.0.1:18789`, `[::1]:18789`, `*:80`. */
export async function listeners(settings: Settings): Promise<{ pid: number; address: string }[]> {
  const $ = shell(settings)
  const lsof = await $`lsof -nP -iTCP -sTCP:LISTEN -Fpn`
  if (lsof.missing) {
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

export function describeProcess(one: ProcessInfo): string {
  const [program = '', ...words] = one.command.split(' ')
  const name = program.split('/').at(-1) || one.command
  const rest = words.length > 0 ? `, \`${oneLine([program, ...withoutValues(words)].join(' '), 120)}\`` : ''
  return `${name} (pid ${one.pid}${rest})`
}

/** Without the values of options: any of them may be a secret. */
function withoutValues(words: readonly string[]): string[] {
  let isValue = false
  return words.map((word) => {
    if (/^-(?:m|jar)$/.test(word) || (word.startsWith('/') && existsSync(word))) return word
    const option = /^(?:--[\w-]+|-\w)/.exec(word)?.[0]
    if (option) isValue = true
    if (option) return option === word ? word : `${option}…`
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

/** A sentence when `openclaw triage` or its embedded repair agent is at work on this gateway (docs/cli/triage). */
export async function ownTriage(settings: Settings): Promise<string | undefined> {
  const { listProcesses } = await import('../services/terminal.ts')
  const all = await listProcesses(settings)
  // The lock stays behind after a kill, and its pid is given to another process.
  const embedded = readLocks(lockFolder(settings.stateDir), 'agent-embedded').find((lock) =>
    all.some((one) => one.pid === lock.pid && /openclaw/.test(one.command)),
  )
  if (embedded) return `OpenClaw's own repair agent is at work (pid ${embedded.pid})`
  const agent = all.find((one) => {
    if (!AGENT.test(one.command)) return false
    const parent = all.find(({ pid }) => pid === one.parent)
    return (
      parent !== undefined &&
      /^openclaw(?:-triage|-update)?(?:\s|$)|\/openclaw\S*\s+(?:triage|update)\b/.test(parent.command)
    )
  })
  return agent && `OpenClaw's own triage is at work (pid ${agent.pid})`
}

const AGENT =
  /^(?:\S*\bnode\s+)?(?:\S*\/)?(?:codex|claude|pi|opencode|muse|grok|cursor-agent|kimi|qwen)(?:\.[a-z]+)?(?:\s|$)/
