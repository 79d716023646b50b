/** Restarting and starting the gateway, whatever supervises it. */
import { setTimeout as delay } from 'node:timers/promises'
import { endProcess, startBare } from '../services/bare.ts'
import { bootout, bootstrap, launchdTarget } from '../services/launchd.ts'
import { gatewayPlist, type Service } from '../services/supervisor.ts'
import { SYSTEMD_ACTION_TIMEOUT_SEC } from '../services/systemd.ts'
import type { Settings } from '../tier/settings.ts'
import { type Answer, shell } from '../tier/shell.ts'
import type { Examination } from './examination.ts'
import { isGatewayCommand, type ProcessInfo, processInfo } from './processes.ts'
import { readRecord, writeRecord } from './record.ts'

export interface RemedyResult {
  done: string
  failure?: string
}

/** The signal by which this version restarts itself: SIGUSR2 from 2026.9.6 on, where SIGUSR1 opens a debugger. */
export function restartSignal(version: string): 'USR1' | 'USR2' | undefined {
  const m = /\b(\d{4})\.(\d{1,2})\.(\d{1,3})\b/.exec(version)
  if (!m) return undefined
  const [year, month, patch] = m.slice(1).map(Number) as [number, number, number]
  const isNew = year !== 2026 ? year > 2026 : month !== 9 ? month > 9 : patch >= 6
  return isNew ? 'USR2' : 'USR1'
}

export async function restart(settings: Settings, seen: Examination): Promise<RemedyResult> {
  const { process: target, service } = seen
  if (!target || service?.kind === 'silent') return start(settings, seen)
  if (!service?.loaded) {
    const gone = await endProcess(settings, target.pid, settings.stopGraceSec, () => isSameGateway(settings, target))
    if (gone) return start(settings, seen)
    return { done: `kill -TERM and -KILL ${target.pid}`, failure: `pid ${target.pid} could not be ended` }
  }
  if (service.kind === 'launchd') {
    await endHung(settings, target, bootout(settings, service.name))
    // A bootout that failed has ended nothing, and what hangs would keep the job running.
    await endProcess(settings, target.pid, settings.stopGraceSec, () => isSameGateway(settings, target))
    return loadJob(settings, service)
  }
  const $ = shell(settings, { timeoutSec: SYSTEMD_ACTION_TIMEOUT_SEC })
  const { failure, killed } = await endHung(settings, target, $`systemctl --user restart ${service.name}`)
  return { done: `systemctl --user restart ${service.name}${killed}`, failure }
}

export async function start(settings: Settings, { service }: Examination): Promise<RemedyResult> {
  if (!service || service.kind === 'none') return runBare(settings)
  const { kind, name } = service
  // A bare gateway would fight for the port with one that a supervisor starts later.
  if (kind === 'silent')
    return { done: `start of ${name}`, failure: `${service.detail}; nothing was started beside it` }
  if (kind === 'launchd') {
    if (!service.loaded) return loadJob(settings, service)
    const { failure } = await shell(settings)`launchctl kickstart ${launchdTarget(name)}`
    return { done: `launchctl kickstart ${name}`, failure }
  }
  const $ = shell(settings, { timeoutSec: SYSTEMD_ACTION_TIMEOUT_SEC })
  await $`systemctl --user reset-failed ${name}`
  const { failure } = await $`systemctl --user start ${name}`
  return { done: `systemctl --user reset-failed + start ${name}`, failure }
}

/** `launchctl bootstrap`, then `kickstart`: a loaded job is not always a started one, despite KeepAlive. */
export async function loadJob(settings: Settings, { name }: Service): Promise<RemedyResult> {
  const plist = gatewayPlist(settings)
  const { failure } = await bootstrap(settings, name, plist)
  if (!failure) await shell(settings)`launchctl kickstart ${launchdTarget(name)}`
  return { done: `launchctl bootstrap ${plist}`, failure }
}

async function runBare(settings: Settings): Promise<RemedyResult> {
  const started = await startBare(settings)
  const done = 'openclaw gateway run (as a bare process; there is no supervisor)'
  if ('failure' in started) return { done, failure: started.failure }
  // It takes seconds until a new gateway can be recognised by its lock.
  writeRecord(settings, { ...readRecord(settings).value, startedPid: started.pid })
  return { done: `${done}, pid ${started.pid}` }
}

/** A hung process may ignore its supervisor for 330 s: after the stop grace it is killed, and the supervisor goes on. */
export async function endHung(
  settings: Settings,
  target: ProcessInfo,
  asked: Promise<Answer>,
): Promise<Answer & { killed: string }> {
  const deadline = performance.now() + settings.stopGraceSec * 1000
  let settled = false
  void asked.finally(() => (settled = true))
  while (!settled && performance.now() < deadline) await delay(250)
  if (settled || !(await isSameGateway(settings, target))) return { ...(await asked), killed: '' }
  await endProcess(settings, target.pid, 0, () => isSameGateway(settings, target))
  return { ...(await asked), killed: ` (pid ${target.pid} ignored it and was killed)` }
}

/** Its title changes while it boots, its age tells a reused pid. */
export async function isSameGateway(settings: Settings, target: ProcessInfo): Promise<boolean> {
  const [now] = await processInfo(settings, [target.pid])
  return (
    now !== undefined &&
    now.ageSec + 2 >= target.ageSec &&
    (isGatewayCommand(now.command) || now.command === target.command)
  )
}
