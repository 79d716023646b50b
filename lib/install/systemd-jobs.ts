/** Level 1 and Level 2 as systemd user services with timers. */
import { existsSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { jobName } from '../services/jobs.ts'
import { systemctl, systemdUnit } from '../services/systemd.ts'
import { runCommand } from '../tier/command.ts'
import type { Settings } from '../tier/settings.ts'
import { type FileContent, folderSteps, isAsWanted, putFile, tilde } from './files.ts'
import type { Step } from './step.ts'
import { type JobFacts, systemdFile } from './templates.ts'

const TIERS_HERE = ['watchdog', 'healthcheck'] as const
const timersOf = (settings: Settings) => TIERS_HERE.map((tier) => `${jobName(settings, tier)}.timer`)
/** Stopping a tier at work waits for it: TimeoutStopSec of our units is 60. */
const STOP_TIMEOUT_MS = 90_000

export function unitFolder(settings: Settings): string {
  return join(settings.home, '.config', 'systemd', 'user')
}

/**
 * The steps that make systemd's user manager run Level 1 and Level 2; none when it does already.
 * @param isFirst the first installation: also switch lingering on, which is not asked for again if it is refused
 */
export async function systemdSteps(facts: JobFacts, isFirst: boolean): Promise<Step[]> {
  const { settings } = facts
  const folder = unitFolder(settings)
  const files = TIERS_HERE.flatMap((tier) =>
    (['service', 'timer'] as const).map((kind) => ({
      path: join(folder, `${jobName(settings, tier)}.${kind}`),
      content: systemdFile(tier, kind, facts),
      mode: 0o644,
    })),
  )
  const running = await areRunning(settings)
  const steps = running && files.every(isAsWanted) ? [] : [unitsStep(settings, files, running)]
  const linger = isFirst ? lingerStep(settings) : undefined
  return [...(steps.length > 0 ? folderSteps(folder, 0o755, settings.home) : []), ...steps, ...(linger ? [linger] : [])]
}

async function areRunning(settings: Settings): Promise<boolean> {
  const units = await Promise.all(timersOf(settings).map((timer) => systemdUnit(settings, timer)))
  return units.every((unit) => unit?.loaded === true && unit.enabled && unit.activeState === 'active')
}

function unitsStep(settings: Settings, files: FileContent[], wereRunning: boolean): Step {
  let putBack: (() => void)[] = []
  let ranOurs = false
  const timers = timersOf(settings)
  return {
    lines: [
      `systemd user timers ${timers.join(' and ')}: write, switch on and start them`,
      ...files.map(({ path }) => `  ${tilde(path, settings.home)}`),
    ],
    entries: [
      ...files.map(({ path }) => ({ kind: 'file' as const, path })),
      ...timers.map((unit) => ({ kind: 'systemd-timer' as const, unit })),
    ],
    apply: async () => {
      // What was running may have been the bash version's, whose files lie aside by now.
      ranOurs = wereRunning && files.every(({ path }) => existsSync(path))
      putBack = files.map(putFile)
      await must(settings, ['daemon-reload'])
      await must(settings, ['enable', ...timers])
      // Not `start`: a timer that is on already goes by its old file until it is started anew.
      await must(settings, ['restart', ...timers])
      if (!(await areRunning(settings))) throw new Error('systemctl started the timers, and yet they are not active')
    },
    rollback: async () => {
      if (!ranOurs) for (const timer of timers) await removeTimer(settings, timer)
      for (const back of putBack) back()
      await must(settings, ['daemon-reload'])
      if (ranOurs) await must(settings, ['restart', ...timers])
    },
  }
}

/** Switches a timer and its service off and ends a run that is going on. Does nothing when systemd has no such timer. */
export async function removeTimer(settings: Settings, timer: string): Promise<void> {
  if ((await systemdUnit(settings, timer))?.loaded) await must(settings, ['disable', '--now', timer])
  await endService(settings, timer)
}

/** Ends a run of the timer's service. */
export async function endService(settings: Settings, timer: string): Promise<void> {
  const service = timer.replace(/\.timer$/, '.service')
  if ((await systemdUnit(settings, service))?.loaded) await must(settings, ['stop', service])
  // A service whose last run failed would stay in systemd's list as "not found, failed".
  await systemctl(settings, ['reset-failed', timer, service])
}

export async function must(settings: Settings, args: string[]): Promise<void> {
  const { failure } = await systemctl(settings, args, STOP_TIMEOUT_MS)
  if (failure) throw new Error(failure)
}

/** Without lingering the user manager, and all it runs, ends with the user's last session. */
function lingerStep(settings: Settings): Step | undefined {
  const { username } = account()
  if (isLingering(username)) return undefined
  let failure: string | undefined
  const step: Step = {
    lines: [`switch lingering on for ${username}, so that the timers run while nobody is logged in`],
    entries: [],
    apply: async () => {
      ;({ failure } = await loginctl(settings, 'enable-linger'))
      if (failure)
        step.lines = [
          `NOT DONE: lingering could not be switched on (${failure}): while ${username} is not logged in, nothing runs. \`sudo loginctl enable-linger ${username}\` helps`,
        ]
      // Only what this run has switched on may the uninstallation switch off.
      else step.entries.push({ kind: 'linger' })
    },
    rollback: async () => {
      if (failure === undefined) await loginctl(settings, 'disable-linger')
    },
  }
  return step
}

/** The user's name and home as the password database has them; a container may run as a user that it does not have. */
export function account(): { username: string; homedir: string } {
  try {
    return userInfo()
  } catch {
    return { username: String(process.getuid?.()), homedir: '' }
  }
}

export function isLingering(username: string): boolean {
  return existsSync(`/var/lib/systemd/linger/${username}`)
}

export function loginctl(settings: Settings, verb: 'enable-linger' | 'disable-linger') {
  return runCommand('loginctl', [verb], { timeoutMs: 20_000, env: settings.childEnv })
}
