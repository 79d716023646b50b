/** A change of this machine: an installation is one, so is its rollback, and so is an uninstallation. */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { editCrontab } from '../services/cron.ts'
import { bootout, bootstrap, launchdJob } from '../services/launchd.ts'
import { systemdUnit } from '../services/systemd.ts'
import type { Settings } from '../tier/settings.ts'
import { findOnPath, shell } from '../tier/shell.ts'
import { writeFileAtomic } from '../tier/state.ts'

type File = { content: string | Buffer; mode: number }

export interface Change {
  /** By launchd's labels or the names of systemd's units; with the files that define the jobs. */
  stop: Map<string, string>
  /** By path; undefined: the file goes. */
  files: Map<string, File | undefined>
  start: Map<string, string>
  crontab?: { text: string; edit(crontab: string): string; undo?: Change['crontab'] }
}

export interface Step {
  text: string
  act?(): unknown
  /** Why it was not done. */
  failed?: string
}

export type Say = (step: Step) => void

/** Longer than ExitTimeOut and TimeoutStopSec. */
const END_LIMIT_SEC = 75

export const agentsFolder = ({ home }: Settings) => join(home, 'Library', 'LaunchAgents')
export const unitFolder = ({ home }: Settings) => join(home, '.config', 'systemd', 'user')
const isUnit = (name: string) => /\.(?:timer|service)$/.test(name)

/** The change in the order in which it is made: what is stopped cannot write a file that was just removed. */
export function stepsOf(settings: Settings, { stop, files, start, crontab }: Change): Step[] {
  const steps: Step[] = []
  for (const label of stop.keys()) steps.push({ text: `stop ${label}`, act: () => stopJob(settings, label) })
  for (const [path, file] of files) {
    const verb = file ? (existsSync(path) ? 'change' : 'write') : 'remove'
    const act = () => (file ? writeFileAtomic(path, file.content, file.mode) : rmSync(path, { force: true }))
    steps.push({ text: `${verb} ${tilde(path, settings.home)}`, act })
  }
  if ([...files.keys()].some(isUnit))
    steps.push({ text: 'systemctl --user daemon-reload', act: () => systemctl(settings, 'daemon-reload') })
  for (const [label, path] of start) steps.push({ text: `start ${label}`, act: () => startJob(settings, label, path) })
  const editIt = async () => {
    const before = await editCrontab(settings, crontab!.edit)
    crontab!.undo = { text: 'crontab', edit: () => before }
  }
  if (crontab) steps.push({ text: crontab.text, act: editIt })
  return steps
}

/** Does the steps and returns what failed. @param upTo none follows one that failed, or that signal */
export async function tryAll(steps: Step[], say?: Say, upTo?: AbortSignal): Promise<string[]> {
  const failures: string[] = []
  for (const step of steps) {
    try {
      if (upTo?.aborted) throw new Error('interrupted')
      await step.act?.()
    } catch (error) {
      step.failed = (error as Error).message
      failures.push(`${step.text.split('\n')[0]}: FAILED: ${step.failed}`)
    }
    say?.(step)
    if (upTo && failures.length > 0) break
  }
  return failures
}

export async function inverseOf(settings: Settings, change: Change): Promise<Change> {
  const loaded = new Map<string, string>()
  for (const [label, path] of [...change.stop, ...change.start])
    if (await isLoaded(settings, label)) loaded.set(label, path)
  return {
    // A timer that is only restarted ends no run.
    stop: new Map([...change.start].filter(([label]) => !(isUnit(label) && loaded.has(label)))),
    files: new Map([...change.files.keys()].map((path) => [path, readFile(path)])),
    start: loaded,
    get crontab() {
      return change.crontab?.undo
    },
  }
}

export function readFile(path: string): File | undefined {
  return existsSync(path) ? { content: readFileSync(path), mode: statSync(path).mode & 0o777 } : undefined
}

export function isAsWanted(path: string, file: File | undefined): boolean {
  const now = readFile(path)
  if (!now || !file) return now === file
  return now.mode === file.mode && Buffer.from(file.content).equals(now.content as Buffer)
}

export async function isLoaded(settings: Settings, label: string, canStart = false): Promise<boolean> {
  const unit = isUnit(label) ? await systemdUnit(settings, label) : undefined
  // A timer that is not enabled ends with the next boot.
  if (isUnit(label)) return unit?.activeState === 'active' && unit.enabled
  const job = await launchdJob(settings, label)
  if (!job && findOnPath('launchctl', settings.childEnv.PATH)) throw new Error(`launchctl says nothing about ${label}`)
  return job?.isOn === true && !(canStart && job.cannotStart)
}

async function startJob(settings: Settings, label: string, path: string): Promise<void> {
  if (isUnit(label)) {
    await systemctl(settings, 'enable', label)
    // Not `start`: a timer that is active goes by its old file until it is restarted.
    await systemctl(settings, 'restart', label)
  } else must(await bootstrap(settings, label, path))
  if (!(await isLoaded(settings, label))) throw new Error(`${label} was started without an error, but is not active`)
}

async function stopJob(settings: Settings, label: string): Promise<void> {
  if (isUnit(label)) {
    const service = label.replace(/timer$/, 'service')
    if ((await systemdUnit(settings, label))?.loaded) await systemctl(settings, 'disable', '--now', label)
    if ((await systemdUnit(settings, service))?.loaded) await systemctl(settings, 'stop', service)
    // A service whose last run failed would stay in systemd's list as "not found, failed".
    await shell(settings)`systemctl --user reset-failed ${label} ${service}`
    return
  }
  if (!(await isLoaded(settings, label))) return
  // Twice: rolled back, it would stay loaded beside the plist of the bash version, whose job could not be loaded.
  for (const isLast of [false, true]) {
    const { failure, timedOut } = await bootout(settings, label)
    const limitSec = failure && !timedOut && !/in progress/i.test(failure) ? 1 : END_LIMIT_SEC
    for (const deadline = performance.now() + limitSec * 1000; performance.now() < deadline; await delay(200))
      if (!(await isLoaded(settings, label))) return
    if (isLast) throw new Error(`launchd still has ${label} loaded${failure ? ` (${failure})` : ''}`)
  }
}

async function systemctl(settings: Settings, ...args: string[]): Promise<void> {
  must(await shell(settings, { timeoutSec: END_LIMIT_SEC + 15 })`systemctl --user ${args}`)
}

export function must({ failure }: { failure: string | undefined }): void {
  if (failure) throw new Error(failure)
}

export function tilde(path: string, home: string): string {
  return path.startsWith(`${home}/`) ? `~/${path.slice(home.length + 1)}` : path
}
