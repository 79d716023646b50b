/** Who supervises the gateway (launchd, systemd, or no supervisor), and whether the own jobs are registered. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_PROFILE, profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { findOnPath, shell } from '../tier/shell.ts'
import { isDisabled, launchdJob } from './launchd.ts'
import type { Receipt } from './receipt.ts'
import { systemdUnit } from './systemd.ts'

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

/** `com.openclaw.watchdog`, with a profile `com.openclaw.watchdog.work`. */
export function jobName({ profile }: Settings, tier: 'watchdog' | 'healthcheck'): string {
  return `com.openclaw.${tier}${profileSuffix(profile, '.')}`
}

/** Whether launchd or systemd have Levels 1 and 2; `registered` is undefined when they did not answer. */
export function askJobs(settings: Settings, scheduler: Receipt['scheduler']) {
  const tiers = scheduler === 'cron' ? [] : (['watchdog', 'healthcheck'] as const)
  const ask = async (tier: (typeof tiers)[number]) => {
    const name = jobName(settings, tier)
    const job = await (scheduler === 'launchd' ? launchdJob(settings, name) : systemdUnit(settings, `${name}.timer`))
    return { tier, registered: job?.isOn, detail: job?.detail ?? `${scheduler} gave no answer` }
  }
  return Promise.all(tiers.map(ask))
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
  if (!job.isOn) return unloadedService(settings, label)
  const { pid, lastExitCode, running, spawning: restarting, detail } = job
  // KeepAlive is true in OpenClaw's plist: launchd stopped respawning it.
  const parked = !running && !restarting
  return { ...UNSUPERVISED, kind: 'launchd', name: label, loaded: true, pid, lastExitCode, restarting, parked, detail }
}

async function unloadedService(settings: Settings, label: string): Promise<Service> {
  const service: Service = { ...UNSUPERVISED, kind: 'launchd', name: label, detail: 'launchd: job not loaded' }
  if (await isDisabled(settings, label)) return { ...service, stopped: true, detail: 'launchd: job disabled' }
  const pid = await updater(settings)
  if (pid === undefined) return service
  return { ...service, restarting: true, detail: `${service.detail} while \`openclaw update\` works (pid ${pid})` }
}

async function systemdService(settings: Settings): Promise<Service | undefined> {
  const name = gatewayUnit(settings)
  const unit = await systemdUnit(settings, name)
  if (unit === undefined) {
    const unitFile = join(settings.home, '.config', 'systemd', 'user', name)
    return existsSync(unitFile) && findOnPath('systemctl', settings.childEnv.PATH) ? silent(name, 'systemd') : undefined
  }
  if (!(unit.loaded || unit.masked)) return undefined
  const { pid, lastExitCode, activeState, detail } = unit
  // systemd 252: with Restart=always only a stop makes a unit inactive; one killed at its stop failed with `timeout`.
  const stopped =
    unit.masked ||
    (activeState === 'failed' && unit.result === 'timeout') ||
    (activeState === 'inactive' && (unit.everRan || !unit.enabled))
  return {
    ...{ kind: 'systemd', name, loaded: true, pid, lastExitCode, stopped, detail },
    restarting: activeState === 'activating',
    stopping: activeState === 'deactivating',
    parked: activeState === 'failed' && !stopped,
  }
}
