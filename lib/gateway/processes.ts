/** Which process is this gateway, and who owns its port. */
import { existsSync, lstatSync, readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { oneLine } from '../tier/contract.ts'
import { lineage, listeners, listProcesses, type ProcessInfo } from '../tier/process-table.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord, namesIn, readWhole, tried } from '../tier/state.ts'

export type { ProcessInfo }

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
  const alive = await listProcesses(settings, [...new Set(known)])
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
  return (await lineage(settings, pid)).some((one) => own.includes(one.pid))
}

const onItsPort = async (settings: Settings) =>
  (await listeners(settings)).filter(({ address }) => address.endsWith(`:${settings.gatewayPort}`))

/** Who listens on the gateway's port; empty when it is free, or its owner is not shown. */
export async function portOwners(settings: Settings): Promise<ProcessInfo[]> {
  const pids = (await onItsPort(settings)).flatMap(({ pid }) => pid ?? [])
  return listProcesses(settings, [...new Set(pids)])
}

/** In words, who has the gateway's port when something answers there and no owner is shown. */
export async function hiddenOwner(settings: Settings): Promise<string> {
  const uid = (await onItsPort(settings)).find(({ pid }) => pid === undefined)?.uid
  // root is shown every process but those of other containers.
  const isOthers = uid !== undefined && ![0, uid].includes(process.getuid!())
  return isOthers
    ? `a process of another user (uid ${uid})`
    : 'something that is not shown here (another user, a container, a forwarded port)'
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
