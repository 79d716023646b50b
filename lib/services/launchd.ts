/** launchd in the user's GUI domain. Apple does not promise the form of `launchctl print`: it is read tolerantly. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { type Answer, shell } from '../tier/shell.ts'

const COULD_NOT_FIND = 113
/** `bootstrap` while launchd has not let go of the old job (5), or has it already (37, 130). */
const BUSY_OR_LOADED = [5, 37, 130]
const NO_DOMAIN = [112, 125]
const STILL_THERE_MS = 2000

export function launchdTarget(label?: string): string {
  return `gui/${process.getuid?.() ?? 501}${label === undefined ? '' : `/${label}`}`
}

export async function launchdJob(settings: Settings, label: string) {
  const { code, stdout, stderr } = await shell(settings)`launchctl print ${launchdTarget(label)}`
  return code === null ? undefined : readLaunchdJob(code, stdout, stderr)
}

export function readLaunchdJob(code: number, stdout: string, stderr: string) {
  const isMissing = code === COULD_NOT_FIND || /could not find service/i.test(stderr + stdout)
  if (isMissing) return { isOn: false, running: false, spawning: false, detail: 'launchd: job not loaded' }
  if (code !== 0) return undefined
  const field = (name: string) => new RegExp(`^\\s{0,8}${name} = (.+)$`, 'm').exec(stdout)?.[1]?.trim() ?? ''
  const number = (name: string) => (/^-?\d/.test(field(name)) ? Number.parseInt(field(name), 10) : undefined)
  const [state, pid, lastExitCode] = [field('state'), number('pid') || undefined, number('last exit code')]
  const running = state === 'running' || (state === '' && pid !== undefined)
  const spawning = /spawn|xpcproxy/i.test(state)
  const what = running ? `running, pid ${pid}` : spawning ? 'spawning' : 'not running'
  const detail = `launchd: ${what}, last exit code ${lastExitCode ?? '(never exited)'}`
  return { isOn: true, running, spawning, pid, lastExitCode, detail }
}

/** True after `launchctl disable`: launchd is not to load the job. False when that is unknown. */
export async function isDisabled(settings: Settings, label: string): Promise<boolean> {
  const { stdout } = await shell(settings)`launchctl print-disabled ${launchdTarget()}`
  // `=> disabled`; before macOS 13 `=> true`.
  return stdout.split('\n').some((line) => line.includes(`"${label}" =>`) && /=> (?:disabled|true)\b/.test(line))
}

/** `enable` first (a disabled label cannot be bootstrapped); repeated while launchd has not let go of the old job. */
export async function bootstrap(settings: Settings, label: string, plist: string): Promise<Answer> {
  const $ = shell(settings)
  await $`launchctl enable ${launchdTarget(label)}`
  let result = await $`launchctl bootstrap ${launchdTarget()} ${plist}`
  for (let attempt = 1; BUSY_OR_LOADED.includes(result.code ?? 0) && attempt <= 10; attempt++) {
    if (await staysLoaded(settings, label)) return { ...result, code: 0, failure: undefined }
    await delay(500 * attempt)
    result = await $`launchctl bootstrap ${launchdTarget()} ${plist}`
  }
  if (NO_DOMAIN.includes(result.code ?? 0))
    return { ...result, failure: `no user is logged in at this Mac's screen: ${result.failure}` }
  return result
}

async function staysLoaded(settings: Settings, label: string): Promise<boolean> {
  if (!(await launchdJob(settings, label))?.isOn) return false
  await delay(STILL_THERE_MS)
  return (await launchdJob(settings, label))?.isOn === true
}

export function bootout(settings: Settings, label: string): Promise<Answer> {
  return shell(settings, { timeoutSec: 75 })`launchctl bootout ${launchdTarget(label)}`
}
