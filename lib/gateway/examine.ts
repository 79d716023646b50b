/**
 * The examination: one verdict about the gateway, with its evidence. Nothing is changed here and nothing is waited
 * for; the healthy path costs three HTTP requests and one `ps`.
 */
import { join } from 'node:path'
import { gatewayService, type Service } from '../services/supervisor.ts'
import { oneLine } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { type Clue, findClue } from './clues.ts'
import { configSyntaxProblem, readConfig, validateConfig } from './config.ts'
import { FULL_DISK_MB, freeDiskMb, LOW_DISK_MB } from './disk.ts'
import { get, type Probe, probe } from './probe.ts'
import {
  describeProcess,
  findGateway,
  isGatewayCommand,
  type ProcessInfo,
  portOwners,
  processInfo,
} from './processes.ts'
import type { PatientRecord } from './record.ts'

export type Verdict =
  /** It says that it is the gateway and that it is live. */
  | 'healthy'
  /** Its process is there and still has time to come up. */
  | 'starting'
  /** It finishes its work before a restart or a stop. */
  | 'draining'
  /** Its process is there and does not answer as it should. */
  | 'hung'
  /** No process, no known reason. */
  | 'absent'
  /** Its job is not loaded. */
  | 'unloaded'
  /** Its supervisor gave up starting it. */
  | 'parked'
  /** Its config keeps it from starting. */
  | 'misconfigured'
  /** Somebody else has its port. */
  | 'impostor'
  /** It is up, but is not the process that its supervisor has. */
  | 'orphan'
  /** Its package or its Node is damaged. */
  | 'broken-install'
  /** It refuses to start: a secret is missing. */
  | 'blocked'
  /** It refuses to start: its database is newer than it, or damaged. */
  | 'unusable-state'
  /** It is down and there is no room to start it. */
  | 'disk-full'
  /** Somebody stopped it deliberately. */
  | 'stopped-on-purpose'

export interface Examination {
  verdict: Verdict
  /** One line: what was seen. */
  evidence: string
  /** Things that are wrong with a gateway that is up: worth a warning, never a restart. */
  warnings: string[]
  process: ProcessInfo | undefined
  /** Who listens on the port, when that was asked and is not the gateway. */
  portOwner: ProcessInfo | undefined
  /** Undefined when there was no need to ask the supervisor. */
  service: Service | undefined
  /** The running gateway's version, if it told. */
  version: string | undefined
  /** The gateway process answers HTTP, so its event loop turns and it would notice a signal. */
  answersHttp: boolean
  /** For `starting`: how long it may still take, in seconds. */
  graceLeftSec: number
  /** What its log says why it went down, when that is no verdict of its own. */
  cause?: Clue['verdict']
}

export interface ExamineOptions {
  httpTimeoutSec: number
  /** What is remembered of earlier sightings. */
  record: PatientRecord
  /** Also ask `openclaw config validate` when the gateway is down (seconds; Level 2 and 3). */
  deep: boolean
  nowMs?: number
}

export const isUp = (verdict: Verdict): boolean => verdict === 'healthy' || verdict === 'orphan'

/** Examines the gateway. Throws only what no caller could handle (a bug). */
export async function examine(settings: Settings, options: ExamineOptions): Promise<Examination> {
  const nowMs = options.nowMs ?? Date.now()
  const answer = await probe(settings, options.httpTimeoutSec * 1000)
  if (answer.kind === 'live') return examineLive(settings, options.record, answer)
  return (await examineTrouble(settings, options, nowMs, answer)) ?? examine(settings, { ...options, nowMs })
}

