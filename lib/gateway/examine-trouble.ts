/** The examination of a gateway that does not say that it is live: why it is down. */
import { join } from 'node:path'
import { gatewayService, type Service } from '../services/supervisor.ts'
import { cleanText } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { BOOT_BEGAN, CLUES, type Clue, findClue, readGatewayLogs, timeOf } from './clues.ts'
import { configSyntaxProblem, readConfig, validateConfig } from './config.ts'
import { type Base, type Examination, type ExamineOptions, FULL_DISK_MB, freeDiskMb } from './examination.ts'
import { get, type Probe, probe } from './probe.ts'
import { findGateway, impostor, isStranger, listeners, type ProcessInfo, portOwners } from './processes.ts'
import type { GatewayRecord } from './record.ts'
import type { Verdict } from './treat.ts'

/** Undefined: everything changed meanwhile; examine again. `Elsewhere`: it is up, but at another address. */
export async function examineTrouble(
  settings: Settings,
  options: ExamineOptions,
  answer: Probe,
): Promise<Examination | Elsewhere | undefined> {
  const { record } = options
  let service = await gatewayService(settings)
  let process = await findGateway(settings, service.pid, [record.pid, record.startedPid])
  if (!process && service.pid !== undefined) {
    service = await gatewayService(settings)
    process = await findGateway(settings, service.pid, [record.pid, record.startedPid])
  }
  const base = { warnings: [], portOwner: undefined, service, process, version: answer.version, graceLeftSec: 0 }
  const elsewhere = () => process && findElsewhere(settings, process, options.httpTimeoutSec * 1000)

  if (answer.kind === 'refused' || answer.kind === 'broken') {
    const found = await elsewhere()
    if (found) return found
  }
  if (answer.kind !== 'refused') {
    const owners = await portOwners(settings)
    const stranger = owners.find((owner) => owner.pid !== process?.pid && isStranger(settings, owner))
    if (stranger && !owners.some((owner) => owner.pid === process?.pid))
      return (await elsewhere()) ?? { ...base, ...impostor(settings, stranger) }
    if (!process && owners.length === 0 && answer.kind !== 'timeout') {
      // A gateway that dies under the question breaks the connection and frees the port.
      if ((await get(settings, '/health', options.httpTimeoutSec * 1000)).kind === 'refused') return undefined
      const evidence = `port ${settings.gatewayPort} belongs to a process of another user, not to the gateway (${answer.detail})`
      return { ...base, verdict: 'impostor', evidence, answersHttp: false }
    }
  }
  if (!process) return examineAbsence(settings, options, { ...base, answersHttp: false }, answer.detail)
  return examineProcess(settings, record, { ...base, process, answersHttp: answer.kind === 'other' }, answer)
}

async function examineProcess(
  settings: Settings,
  record: GatewayRecord,
  base: Base & { process: ProcessInfo },
  answer: Probe,
): Promise<Examination> {
  const { process } = base
  const seen = answer.detail
  if (answer.phase === 'draining') return { ...base, verdict: 'draining', evidence: `${seen}; /startupz says draining` }
  if (await isOldButWell(settings, answer)) {
    const evidence = '/ answers 200 from the gateway’s own process (a version without /health)'
    return { ...base, verdict: 'healthy', evidence }
  }
  const who = `process ${process.pid} has been running for ${process.ageSec} s`
  const bootedBefore = record.pid === process.pid && record.lastHealthyMs > 0
  // An in-process restart closes the port of a process that was healthy before; it may take as long as a boot.
  const restartingItself = bootedBefore && answer.kind === 'refused'
  const spentSec =
    restartingItself && record.troubleSinceMs > 0 ? (Date.now() - record.troubleSinceMs) / 1000 : process.ageSec
  const graceLeftSec = settings.startupGraceSec - (restartingItself && record.troubleSinceMs === 0 ? 0 : spentSec)
  if ((!bootedBefore || restartingItself) && graceLeftSec > 0)
    return { ...base, verdict: 'starting', evidence: `${seen}; ${who}`, graceLeftSec }
  return { ...base, verdict: 'hung', evidence: `${seen}; ${who}` }
}

