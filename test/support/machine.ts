/** A sandbox to install on: launchd or systemd, and crontab, are stand-ins. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, type TestContext } from 'vitest'
import { parsePlist } from './plist.ts'
import { createSandbox, projectDir, type SandboxOptions } from './sandbox.ts'
import { collect, type Run, typescriptLoader } from './script-process.ts'
import { startStandInLaunchd } from './stand-in-launchd.ts'
import { startStandInSystemd } from './stand-in-systemd.ts'

interface ProcessOptions {
  env?: Record<string, string>
  input?: string | Buffer
  checkout?: string
}

type Kind = 'mac' | 'linux' | 'bare'

export interface MachineOptions extends SandboxOptions {
  /** launchd and systemd really run the tiers; else a program that leaves a line in the tier's log, as they would. */
  runsTiers?: boolean
  withoutCron?: boolean
  withoutEnv?: boolean
}

/** Makes a machine; `bare` has neither launchd nor systemd. The test closes it: `onTestFinished(machine.close)`. */
export async function createMachine(kind: Kind, options: MachineOptions = {}) {
  const box = await createSandbox(options)
  const { controlDir, home } = box
  const crontabFile = join(controlDir, 'crontab')
  const callsFile = join(controlDir, 'scheduler-calls')
  const support = join(projectDir, 'test', 'support')
  const instead = options.runsTiers ? undefined : firstLineOnly
  const launchd = kind === 'mac' ? await startStandInLaunchd({ home, instead }) : undefined
  const systemd = kind === 'linux' ? await startStandInSystemd(home, instead) : undefined
  const curl = realpathSync(join(box.binDir, 'curl'))
  const client = (socket: string) => `exec sh '${join(support, 'stand-in-client.sh')}' '${curl}' '${socket}' "$@"`

  if (launchd) {
    box.becomeMac()
    box.addTool('launchctl', client(launchd.socket))
    // The keychain has Claude Code's login.
    box.addTool('security', '[ "$*" = "find-generic-password -s Claude Code-credentials" ] || exit 2')
    // Jobs look into the system folders too: the systemd of the machine that runs this test is none of theirs.
    box.addTool('systemctl', 'echo "System has not been booted with systemd as init system" >&2; exit 1')
  }
  if (systemd) {
    box.addTool('systemctl', client(systemd.socket))
    box.addTool('loginctl', `echo "loginctl $*" >>'${callsFile}'`)
  }
  if (!options.withoutCron)
    box.addTool('crontab', `exec sh '${join(support, 'stand-in-crontab.sh')}' '${crontabFile}' '${callsFile}' "$@"`)
  const iconv = ['/usr/bin/iconv', '/bin/iconv'].find((path) => existsSync(path))
  if (iconv) symlinkSync(iconv, join(box.binDir, 'iconv'))
  if (options.withoutEnv) rmSync(join(box.stateDir, '.env'))

  /** What is run in place of `/bin/sh …/run-tier.sh gateway-watchdog`: a start-up of Node costs a hundred times as much. */
  function firstLineOnly(argv: string[]): string[] {
    if (!argv.some((argument) => argument.endsWith('run-tier.sh'))) return argv
    const tier = argv.find((argument) => argument.startsWith('gateway-'))!.replace('gateway-', '')
    const folder = `m='${box.memoryDir}'; [ -z "\${OPENCLAW_PROFILE:-}" ] || m=$HOME/openclaw-$OPENCLAW_PROFILE/memory`
    return ['/bin/sh', '-c', `${folder}; echo started >>"$m/${tier}-$(date +%Y-%m-%d).log"; exit 3`]
  }

  /** Starts a program in a group of its own, with the sandbox's environment. */
  function start(argv: string[], cwd: string, { env, input = '' }: ProcessOptions) {
    const child = spawn(argv[0]!, argv.slice(1), { env: { ...box.env, ...env }, cwd, detached: true })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    return child
  }

  /** Starts `install.ts` of a checkout, as `npm run setup -- …` would. */
  function startSetup(args: string[], run: ProcessOptions = {}) {
    const { checkout = projectDir, env } = run
    // One compile cache for all: setup is started a hundred times.
    const cache = { NODE_COMPILE_CACHE: join(tmpdir(), 'openclaw-self-healing-tests') }
    const argv = [process.execPath, ...typescriptLoader(), join(checkout, 'install.ts'), ...args]
    const child = start(argv, checkout, { ...run, env: { ...cache, ...env } })
    return { child, finished: collect(child, 'setup', 120_000) }
  }

  /** Runs a tier through the launcher, as its scheduler would: from `/`; a pulse takes a minute. @param run.shell with its options */
  async function launch(args: string[], run: ProcessOptions & { shell?: string } = {}): Promise<Run & { pid: number }> {
    const launcher = join(run.checkout ?? projectDir, 'scripts', 'run-tier.sh')
    const child = start([...(run.shell ?? '/bin/sh').split(' '), launcher, ...args], '/', run)
    return { pid: child.pid!, ...(await collect(child, args.join(' '), 240_000)) }
  }

  /** Every file and folder in HOME with its content, for a comparison before and after. */
  function listing(): Record<string, string> {
    const entries = readdirSync(home, { recursive: true, withFileTypes: true }).map((entry) => {
      const path = join(entry.parentPath, entry.name)
      const target = entry.isSymbolicLink() ? `-> ${readlinkSync(path)}` : undefined
      const what = target ?? (entry.isDirectory() ? 'folder' : readFileSync(path, 'latin1'))
      return [path.slice(home.length + 1), `${(lstatSync(path).mode & 0o777).toString(8)} ${what}`]
    })
    return Object.fromEntries(entries)
  }

  const setup = (args: string[] = [], run?: ProcessOptions) => startSetup(args, run).finished
  const crontab = () => (existsSync(crontabFile) ? readFileSync(crontabFile, 'latin1') : undefined)
  const agentsDir = join(home, 'Library', 'LaunchAgents')

  return {
    ...box,
    launchd,
    systemd,
    /** launchd's labels, or systemd's active timers. */
    jobs: () => launchd?.labels() ?? systemd?.active() ?? [],
    watchdogDir: join(box.stateDir, 'watchdog'),
    agentsDir,
    unitsDir: join(home, '.config', 'systemd', 'user'),
    startSetup,
    setup,
    /** Runs setup, which has to succeed without a complaint; returns what it says. */
    async succeeds(args = ['--yes'], run: ProcessOptions = {}): Promise<string> {
      const result = await setup(args, run)
      expect(result).toMatchObject({ code: 0, stderr: '' })
      return result.stdout
    },
    launch,
    listing,
    /** What is in HOME but for logs, which an uninstallation keeps. */
    withoutLogs: () => Object.fromEntries(Object.entries(listing()).filter(([path]) => !path.startsWith('openclaw'))),
    plist: (label: string) =>
      parsePlist(readFileSync(join(agentsDir, `${label}.plist`), 'utf8')) as Record<string, unknown>,
    crontab,
    cronLines: () => (crontab() ?? '').split('\n').filter((line) => line.includes('run-tier.sh')),
    writeCrontab: (text: string) => writeFileSync(crontabFile, text, 'latin1'),
    /** From now on `crontab -` is refused. */
    refuseCrontab: () => writeFileSync(`${crontabFile}.refuses`, ''),
    schedulerCalls: () => (existsSync(callsFile) ? readFileSync(callsFile, 'utf8').split('\n').filter(Boolean) : []),
    async close() {
      await launchd?.close()
      await systemd?.close()
      await box.close()
    },
  }
}

