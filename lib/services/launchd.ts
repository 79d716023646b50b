/** launchd in the user's GUI domain. Apple does not promise the form of `launchctl print`: it is read tolerantly. */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { type Answer, howItEnded, shell } from '../tier/shell.ts'
import { tried } from '../tier/state.ts'

const LOGIN_ITEMS = 'switched off in Login Items & Extensions (System Settings)'
const NO_SESSION = `nobody is logged in at this Mac's screen (automatic login helps), or the job is ${LOGIN_ITEMS}`

/** `bootstrap` while launchd has not let go of the old job (5), or has it already (37, 130). */
const BUSY_OR_LOADED = [5, 37, 130]
const NO_DOMAIN = [112, 125]

/** What launchctl's exit codes mean, with what helps (macOS 13 to 26). */
const MEANINGS: readonly (readonly [codes: readonly number[], meaning: string])[] = [
  [BUSY_OR_LOADED, `launchd has this job already, is still ending it, or it is ${LOGIN_ITEMS}`],
  [NO_DOMAIN, NO_SESSION],
  [[113], 'launchd does not have this job; `npm run setup` loads ours, `openclaw gateway install` the gateway’s'],
  [[119], 'this job is disabled; `launchctl enable` with its name switches it on'],
  [[122], 'its property list is not yours, may be written by others, or lies with your home on another volume'],
  [[139], 'launchd cannot set this job up; once what it needs is there, `launchctl bootout` and `bootstrap` help'],
]

export function launchdTarget(label?: string): string {
  return `gui/${process.getuid?.() ?? 501}${label === undefined ? '' : `/${label}`}`
}

/** With launchctl's exit code in words. */
export function explained(answer: Answer): Answer {
  const [, meaning] = MEANINGS.find(([codes]) => codes.includes(answer.code ?? 0)) ?? []
  return meaning ? { ...answer, failure: `${meaning}: ${answer.failure}` } : answer
}

export async function launchdJob(settings: Settings, label: string) {
  const { code, stdout, stderr } = await shell(settings)`launchctl print ${launchdTarget(label)}`
  return code === null ? undefined : readLaunchdJob(code, stdout, stderr)
}

export function readLaunchdJob(code: number, stdout: string, stderr: string) {
  const isMissing = code === 113 || /could not find service/i.test(stderr + stdout)
  const why = isMissing ? 'job not loaded' : NO_DOMAIN.includes(code) && NO_SESSION
  if (code !== 0 && !why) return undefined
  // One step deep (eight blanks before macOS 10.15): what is deeper is of another thing.
  const line = (name: string) => new RegExp(`^(?:\\t| {8})${name} = (.+)$`, 'm').exec(why ? '' : stdout)
  const field = (name: string) => line(name)?.[1]?.trim() ?? ''
  const number = (name: string) => (/^-?\d/.test(field(name)) ? Number.parseInt(field(name), 10) : undefined)
  const [state, pid, lastExitCode] = [field('state'), number('pid') || undefined, number('last exit code')]
  const running = state === 'running' || (state === '' && pid !== undefined)
  const stopping = /^SIG|^exited/.test(state)
  const isPenalized = field('properties').includes('penalty box') && lastExitCode === 78
  const isBoxed = isPenalized || field('job state') === 'spawn failed'
  const cannotStart = isBoxed && !running && !stopping ? whatIsGone(field) : undefined
  const restarting = !cannotStart && /spawn|xpcproxy/i.test(state)
  const pended = field('pended nondemand spawn')
  // `Killed: 9`, `Bus error: 10`; and `JETSAM_…` of one that macOS ended for its memory.
  const signal = Number(/: (\d+)$/.exec(field('last terminating signal'))?.[1] ?? Number.NaN) || undefined
  const ended = howItEnded(lastExitCode, signal)
  const gone = cannotStart?.program ?? cannotStart?.folder ?? 'something (root’s, or protected by macOS?)'
  const now = cannotStart ? `cannot be started (penalty box): ${gone} is gone or not allowed` : state
  const wait = pended && `pended (${pended}), for launchd starts only what is asked for`
  const past = [ended ?? 'has never exited', field('last exit reason')]
  return {
    ...{ isOn: !why, running, restarting, stopping, cannotStart, pid, lastExitCode, ended, starts: number('runs') },
    // KeepAlive is true in OpenClaw's plist: launchd stopped respawning it.
    ...{ parked: !why && !running && !restarting && !stopping, pended: pended !== '' },
    detail: `launchd: ${why || [now, pid && `pid ${pid}`, wait, ...past].filter(Boolean).join(', ')}`,
  }
}

