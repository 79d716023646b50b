/** Our own scheduled jobs, Level 1 and Level 2, as launchd or systemd has them: registered? running? started again. */
import { join } from 'node:path'
import type { CommandResult } from '../tier/command.ts'
import { oneLine, type TierName } from '../tier/contract.ts'
import { profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { bootstrap, kickstart, readLaunchdJob } from './launchd.ts'
import type { ActionResult } from './supervisor.ts'
import { readUnits, systemctl } from './systemd.ts'

/** The tiers that launchd or systemd starts. What cron starts is in cron.ts. */
export type JobTier = Extract<TierName, 'watchdog' | 'healthcheck'>

export interface Job {
  /** It will be started when it is due. Undefined: launchd or systemd did not answer. */
  registered: boolean | undefined
  /** The process that runs right now. launchd's `-` and systemd's 0 between runs are normal: then undefined. */
  pid: number | undefined
  /** One line for the log. */
  detail: string
}

const QUERY_TIMEOUT_MS = 15_000

/** The job's label, and the name of its systemd units: `com.openclaw.watchdog`, with a profile `com.openclaw.watchdog.work`. */
export function jobName({ profile }: Settings, tier: JobTier): string {
  return `com.openclaw.${tier}${profileSuffix(profile, '.')}`
}

export function jobPlist(settings: Settings, tier: JobTier): string {
  return join(settings.home, 'Library', 'LaunchAgents', `${jobName(settings, tier)}.plist`)
}

/** Who starts Level 1 and Level 2, when it is not cron. */
export type JobScheduler = 'launchd' | 'systemd'

/** Asks for the jobs' states; at most one fork per job, so that a tick that finds all well stays cheap. */
export async function askJobs(
  settings: Settings,
  scheduler: JobScheduler,
  tiers: readonly JobTier[],
): Promise<Map<JobTier, Job>> {
  if (scheduler === 'systemd') return new Map(await askSystemd(settings, tiers))
  return new Map(await Promise.all(tiers.map((tier) => askLaunchd(settings, tier))))
}

async function askLaunchd(settings: Settings, tier: JobTier): Promise<[JobTier, Job]> {
  const answer = await ask(settings, 'launchctl', [
    'print',
    `gui/${process.getuid?.() ?? 501}/${jobName(settings, tier)}`,
  ])
  const job = answer.code === undefined ? undefined : readLaunchdJob(answer.code, answer.stdout, answer.stderr)
  if (job === undefined) return [tier, noAnswer('launchctl', answer)]
  const detail = !job.loaded ? 'not loaded' : job.running ? `loaded, running, pid ${job.pid}` : 'loaded, between runs'
  return [tier, { registered: job.loaded, pid: job.pid, detail: `launchd: ${detail}` }]
}

async function askSystemd(settings: Settings, tiers: readonly JobTier[]): Promise<[JobTier, Job][]> {
  const units = tiers.flatMap((tier) => [`${jobName(settings, tier)}.timer`, `${jobName(settings, tier)}.service`])
  const properties = 'Id,LoadState,ActiveState,SubState,MainPID'
  const answer = await ask(settings, 'systemctl', ['--user', 'show', ...units, `--property=${properties}`])
  const found = answer.code === 0 ? readUnits(answer.stdout) : undefined
  return tiers.map((tier): [JobTier, Job] => {
    const timer = found?.get(`${jobName(settings, tier)}.timer`)
    const service = found?.get(`${jobName(settings, tier)}.service`)
    if (!timer || !service) return [tier, noAnswer('systemctl', answer)]
    const [load, active, sub] = ['LoadState', 'ActiveState', 'SubState'].map((name) => timer.get(name))
    return [
      tier,
      {
        // `elapsed`: the timer is active and will never fire again.
        registered: load === 'loaded' && active === 'active' && sub !== 'elapsed',
        pid: Number(service.get('MainPID')) || undefined,
        detail: load === 'loaded' ? `systemd timer: ${active} (${sub})` : `systemd timer: ${load}`,
      },
    ]
  })
}

function noAnswer(program: string, answer: Answer): Job {
  return { registered: undefined, pid: undefined, detail: `${program}: ${answer.failure}` }
}

/** Makes launchd or systemd run the job again, now and when it is due. */
export async function reviveJob(
  settings: Settings,
  scheduler: JobScheduler,
  tier: JobTier,
  job: Job,
): Promise<ActionResult> {
  const name = jobName(settings, tier)
  if (scheduler === 'launchd') {
    if (job.registered)
      return { done: `launchctl kickstart ${name}`, failure: (await kickstart(settings, name, false)).failure }
    const plist = jobPlist(settings, tier)
    return { done: `launchctl bootstrap ${plist}`, failure: (await bootstrap(settings, name, plist)).failure }
  }
  // A unit file that came back, or was changed on disk, is not seen before a reload.
  await systemctl(settings, ['daemon-reload'])
  await systemctl(settings, ['reset-failed', `${name}.timer`, `${name}.service`])
  const steps: [string[], CommandResult][] = []
  // restart and not start: a timer that is active but will never fire again is only helped by a restart.
  // --no-block: the service is a oneshot, and starting it would last as long as its run.
  for (const args of [
    ['enable', `${name}.timer`],
    ['restart', `${name}.timer`],
    ['start', '--no-block', `${name}.service`],
  ])
    steps.push([args, await systemctl(settings, args)])
  const failed = steps.find(([, result]) => result.failure)
  return {
    done: `systemctl --user enable + restart ${name}.timer, start ${name}.service`,
    failure: failed?.[1].failure,
  }
}

interface Answer {
  /** Undefined: no answer at all; `failure` says why. */
  code: number | undefined
  stdout: string
  stderr: string
  failure: string
}

/** A short question without execa, whose loading alone costs more than a whole healthy tick may. */
async function ask(settings: Settings, file: string, args: string[]): Promise<Answer> {
  const { execFile } = await import('node:child_process')
  return new Promise((resolve) => {
    const options = { timeout: QUERY_TIMEOUT_MS, killSignal: 'SIGKILL' as const, env: settings.childEnv, cwd: '/' }
    execFile(file, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : undefined
      resolve({ code, stdout, stderr, failure: describe(error, stderr) })
    })
  })

  function describe(error: (Error & { code?: unknown; killed?: boolean }) | null, stderr: string): string {
    if (error?.code === 'ENOENT') return `${file} is not on the PATH`
    if (error?.killed) return `no answer within ${QUERY_TIMEOUT_MS / 1000} s`
    return oneLine(stderr || String(error?.message ?? 'an answer that could not be read'), 200)
  }
}
