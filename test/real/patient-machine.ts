/** A machine of its own (test/support/container.ts) with the real OpenClaw, this checkout, and a user who has both. */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseLine } from '../../lib/tier/contract.ts'
import { bootContainer, USER } from '../support/container.ts'
import { projectDir } from '../support/sandbox.ts'
import { letTimePass } from '../support/time-passing.ts'
import { waitFor } from '../support/wait-for.ts'
import { node24Bin, openclawBin } from './parts.ts'
import { WITHOUT_HEARTBEAT } from './real-sandbox.ts'

export const CHECKOUT = '/srv/openclaw-self-healing'
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
export function slowly(condition: () => Promise<boolean>, what: string, timeoutMs = 300_000): Promise<boolean> {
  return waitFor(async () => (await condition()) || delay(1000, false), what, timeoutMs)
}

export type PatientMachine = Awaited<ReturnType<typeof bootPatientMachine>>

/** @param modules the folder with the real OpenClaw's package */
export async function bootPatientMachine(
  init: 'systemd' | 'cron',
  settings: Record<string, string> = {},
  modules = dirname(dirname(openclawBin)),
) {
  if (process.getuid?.() !== 0) throw new Error('this test boots a machine of its own (systemd-nspawn) and needs root')
  const binds = {
    [projectDir]: CHECKOUT,
    [dirname(node24Bin)]: '/opt/node24/node_modules',
    [modules]: '/opt/openclaw/node_modules',
  }
  const machine = await bootContainer(binds, init)
  const home = join(machine.root, USER.home)
  const stateDir = join(home, '.openclaw')
  const memoryDir = join(home, 'openclaw', 'memory')
  const watchdogDir = join(stateDir, 'watchdog')
  const configPath = join(stateDir, 'openclaw.json')
  addGateway('', PORT)
  writeEnv(settings)

  /** The config of a gateway, and short waits for its tiers. @param suffix of its folders */
  function addGateway(suffix: string, port: number): void {
    const folder = stateDir + suffix
    mkdirSync(folder, { mode: 0o700 })
    chownSync(folder, USER.uid, USER.uid)
    const auth = { mode: 'token', token: 'of-no-use-elsewhere' }
    const config = { gateway: { mode: 'local', port, bind: 'loopback', auth }, ...WITHOUT_HEARTBEAT }
    writeOwn(join(folder, 'openclaw.json'), `${JSON.stringify(config, null, 2)}\n`)
    writeEnv({}, folder)
  }

  /** Writes `.env`: short waits, and these settings. */
  function writeEnv(values: Record<string, string>, folder = stateDir): void {
    const lines = Object.entries({ ...SETTINGS, ...values }).map(([name, value]) => `${name}=${value}\n`)
    writeOwn(join(folder, '.env'), lines.join(''))
  }

  function writeOwn(path: string, text: string): void {
    writeFileSync(path, text, { mode: 0o600 })
    chownSync(path, USER.uid, USER.uid)
  }

  function tries(...command: string[]) {
    const PATH = `${USER.home}/bin:/opt/openclaw/node_modules/.bin:/opt/node24/node_modules/.bin:/usr/local/bin:/usr/bin:/bin`
    return machine.run(command, { PATH }, 420_000)
  }

  /** Runs a command as the user; throws when it fails. */
  async function must(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await tries(...command)
    if (code !== 0) throw new Error(`\`${command.join(' ')}\`: exit ${code}\n${stdout}${stderr}`)
    return stdout
  }

  /** The gateway's own breaker counts the boots of five minutes that did not end well; ten minutes go by. */
  async function ageBoots(): Promise<void> {
    const age = 'UPDATE gateway_boot_lifecycle SET started_at_ms = started_at_ms - 600000'
    const open = `new (require('node:sqlite').DatabaseSync)('${USER.home}/.openclaw/state/openclaw.sqlite', { timeout: 60_000 })`
    await must('node', '-e', `${open}.exec('${age}')`)
  }

  async function isHealthy(port = PORT): Promise<boolean> {
    const { stdout } = await tries('curl', '-sm', '5', `http://127.0.0.1:${port}/health`)
    return stdout === '{"ok":true,"status":"live"}'
  }

  /** The text of all logs whose names begin so. @param suffix of the memory folder */
  function log(beginning: string, suffix = ''): string {
    const folder = join(home, `openclaw${suffix}`, 'memory')
    const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(beginning)) : []
    return names.map((name) => readFileSync(join(folder, name), 'utf8')).join('')
  }

  return {
    ...{ ...machine, home, stateDir, memoryDir, watchdogDir, configPath },
    ...{ addGateway, writeEnv, tries, must, isHealthy, ageBoots, log },
    writeConfig: (text: string) => writeOwn(configPath, text),
    setup: (...flags: string[]) => tries('node', `${CHECKOUT}/install.ts`, ...flags),
    /** Runs a tier's script through the launcher, as the user would by hand. */
    level: (script: string, ...flags: string[]) => tries('sh', `${CHECKOUT}/scripts/run-tier.sh`, script, ...flags),
    /** Waits until the gateway answers; it may take minutes to boot on a busy machine. */
    waitUntilHealthy: (port = PORT) => slowly(() => isHealthy(port), 'the gateway'),
    /** Waits until a tier has ended with exit code 0 and these words. */
    waitUntilRun: (tier: string, words = 'healthy', suffix = '') =>
      waitFor(() => log(tier, suffix).includes(`RUN ended: ${words}, exit 0`), `${tier}: ${words}`, 300_000),
    /** Waits until no tier is at work, of whichever gateway. */
    waitUntilQuiet: () =>
      slowly(
        async () => !/run-tier|\/scripts\/[a-z-]+\.ts/.test(await must('ps', '-eo', 'args')),
        'the end of the tiers',
      ),
    /** When the tier's runs began, epoch seconds. */
    runs: (tier: string) =>
      log(`${tier}-`)
        .split('\n')
        .map(parseLine)
        .flatMap((line) => (line?.text.startsWith('RUN started') ? [line.at.getTime() / 1000] : [])),
    /** Lets cron run our lines every minute instead of every few. @param held the script that cron does not start meanwhile */
    async hurryCron(held = 'none'): Promise<void> {
      // cron looks whether the second of the last change is another one: what is written in the same second it never sees.
      await delay(1000 - (Date.now() % 1000))
      const hurried = `s/^(#held )?\\*(\\/[0-9]+)? (.*run-tier)/* \\3/; /^[^;]*run-tier[^;]* ${held}/s/^/#held /`
      await must('sh', '-c', `crontab -l | sed -E '${hurried}' | crontab -`)
    },
    letTimePass: (sec: number) => letTimePass({ watchdogDir, memoryDir }, sec),
  }
}
