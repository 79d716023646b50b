/** Bringing a dead peer back: ending a run that hangs, starting the job again, putting the crontab lines back. */
import { setTimeout as delay } from 'node:timers/promises'
import { runCommand } from '../tier/command.ts'
import { TIERS, type TierName } from '../tier/contract.ts'
import { type Suspect, sight } from '../tier/peers.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { endProcess } from './bare.ts'
import { cronTiers, putBackCronLines, readCrontab } from './cron.ts'
import { askJobs, type Job, type JobScheduler, type JobTier, reviveJob } from './jobs.ts'

/** What a revival came to. */
export interface Revival {
  /** Undefined: that shows only at a later tick. */
  alive: boolean | undefined
  /** What was done, for the log. */
  did?: string
  failure?: string
}

/** Revives Level 1 or Level 2 and waits for its sign of life. */
export async function reviveScheduled(
  run: TierRun,
  scheduler: JobScheduler,
  tier: JobTier,
  sign: Suspect['sign'],
  known: Job | undefined,
): Promise<Revival> {
  const { settings, journal } = run
  const heartbeatMs = sight(settings, tier, new Date()).heartbeatMs
  const job = known ?? (await askJobs(settings, scheduler, [tier])).get(tier)!
  if (sign === 'silent' && job.pid !== undefined) {
    journal.warn(`${job.detail}; it writes no log and holds no lock: it hangs`)
    await endRun(run, tier, job.pid)
  }
  const { done, failure } = await reviveJob(settings, scheduler, tier, job)
  if (failure) return { alive: false, did: done, failure: `${failure} (${job.detail})` }
  if (await waitForHeartbeat(run, tier, heartbeatMs)) return { alive: true, did: done }
  return { alive: false, did: done, failure: `it was started and wrote nothing for ${settings.guardianPatienceSec} s` }
}

/** Puts our crontab lines back if they are gone. Whether that helped shows at cron's next turn. */
export async function reviveCron(settings: Settings, tiers: readonly TierName[]): Promise<Revival> {
  const crontab = await readCrontab(settings)
  if ('failure' in crontab) return { alive: false, failure: crontab.failure }
  const present = cronTiers(crontab.text, settings.profile)
  if (tiers.every((tier) => present.includes(tier)))
    return {
      alive: false,
      failure:
        'its crontab line is in place, so the cron daemon does not run, or may not run it (Linux: `systemctl status cron`; macOS: Full Disk Access for cron)',
    }
  const { done, failure } = await putBackCronLines(settings)
  return failure ? { alive: false, did: done, failure } : { alive: undefined, did: done }
}

/** Ends a run that hangs, if the process `pid` really is a run of that tier. */
export async function endRun(run: TierRun, tier: TierName, pid: number | undefined): Promise<void> {
  const { settings, journal } = run
  if (pid === undefined || !(await isRunOf(settings, tier, pid))) return
  const gone = await endProcess(settings, pid, settings.stopGraceSec, () => isRunOf(settings, tier, pid))
  if (gone) journal.warn(`ended the hanging ${tier} (pid ${pid})`)
  else journal.error(`the hanging ${tier} (pid ${pid}) could not be ended`)
}

/** True when the process is alive and is that tier's script: started by Node, or by the launcher on its way to Node. */
async function isRunOf(settings: Settings, tier: TierName, pid: number): Promise<boolean> {
  const ps = await runCommand('ps', ['-o', 'stat=,command=', '-p', String(pid)], {
    timeoutMs: 5000,
    env: settings.childEnv,
  })
  const m = /^\s*(\S+)\s+(.*)/s.exec(ps.stdout)
  if (!m || m[1]!.startsWith('Z')) return false
  return new RegExp(`^\\S*(?:node|sh|bash|dash)\\s.*\\b${TIERS[tier].script}(?:\\.ts)?(?:\\s|$)`, 's').test(m[2]!)
}

/** Waits for the peer's next line; false when none came in time. */
export async function waitForHeartbeat(run: TierRun, tier: TierName, beforeMs: number): Promise<boolean> {
  for (const deadline = performance.now() + run.settings.guardianPatienceSec * 1000; ; await delay(250)) {
    if (sight(run.settings, tier, new Date()).heartbeatMs !== beforeMs) return true
    if (run.signal.aborted || performance.now() > deadline) return false
  }
}
