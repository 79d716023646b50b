/** Our own scheduled jobs, Level 1 and Level 2, as launchd or systemd has them. */
import { join } from 'node:path'
import { profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { launchdJob } from './launchd.ts'
import { systemdUnit } from './systemd.ts'

export type JobTier = 'watchdog' | 'healthcheck'

interface Job {
  /** Undefined: launchd or systemd did not answer. */
  registered: boolean | undefined
  detail: string
}

/** `com.openclaw.watchdog`, with a profile `com.openclaw.watchdog.work`. */
export function jobName({ profile }: Settings, tier: JobTier): string {
  return `com.openclaw.${tier}${profileSuffix(profile, '.')}`
}

export function jobPlist(settings: Settings, tier: JobTier): string {
  return join(settings.home, 'Library', 'LaunchAgents', `${jobName(settings, tier)}.plist`)
}

/** The jobs' states: one command each. */
export async function askJobs(
  settings: Settings,
  scheduler: 'launchd' | 'systemd',
  tiers: readonly JobTier[],
): Promise<[JobTier, Job][]> {
  const ask = scheduler === 'launchd' ? askLaunchd : askSystemd
  return Promise.all(tiers.map(async (tier) => [tier, await ask(settings, tier)]))
}

async function askLaunchd(settings: Settings, tier: JobTier): Promise<Job> {
  const job = await launchdJob(settings, jobName(settings, tier))
  if (!job) return { registered: undefined, detail: 'launchctl gave no answer' }
  const detail = !job.loaded ? 'not loaded' : job.running ? `loaded, running, pid ${job.pid}` : 'loaded, between runs'
  return { registered: job.loaded, detail: `launchd: ${detail}` }
}

async function askSystemd(settings: Settings, tier: JobTier): Promise<Job> {
  const timer = await systemdUnit(settings, `${jobName(settings, tier)}.timer`)
  if (!timer) return { registered: undefined, detail: 'systemctl gave no answer' }
  const { loaded, activeState, subState } = timer
  return {
    // `elapsed`: the timer is active and will never fire again.
    registered: loaded && activeState === 'active' && subState !== 'elapsed',
    detail: `systemd timer: ${loaded ? `${activeState} (${subState})` : 'not loaded'}`,
  }
}
