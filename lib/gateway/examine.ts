/** One verdict about the gateway, with its evidence. Changes nothing, waits for nothing; healthy costs three requests. */
import { oneLine } from '../tier/contract.ts'
import { lineage, listProcesses } from '../tier/process-table.ts'
import type { Settings } from '../tier/settings.ts'
import { configSyntaxProblem, editingSec, readConfig, validateConfig } from './config.ts'
import type { Verdict, Warning } from './judge.ts'
import { type Evidence, type Examination, type ExamineOptions, freeDiskMb, judge, LOW_DISK_MB } from './judge.ts'
import { type Probe, probe } from './probe.ts'
import { findGateway, isGatewayCommand, isOthersGateway, portOwners } from './processes.ts'
import { countDeaths, deathsWithin, type GatewayRecord, troubleSecOf } from './record.ts'

export type { Examination, ExamineOptions, Verdict, Warning } from './judge.ts'

export const isUp = (verdict: Verdict): boolean => verdict === 'healthy' || verdict === 'orphan'

export async function examine(settings: Settings, options: ExamineOptions): Promise<Examination> {
  const answer = await probe(settings, options.httpTimeoutSec * 1000)
  if (answer.kind === 'live') return conclude(settings, options, await gatherLive(settings, options.record, answer))
  const { gatherTrouble } = await import('./trouble.ts')
  const seen = await gatherTrouble(settings, options, answer)
  if (seen === 'changed meanwhile') return examine(settings, options)
  if (!('there' in seen)) return conclude(settings, options, seen)
  const { there } = seen
  const found = await conclude(there, options, await gatherLive(there, options.record, seen.answer))
  const mismatch = `it answers at ${there.gatewayUrl}, but ${settings.gatewayUrl} is asked: OPENCLAW_GATEWAY_URL (or OPENCLAW_GATEWAY_PORT) should say so`
  return { ...found, warnings: [...found.warnings, { kind: 'other-address', text: mismatch }] }
}

async function conclude(settings: Settings, { record }: ExamineOptions, seen: Evidence): Promise<Examination> {
  const { answer, process, service, portOwner } = seen
  const judgement = judge(seen, settings)
  const isServing = answer.kind === 'live' && !portOwner
  return {
    ...judgement,
    warnings: isServing ? await warningsOf(settings, seen, judgement.verdict, record) : [],
    process,
    portOwner: typeof portOwner === 'object' ? portOwner : undefined,
    service,
    version: answer.version,
    wasHealthy: seen.wasHealthy,
    lastWords: (seen.down?.words ?? seen.wordsBefore)?.text,
    mayPass: seen.down?.words?.reason?.mayPass,
    answersHttp: isServing || (answer.kind === 'other' && process !== undefined),
  }
}

async function gatherLive(settings: Settings, record: GatewayRecord, answer: Probe): Promise<Evidence> {
  const [same] = record.pid === undefined ? [] : await listProcesses(settings, [record.pid])
  const known = same && isGatewayCommand(same.command) ? same : undefined
  const found = known ? { process: known, service: undefined } : await liveProcess(settings)
  return { answer, ...found, wasHealthy: known !== undefined, troubleSec: troubleSecOf(record), recentDeaths: 0 }
}

/** The process behind a port that answers as a gateway, and the one that has the port if that is another profile's. */
async function liveProcess(settings: Settings) {
  const { gatewayService } = await import('../services/supervisor.ts')
  const service = await gatewayService(settings)
  const owners = await portOwners(settings)
  const gateways = owners.filter((owner) => isGatewayCommand(owner.command))
  const owner = owners.find(({ pid }) => pid === service.pid) ?? gateways.find((one) => !isOthersGateway(settings, one))
  const process = owner ?? (await findGateway(settings, service.pid, []))
  // A wrapper's child, at whatever depth, is what is supervised.
  const line = process && service.pid !== undefined ? await lineage(settings, process.pid) : []
  const isWithin = line.some(({ pid }) => pid === service.pid)
  return {
    process,
    service: isWithin ? { ...service, pid: process?.pid } : service,
    ...(!owner && { portOwner: gateways[0] }),
  }
}

