/** One verdict about the gateway, with its evidence. Changes nothing, waits for nothing; healthy costs three requests. */
import { oneLine } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { configSyntaxProblem, readConfig } from './config.ts'
import type { Base, Examination, ExamineOptions, Verdict, Warning } from './examination.ts'
import { freeDiskMb, LOW_DISK_MB } from './examination.ts'
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
import type { GatewayRecord } from './record.ts'

export type { Examination, ExamineOptions, Verdict } from './examination.ts'

export const isUp = (verdict: Verdict): boolean => verdict === 'healthy' || verdict === 'orphan'

export async function examine(settings: Settings, options: ExamineOptions): Promise<Examination> {
  const answer = await probe(settings, options.httpTimeoutSec * 1000)
  if (answer.kind === 'live') return examineLive(settings, options.record, answer)
  const { examineTrouble } = await import('./examine-trouble.ts')
  const seen = await examineTrouble(settings, options, answer)
  if (seen === undefined) return examine(settings, options)
  if ('verdict' in seen) return seen
  const found = await examineLive(seen.there, options.record, seen.answer)
  const mismatch = `it answers at ${seen.there.gatewayUrl}, but ${settings.gatewayUrl} is asked: OPENCLAW_GATEWAY_URL (or OPENCLAW_GATEWAY_PORT) should say so`
  return { ...found, warnings: [...found.warnings, { kind: 'other-address', text: mismatch }] }
}

async function examineLive(settings: Settings, record: GatewayRecord, answer: Probe): Promise<Examination> {
  const [same] = record.pid === undefined ? [] : await processInfo(settings, [record.pid])
  const known = same && isGatewayCommand(same.command) ? same : undefined
  const service = known ? undefined : await (await import('../services/supervisor.ts')).gatewayService(settings)
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
    // An in-process restart gets the same time as a boot, counted from the first check that saw it.
    const restartedSec = record.troubleSinceMs > 0 ? (Date.now() - record.troubleSinceMs) / 1000 : 0
    const spentSec = known ? restartedSec : (process?.ageSec ?? 0)
    const graceLeftSec = settings.startupGraceSec - spentSec
    if (graceLeftSec > 0) return { ...base, verdict: 'starting', evidence: '/startupz says starting', graceLeftSec }
    // It serves; a restart would not bring what it still waits for (a channel, a sidecar).
    const text = `/startupz still says starting, for more than ${settings.startupGraceSec} s`
    base.warnings.push({ kind: 'still-starting', text })
  }
  if (service?.loaded && process && service.pid !== process.pid && service.pid !== process.parentPid)
    return {
      ...base,
      verdict: 'orphan',
      evidence: `the gateway answers, but as ${describeProcess(process)}, which is not what ${service.name} supervises (${service.detail})`,
    }
  return { ...base, verdict: 'healthy', evidence: answer.detail }
}

/** The process behind a port that answers as a gateway, and the one that has the port if that is another profile's. */
async function liveProcess(settings: Settings, supervisedPid: number | undefined) {
  const owners = await portOwners(settings)
  const gateways = owners.filter((owner) => isGatewayCommand(owner.command))
  const process =
    owners.find((owner) => owner.pid === supervisedPid) ?? gateways.find((owner) => !isOthersGateway(settings, owner))
  if (process) return { process }
  return { process: await findGateway(settings, supervisedPid, []), stranger: gateways[0] }
}

async function warningsOf(
  settings: Settings,
  { suppressed, failing }: Probe,
  process: ProcessInfo | undefined,
  record: GatewayRecord,
): Promise<Warning[]> {
  const warnings: Warning[] = []
  const warn = (kind: Warning['kind'], text: string) => warnings.push({ kind, text })
  const listed = (names: string[]) => oneLine(names.join(', '), 120)
  if (suppressed.length > 0)
    warn('safe-mode', `safe mode: channels suppressed after unclean starts (${listed(suppressed)})`)
  if (failing.length > 0) warn('not-ready', `not ready: ${listed(failing)} (the gateway itself is live)`)
  // The gateway goes on with the config that it has read; at its next start a broken one keeps it down.
  if (readConfig(settings)?.hash !== record.configHash || record.configHash === undefined) {
    const problem = await configSyntaxProblem(settings)
    if (problem)
      warn('broken-config', `the config was broken while the gateway runs: ${problem}; it would not survive a restart`)
  }
  const freeMb = freeDiskMb(settings.stateDir)
  if (freeMb !== undefined && freeMb < LOW_DISK_MB)
    warn('low-disk', `the disk of ${settings.stateDir} is nearly full: ${freeMb} MB left`)
  if (process === undefined) warn('no-process', 'its process was not found; memory cannot be watched')
  return warnings
}
