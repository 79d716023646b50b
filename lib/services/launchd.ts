/**
 * launchd, through launchctl, in the user's GUI domain. The form of `launchctl print` is not promised by Apple, so it
 * is read tolerantly; exit code 113 is "could not find service".
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type CommandResult, runCommand } from '../tier/command.ts'
import type { Settings } from '../tier/settings.ts'

export interface LaunchdJob {
  loaded: boolean
  running: boolean
  pid?: number
  /** Undefined when it never exited. */
  lastExitCode?: number
  /** How often launchd has started it. */
  runs?: number
  /** launchd will start it by itself in a moment (throttled or being spawned). */
  spawning: boolean
}

const COULD_NOT_FIND = 113
const TIMEOUT_MS = 15_000

/** The job's state; undefined with no answer from launchctl (missing, timeout): then nothing is known. */
export async function launchdJob(settings: Settings, label: string): Promise<LaunchdJob | undefined> {
  const result = await launchctl(settings, ['print', `${domain()}/${label}`])
  return result.code === null ? undefined : readLaunchdJob(result.code, result.stdout, result.stderr)
}

/** Reads what `launchctl print` of one job answered; undefined: it is no answer that can be read. */
export function readLaunchdJob(code: number, stdout: string, stderr: string): LaunchdJob | undefined {
  if (code === COULD_NOT_FIND || /could not find service/i.test(stderr + stdout))
    return { loaded: false, running: false, spawning: false }
  if (code !== 0) return undefined
  // The job's own lines are indented by one tab; nested blocks (endpoints, environment) by more.
  const field = (name: string) => new RegExp(`^\\s{0,8}${name} = (.+)$`, 'm').exec(stdout)?.[1]?.trim()
  const number = (name: string) => {
    const value = Number.parseInt(field(name) ?? '', 10)
    return Number.isNaN(value) ? undefined : value
  }
  const state = field('state') ?? ''
  const pid = number('pid')
  return {
    loaded: true,
    running: state === 'running' || (state === '' && pid !== undefined),
    pid: pid !== undefined && pid > 0 ? pid : undefined,
    lastExitCode: number('last exit code'),
    runs: number('runs'),
    spawning: /spawn/i.test(state),
  }
}

/** Starts a loaded job; `kill` ends a running instance first. */
export async function kickstart(settings: Settings, label: string, kill: boolean): Promise<CommandResult> {
  return launchctl(settings, ['kickstart', ...(kill ? ['-k'] : []), `${domain()}/${label}`])
}

/**
 * Loads a job from its plist: `enable` first (a disabled label cannot be bootstrapped), then `bootstrap`, which right
 * after a `bootout` fails with 5 (Input/output error) until launchd has let go of the old one.
 */
export async function bootstrap(settings: Settings, label: string, plist: string): Promise<CommandResult> {
  await launchctl(settings, ['enable', `${domain()}/${label}`])
  let result = await launchctl(settings, ['bootstrap', domain(), plist])
  for (let attempt = 1; result.code === 5 && attempt <= 10; attempt++) {
    if ((await launchdJob(settings, label))?.loaded) return { ...result, code: 0, failure: undefined }
    await delay(500 * attempt)
    result = await launchctl(settings, ['bootstrap', domain(), plist])
  }
  return result
}

/** Unloads a job. */
export async function bootout(settings: Settings, label: string): Promise<CommandResult> {
  return launchctl(settings, ['bootout', `${domain()}/${label}`])
}

export function launchctl(settings: Settings, args: string[]): Promise<CommandResult> {
  return runCommand('launchctl', args, { timeoutMs: TIMEOUT_MS, env: settings.childEnv })
}

function domain(): string {
  return `gui/${process.getuid?.() ?? 501}`
}