/** Undefined: everything changed while it was looked at, so that only a new look can tell. */
async function examineTrouble(
  settings: Settings,
  options: ExamineOptions,
  nowMs: number,
  answer: Probe,
): Promise<Examination | undefined> {
  const service = await gatewayService(settings)
  const process = await findGateway(settings, service.pid, [options.record.pid, options.record.startedPid])
  const base = { warnings: [], portOwner: undefined, service, process, version: answer.version, graceLeftSec: 0 }

  if (answer.kind !== 'refused') {
    const owners = await portOwners(settings)
    const stranger = owners.find((owner) => owner.pid !== process?.pid && !isGatewayCommand(owner.command))
    if (stranger && !owners.some((owner) => owner.pid === process?.pid)) {
      const evidence = `port ${settings.gatewayPort} belongs to ${describeProcess(stranger)}, not to the gateway`
      return { ...base, verdict: 'impostor', evidence, portOwner: stranger, answersHttp: false }
    }
    if (!process && owners.length === 0 && answer.kind !== 'timeout') {
      // A gateway that dies under the question breaks the connection; then nobody has the port any more.
      if ((await get(settings, '/health', options.httpTimeoutSec * 1000)).kind === 'refused') return undefined
      const evidence = `port ${settings.gatewayPort} belongs to a process of another user, not to the gateway (${answer.detail})`
      return { ...base, verdict: 'impostor', evidence, answersHttp: false }
    }
  }
  const answersHttp = answer.kind === 'other'
  const seen = answer.detail
  if (process) return examineProcess(settings, options.record, nowMs, answer, { ...base, process, answersHttp }, seen)
  return examineAbsence(settings, options, service, { ...base, answersHttp: false }, seen)
}

type Base = Omit<Examination, 'verdict' | 'evidence'>

/** It says that it is live: is it ready, is it the right one, does anything deserve a warning? */
async function examineLive(settings: Settings, record: PatientRecord, answer: Probe): Promise<Examination> {
  // The process that was healthy at the last tick is known; only a new one is looked for (lsof, supervisor: 4 forks).
  const [same] = record.pid === undefined ? [] : await processInfo(settings, [record.pid])
  const known = same && isGatewayCommand(same.command) ? same : undefined
  const service = known ? undefined : await gatewayService(settings)
  const process = known ?? (await liveProcess(settings, service?.pid))
  const base: Base = {
    warnings: await warningsOf(settings, answer, process, record),
    portOwner: undefined,
    service,
    process,
    version: answer.version,
    answersHttp: true,
    graceLeftSec: 0,
  }
  if (answer.phase === 'draining')
    return { ...base, verdict: 'draining', evidence: '/startupz says draining: it finishes its work' }
  if (answer.phase === 'starting') {
    const graceLeftSec = settings.startupGraceSec - (process?.ageSec ?? 0)
    if (graceLeftSec > 0 || record.pid === process?.pid)
      return {
        ...base,
        verdict: 'starting',
        evidence: '/startupz says starting',
        graceLeftSec: Math.max(graceLeftSec, 10),
      }
  }
  if (service?.loaded && process && service.pid !== process.pid && service.pid !== process.parentPid)
    return {
      ...base,
      verdict: 'orphan',
      evidence: `the gateway answers, but as ${describeProcess(process)}, which is not what ${service.name} supervises (${service.detail})`,
    }
  return { ...base, verdict: 'healthy', evidence: answer.detail }
}

/** The process behind a port that answers as the gateway. */
async function liveProcess(settings: Settings, supervisedPid: number | undefined): Promise<ProcessInfo | undefined> {
  const owners = await portOwners(settings)
  return (
    owners.find((owner) => owner.pid === supervisedPid) ??
    owners.find((owner) => isGatewayCommand(owner.command)) ??
    (await findGateway(settings, supervisedPid, []))
  )
}

/** What is wrong with a gateway that is up. None of these is helped by a restart. */
async function warningsOf(
  settings: Settings,
  answer: Probe,
  process: ProcessInfo | undefined,
  record: PatientRecord,
): Promise<string[]> {
  const warnings: string[] = []
  if (answer.suppressed.length > 0)
    warnings.push(`safe mode: channels suppressed after unclean starts (${oneLine(answer.suppressed.join(', '), 120)})`)
  if (answer.failing.length > 0)
    warnings.push(`not ready: ${oneLine(answer.failing.join(', '), 120)} (the gateway itself is live)`)
  const config = readConfig(settings)
  // A config that is unreadable now will keep the gateway down at its next start; it runs on the old one meanwhile.
  if (!config || config.hash !== record.configHash) {
    const problem = await configSyntaxProblem(settings)
    if (problem)
      warnings.push(`the config was broken while the gateway runs: ${problem}; it would not survive a restart`)
  }
  const freeMb = freeDiskMb(settings.stateDir)
  if (freeMb !== undefined && freeMb < LOW_DISK_MB)
    warnings.push(`the disk of ${settings.stateDir} is nearly full: ${freeMb} MB left`)
  if (process === undefined) warnings.push('its process was not found; memory cannot be watched')
  return warnings
}

