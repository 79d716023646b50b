/** Who supervises the gateway (launchd, systemd, or no supervisor), and whether the own jobs are registered. */
import { existsSync, readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { DEFAULT_PROFILE, profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { findOnPath } from '../tier/shell.ts'
import { tried } from '../tier/state.ts'
import { isDisabled, launchdJob, launchdTarget, type readLaunchdJob } from './launchd.ts'
import type { Receipt } from './receipt.ts'
import { EXTERNAL, readSupervision, type Supervision } from './supervision.ts'
import { type SystemdScope, systemdUnit } from './systemd.ts'

type Job = NonNullable<ReturnType<typeof readLaunchdJob>>

export interface Service
  extends Pick<Job, 'restarting' | 'stopping' | 'parked' | 'detail'>,
    Partial<Pick<Job, 'pid' | 'lastExitCode' | 'ended' | 'starts' | 'cannotStart'>> {
  /** `elsewhere`: a supervisor that takes no orders from this account, or gives no answer: nothing is started beside it. */
  kind: 'launchd' | 'systemd' | 'elsewhere' | 'none'
  name: string
  scope: SystemdScope
  command?: string
  /** False for an unloaded launchd job whose plist is there. */
  loaded: boolean
  startedMs?: number
  /** Restart=always: a clean end, too, is followed by a start. */
  alwaysRestarts?: boolean
  /** It was stopped for good (disabled, masked), or it just does not run any more. */
  stopped: 'for good' | 'by someone' | undefined
}

export function gatewayLabel({ profile, launchdLabel }: Settings): string {
  return launchdLabel || (profile === DEFAULT_PROFILE ? 'ai.openclaw.gateway' : `ai.openclaw.${profile}`)
}

export function jobName({ profile }: Settings, tier: 'watchdog' | 'healthcheck'): string {
  return `com.openclaw.${tier}${profileSuffix(profile, '.')}`
}

/** Whether launchd or systemd have Levels 1 and 2; `registered` is undefined when they did not answer. */
export function askJobs(settings: Settings, scheduler: Receipt['scheduler']) {
  const tiers = scheduler === 'cron' ? [] : (['watchdog', 'healthcheck'] as const)
  const ask = async (tier: (typeof tiers)[number]) => {
    const name = jobName(settings, tier)
    const job = await (scheduler === 'launchd' ? launchdJob(settings, name) : systemdUnit(settings, `${name}.timer`))
    const registered = job?.isOn && !job.cannotStart
    return { tier, registered, detail: job?.detail ?? `${scheduler} gave no answer`, pended: job?.pended }
  }
  return Promise.all(tiers.map(ask))
}

export const gatewayUnit = ({ profile }: Settings): string => `openclaw-gateway${profileSuffix(profile, '-')}.service`

/** The service that has the gateway, or had it when it was last healthy. */
export async function gatewayService(settings: Settings): Promise<Service> {
  const known = readSupervision(settings)
  if (settings.supervisorMode === 'external') {
    const { name, command } = known ?? EXTERNAL
    return elsewhere(name, 'OPENCLAW_SUPERVISOR_MODE is external', command)
  }
  const found = (await launchdService(settings, known)) ?? (await systemdService(settings, known))
  // One that does not run was left behind when another supervisor took over.
  const isLeftBehind = known?.kind === 'elsewhere' && (found?.stopped !== undefined || found?.loaded === false)
  if (!known || (found && !isLeftBehind)) return found ?? UNSUPERVISED
  if (known.kind === 'elsewhere') return elsewhere(known.name, `${known.name} supervised it`, known.command)
  return elsewhere(known.name, `its job ${known.name} is gone`, 'openclaw gateway install')
}

const UNSUPERVISED: Service = {
  ...{ kind: 'none', name: 'no supervisor', detail: 'no supervisor has a job for the gateway' },
  ...{ scope: '--user', loaded: false, restarting: false, stopping: false, parked: false, stopped: undefined },
}

function elsewhere(name: string, detail: string, command?: string): Service {
  return { ...UNSUPERVISED, kind: 'elsewhere', name, detail, command }
}

function silent({ childEnv }: Settings, name: string, supervisor: string, command: string): Service | undefined {
  if (!findOnPath(command.split(' ')[0]!, childEnv.PATH)) return undefined
  return elsewhere(name, `${supervisor} has a job for the gateway, but gives no answer`, command)
}

export function gatewayPlist(settings: Settings, label = gatewayLabel(settings)): string {
  return join(settings.home, 'Library', 'LaunchAgents', `${label}.plist`)
}

async function launchdService(settings: Settings, known: Supervision | undefined): Promise<Service | undefined> {
  const label = known?.kind === 'launchd' && !settings.launchdLabel ? known.name : gatewayLabel(settings)
  if (!existsSync(gatewayPlist(settings, label))) {
    // A Mac without a screen may run the gateway for the whole machine.
    const systemWide = ['/Library/LaunchDaemons', '/Library/LaunchAgents'].map((folder) => `${folder}/${label}.plist`)
    const plist = systemWide.find((path) => existsSync(path))
    const command = `sudo launchctl kickstart -k system/${label}`
    return plist ? elsewhere(label, `${plist} starts it: only an administrator may do that`, command) : undefined
  }
  const job = await launchdJob(settings, label)
  if (job === undefined) return silent(settings, label, 'launchd', `launchctl kickstart -k ${launchdTarget(label)}`)
  const service = { ...UNSUPERVISED, ...job, kind: 'launchd' as const, name: label, loaded: job.isOn }
  if (job.running || job.restarting || !(await isDisabled(settings, label))) return service
  // OpenClaw also disables what it has just started, and what it unloads for an update (2026.9.6): its lifecycle log decides.
  return { ...service, stopped: 'by someone', detail: `${job.detail}, disabled` }
}

async function systemdService(settings: Settings, known: Supervision | undefined): Promise<Service | undefined> {
  const name = gatewayUnit(settings)
  const candidates: { name: string; scope: SystemdScope }[] = [{ name, scope: '--user' }]
  if (known?.kind === 'systemd') candidates.unshift(known)
  if (isOwnSystemUnit(name)) candidates.push({ name, scope: '--system' })
  for (const { name, scope } of candidates) {
    const unit = await systemdUnit(settings, name, scope)
    const mayOrder = scope === '--user' || process.getuid?.() === 0
    const command = mayOrder ? undefined : `sudo systemctl restart ${name}`
    if (unit?.isThere) return { ...unit, kind: mayOrder ? 'systemd' : 'elsewhere', name, scope, command, loaded: true }
  }
  const unitFile = join(settings.home, '.config', 'systemd', 'user', name)
  if (!existsSync(unitFile) || (await systemdUnit(settings, name))) return undefined
  return silent(settings, name, 'systemd', `systemctl --user restart ${name}`)
}

/** OpenClaw documents it for servers, with `User=`. */
function isOwnSystemUnit(name: string): boolean {
  const unit = tried(() => readFileSync(`/etc/systemd/system/${name}`, 'utf8'))
  const user = unit && (/^User=(\S+)/m.exec(unit)?.[1] ?? 'root')
  return user === userInfo().username || user === String(process.getuid?.())
}
