/** Who supervises the gateway: launchd, systemd, or nobody. One question, one answer, whatever the host. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from '../tier/command.ts'
import { DEFAULT_PROFILE, profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { bootout, bootstrap, isDisabled, kickstart, launchdJob } from './launchd.ts'
import { resetFailed, type SystemdUnit, systemdAction, systemdUnit } from './systemd.ts'

/** The gateway's service as its supervisor sees it. */
export interface Service {
  /** `silent`: one has a job file for it but gives no answer, so nothing may be started beside it. */
  kind: 'launchd' | 'systemd' | 'silent' | 'none'
  /** Label or unit, for messages: `ai.openclaw.gateway`, `openclaw-gateway.service`, `no supervisor`. */
  name: string
  /** The supervisor has the job loaded. False for an unloaded launchd job whose plist is there. */
  loaded: boolean
  /** The process it supervises. */
  pid?: number
  lastExitCode?: number
  /** It is about to start it by itself. */
  restarting: boolean
  /** It is being stopped right now. */
  stopping: boolean
  /** It has given up starting it (start limit, launchd after a crash burst, exit 78). */
  parked: boolean
  /** Loaded, not running, and not because of a failure: somebody stopped it. */
  stopped: boolean
  /** Its own words, for the evidence. */
  detail: string
}

/** The label of the gateway's LaunchAgent: `ai.openclaw.gateway`, and with a profile `ai.openclaw.<profile>`. */
export function gatewayLabel({ profile }: Settings): string {
  return profile === DEFAULT_PROFILE ? 'ai.openclaw.gateway' : `ai.openclaw.${profile}`
}

/** Its systemd unit: `openclaw-gateway.service`, and with a profile `openclaw-gateway-<profile>.service`. */
export function gatewayUnit({ profile }: Settings): string {
  return `openclaw-gateway${profileSuffix(profile, '-')}.service`
}

/**
 * Finds the gateway's service. A supervisor that is not there, or that has no job file for the gateway, counts as none:
 * then the gateway is a bare process.
 */
export async function gatewayService(settings: Settings): Promise<Service> {
  return (await launchdService(settings)) ?? (await systemdService(settings)) ?? NOBODY
}

const NOBODY: Service = {
  kind: 'none',
  name: 'no supervisor',
  loaded: false,
  restarting: false,
  stopping: false,
  parked: false,
  stopped: false,
  detail: 'no supervisor has a job for the gateway',
}

function silent(name: string, supervisor: string): Service {
  return { ...NOBODY, kind: 'silent', name, detail: `${supervisor} has a job for the gateway, but gives no answer` }
}

function isOnPath(settings: Settings, program: string): boolean {
  return (settings.childEnv.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)))
}

export function gatewayPlist(settings: Settings): string {
  return join(settings.home, 'Library', 'LaunchAgents', `${gatewayLabel(settings)}.plist`)
}

/** A Mac without a screen may run the gateway for the whole machine; only an administrator can start and stop it then. */
function systemWidePlist(label: string): string | undefined {
  const folders = ['/Library/LaunchDaemons', '/Library/LaunchAgents']
  return folders.map((folder) => join(folder, `${label}.plist`)).find((path) => existsSync(path))
}

/**
 * The pid of an `openclaw update` of this user that is at work. On a Mac it unloads the job while it replaces the
 * package, says so nowhere, and loads it again (2026.9.6, read in its code; it calls its process `openclaw-update`).
 */
async function updater(settings: Settings): Promise<number | undefined> {
  const ps = await runCommand('ps', ['-U', String(process.getuid?.() ?? ''), '-o', 'pid=,command='], {
    timeoutMs: 10_000,
    env: settings.childEnv,
  })
  const m = /^\s*(\d+)\s+(?:openclaw-update\b|\S*node\S*\s+\S*openclaw\S*\s+update\b)/m.exec(ps.stdout)
  return m ? Number(m[1]) : undefined
}

async function launchdService(settings: Settings): Promise<Service | undefined> {
  const label = gatewayLabel(settings)
  // Without a plist there is nothing that launchd could ever start, and no need to ask it.
  if (!existsSync(gatewayPlist(settings))) {
    const plist = systemWidePlist(label)
    return plist ? { ...silent(label, ''), detail: `${plist} starts it: only an administrator may do that` } : undefined
  }
  const job = await launchdJob(settings, label)
  if (job === undefined) return isOnPath(settings, 'launchctl') ? silent(label, 'launchd') : undefined
  const idle = job.loaded && !job.running && !job.spawning
  if (!job.loaded) return unloadedService(settings, label)
  return {
    kind: 'launchd',
    name: label,
    loaded: true,
    pid: job.pid,
    lastExitCode: job.lastExitCode,
    restarting: job.spawning,
    stopping: false,
    // KeepAlive is true in OpenClaw's plist: loaded but not running means that launchd stopped respawning.
    parked: idle,
    stopped: false,
    detail: `launchd: ${job.running ? `running, pid ${job.pid}` : job.spawning ? 'spawning' : 'not running'}, last exit code ${job.lastExitCode ?? '(never exited)'}`,
  }
}

