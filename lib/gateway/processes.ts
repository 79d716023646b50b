/** Which process is this gateway, and who owns its port. */
import { existsSync, lstatSync, readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ProcessInfo } from '../services/terminal.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, namesIn, readWhole, tried } from '../tier/state.ts'

export type { ProcessInfo }

const processTable = () => import('../services/terminal.ts')

/** The processes that are alive; one that is dead and not yet reaped (state Z) is not. */
export async function processInfo(settings: Settings, pids: readonly number[]): Promise<ProcessInfo[]> {
  if (pids.length === 0) return []
  const isThere = existsSync('/proc/self/status')
  return (
    (isThere ? tried(() => pids.flatMap(readProcess)) : undefined) ??
    (await processTable()).listProcesses(settings, pids)
  )
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
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').slice(0, 2000).replace(/\0+/g, ' ').trim()
  const [parentPid, memoryMb] = [Number(field('PPid')), Math.round(Number(field('VmRSS') ?? 0) / 1024)]
  return [{ pid, parentPid, memoryMb, ageSec, command: words || `[${field('Name')}]` }]
}

/** True for a gateway's command line: its title (2026.9.6), or Node with OpenClaw's program and the command `gateway`. What
 * only carries such words (ssh, docker exec, sudo, an editor) is none. It never tells *whose* gateway it is. */
export function isGatewayCommand(command: string): boolean {
  const line = command.trim()
  if (/^\(?openclaw(?:-gateway)?\)?$/.test(line)) return true
  const words = programOf(line)
  if (!words) return false
  const [program, ...args] = words
  const rest = /^(?:node|bun)/.test(program!) ? afterOptions(args, NODE_OPTION_WITH_VALUE) : [program!, ...args]
  if (!OPENCLAW_PROGRAM.test(rest[0] ?? '')) return false
  const [subcommand, next = ''] = afterOptions(rest.slice(1), /^--?[a-z][\w-]*$/)
  return subcommand === 'gateway' && /^(?:$|-|run$)/.test(next)
}

const OPENCLAW_PROGRAM =
  /^(?:.*\/)?(?:openclaw(?:\.m?js)?|openclaw[\w@.+-]*\/(?:.*\/)?[\w-]+\.m?js|dist\/(?:index|entry)\.m?js)$/
const NODE_OPTION_WITH_VALUE = /^(?:-r|-C|--require|--import|--loader|--conditions|--env-file|--title)$/

/** The program without its folder, and its arguments; a folder may hold blanks. */
function programOf(line: string): string[] | undefined {
  const words = line.split(/\s+/)
  for (let end = 1; end <= Math.min(words.length, 6); end++) {
    const path = words.slice(0, end).join(' ')
    const name = path.slice(path.lastIndexOf('/') + 1)
    const isProgram = /^(?:node(?:js)?-?\d*|bun|openclaw(?:\.m?js)?)$/.test(name)
    if (isProgram && (end === 1 || existsSync(path))) return [name, ...words.slice(end)]
  }
  return undefined
}

function afterOptions(args: readonly string[], withValue: RegExp): string[] {
  let i = 0
  while (args[i]?.startsWith('-')) i += withValue.test(args[i]!) && !/^(?:-|gateway$)/.test(args[i + 1] ?? '-') ? 2 : 1
  return args.slice(i)
}

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
  const others = namesIn(settings.home)
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
  // In /tmp anyone may have made that folder first.
  const folder = lockFolder(tmpdir(), '')
  const locks = tried(() => lstatSync(folder).uid) === process.getuid?.() ? readLocks(folder) : []
  const shared = locks.filter((lock) => samePath(lock.configPath, settings.configPath))
  return [...own, ...shared].map((lock) => lock.pid)
}

function lockFolder(folder: string, within = 'tmp'): string {
  return join(folder, within, `openclaw-${process.getuid?.() ?? ''}`)
}

/** The gateway's locks in a folder, or those of its embedded agents. */
function readLocks(folder: string, role = 'gateway') {
  return namesIn(folder).flatMap((name) => {
    // One that is being rewritten at this moment (an in-process restart does that) is no JSON.
    const lock: unknown = tried(() => JSON.parse(readWhole(join(folder, name))))
    if (!isRecord(lock) || !Number.isInteger(lock.pid)) return []
    const isOfRole = lock.role === role || (role === 'gateway' && lock.role === undefined)
    if (!isOfRole || !(role === 'gateway' ? /^gateway\.(?:.*\.)?lock$/ : /\.lock$/).test(name)) return []
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
  const own = [gateway?.pid, supervised, ...owners.map((owner) => owner.pid)]
  const { lineage } = await processTable()
  return (await lineage(settings, pid)).some((one) => own.includes(one.pid))
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

/** A phrase when OpenClaw's own updater, triage or repair agent is at work on this gateway (docs/cli/triage), as this account or as root. */
export async function openclawAtWork(settings: Settings): Promise<string | undefined> {
  const { listProcesses } = await processTable()
  const all = (await listProcesses(settings)).filter(
    ({ pid, uid }) => [0, process.getuid?.()].includes(uid) && isOfHome(settings, pid),
  )
  const updater = all.find(({ command }) => UPDATER.test(command))
  if (updater) return `an update of OpenClaw is at work (pid ${updater.pid})`
  // The lock stays behind after a kill, and its pid is given to another process.
  const embedded = readLocks(lockFolder(settings.stateDir), 'agent-embedded').find((lock) =>
    all.some((one) => one.pid === lock.pid && /openclaw/.test(one.command)),
  )
  if (embedded) return `OpenClaw's own repair agent is at work (pid ${embedded.pid})`
  const parentOf = ({ parentPid }: ProcessInfo) => all.find(({ pid }) => pid === parentPid)?.command ?? ''
  const triage = all.find(
    (one) => TRIAGE.test(one.command) || (AGENT.test(one.command) && /^openclaw(?:\s|$)/.test(parentOf(one))),
  )
  return triage && `OpenClaw's own triage is at work (pid ${triage.pid})`
}

/** Where Linux tells: a process with another HOME belongs to another installation. */
function isOfHome({ home }: Settings, pid: number): boolean {
  const environment = tried(() => readFileSync(`/proc/${pid}/environ`, 'utf8'))
  const its = environment && /(?:^|\0)HOME=([^\0]*)/.exec(environment)?.[1]
  const hasEnded = environment === '' || (process.platform === 'linux' && !existsSync(`/proc/${pid}`))
  return !hasEnded && (!its || samePath(its, home))
}

const UPDATER =
  /^openclaw-update\b|\/openclaw-update-run-handoff-\S*\/handoff\.cjs|^(?:\S*\/)?(?:node|bun)\d* \S*openclaw\S* (?:--\S+ )*update\b|^(?:\S*\/)?(?:node \S*\/)?(?:npm|pnpm|yarn|bun)(?:-cli\.js)? (?:.* )?(?:i|install|add|up|update|upgrade) (?:.* )?openclaw(?:@\S*)?(?: |$)/
const TRIAGE = /^openclaw-triage(?:\s|$)|\/openclaw\S*\s+triage\b/

const AGENT =
  /^(?:\S*\bnode\s+)?(?:\S*\/)?(?:codex|claude|pi|opencode|muse|grok|cursor-agent|kimi|qwen)(?:\.[a-z]+)?(?:\s|$)/
