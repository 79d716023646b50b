/**
 * A sandbox for one test: a HOME, a port, a PATH and processes of its own. The tier scripts run in it as they are
 * installed, as processes with an environment that holds nothing but HOME and PATH.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { which } from 'zx'
import type { TierName } from '../../lib/tier/contract.ts'
import { tried } from '../../lib/tier/state.ts'
import type { DoctorScript } from './doctor-script.ts'
import type { Faults, StandInEvent } from './faults.ts'
import { freePort } from './ports.ts'
import { processesOfHome } from './processes-of-home.ts'
import { collect, type Run, type RunningScript, typescriptLoader } from './script-process.ts'
import { restartsIn } from './tier-logs.ts'
import { waitFor } from './wait-for.ts'

export { waitFor }

const supportDir = import.meta.dirname
export const projectDir = join(supportDir, '..', '..')

/** What stands on the PATH beside the stand-ins `openclaw` and `claude`, if the machine has it. Nothing else does: no systemctl, launchctl, crontab, npm. */
const SYSTEM_TOOLS =
  'sh bash env node tmux curl cat sleep ls grep sed awk tail head date rm mkdir touch mv cp ln chmod id uname tr wc sort find mktemp dirname basename cut uniq tee true false which hostname printf cksum od expr test'.split(
    ' ',
  )

/** Short waits, for machines that are busy: whatever is an upper limit stays generous. */
const SHORT_WAITS = {
  OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '20',
  OPENCLAW_WATCHDOG_RETRY_DELAY: '0.1',
  OPENCLAW_WATCHDOG_BACKOFF: '0',
  OPENCLAW_STARTUP_GRACE: '20',
  HEALTH_CHECK_RETRY_DELAY: '0.3',
  HEALTH_CHECK_ESCALATION_WAIT: '1',
  HEALTH_CHECK_HTTP_TIMEOUT: '20',
  EMERGENCY_RECOVERY_TIMEOUT: '60',
  EMERGENCY_RECOVERY_CHECK_INTERVAL: '0.3',
  EMERGENCY_RECOVERY_IDLE_LIMIT: '10',
  EMERGENCY_RECOVERY_REPORT_WAIT: '5',
  CLAUDE_STARTUP_WAIT: '30',
}

/** What people start, by npm. A tier's start leaves traces in the state folder, these must not. */
const FOR_PEOPLE = ['status', 'incident-report', 'learned']

export interface SandboxOptions {
  /** Executables that this machine shall not have, e.g. `tmux`, `claude`, `openclaw`, `bash`. */
  absent?: string[]
  /** Settings for the `.env` file, beside the port and the short waits. */
  settings?: Record<string, string>
}

export interface RunOptions {
  /** Added to (or, when undefined, taken out of) the sandbox's environment. */
  env?: Record<string, string | undefined>
  /** After this the script counts as hanging, and the test fails. Default 120 s. */
  timeoutMs?: number
}

export type Sandbox = Awaited<ReturnType<typeof createSandbox>>