async function unloadedService(settings: Settings, label: string): Promise<Service> {
  const service: Service = { ...NOBODY, kind: 'launchd', name: label, detail: 'launchd: job not loaded' }
  if (await isDisabled(settings, label)) return { ...service, stopped: true, detail: 'launchd: job disabled' }
  const pid = await updater(settings)
  if (pid === undefined) return service
  return {
    ...service,
    restarting: true,
    detail: `launchd: job not loaded while \`openclaw update\` works (pid ${pid})`,
  }
}

async function systemdService(settings: Settings): Promise<Service | undefined> {
  const name = gatewayUnit(settings)
  const unit = await systemdUnit(settings, name)
  if (unit === undefined) {
    const unitFile = join(settings.home, '.config', 'systemd', 'user', name)
    return existsSync(unitFile) && isOnPath(settings, 'systemctl') ? silent(name, 'systemd') : undefined
  }
  if (!(unit.loaded || unit.masked)) return undefined
  const stopped = isStoppedUnit(unit)
  return {
    kind: 'systemd',
    name,
    loaded: true,
    pid: unit.pid,
    lastExitCode: unit.lastExitCode,
    restarting: unit.activeState === 'activating',
    stopping: unit.activeState === 'deactivating',
    parked: unit.activeState === 'failed' && !stopped,
    stopped,
    detail: describeUnit(unit),
  }
}

/**
 * With Restart=always (OpenClaw's unit) nothing but a person or a program that was told to makes a unit inactive; all
 * of this was seen on systemd 252. A unit that did not stop in time is killed and shows as failed with `timeout`. A
 * disabled one is forgotten when it stops, so that nothing but its being disabled tells. Enabled and never run: it is
 * about to be started, or should be.
 */
function isStoppedUnit(unit: SystemdUnit): boolean {
  if (unit.masked) return true
  if (unit.activeState === 'failed') return unit.result === 'timeout'
  return unit.activeState === 'inactive' && (unit.everRan || !unit.enabled)
}

function describeUnit(unit: SystemdUnit): string {
  if (unit.masked) return 'systemd: masked'
  const end =
    unit.lastSignal !== undefined
      ? `last ended by signal ${unit.lastSignal}`
      : unit.lastExitCode !== undefined
        ? `last exit status ${unit.lastExitCode}`
        : undefined
  const words = [
    `${unit.activeState} (${unit.subState})`,
    unit.enabled ? undefined : 'disabled',
    unit.result === 'success' ? undefined : `result ${unit.result}`,
    end,
    unit.restarts > 0 ? `${unit.restarts} restarts` : undefined,
  ]
  return `systemd: ${words.filter(Boolean).join(', ')}`
}

/** What doing something through a supervisor came to. `failure` is one line for the log. */
export interface ActionResult {
  done: string
  failure?: string
}

/** Ends and starts the gateway through its supervisor. */
export async function restartService(settings: Settings, service: Service): Promise<ActionResult> {
  const { name } = service
  if (service.kind !== 'launchd') {
    const result = await systemdAction(settings, 'restart', name)
    return { done: `systemctl --user restart ${name}`, failure: result.failure }
  }
  const done = `launchctl kickstart -k ${name}`
  const result = await kickstart(settings, name, true)
  if (!result.timedOut) return { done, failure: result.failure }
  // launchd goes on with it although launchctl was given up: its own word counts.
  const job = await launchdJob(settings, name)
  if (job?.pid !== undefined && job.pid !== service.pid) return { done }
  if (job?.pid !== undefined) return { done, failure: result.failure }
  // Seen in the field: a job that hangs in `spawn scheduled` is only cured by being loaded anew.
  await bootout(settings, name)
  const loaded = await bootstrap(settings, name, gatewayPlist(settings))
  return { done: `${done}, then bootout and bootstrap`, failure: loaded.failure }
}

/** Starts the gateway through its supervisor, whatever state the job is in: loads it, resets it, starts it. */
export async function startService(settings: Settings, service: Service): Promise<ActionResult> {
  const { name } = service
  if (service.kind === 'launchd') {
    if (service.loaded)
      return { done: `launchctl kickstart ${name}`, failure: (await kickstart(settings, name, false)).failure }
    const plist = gatewayPlist(settings)
    const { failure } = await bootstrap(settings, name, plist)
    // A loaded job is not always a started one (seen in the field, despite KeepAlive); for one that runs this is nothing.
    if (!failure) await kickstart(settings, name, false)
    return { done: `launchctl bootstrap ${plist}`, failure }
  }
  if (service.parked) await resetFailed(settings, name)
  const started = await systemdAction(settings, 'start', name)
  return {
    done: `${service.parked ? 'systemctl --user reset-failed + ' : 'systemctl --user '}start ${name}`,
    failure: started.failure,
  }
}
