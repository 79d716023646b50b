/** How the remedies of the table are done. Every one says what it did, and what of it failed. */
import { endProcess, startBare } from '../services/bare.ts'
import { restartService, type Service, startService } from '../services/supervisor.ts'
import { runCommand } from '../tier/command.ts'
import type { Settings } from '../tier/settings.ts'
import type { Examination } from './examine.ts'
import { isGatewayCommand, type ProcessInfo, processInfo } from './processes.ts'
import { type PatientRecord, readRecord, writeRecord } from './record.ts'

/** What was done, as the log says it, and the failure if it did not work. */
export interface RemedyResult {
  done: string
  failure?: string
}

/**
 * The signal with which this version restarts itself, or undefined when it must not be signalled: from 2026.9.6 on
 * SIGUSR2 restarts and SIGUSR1 opens Node's debugger on a port; before, SIGUSR1 restarts and SIGUSR2 may kill.
 */
export function restartSignal(version: string | undefined): 'SIGUSR1' | 'SIGUSR2' | undefined {
  const m = /^(\d{4})\.(\d{1,2})\.(\d{1,3})/.exec(version ?? '')
  if (!m) return undefined
  const [year, month, patch] = m.slice(1).map(Number) as [number, number, number]
  const isNew = year !== 2026 ? year > 2026 : month !== 9 ? month > 9 : patch >= 6
  return isNew ? 'SIGUSR2' : 'SIGUSR1'
}

/**
 * Asks a gateway that answers HTTP to restart itself. Undefined when it must not or cannot be asked (it does not
 * answer, so its event loop may be blocked; or its version is unknown).
 */
export async function restartBySignal(
  settings: Settings,
  examination: Examination,
  record: PatientRecord,
): Promise<RemedyResult | undefined> {
  const { process: target } = examination
  if (!target || !examination.answersHttp) return undefined
  const version =
    examination.version ?? (record.pid === target.pid ? record.version : undefined) ?? (await cliVersion(settings))
  const signal = restartSignal(version)
  if (signal === undefined || !(await isSameGateway(settings, target))) return undefined
  const done = `sent ${signal} to pid ${target.pid} (version ${version})`
  try {
    process.kill(target.pid, signal)
    return { done }
  } catch (error) {
    return { done, failure: `${signal} to pid ${target.pid}: ${(error as NodeJS.ErrnoException).code}` }
  }
}

/** Ends the gateway if it runs and starts it: through its supervisor, else as a bare process. */
export async function restart(settings: Settings, examination: Examination): Promise<RemedyResult> {
  const { process: target } = examination
  const service = examination.service
  if (service?.kind === 'silent') return leaveToSupervisor(service)
  if (service && service.kind !== 'none' && service.loaded) {
    if (!target) return startService(settings, service)
    return restartSupervised(settings, service, target)
  }
  if (target) {
    const gone = await endProcess(target.pid, settings.stopGraceSec * 1000, () => isSameGateway(settings, target))
    if (!gone) return { done: `ended pid ${target.pid}`, failure: `pid ${target.pid} could not be ended` }
  }
  return start(settings, examination)
}

/**
 * A hung process may ignore its supervisor for as long as TimeoutStopSec (330 s). The supervisor is asked first; if the
 * process is still there after the grace, it is killed, and the supervisor goes on with the restart it was asked for.
 */
async function restartSupervised(settings: Settings, service: Service, target: ProcessInfo): Promise<RemedyResult> {
  const asked = restartService(settings, service)
  const deadline = performance.now() + settings.stopGraceSec * 1000
  let settled = false
  void asked.finally(() => (settled = true))
  while (!settled && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 250))
  if (settled || !(await isSameGateway(settings, target))) return asked
  await endProcess(target.pid, 0, () => isSameGateway(settings, target))
  const result = await asked
  return { ...result, done: `${result.done} (pid ${target.pid} ignored it and was killed)` }
}

/** A bare gateway beside one that a supervisor starts later would fight with it for the port. */
function leaveToSupervisor(service: Service): RemedyResult {
  return { done: `start of ${service.name}`, failure: `${service.detail}; nothing was started beside it` }
}

/** Starts the gateway: bootstraps, resets or kickstarts its job, else starts a bare process. */
export async function start(settings: Settings, examination: Examination): Promise<RemedyResult> {
  const service = examination.service
  if (service?.kind === 'silent') return leaveToSupervisor(service)
  if (service && service.kind !== 'none') return startService(settings, service)
  const started = await startBare(settings)
  const done = 'openclaw gateway run (as a bare process; there is no supervisor)'
  if ('failure' in started) return { done, failure: started.failure }
  // It takes seconds until a new gateway can be recognised by its lock; until then its pid is what is known of it.
  writeRecord(settings, { ...readRecord(settings).value, startedPid: started.pid })
  return { done: `${done}, pid ${started.pid}` }
}

/**
 * `openclaw gateway restart`, as a user would: exit 0 done, 2 still starting, else it did not work (without a
 * supervisor and with the gateway down it never starts one; measured).
 * @param timeoutMs under systemd the gateway may drain for 330 s first
 */
export async function restartByCli(settings: Settings, service: Service | undefined): Promise<RemedyResult> {
  const result = await runCommand('openclaw', ['gateway', 'restart'], {
    timeoutMs: service?.kind === 'systemd' ? 400_000 : 60_000,
    env: settings.childEnv,
  })
  return { done: 'openclaw gateway restart', failure: result.code === 2 ? undefined : result.failure }
}

async function isSameGateway(settings: Settings, target: ProcessInfo): Promise<boolean> {
  const [now] = await processInfo(settings, [target.pid])
  // The title changes while it boots; the age tells a reused pid.
  return (
    now !== undefined &&
    now.ageSec + 2 >= target.ageSec &&
    (isGatewayCommand(now.command) || now.command === target.command)
  )
}

async function cliVersion(settings: Settings): Promise<string | undefined> {
  const result = await runCommand('openclaw', ['--version'], { timeoutMs: 30_000, env: settings.childEnv })
  return /\b(\d{4}\.\d{1,2}\.\d{1,3})\b/.exec(result.stdout)?.[1]
}
