/** Restarting and starting the gateway, whatever supervises it. */
import { setTimeout as delay } from 'node:timers/promises'
import { endProcess, startBare } from '../services/bare.ts'
import { bootout, bootstrap, explained, launchdTarget, reload } from '../services/launchd.ts'
import { gatewayPlist } from '../services/supervisor.ts'
import { listProcesses } from '../tier/process-table.ts'
import type { Settings } from '../tier/settings.ts'
import { type Answer, shell } from '../tier/shell.ts'
import type { Examination } from './judge.ts'
import { isGatewayCommand, type ProcessInfo } from './processes.ts'
import { readRecord, writeRecord } from './record.ts'
import { SYSTEMD_ACTION_TIMEOUT_SEC } from './wait.ts'

export interface RemedyResult {
  done: string
  failure?: string
}

/** The signal by which this version restarts itself: SIGUSR2 from 2026.9.6 on, where SIGUSR1 opens a debugger. */
export function restartSignal(version: string): 'USR1' | 'USR2' | undefined {
  const m = /\b(\d{4})\.(\d{1,2})\.(\d{1,3})\b/.exec(version)
  if (!m) return undefined
  const [year, month, patch] = m.slice(1).map(Number) as [number, number, number]
  return (year * 100 + month) * 1000 + patch >= 202_609_006 ? 'USR2' : 'USR1'
}

export async function restart(settings: Settings, seen: Pick<Examination, 'process' | 'service'>) {
  const { process: target, service } = seen
  if (!target) return start(settings, seen)
  if (service?.kind === 'systemd') {
    const $ = shell(settings, { timeoutSec: SYSTEMD_ACTION_TIMEOUT_SEC })
    const done = `systemctl ${service.scope} restart ${service.name}`
    return endHung(settings, target, done, $`systemctl ${service.scope} restart ${service.name}`)
  }
  const isLoaded = service?.kind === 'launchd' && service.loaded
  if (isLoaded) await endHung(settings, target, 'bootout', bootout(settings, service.name))
  // A bootout that failed has ended nothing, and what hangs would keep the job running.
  const isGone = await endGateway(settings, target, settings.stopGraceSec)
  const done = `kill -TERM and -KILL ${target.pid}`
  if (!isGone && !isLoaded) return { done, failure: `pid ${target.pid} could not be ended` }
  if (service?.kind === 'elsewhere') return { done: `${done}, which ${service.name} starts again` }
  return start(settings, { service: service && { ...service, loaded: false } })
}

export async function start(settings: Settings, { service }: Pick<Examination, 'service'>): Promise<RemedyResult> {
  if (!service || service.kind === 'none') {
    const started = await startBare(settings)
    const done = 'openclaw gateway run (as a bare process; there is no supervisor)'
    if ('failure' in started) return { done, failure: started.failure }
    // It takes seconds until a new gateway can be recognised by its lock.
    writeRecord(settings, { ...readRecord(settings).value, startedPid: started.pid, seenPid: started.pid })
    return { done: `${done}, pid ${started.pid}` }
  }
  const { kind, name, scope } = service
  // A bare gateway would fight for the port with one that a supervisor starts later.
  if (kind === 'elsewhere')
    return { done: `start of ${name}`, failure: `${service.detail}; nothing was started beside it` }
  const $ = shell(settings, { timeoutSec: kind === 'systemd' ? SYSTEMD_ACTION_TIMEOUT_SEC : 75 })
  if (kind === 'systemd') {
    await $`systemctl ${scope} reset-failed ${name}`
    const { failure } = await $`systemctl ${scope} start ${name}`
    return { done: `systemctl ${scope} reset-failed + start ${name}`, failure }
  }
  const plist = gatewayPlist(settings, name)
  if (service.cannotStart || !service.loaded) {
    const { failure } = await (service.cannotStart ? reload : bootstrap)(settings, name, plist)
    return { done: `launchctl ${service.cannotStart ? 'bootout + ' : ''}bootstrap ${plist}`, failure }
  }
  // KeepAlive does nothing for a disabled job (openclaw/openclaw#77934), nor is it loaded at the next login.
  if (service.stopped) await $`launchctl enable ${launchdTarget(name)}`
  // A loaded job is not always a started one, despite KeepAlive.
  const { failure } = explained(await $`launchctl kickstart ${launchdTarget(name)}`)
  return { done: `launchctl kickstart ${name}`, failure }
}

const endGateway = (settings: Settings, target: ProcessInfo, graceSec: number) =>
  endProcess(settings, target.pid, graceSec, () => isSameGateway(settings, target))

/** A hung process may ignore its supervisor for 330 s: after the stop grace it is killed, and the supervisor goes on. */
export async function endHung(settings: Settings, target: ProcessInfo, command: string, asked: Promise<Answer>) {
  const deadline = performance.now() + settings.stopGraceSec * 1000
  let isSettled = false
  void asked.finally(() => (isSettled = true))
  while (!isSettled && performance.now() < deadline) await delay(250)
  const isHung = !isSettled && (await isSameGateway(settings, target))
  if (isHung) await endGateway(settings, target, 0)
  const { failure, timedOut } = await asked
  return { done: isHung ? `${command} (pid ${target.pid} ignored it and was killed)` : command, failure, timedOut }
}

/** Its title changes while it boots, its age tells a reused pid. */
export async function isSameGateway(settings: Settings, target: ProcessInfo): Promise<boolean> {
  const [now] = await listProcesses(settings, [target.pid])
  if (now === undefined || now.ageSec + 2 < target.ageSec) return false
  return isGatewayCommand(now.command) || now.command === target.command
}