/** Makes a sandbox. Every test that makes one closes it: `onTestFinished(sandbox.close)`. */
export async function createSandbox(options: SandboxOptions = {}) {
  // In /tmp and not in os.tmpdir(): macOS's is too long for a tmux socket. The real path, as processes will report it.
  const root = fs.mkdtempSync(join(fs.realpathSync('/tmp'), 'oc-'))
  const home = join(root, 'home')
  const binDir = join(root, 'bin')
  const controlDir = join(root, 'control')
  const stateDir = join(home, '.openclaw')
  const memoryDir = join(home, 'openclaw', 'memory')
  const configPath = join(stateDir, 'openclaw.json')
  const gatewayLog = join(stateDir, 'logs', 'gateway.log')
  // As npm installs it globally: a package folder, and a link to its executable.
  const packageDir = join(home, '.npm-global', 'lib', 'node_modules', 'openclaw')
  for (const dir of [binDir, controlDir, join(stateDir, 'logs'), join(root, 'tmp'), packageDir])
    fs.mkdirSync(dir, { recursive: true })
  const port = await freePort()
  const env: Record<string, string> = { HOME: home, PATH: binDir, TMUX_TMPDIR: join(root, 'tmp') }
  const started = new Set<ChildProcess>()

  const absent = new Set(options.absent)
  const linkTool = (tool: string) => {
    const path = tool === 'node' ? process.execPath : which.sync(tool, { nothrow: true })
    if (path) fs.symlinkSync(path, join(binDir, tool))
  }
  for (const tool of SYSTEM_TOOLS) if (!absent.has(tool)) linkTool(tool)
  if (process.platform === 'darwin') becomeMac()
  const standIn = (file: string) =>
    `export STAND_IN_CONTROL='${controlDir}'\nexec '${process.execPath}' '${join(supportDir, file)}' "$@"`
  if (!absent.has('openclaw')) {
    writeExecutable(join(packageDir, 'openclaw.mjs'), standIn('openclaw-cli.mjs'))
    fs.symlinkSync(join(packageDir, 'openclaw.mjs'), join(binDir, 'openclaw'))
  }
  if (!absent.has('claude')) writeExecutable(join(binDir, 'claude'), standIn('scripted-doctor.mjs'))
  setFaults({})
  writeConfig()
  writeEnvFile(options.settings)

  /** What runs in it asks ps and lsof, as where there is no /proc. */
  function becomeMac(): void {
    for (const tool of ['ps', 'lsof']) if (!fs.existsSync(join(binDir, tool))) linkTool(tool)
    env.NODE_OPTIONS = `--import=${join(supportDir, 'without-proc.mjs')}`
  }

  /** Writes openclaw.json: one that boots, one with sections added to that, or any text. */
  function writeConfig(content: string | Record<string, unknown> = {}): void {
    const auth = { mode: 'token', token: 'stand-in-token-0123456789' }
    const usual = {
      gateway: { mode: 'local', port, bind: 'loopback', auth },
      logging: { file: join(root, 'tmp', 'openclaw.log') },
    }
    const text = typeof content === 'string' ? content : JSON.stringify({ ...usual, ...content }, null, 2)
    fs.writeFileSync(configPath, `${text}\n`, { mode: 0o600 })
  }

  /** Writes `~/.openclaw/.env`: the port, short waits and these settings, or exactly this text. */
  function writeEnvFile(content: string | Record<string, string> = {}): void {
    const values = { OPENCLAW_GATEWAY_PORT: port, ...SHORT_WAITS, ...(typeof content === 'string' ? {} : content) }
    const lines = Object.entries(values).map(([name, value]) => `${name}="${value}"\n`)
    fs.writeFileSync(join(stateDir, '.env'), typeof content === 'string' ? content : lines.join(''), { mode: 0o600 })
  }

  /** Sets what the stand-in gateway does from now on; what is left out is as usual. */
  function setFaults(faults: Faults): void {
    control('faults.json', faults)
    const manifest = { name: 'openclaw', version: faults.version ?? '2026.9.6', type: 'module' }
    replaceFile(join(packageDir, 'package.json'), JSON.stringify(manifest))
  }

  /** For the stand-ins, which may read it meanwhile: half a file would crash the gateway at random. */
  function control(name: string, content: unknown): void {
    replaceFile(join(controlDir, name), JSON.stringify(content))
  }

  function recorded<T>(name: string): T[] {
    const path = join(controlDir, name)
    const lines = fs.existsSync(path) ? fs.readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
    return lines.map((line) => JSON.parse(line) as T)
  }

  const events = () => recorded<StandInEvent>('events.jsonl')

  /** Starts the stand-in gateway with `openclaw gateway run` and waits for an event of it. */
  async function startGateway(
    faults: Faults = {},
    until: 'boot' | 'listening' | 'ready' | 'exit' = 'ready',
    more = {},
  ) {
    setFaults(faults)
    const out = fs.openSync(gatewayLog, 'a')
    const child = start([join(binDir, 'openclaw'), 'gateway', 'run'], { ...env, ...more }, out)
    const seen = () => events().some(({ pid, what }) => pid === child.pid && what.startsWith(until))
    const isOver = () => child.exitCode !== null
    await waitFor(() => isOver() || (until !== 'exit' && seen()), `the gateway's ${until}`)
    if (until !== 'exit' && !seen())
      throw new Error(`the gateway ended with ${child.exitCode}:\n${fs.readFileSync(gatewayLog, 'utf8')}`)
    return { pid: child.pid!, exitCode: child.exitCode }
  }

  /** Starts `scripts/<name>.ts` from `/`, with this environment and no other: a tier as launchd would, the others as npm. */
  function startScript(name: string, args: string[] = [], runOptions: RunOptions = {}): RunningScript {
    const isForPeople = FOR_PEOPLE.includes(name)
    // One compile cache for all tests; start.mjs takes it out of the tier's environment.
    const cache = isForPeople ? {} : { NODE_COMPILE_CACHE: join(tmpdir(), 'openclaw-self-healing-tests') }
    const loader = isForPeople ? typescriptLoader() : [join(projectDir, 'lib', 'tier', 'start.mjs')]
    const argv = [process.execPath, ...loader, join(projectDir, 'scripts', `${name}.ts`), ...args]
    const child = start(argv, { ...env, ...cache, ...runOptions.env }, 'pipe')
    return { pid: child.pid!, child, finished: collect(child, name, runOptions.timeoutMs ?? 120_000) }
  }

  function start(argv: string[], childEnv: Record<string, string | undefined>, out: number | 'pipe'): ChildProcess {
    const [file, ...args] = argv as [string, ...string[]]
    const child = spawn(file, args, { env: childEnv, cwd: '/', detached: true, stdio: ['ignore', out, out] })
    started.add(child)
    child.once('exit', () => started.delete(child))
    return child
  }

  const memoryFiles = (beginning = '') =>
    (fs.existsSync(memoryDir) ? fs.readdirSync(memoryDir) : []).filter((name) => name.startsWith(beginning)).sort()

  /** The text of all logs in the memory folder whose names begin so, oldest name first; `''`: of all. */
  const log = (beginning = '') =>
    memoryFiles(beginning).reduce((text, name) => text + fs.readFileSync(join(memoryDir, name), 'utf8'), '')

  /** Ends every process of the sandbox: one that was just started may still start others. */
  async function endProcesses(): Promise<void> {
    await waitFor(() => {
      const alive = [...processesOfHome(home), ...[...started].map((child) => child.pid!)]
      for (const pid of alive) tried(() => process.kill(pid, 'SIGKILL'))
      return alive.length === 0
    }, 'the end of all processes of the sandbox')
  }

  return {
    ...{ root, home, port, env, binDir, controlDir, stateDir, memoryDir, configPath, gatewayLog, packageDir },
    processes: () => processesOfHome(home),
    becomeMac,
    /** Puts an executable of the test's own on the PATH: a POSIX shell script, without its first line. */
    addTool: (name: string, script: string) => writeExecutable(join(binDir, name), script),
    writeConfig,
    writeEnvFile,
    setFaults,
    /** Plans other answers of the `openclaw` command than the usual: `{'gateway restart': {code: 2}}`. */
    planCli: (answers: Record<string, { code?: number; stdout?: string; stderr?: string; hangs?: boolean }>) =>
      control('cli-answers.json', answers),
    /** Sets what the scripted doctor, the stand-in for `claude`, does when it is next started. */
    writeDoctorScript: (script: DoctorScript) => control('doctor.json', script),
    prompts: () => recorded<string>('prompts.jsonl'),
    events,
    /** Every call of the `openclaw` command, e.g. `gateway restart`. */
    openclawCalls: () =>
      events().flatMap(({ what }) => (what.startsWith('openclaw ') ? [what.slice('openclaw '.length)] : [])),
    startGateway,
    startScript,
    runScript: (...args: Parameters<typeof startScript>): Promise<Run> => startScript(...args).finished,
    log,
    /** How often a tier has started or restarted the gateway, by its log. */
    restarts: (tier: TierName = 'watchdog') => restartsIn(log(tier)),
    memoryFiles,
    endProcesses,
    /** Ends every process of the sandbox, removes it, and fails if `openclaw` was called in a way that no test planned. */
    async close(): Promise<void> {
      const unplanned = events().flatMap(({ what }) => (what.startsWith('unplanned: ') ? [what] : []))
      try {
        await endProcesses()
      } finally {
        fs.rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
      }
      if (unplanned.length > 0) throw new Error(unplanned.join('\n'))
    },
  }
}

function writeExecutable(path: string, script: string): void {
  // What stands there may be a link to a program of this machine.
  fs.rmSync(path, { force: true })
  fs.writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
}

/** Writes a file so that a reader gets the old one or the new one. */
function replaceFile(path: string, content: string): void {
  fs.writeFileSync(`${path}.new`, content)
  fs.renameSync(`${path}.new`, path)
}
