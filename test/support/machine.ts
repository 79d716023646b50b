/**
 * A sandbox that can be installed on: with a launchd or a systemd, and a crontab, all of them stand-ins; and with
 * `install.ts` and the launcher to run.
 */
import { spawn } from 'node:child_process'
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
import { createSandbox, projectDir, type SandboxOptions } from './sandbox.ts'
import { collect, type Run, typescriptLoader } from './script-process.ts'
import { type StandInOptions, startStandInLaunchd } from './stand-in-launchd.ts'
import { startStandInSystemd } from './stand-in-systemd.ts'

export type Machine = Awaited<ReturnType<typeof createMachine>>

export interface MachineOptions extends SandboxOptions {
  launchd?: Omit<StandInOptions, 'instead'>
  /** launchd and systemd really run the tiers; else a program that leaves a line in the tier's log, as they would. */
  runsTiers?: boolean
  /** Has no crontab command. */
  withoutCron?: boolean
  /** Has no `.env`. */
  withoutEnv?: boolean
}

/** Makes a machine; `bare` has neither launchd nor systemd. Every test that makes one closes it: `onTestFinished(machine.close)`. */
export async function createMachine(kind: 'mac' | 'linux' | 'bare', options: MachineOptions = {}) {
  const box = await createSandbox(options)
  const { controlDir, home } = box
  const crontabFile = join(controlDir, 'crontab')
  const callsFile = join(controlDir, 'scheduler-calls')
  const support = join(projectDir, 'test', 'support')
  const instead = options.runsTiers ? undefined : firstLineOnly
  const launchd = kind === 'mac' ? await startStandInLaunchd({ ...options.launchd, instead }) : undefined
  const systemd = kind === 'linux' ? await startStandInSystemd(home, instead) : undefined
  const curl = realpathSync(join(box.binDir, 'curl'))
  const client = (socket: string) => `exec sh '${join(support, 'stand-in-client.sh')}' '${curl}' '${socket}' "$@"`

  if (launchd) {
    box.addTool('launchctl', client(launchd.socket))
    // Jobs look into the system folders too: the systemd of the machine that runs this test is none of theirs.
    box.addTool('systemctl', 'echo "System has not been booted with systemd as init system" >&2; exit 1')
  }
  if (systemd) {
    box.addTool('systemctl', client(systemd.socket))
    box.addTool('loginctl', `echo "loginctl $*" >>'${callsFile}'`)
  }
  if (!options.withoutCron)
    box.addTool('crontab', `exec sh '${join(support, 'stand-in-crontab.sh')}' '${crontabFile}' '${callsFile}' "$@"`)
  for (const tool of ['cksum', 'iconv', 'uname']) if (!existsSync(join(box.binDir, tool))) linkTool(tool)
  if (options.withoutEnv) rmSync(join(box.stateDir, '.env'))

  function linkTool(tool: string): void {
    const path = ['/usr/bin', '/bin'].map((folder) => join(folder, tool)).find((each) => existsSync(each))
    if (path) symlinkSync(path, join(box.binDir, tool))
  }

  /** What is run in place of `/bin/sh …/run-tier.sh gateway-watchdog`: a start-up of Node costs a hundred times as much. */
  function firstLineOnly(argv: string[]): string[] {
    if (!argv.some((argument) => argument.endsWith('run-tier.sh'))) return argv
    const tier = argv.at(-1)!.replace('gateway-', '')
    const folder = `m='${box.memoryDir}'; [ -z "\${OPENCLAW_PROFILE:-}" ] || m=$HOME/openclaw-$OPENCLAW_PROFILE/memory`
    return ['/bin/sh', '-c', `${folder}; echo started >>"$m/${tier}-$(date +%Y-%m-%d).log"; exit 3`]
  }

  /** Starts `install.ts` of a checkout, as `npm run setup -- …` would. */
  function startSetup(args: string[], run: { env?: Record<string, string>; input?: string; checkout?: string } = {}) {
    const script = join(run.checkout ?? projectDir, 'install.ts')
    const child = spawn(process.execPath, [...typescriptLoader(), script, ...args], {
      // One compile cache for all: setup is started a hundred times.
      env: { ...box.env, NODE_COMPILE_CACHE: join(tmpdir(), 'openclaw-self-healing-tests'), ...run.env },
      cwd: run.checkout ?? projectDir,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    child.stdin.on('error', () => {})
    child.stdin.end(run.input ?? '')
    return { child, finished: collect(child, 'setup', 120_000) }
  }

  /** Runs `install.ts` to its end. */
  function setup(args: string[] = [], run: Parameters<typeof startSetup>[1] = {}): Promise<Run> {
    return startSetup(args, run).finished
  }

  /** Runs a tier through the launcher, as its scheduler would: from `/`. */
  async function launch(
    args: string[],
    run: { env?: Record<string, string>; shell?: string; checkout?: string; input?: string | Buffer } = {},
  ): Promise<Run & { pid: number }> {
    const launcher = join(run.checkout ?? projectDir, 'scripts', 'run-tier.sh')
    const child = spawn(run.shell ?? '/bin/sh', [launcher, ...args], {
      env: { ...box.env, ...run.env },
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    child.stdin.on('error', () => {})
    child.stdin.end(run.input ?? '')
    return { pid: child.pid!, ...(await collect(child, args.join(' '), 60_000)) }
  }

  /** Every file and folder in HOME with its content, for a comparison before and after. */
  function listing(): Record<string, string> {
    const found: Record<string, string> = {}
    const walk = (folder: string) => {
      for (const name of readdirSync(folder).sort()) {
        const path = join(folder, name)
        const stat = lstatSync(path)
        const mode = (stat.mode & 0o777).toString(8)
        const what = stat.isSymbolicLink()
          ? `-> ${readlinkSync(path)}`
          : stat.isDirectory()
            ? 'folder'
            : readFileSync(path, 'latin1')
        found[path.slice(home.length + 1)] = `${mode} ${what}`
        if (stat.isDirectory()) walk(path)
      }
    }
    walk(home)
    return found
  }

  return {
    ...box,
    launchd,
    systemd,
    watchdogDir: join(box.stateDir, 'watchdog'),
    agentsDir: join(home, 'Library', 'LaunchAgents'),
    unitsDir: join(home, '.config', 'systemd', 'user'),
    startSetup,
    setup,
    launch,
    listing,
    linkTool,
    /** The crontab's text; undefined: there is none. */
    crontab: () => (existsSync(crontabFile) ? readFileSync(crontabFile, 'latin1') : undefined),
    writeCrontab: (text: string) => writeFileSync(crontabFile, text, 'latin1'),
    /** From now on `crontab -` is refused. */
    refuseCrontab: () => writeFileSync(`${crontabFile}.refuses`, ''),
    /** Calls of crontab and loginctl. */
    schedulerCalls: () => (existsSync(callsFile) ? readFileSync(callsFile, 'utf8').split('\n').filter(Boolean) : []),
    async close() {
      await launchd?.close()
      await systemd?.close()
      await box.close()
    },
  }
}