/** What launchd needs of a job and misses: its Node after `brew upgrade`, a folder. It calls that 78, as if it were the config. */
function whatIsGone(field: (name: string) => string): { program?: string; folder?: string } {
  const isGone = (path: string) => path.startsWith('/') && !existsSync(path)
  const folders = [dirname(field('stdout path')), dirname(field('stderr path')), field('working directory')]
  return isGone(field('program')) ? { program: field('program') } : { folder: folders.find(isGone) }
}

/** True after `launchctl disable`: launchd is not to start the job. Also when that is unknown: the lifecycle log decides. */
export async function isDisabled(settings: Settings, label: string): Promise<boolean> {
  const { code, stdout } = await shell(settings)`launchctl print-disabled ${launchdTarget()}`
  if (code !== 0) return true
  // `=> disabled`; before macOS 13 `=> true`.
  return stdout.split('\n').some((line) => line.includes(`"${label}" =>`) && /=> (?:disabled|true)\b/.test(line))
}

/** A domain may be in on-demand-only mode for weeks: KeepAlive, RunAtLoad and intervals wait. With what helps. */
export async function domainNotes(settings: Settings): Promise<string[]> {
  const { stdout } = await shell(settings)`launchctl print ${launchdTarget()}`
  const note =
    'launchd starts only what is asked for (on-demand count > 0: a login, logout or update is not finished, or the Mac is locked), no gateway that has ended: log in at the screen, log out and in, finish the update, or restart the Mac'
  return /^(?:\t| {8})on-demand count = [1-9]/m.test(stdout) ? [note] : []
}

/** `enable` first (a disabled label cannot be bootstrapped); repeated while launchd has not let go of the old job. */
export async function bootstrap(settings: Settings, label: string, plist: string): Promise<Answer> {
  const $ = shell(settings)
  await $`launchctl enable ${launchdTarget(label)}`
  let result = await $`launchctl bootstrap ${launchdTarget()} ${plist}`
  for (let attempt = 1; BUSY_OR_LOADED.includes(result.code ?? 0) && attempt <= 10; attempt++) {
    await delay(500 * attempt)
    result = await $`launchctl bootstrap ${launchdTarget()} ${plist}`
    const job = attempt > 2 ? await launchdJob(settings, label) : undefined
    if (job?.isOn && !job.stopping) result = { ...result, code: 0, failure: undefined }
  }
  if (result.failure) return explained(result)
  // What RunAtLoad and KeepAlive should start is pended in an on-demand-only domain, and not always started elsewhere.
  const kicked = await $`launchctl kickstart ${launchdTarget(label)}`
  const job = kicked.failure ? await launchdJob(settings, label) : undefined
  return job?.cannotStart ? { ...kicked, failure: job.detail } : result
}

/** bootout and bootstrap: the only cure for a job in the penalty box. A folder that it needs and that is gone is made. */
export async function reload(settings: Settings, label: string, plist: string): Promise<Answer> {
  const folder = (await launchdJob(settings, label))?.cannotStart?.folder
  if (folder) tried(() => mkdirSync(folder, { recursive: true }))
  await bootout(settings, label)
  return bootstrap(settings, label, plist)
}

export function bootout(settings: Settings, label: string): Promise<Answer> {
  return shell(settings, { timeoutSec: 75 })`launchctl bootout ${launchdTarget(label)}`
}