/** Why the gateway would refuse a config that was changed while it runs. OpenClaw is asked once for each text, which takes seconds;
 * while it gives no verdict, again and again for a quarter of an hour. */
async function configWarning(settings: Settings, record: GatewayRecord): Promise<Warning | undefined> {
  const { hash, placedMs = 0 } = readConfig(settings) ?? {}
  if (hash === record.refusedConfigHash && hash !== undefined) return { kind: 'broken-config', text: record.refusal! }
  // It may run without one.
  if (hash === record.configHash || editingSec(settings) > 0) return undefined
  let problem = await configSyntaxProblem(settings)
  if (!problem && record.configHash !== undefined) {
    const validation = await validateConfig(settings)
    if (!validation && Date.now() - placedMs < UNCHECKED_FOR_MS) return { kind: 'unchecked-config', text: UNCHECKED }
    if (validation?.valid === false) problem = validation.issues
  }
  const text = `the config was broken while the gateway runs: ${problem}; it would not survive a restart`
  return problem ? { kind: 'broken-config', text } : undefined
}

const UNCHECKED_FOR_MS = 900_000
const UNCHECKED =
  'the config was changed, and `openclaw config validate` gives no verdict: whether it would start with it is not known'

async function warningsOf(settings: Settings, seen: Evidence, verdict: Verdict, record: GatewayRecord) {
  const { answer, process, service } = seen
  const warnings: Warning[] = []
  const warn = (kind: string, text: string) => warnings.push({ kind, text })
  const listed = (names: string[]) => oneLine(names.join(', '), 120)
  const { suppressed, failing, phase } = answer
  if (suppressed.length > 0)
    warn('safe-mode', `safe mode: channels suppressed after unclean starts (${listed(suppressed)})`)
  if (failing.length > 0) warn('not-ready', `not ready: ${listed(failing)} (the gateway itself is live)`)
  // The gateway goes on with the config that it has read; at its next start a broken one keeps it down.
  const config = await configWarning(settings, record)
  if (config) warnings.push(config)
  const freeMb = freeDiskMb(settings.stateDir)
  if (freeMb !== undefined && freeMb < LOW_DISK_MB)
    warn('low-disk', `the disk of ${settings.stateDir} is nearly full: ${freeMb} MB left`)
  const { crashLoopMin, crashLoopDeaths, flappingDeaths } = settings
  const counted = process ? (await countDeaths(settings, record, { process, service })).record : record
  const [recent, hourly] = [deathsWithin(counted, crashLoopMin), deathsWithin(counted, 60)]
  if (recent >= crashLoopDeaths) warn('crash-looping', `${recent} of its processes ended within ${crashLoopMin} min`)
  else if (hourly >= flappingDeaths) warn('flapping', `${hourly} of its processes ended within the hour`)
  if (record.lostSupervisor && verdict === 'healthy')
    warn('unsupervised', `it runs without a supervisor; before, it had ${record.lostSupervisor}`)
  const over = (level: string, limitMb: number) =>
    process &&
    process.memoryMb >= limitMb &&
    warn(`memory ${level}`, `memory ${level}: the gateway uses ${process.memoryMb} MB, over ${limitMb} MB`)
  over('critical', settings.watchdogMemoryCriticalMb)
  over('warning', settings.watchdogMemoryWarnMb)
  if (process === undefined) warn('no-process', 'its process was not found; memory cannot be watched')
  // It serves; a restart would not bring what it still waits for (a channel, a sidecar).
  if (phase === 'starting' && verdict !== 'starting')
    warn('still-starting', `/startupz still says starting, for more than ${settings.startupGraceSec} s`)
  return warnings
}