/** Its process lives, but it is not live: starting, or hung. */
async function examineProcess(
  settings: Settings,
  record: PatientRecord,
  nowMs: number,
  answer: Probe,
  base: Base & { process: ProcessInfo },
  seen: string,
): Promise<Examination> {
  const { process } = base
  if (answer.phase === 'draining') return { ...base, verdict: 'draining', evidence: `${seen}; /startupz says draining` }
  if (await isOldButWell(settings, answer)) {
    return {
      ...base,
      verdict: 'healthy',
      evidence: '/ answers 200 from the gateway’s own process (a version without /health)',
    }
  }
  const who = `process ${process.pid} lives since ${process.ageSec} s`
  const bootedBefore = record.pid === process.pid && record.lastHealthyMs > 0
  // An in-process restart closes the port of a process that was healthy before; it gets the same time as a boot,
  // counted from the first sighting. A process that holds its port and does not answer is not restarting itself.
  const restartingItself = bootedBefore && answer.kind === 'refused'
  const spentSec =
    restartingItself && record.troubleSinceMs > 0 ? (nowMs - record.troubleSinceMs) / 1000 : process.ageSec
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

/** No process: why? */
async function examineAbsence(
  settings: Settings,
  options: ExamineOptions,
  service: Service,
  base: Base,
  seen: string,
): Promise<Examination> {
  const is = (verdict: Verdict, evidence: string): Examination => ({ ...base, verdict, evidence })
  const stop = deliberateStop(settings, service, options.record)
  if (stop) return is('stopped-on-purpose', stop)
  if (service.stopping) return is('draining', `${seen}; ${service.detail}`)

  const freeMb = freeDiskMb(settings.stateDir)
  if (freeMb !== undefined && freeMb < FULL_DISK_MB)
    return is('disk-full', `${seen}; ${freeMb} MB are left on the disk of ${settings.stateDir}`)
  const problem = await configSyntaxProblem(settings)
  if (problem) return is('misconfigured', problem)
  const clue = await findClue(
    settings,
    options.record.lastHealthyMs,
    service.kind === 'systemd' ? service.name : undefined,
  )
  const told = clue && verdictOfClue(clue, settings)
  // Validation, where there is time for it, has the last word on what it can judge: the file may be repaired by now.
  const validation = options.deep && (!told || isForValidation(clue)) ? await validateConfig(settings) : undefined
  if (validation?.valid === false) return is('misconfigured', `openclaw config validate: ${validation.issues}`)
  if (told && !(validation?.valid && isForValidation(clue))) return is(told, `its log says: ${clue.line}`)
  // The supervisor is at it already: leave it the time that a boot may take.
  if (service.restarting)
    return { ...is('starting', `${seen}; ${service.detail}`), graceLeftSec: settings.startupGraceSec }
  // 78 is the gateway's word for "starting me again will not help", also when its log could not be read.
  if (service.parked && service.lastExitCode === 78)
    return is('misconfigured', `exit 78 without a reason in its log; ${service.detail}`)
  const hint = clue ? `; its log says: ${clue.line}` : ''
  base.cause = clue?.verdict
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
  // The port was taken and is free now, memory ran out, the disk was full and has room again: starting it is right.
  return undefined
}

/**
 * Somebody stopped it: `openclaw gateway stop` is launchd's bootout, and the CLI's lifecycle log says so; under systemd
 * a unit with Restart=always that is inactive without a failure was stopped. Undefined when there is no such sign.
 */
function deliberateStop(settings: Settings, service: Service, record: PatientRecord): string | undefined {
  const log = readTail(join(settings.stateDir, 'logs', 'gateway-restart.log'), 64 * 1024)
  const lines = log.split('\n').filter((line) => line.includes('openclaw gateway lifecycle'))
  const last = /^\[([^\]]+)\].* action=([a-z-]+)/.exec(lines.at(-1) ?? '')
  if (last?.[2] === 'stop') {
    const stoppedMs = Date.parse(last[1]!)
    // A gateway that was seen healthy after that stop was started again in some other way.
    if (stoppedMs >= record.lastHealthyMs - 5000 && service.pid === undefined)
      return `somebody ran \`openclaw gateway stop\` at ${last[1]}`
  }
  if (service.stopped) return `somebody stopped it (${service.detail})`
  return undefined
}