/** Before 2026.3.1 there is no /health: then a 200 on / from the gateway's own process has to do. */
async function isOldButWell(settings: Settings, answer: Probe): Promise<boolean> {
  if (answer.kind !== 'other' || answer.phase !== undefined) return false
  if (answer.status !== 404 && answer.status !== 200) return false
  const root = await get(settings, '/', 5000)
  return root.kind === 'answer' && root.status === 200
}

async function examineAbsence(
  settings: Settings,
  options: ExamineOptions,
  base: Base & { service: Service },
  seen: string,
): Promise<Examination> {
  const { service } = base
  const is = (verdict: Verdict, evidence: string): Examination => ({ ...base, verdict, evidence })
  const stop = await deliberateStop(settings, service, options.record)
  if (stop) return is('stopped-on-purpose', stop)
  if (service.stopping) return is('draining', `${seen}; ${service.detail}`)

  const freeMb = freeDiskMb(settings.stateDir)
  if (freeMb !== undefined && freeMb < FULL_DISK_MB)
    return is('disk-full', `${seen}; ${freeMb} MB are left on the disk of ${settings.stateDir}`)
  const problem = await configSyntaxProblem(settings)
  if (problem) return is('misconfigured', problem)
  const unit = service.kind === 'systemd' ? service.name : undefined
  const clue = await findClue(settings, options.record.lastHealthyMs, unit)
  const cause = clue && verdictOfClue(clue, settings)
  // Validation has the last word on what it can judge: the file may be repaired by now.
  const validation = options.deep && (!cause || isForValidation(clue)) ? await validateConfig(settings) : undefined
  if (validation?.valid === false) return is('misconfigured', `openclaw config validate: ${validation.issues}`)
  if (cause && !(validation?.valid && isForValidation(clue))) return is(cause, `its log says: ${clue.line}`)
  if (service.kind === 'systemd' && service.pid === undefined && service.lastExitCode === 203)
    return is('broken-install', `203/EXEC: ${service.name} names a Node or a program that is gone; ${service.detail}`)
  if (service.restarting)
    return { ...is('starting', `${seen}; ${service.detail}`), graceLeftSec: settings.startupGraceSec }
  // 78 is the gateway's word for "starting me again will not help", also when its log could not be read.
  if (service.parked && service.lastExitCode === 78)
    return is('misconfigured', `exit 78 without a reason in its log; ${service.detail}`)
  const hint = clue ? `; its log says: ${clue.line}` : ''
  if (service.kind !== 'none' && service.kind !== 'silent' && !service.loaded)
    return is('unloaded', `${seen}; ${service.detail}${hint}`)
  if (service.parked) return is('parked', `${seen}; ${service.detail}${hint}`)
  return is('absent', `${seen}; no gateway process (${service.detail})${hint}`)
}

/** "Gateway start blocked" and "Refusing to bind" are said of configs that validation passes. */
function isForValidation(clue: Clue): boolean {
  return clue.verdict === 'misconfigured' && !/start blocked|refusing to bind/i.test(clue.line)
}

function verdictOfClue(clue: Clue, settings: Settings): Verdict | undefined {
  if (clue.verdict === 'misconfigured') {
    // A config that was edited since the log was written may have been repaired; the next boot will tell.
    const config = readConfig(settings)
    return config && config.modifiedMs > clue.loggedMs ? undefined : 'misconfigured'
  }
  if (clue.verdict === 'blocked' || clue.verdict === 'unusable-state' || clue.verdict === 'broken-install')
    return clue.verdict
  // The cause (a taken port, no memory, a full disk) is over: starting it is right.
  return undefined
}

type Elsewhere = Awaited<ReturnType<typeof askAt>>

const MAX_ADDRESSES = 12

/** Asks the process at every address at which it listens: its port may differ from `.env`'s, or it speaks TLS. */
export async function findElsewhere(
  settings: Settings,
  { pid }: ProcessInfo,
  timeoutMs: number,
): Promise<Elsewhere | undefined> {
  const addresses = (await listeningAddresses(settings, pid)).slice(0, MAX_ADDRESSES)
  return Promise.any(addresses.map((at) => askAt(settings, at, timeoutMs))).catch(() => undefined)
}

