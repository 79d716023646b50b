import { join } from 'node:path'
import { profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { launchdJob } from './launchd.ts'
import { systemdUnit } from './systemd.ts'

type JobTier = 'watchdog' | 'healthcheck'

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

export function askJobs(settings: Settings, scheduler: 'launchd' | 'systemd', tiers: readonly JobTier[]) {
  return Promise.all(tiers.map(async (tier) => [tier, await askJob(settings, scheduler, tier)] as const))
}

async function askJob(settings: Settings, scheduler: 'launchd' | 'systemd', tier: JobTier): Promise<Job> {
  if (scheduler === 'launchd') {
    const job = await launchdJob(settings, jobName(settings, tier))
    if (!job) return { registered: undefined, detail: 'launchctl gave no answer' }
    const state = !job.loaded ? 'not loaded' : job.running ? `loaded, running, pid ${job.pid}` : 'loaded, between runs'
    return { registered: job.loaded, detail: `launchd: ${state}` }
  }
  const timer = await systemdUnit(settings, `${jobName(settings, tier)}.timer`)
  if (!timer) return { registered: undefined, detail: 'systemctl gave no answer' }
  const { loaded, activeState, subState } = timer
  // `elapsed`: the timer is active and will never fire again.
  const registered = loaded && activeState === 'active' && subState !== 'elapsed'
  return { registered, detail: `systemd timer: ${loaded ? `${activeState} (${subState})` : 'not loaded'}` }
}