export const WATCHDOG = 'com.openclaw.watchdog'
export const HEALTHCHECK = 'com.openclaw.healthcheck'
export const DOMAIN = `gui/${process.getuid!()}`
/** Not UTF-8, a PATH of its own, a comment, no order. */
export const CRONTAB = 'MAILTO=me\n\n# caf\xe9 \x80\n*/7 * * * *  echo "a % b" \t\nPATH=/nowhere\n@daily true\n'

/** One with a crontab, which is closed with the test; paused, so that tiers leave the gateway alone: setup is tested. */
export async function hostFor({ onTestFinished }: TestContext, kind: Kind, options: MachineOptions = {}) {
  const machine = await createMachine(kind, options)
  onTestFinished(machine.close)
  writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
  machine.writeCrontab(CRONTAB)
  const before = machine.withoutLogs()
  function expectGone(crontab: string | undefined = CRONTAB): void {
    expect(machine.jobs()).toEqual([])
    expect(machine.crontab()).toBe(crontab)
    expect(machine.withoutLogs()).toEqual(before)
  }
  return { ...machine, launchd: machine.launchd!, systemd: machine.systemd!, expectGone }
}

/** Runs a line of a crontab (latin1) as cron does: by /bin/sh, in cron's environment, with % unescaped. */
export async function runCronLine(line: string): Promise<void> {
  const text = Buffer.from(line, 'latin1').toString()
  const command = text.replace(/^(?:\S+\s+){5}/, '').replaceAll('\\%', '%')
  const env = { HOME: '/', LOGNAME: 'nobody', SHELL: '/bin/sh', PATH: '/usr/bin:/bin' }
  // Not waited for synchronously: the stand-ins answer from this process.
  await once(spawn('/bin/sh', ['-c', command], { env, cwd: '/', stdio: 'ignore' }), 'exit')
}
