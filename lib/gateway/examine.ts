/** One verdict about the gateway, with its evidence. Changes nothing, waits for nothing; healthy costs three requests. */
import type { Service } from '../services/supervisor.ts'
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { configSyntaxProblem, readConfig } from './config.ts'
import { freeDiskMb, LOW_DISK_MB } from './disk.ts'
import { type Base, type Examination, type ExamineOptions, type Verdict, WARNING } from './examination.ts'
import { type Probe, probe } from './probe.ts'
import {
  describeProcess,
  findGateway,
  impostor,
  isGatewayCommand,
  isOthersGateway,
  type ProcessInfo,
  portOwners,
  processInfo,
} from './processes.ts'
import type { PatientRecord } from './record.ts'

export type { Examination, ExamineOptions, Verdict } from './examination.ts'

export const isUp = (verdict: Verdict): boolean => verdict === 'healthy' || verdict === 'orphan'

export async function examine(settings: Settings, options: ExamineOptions): Promise<Examination> {
  const nowMs = options.nowMs ?? Date.now()
  const answer = await probe(settings, options.httpTimeoutSec * 1000)
  if (answer.kind === 'live') return examineLive(settings, options.record, nowMs, answer)
  const { examineTrouble } = await import('./examine-trouble.ts')
  const seen = await examineTrouble(settings, options, nowMs, answer)
  if (seen === undefined) return examine(settings, { ...options, nowMs })
  if ('verdict' in seen) return seen
  const found = await examineLive(seen.there, options.record, nowMs, seen.answer)
  const mismatch = `it answers at ${seen.there.gatewayUrl}, but ${settings.gatewayUrl} is asked: OPENCLAW_GATEWAY_URL (or OPENCLAW_GATEWAY_PORT) should say so`
  return { ...found, warnings: [...found.warnings, mismatch] }
}

async function examineLive(
  settings: Settings,
  record: PatientRecord,
  nowMs: number,
  answer: Probe,
): Promise<Examination> {
  const [same] = record.pid === undefined ? [] : await processInfo(settings, [record.pid])
  const known = same && isGatewayCommand(same.command) ? same : undefined
  const service = known ? undefined : await askSupervisor(settings)
  const { process, stranger } = known ? { process: known } : await liveProcess(settings, service?.pid)
  const base: Base = {
    warnings: await warningsOf(settings, answer, process, record),
    portOwner: undefined,
    service,
    process,
    version: answer.version,
    answersHttp: true,
    graceLeftSec: 0,
  }
  if (stranger) return { ...base, ...impostor(settings, stranger), warnings: [] }
  if (answer.phase === 'draining')
    return { ...base, verdict: 'draining', evidence: '/startupz says draining: it finishes its work' }
  if (answer.phase === 'starting') {
    // An in-process restart gets the same time as a boot, counted from the first sighting.
    const restartedSec = record.troubleSinceMs > 0 ? (nowMs - record.troubleSinceMs) / 1000 : 0
    const spentSec = known ? restartedSec : (process?.ageSec ?? 0)
    const graceLeftSec = settings.startupGraceSec - spentSec
    if (graceLeftSec > 0) return { ...base, verdict: 'starting', evidence: '/startupz says starting', graceLeftSec }
    // It serves; what it still waits for (a channel, a sidecar) no restart would bring.
    base.warnings.push(`${WARNING.stillStarting}, for more than ${settings.startupGraceSec} s`)
  }
  if (service?.loaded && process && service.pid !== process.pid && service.pid !== process.parentPid)
    return {
      ...base,
      verdict: 'orphan',
      evidence: `the gateway answers, but as ${describeProcess(process)}, which is not what ${service.name} supervises (${service.detail})`,
    }
  return { ...base, verdict: 'healthy', evidence: answer.detail }
}

async function askSupervisor(settings: Settings): Promise<Service> {
  const { gatewayService } = await import('../services/supervisor.ts')
  return gatewayService(settings)
}

/** The process behind a port that answers as a gateway, and the one that has the port if that is another profile's. */
async function liveProcess(
  settings: Settings,
  supervisedPid: number | undefined,
): Promise<{ process: ProcessInfo | undefined; stranger?: ProcessInfo }> {
  const owners = await portOwners(settings)
  const gateways = owners.filter((owner) => isGatewayCommand(owner.command))
  const process =
    owners.find((owner) => owner.pid === supervisedPid) ?? gateways.find((owner) => !isOthersGateway(settings, owner))
  if (process) return { process }
  return { process: await findGateway(settings, supervisedPid, []), stranger: gateways[0] }
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
    if (problem) warnings.push(`${WARNING.brokenConfig}: ${problem}; it would not survive a restart`)
  }
  const freeMb = freeDiskMb(settings.stateDir)
  if (freeMb !== undefined && freeMb < LOW_DISK_MB)
    warnings.push(`the disk of ${settings.stateDir} is nearly full: ${freeMb} MB left`)
  if (process === undefined) warnings.push('its process was not found; memory cannot be watched')
  return warnings
}
