/** Level 1 and Level 2 as LaunchAgents. */

import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type JobTier, jobName, jobPlist } from '../services/jobs.ts'
import { bootout, bootstrap, launchdJob } from '../services/launchd.ts'
import type { Settings } from '../tier/settings.ts'
import { folderSteps, isAsWanted, putFile, tilde } from './files.ts'
import type { Step } from './step.ts'
import { type JobFacts, launchAgent } from './templates.ts'

/** launchd lets a job go when its processes have ended; ours get 60 s (ExitTimeOut). */
const LET_GO_LIMIT_MS = 75_000

/** The steps that make launchd run Level 1 and Level 2; none when it does already. */
export async function launchdSteps(facts: JobFacts): Promise<Step[]> {
  const { settings } = facts
  const jobs = await Promise.all((['watchdog', 'healthcheck'] as const).map((tier) => jobStep(facts, tier)))
  const wanted = jobs.filter((step) => step !== undefined)
  if (wanted.length === 0) return []
  const folders = ['LaunchAgents', 'Logs'].map((name) => join(settings.home, 'Library', name))
  return [...folders.flatMap((folder) => folderSteps(folder, 0o755, settings.home)), ...wanted]
}

async function jobStep(facts: JobFacts, tier: JobTier): Promise<Step | undefined> {
  const { settings } = facts
  const name = jobName(settings, tier)
  const file = { path: jobPlist(settings, tier), content: launchAgent(tier, facts), mode: 0o644 }
  const before = await launchdJob(settings, name)
  if (before?.loaded && isAsWanted(file)) return undefined
  const hadErrorLog = existsSync(errorLog(settings, tier))
  let putBack = () => {}
  return {
    lines: [
      `LaunchAgent ${name}: write ${tilde(file.path, settings.home)}, ${before?.loaded ? 'load it again' : 'load it'}`,
    ],
    entries: [
      { kind: 'file', path: errorLog(settings, tier) },
      { kind: 'file', path: file.path },
      { kind: 'launchd-job', label: name, plist: file.path },
    ],
    apply: async () => {
      await unload(settings, name)
      putBack = putFile(file)
      // What WatchPaths watches is there before it is watched.
      writeFileSync(join(settings.memoryDir, 'escalations.log'), '', { flag: 'a', mode: 0o600 })
      await load(settings, name, file.path)
    },
    rollback: async () => {
      await unload(settings, name)
      putBack()
      // What was loaded may have been the bash version's, and its file still lies aside: whoever puts that back loads it.
      if (before?.loaded && existsSync(file.path)) await load(settings, name, file.path)
      else if (!hadErrorLog) rmSync(errorLog(settings, tier), { force: true })
    },
  }
}

function errorLog(settings: Settings, tier: JobTier): string {
  return join(settings.home, 'Library', 'Logs', `${jobName(settings, tier)}.err.log`)
}

/** Loads a job from its plist and sees that launchd has it. Throws. */
export async function load(settings: Settings, label: string, plist: string): Promise<void> {
  const { failure } = await bootstrap(settings, label, plist)
  if (failure) throw new Error(failure)
  if (!(await launchdJob(settings, label))?.loaded)
    throw new Error(`launchctl bootstrap ${plist} succeeded, and yet launchctl print does not find ${label}`)
}

/** Unloads a job, if it is loaded, and waits until launchd has let go of it. Throws. */
export async function unload(settings: Settings, label: string): Promise<void> {
  if (!(await launchdJob(settings, label))?.loaded) return
  const { failure, timedOut } = await bootout(settings, label)
  for (const deadline = performance.now() + LET_GO_LIMIT_MS; performance.now() < deadline; await delay(200)) {
    if (!(await launchdJob(settings, label))?.loaded) return
    if (failure && !timedOut && !/in progress/i.test(failure)) throw new Error(failure)
  }
  throw new Error(`launchctl bootout ${label}: launchd still has it after ${LET_GO_LIMIT_MS / 1000} s`)
}
