/** Who supervises the gateway: launchd, systemd, or no supervisor. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_PROFILE, profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { findOnPath, shell } from '../tier/shell.ts'
import { isDisabled, launchdJob } from './launchd.ts'
import { type SystemdUnit, systemdUnit } from './systemd.ts'

export interface Service {
  /** `silent`: a supervisor has a job file but gives no answer, so nothing may be started beside it. */
  kind: 'launchd' | 'systemd' | 'silent' | 'none'
  name: string
  /** False for an unloaded launchd job whose plist is there. */
  loaded: boolean
  pid?: number
  lastExitCode?: number
  restarting: boolean
  stopping: boolean
  /** It gave up starting it (start limit, crash burst, exit 78). */
  parked: boolean
  /** Not because of a failure. */
  stopped: boolean
  detail: string
}

export function gatewayLabel({ profile }: Settings): string {
  return profile === DEFAULT_PROFILE ? 'ai.openclaw.gateway' : `ai.openclaw.${profile}`
}

export const gatewayUnit = ({ profile }: Settings): string => `openclaw-gateway${profileSuffix(profile, '-')}.service`

export async function gatewayService(settings: Settings): Promise<Service> {
  return (await launchdService(settings)) ?? (await systemdService(settings)) ?? UNSUPERVISED
}

const UNSUPERVISED: Service = {
  ...{ kind: 'none', name: 'no supervisor', detail: 'no supervisor has a job for the gateway' },
  ...{ loaded: false, restarting: false, stopping: false, parked: false, stopped: false },
}

function silent(name: string, supervisor: string): Service {
  const detail = `${supervisor} has a job for the gateway, but gives no answer`
  return { ...UNSUPERVISED, kind: 'silent', name, detail }
}

export function gatewayPlist(settings: Settings): string {
  return join(settings.home, 'Library', 'LaunchAgents', `${gatewayLabel(settings)}.plist`)
}

/** `openclaw update` unloads the job on a Mac while it replaces the package (2026.9.6). */
async function updater(settings: Settings): Promise<number | undefined> {
  const ps = await shell(settings)`ps -U ${process.getuid?.() ?? ''} -o pid=,command=`
  const m = /^\s*(\d+)\s+(?:openclaw-update\b|\S*node\S*\s+\S*openclaw\S*\s+update\b)/m.exec(ps.stdout)
  return m ? Number(m[1]) : undefined
}

async function launchdService(settings: Settings): Promise<Service | undefined> {
  const label = gatewayLabel(settings)
  if (!existsSync(gatewayPlist(settings))) {
    // A Mac without a screen may run the gateway for the whole machine.
    const systemWide = ['/Library/LaunchDaemons', '/Library/LaunchAgents'].map((folder) => `${folder}/${label}.plist`)
    const plist = systemWide.find((path) => existsSync(path))
    return plist ? { ...silent(label, ''), detail: `${plist} starts it: only an administrator may do that` } : undefined
  }
  const job = await launchdJob(settings, label)
  if (job === undefined) return findOnPath('launchctl', settings.childEnv.PATH) ? silent(label, 'launchd') : undefined
  if (!job.loaded) return unloadedService(settings, label)
  const { pid, lastExitCode, running, spawning } = job
  const state = running ? `running, pid ${pid}` : spawning ? 'spawning' : 'not running'
  const detail = `launchd: ${state}, last exit code ${lastExitCode ?? '(never exited)'}`
  // KeepAlive is true in OpenClaw's plist: launchd stopped respawning it.
  const parked = !running && !spawning
  const service = { ...UNSUPERVISED, kind: 'launchd' as const, name: label, loaded: true }
  return { ...service, pid, lastExitCode, restarting: spawning, parked, detail }
}

async function unloadedService(settings: Settings, label: string): Promise<Service> {
  const service: Service = { ...UNSUPERVISED, kind: 'launchd', name: label, detail: 'launchd: job not loaded' }
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
    return existsSync(unitFile) && findOnPath('systemctl', settings.childEnv.PATH) ? silent(name, 'systemd') : undefined
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

/** systemd 252: with Restart=always only a stop makes a unit inactive; one killed at its stop failed with `timeout`. */
function isStoppedUnit(unit: SystemdUnit): boolean {
  if (unit.masked) return true
  if (unit.activeState === 'failed') return unit.result === 'timeout'
  return unit.activeState === 'inactive' && (unit.everRan || !unit.enabled)
}

function describeUnit(unit: SystemdUnit): string {
  if (unit.masked) return 'systemd: masked'
  const { lastSignal, lastExitCode } = unit
  const exit = lastExitCode !== undefined && `last exit status ${lastExitCode}`
  const words = [
    `${unit.activeState} (${unit.subState})`,
    unit.enabled ? undefined : 'disabled',
    unit.result === 'success' ? undefined : `result ${unit.result}`,
    lastSignal === undefined ? exit : `last ended by signal ${lastSignal}`,
    unit.restarts > 0 ? `${unit.restarts} restarts` : undefined,
  ]
  return `systemd: ${words.filter(Boolean).join(', ')}`
}
