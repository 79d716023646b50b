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
/** Answers to `bootstrap` while launchd has not let go of the old job (5), or has it already (37, 130). */
const BUSY_OR_THERE = [5, 37, 130]
const TIMEOUT_MS = 15_000
/** `kickstart -k` waits for the old process (OpenClaw's plist: ExitTimeOut 20), `bootout` too (ours: 60). */
const KILL_TIMEOUT_MS = 45_000
const BOOTOUT_TIMEOUT_MS = 75_000
/** A job that is being booted out still shows for a moment. */
const STILL_THERE_MS = 2000

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
    spawning: /spawn|xpcproxy/i.test(state),
  }
}

/** Starts a loaded job; `kill` ends a running instance first. */
export async function kickstart(settings: Settings, label: string, kill: boolean): Promise<CommandResult> {
  const args = ['kickstart', ...(kill ? ['-k'] : []), `${domain()}/${label}`]
  return launchctl(settings, args, kill ? KILL_TIMEOUT_MS : TIMEOUT_MS)
}

/** True when somebody ran `launchctl disable` on the label: launchd is not to load it. False when that cannot be told. */
export async function isDisabled(settings: Settings, label: string): Promise<boolean> {
  const { stdout } = await launchctl(settings, ['print-disabled', domain()])
  // `=> disabled`; before macOS 13 `=> true`.
  return stdout.split('\n').some((line) => line.includes(`"${label}" =>`) && /=> (?:disabled|true)\b/.test(line))
}

/**
 * Loads a job from its plist: `enable` first (a disabled label cannot be bootstrapped), then `bootstrap`, which right
 * after a `bootout` fails with 5 (Input/output error) or 37 (already in progress) until launchd has let go of the old
 * one.
 */
export async function bootstrap(settings: Settings, label: string, plist: string): Promise<CommandResult> {
  await launchctl(settings, ['enable', `${domain()}/${label}`])
  let result = await launchctl(settings, ['bootstrap', domain(), plist])
  for (let attempt = 1; BUSY_OR_THERE.includes(result.code ?? 0) && attempt <= 10; attempt++) {
    if (await isThereToStay(settings, label)) return { ...result, code: 0, failure: undefined }
    await delay(500 * attempt)
    result = await launchctl(settings, ['bootstrap', domain(), plist])
  }
  // 112 and 125: the domain of a user who is not logged in at the screen.
  if (result.code === 112 || result.code === 125)
    return { ...result, failure: `nobody is logged in at this Mac's screen: ${result.failure}` }
  return result
}

async function isThereToStay(settings: Settings, label: string): Promise<boolean> {
  if (!(await launchdJob(settings, label))?.loaded) return false
  await delay(STILL_THERE_MS)
  return (await launchdJob(settings, label))?.loaded === true
}

/** Unloads a job. */
export async function bootout(settings: Settings, label: string): Promise<CommandResult> {
  return launchctl(settings, ['bootout', `${domain()}/${label}`], BOOTOUT_TIMEOUT_MS)
}

export function launchctl(settings: Settings, args: string[], timeoutMs = TIMEOUT_MS): Promise<CommandResult> {
  return runCommand('launchctl', args, { timeoutMs, env: settings.childEnv })
}

function domain(): string {
  return `gui/${process.getuid?.() ?? 501}`
}
