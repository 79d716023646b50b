/** A machine of its own (test/support/container.ts) with the real OpenClaw, this checkout, and a user who has both. */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseLine } from '../../lib/tier/contract.ts'
import { bootContainer, USER } from '../support/container.ts'
import { projectDir } from '../support/sandbox.ts'
import { letTimePass } from '../support/time-passing.ts'
import { waitFor } from '../support/wait-for.ts'
import { node24Bin, openclawBin } from './parts.ts'

export const CHECKOUT = '/srv/openclaw-self-healing'
const USER_PATH = '/opt/openclaw/node_modules/.bin:/opt/node24/node_modules/.bin:/usr/local/bin:/usr/bin:/bin'
const PORT = 18789

/** Shorter waits than the defaults; upper limits stay generous. */
const SETTINGS = {
  OPENCLAW_WATCHDOG_RETRY_DELAY: '1',
  OPENCLAW_WATCHDOG_BACKOFF: '0',
  OPENCLAW_STARTUP_GRACE: '300',
  HEALTH_CHECK_RETRY_DELAY: '2',
  CONFIG_KNOWN_GOOD_AFTER: '0',
}

/** `waitFor` with a second between the looks: each costs processes in the machine. */
export function slowly(condition: () => Promise<boolean>, what: string, timeoutMs: number): Promise<boolean> {
  return waitFor(async () => (await condition()) || delay(1000, false), what, timeoutMs)
}

export type PatientMachine = Awaited<ReturnType<typeof bootPatientMachine>>

export async function bootPatientMachine(init: 'systemd' | 'cron', settings: Record<string, string> = {}) {
  if (process.getuid?.() !== 0) throw new Error('this test boots a machine of its own (systemd-nspawn) and needs root')
  const machine = await bootContainer(
    {
      [projectDir]: CHECKOUT,
      [join(node24Bin, '..')]: '/opt/node24/node_modules',
      [join(openclawBin, '..', '..')]: '/opt/openclaw/node_modules',
    },
    init,
  )
  const home = join(machine.root, USER.home)
  const stateDir = join(home, '.openclaw')
  const memoryDir = join(home, 'openclaw', 'memory')
  const watchdogDir = join(stateDir, 'watchdog')
  const configPath = join(stateDir, 'openclaw.json')
  mkdirSync(stateDir, { mode: 0o700 })
  chownSync(stateDir, USER.uid, USER.uid)
  const gateway = { mode: 'local', port: PORT, bind: 'loopback', auth: { mode: 'token', token: 'of-no-use-elsewhere' } }
  writeConfig(`${JSON.stringify({ gateway }, null, 2)}\n`)
  writeEnv(settings)

  /** Writes `~/.openclaw/.env`: short waits, and these settings. */
  function writeEnv(values: Record<string, string>): void {
    const lines = Object.entries({ ...SETTINGS, ...values }).map(([name, value]) => `${name}=${value}\n`)
    writeOwn(join(stateDir, '.env'), lines.join(''))
  }

  function writeOwn(path: string, text: string): void {
    writeFileSync(path, text, { mode: 0o600 })
    chownSync(path, USER.uid, USER.uid)
  }

  function writeConfig(text: string): void {
    writeOwn(configPath, text)
  }

  /** Runs a command as the user; throws when it fails. */
  async function must(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await tries(...command)
    if (code !== 0) throw new Error(`\`${command.join(' ')}\`: exit ${code}\n${stdout}${stderr}`)
    return stdout
  }

  /** Runs a command as the user. */
  function tries(...command: string[]) {
    return machine.run(command, { PATH: USER_PATH }, 420_000)
  }

  /** Runs install.ts as the user. */
  function setup(...flags: string[]) {
    return tries('node', `${CHECKOUT}/install.ts`, ...flags)
  }

  /** Runs a tier's script through the launcher, as the user would by hand. */
  function level(script: string, ...flags: string[]) {
    return tries('sh', `${CHECKOUT}/scripts/run-tier.sh`, script, ...flags)
  }

  async function isHealthy(): Promise<boolean> {
    const { stdout } = await tries('curl', '-sm', '5', `http://127.0.0.1:${PORT}/health`)
    return stdout === '{"ok":true,"status":"live"}'
  }

  /** Waits until the gateway answers; it may take minutes to boot on a busy machine. */
  function waitUntilHealthy(): Promise<boolean> {
    return slowly(isHealthy, 'the gateway', 300_000)
  }

  /** Waits until no tier is at work, of whichever gateway, and whoever started it. */
  function waitUntilQuiet(): Promise<boolean> {
    const isQuiet = async () => !/run-tier|\/scripts\/[a-z-]+\.ts/.test(await must('ps', '-eo', 'args'))
    return slowly(isQuiet, 'the end of the tiers that are at work', 300_000)
  }

  /** The text of all logs whose names begin so. */
  function log(beginning: string): string {
    if (!existsSync(memoryDir)) return ''
    const names = readdirSync(memoryDir).filter((name) => name.startsWith(beginning))
    return names.map((name) => readFileSync(join(memoryDir, name), 'utf8')).join('')
  }

  /** When the tier's runs began, epoch seconds. */
  function runs(tier: string): number[] {
    const lines = log(`${tier}-`).split('\n').map(parseLine)
    return lines.flatMap((line) => (line?.text.startsWith('RUN started') ? [line.at.getTime() / 1000] : []))
  }

  /**
   * Lets cron run our lines every minute instead of every few.
   * @param held the script that cron is not to start for the moment
   */
  async function hurryCron(held?: string): Promise<void> {
    const lines = (await must('crontab', '-l'))
      .replace(/^(?:#held )?\*(?:\/\d+)? (.*run-tier\.sh.*)$/gm, '* $1')
      .split('\n')
    const isHeld = (line: string) => held !== undefined && line.startsWith('* ') && line.includes(held)
    // cron looks whether the second of the last change is another one: what is written in the same second it never sees.
    await delay(1000 - (Date.now() % 1000))
    writeOwn(join(home, 'hurried'), lines.map((line) => (isHeld(line) ? `#held ${line}` : line)).join('\n'))
    await must('crontab', `${USER.home}/hurried`)
    await must('rm', `${USER.home}/hurried`)
  }

  return {
    ...machine,
    home,
    stateDir,
    memoryDir,
    watchdogDir,
    configPath,
    must,
    tries,
    setup,
    level,
    isHealthy,
    waitUntilHealthy,
    waitUntilQuiet,
    log,
    runs,
    hurryCron,
    writeConfig,
    writeEnv,
    letTimePass: (sec: number) => letTimePass({ watchdogDir, memoryDir }, sec),
  }
}