async function askAt(settings: Settings, address: string, timeoutMs: number) {
  for (const scheme of ['http', 'https']) {
    const gatewayUrl = `${scheme}://${address}/`
    if (gatewayUrl === new URL(settings.gatewayUrl).href) continue
    const there = { ...settings, gatewayUrl, gatewayPort: Number(/\d+$/.exec(address)![0]) }
    const answer = await probe(there, timeoutMs)
    if (answer.kind === 'live') return { there, answer }
    if (answer.kind !== 'broken') break
  }
  throw new Error(`no gateway at ${address}`)
}

async function listeningAddresses(settings: Settings, pid: number): Promise<string[]> {
  const own = (await listeners(settings)).filter((one) => one.pid === pid)
  const local = own.map(({ address }) =>
    address.replace(/^(?:\*|0\.0\.0\.0):/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:'),
  )
  return [...new Set(local)].filter((address) => /^(?:[\d.]+|\[[\da-f:.]+\]):\d+$/i.test(address))
}

/** OpenClaw waits 30 s for launchd to let go of the job (2026.9.6). */
const STILL_STOPPING_MS = 60_000

/** How it was stopped on purpose, and not started since: by the line of `openclaw gateway stop`, or by its supervisor. */
async function deliberateStop(
  settings: Settings,
  service: Service,
  record: GatewayRecord,
): Promise<string | undefined> {
  const last = lastStop(settings)
  // A gateway that was seen healthy after that stop was started again in some other way.
  const stop = last && last.ms >= record.lastHealthyMs - 5000 && service.pid === undefined ? last : undefined
  const stopped = stop && `\`openclaw gateway stop\` was run at ${stop.at}`
  if (service.stopped) return stopped ?? `it was stopped (${service.detail})`
  if (!stop) return undefined
  if (service.kind === 'none' || service.kind === 'silent')
    return (await hasBootedSince(settings, stop.ms)) ? undefined : stopped
  const isUnloadedJob = service.kind === 'launchd' && !service.loaded
  const sinceMs = Date.now() - stop.ms
  const isStillStopping = sinceMs >= 0 && sinceMs < STILL_STOPPING_MS
  return isUnloadedJob || isStillStopping ? stopped : undefined
}

function lastStop(settings: Settings): { at: string; ms: number } | undefined {
  const log = readTail(join(settings.stateDir, 'logs', 'gateway-restart.log'), 64 * 1024)
  const lines = log.split('\n').filter((line) => line.includes('openclaw gateway lifecycle'))
  const last = /^\[([^\]]+)\].* action=([a-z-]+)/.exec(lines.at(-1) ?? '')
  const ms = Date.parse(last?.[1] ?? '')
  return last?.[2] === 'stop' && !Number.isNaN(ms) ? { at: last[1]!, ms } : undefined
}

const BOOT_FAILED = /Gateway start blocked|Gateway failed to start/

const isBooting = (line: string) => BOOT_BEGAN.test(line) || BOOT_FAILED.test(line)

/** The last line of one that was stopped; it has 5 s for its end (2026.9.6). */
const SHUT_DOWN = /\[shutdown\] completed\b/
const LONGEST_END_MS = 15_000

/** True when its logs show a start after `stopMs`, below the last line of the one that was stopped. */
async function hasBootedSince(settings: Settings, stopMs: number): Promise<boolean> {
  const logs = await readGatewayLogs(settings, stopMs, undefined)
  return logs.some(({ text, loggedMs }) => {
    const lines = cleanText(text)
      .split('\n')
      .filter((line) => line.trim() !== '')
    for (let i = lines.length - 1; i >= 0; i--) {
      const ms = timeOf(lines[i]!)
      if (SHUT_DOWN.test(lines[i]!)) {
        const below = lines.slice(i + 1)
        const says = (line: string) => isBooting(line) || CLUES.some(({ pattern }) => pattern.test(line))
        return below.some(says) || (below.length > 0 && ms !== undefined && loggedMs - ms > LONGEST_END_MS)
      }
      if (ms === undefined) continue
      if (ms < stopMs) return false
      if (isBooting(lines[i]!)) return true
    }
    return false
  })
}
