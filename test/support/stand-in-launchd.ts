/**
 * A stand-in for launchd, which can be had on a Mac only, as far as setup uses it: it reads the property list, starts the
 * program with the list's environment and nothing more, one instance at a time, when it is loaded and when a watched path
 * changes (no interval passes in a test); opens StandardErrorPath, and when it cannot, fails with 78. Answers and exit
 * codes are those that are documented or that users report (113, 5, 36, 3, 125). It was not compared with a Mac.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parsePlist } from './plist.ts'
import { type Answer, startStandInServer } from './stand-in-server.ts'

const DOMAIN = `gui/${process.getuid!()}`

/** The keys of the lists that this project writes. */
interface Dict {
  Label: string
  ProgramArguments: string[]
  EnvironmentVariables?: Record<string, string>
  StandardErrorPath?: string
  RunAtLoad?: boolean
  WatchPaths?: string[]
  Umask?: number
}

class Job {
  child: ChildProcess | undefined
  runs = 0
  lastExit: number | undefined
  /** What becomes of a watched path meanwhile is seen at wake. */
  isAsleep = false
  readonly dict: Dict
  private readonly instead: (argv: string[]) => string[]
  private readonly timer: NodeJS.Timeout

  constructor(dict: Dict, instead: (argv: string[]) => string[]) {
    this.dict = dict
    this.instead = instead
    const look = () => (dict.WatchPaths ?? []).map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs).join()
    let seen = look()
    this.timer = setInterval(() => {
      if (this.isAsleep || this.child || look() === seen) return
      seen = look()
      this.start()
    }, 50)
    if (dict.RunAtLoad) this.start()
  }

  start(): void {
    const { dict } = this
    const [program = '', ...args] = this.instead(dict.ProgramArguments)
    this.runs++
    this.lastExit = 78
    let errors: number
    try {
      errors = openSync(dict.StandardErrorPath ?? '/dev/null', 'a')
    } catch {
      return
    }
    const umask = process.umask(dict.Umask ?? 0o22)
    const stdio = ['ignore', 'ignore', errors] as const
    const child = spawn(program, args, {
      env: dict.EnvironmentVariables ?? {},
      cwd: '/',
      stdio: [...stdio],
      detached: true,
    })
    process.umask(umask)
    closeSync(errors)
    this.child = child
    child.once('exit', (code) => {
      this.child = undefined
      this.lastExit = code ?? -1
      kill(-child.pid!)
    })
  }

  async remove(): Promise<void> {
    clearInterval(this.timer)
    if (this.child) kill(this.child.pid!)
    while (this.child) await sleep(20)
  }

  /** As `launchctl print` shows it, as far as it is read. */
  print(): string {
    const pid = this.child ? `\n\tpid = ${this.child.pid}` : ''
    const state = this.child ? 'running' : 'not running'
    const exit = this.lastExit ?? '(never exited)'
    return `${DOMAIN}/${this.dict.Label} = {\n\tstate = ${state}${pid}\n\tlast exit code = ${exit}\n}\n`
  }
}

/**
 * @param instead what is run in place of a job's ProgramArguments
 * @param holdsOnFor how many bootstraps after a bootout find that launchd has not let go of the job, and fail with 5
 */
export async function startStandInLaunchd(instead = (argv: string[]) => argv, holdsOnFor = 0) {
  const jobs = new Map<string, Job>()
  /** Labels that were booted out, and how many bootstraps still fail for that. */
  const leaving = new Map<string, number>()

  async function answer([verb = '', ...rest]: string[]): Promise<Answer> {
    const [target = '', path = ''] = rest.filter((argument) => !argument.startsWith('-'))
    const label = target.slice(DOMAIN.length + 1)
    const job = jobs.get(label)
    if (verb === 'enable' || (verb === 'print' && label === '')) return { code: 0 }
    if (verb === 'print' && job) return { code: 0, stdout: job.print() }
    if (verb === 'print') return { code: 113, stderr: `Could not find service "${label}" in domain for user gui\n` }
    if (verb === 'bootout') return job ? bootout(job) : { code: 3, stderr: 'Boot-out failed: 3: No such process\n' }
    return verb === 'bootstrap' ? bootstrap(path) : { code: 64, stderr: `unplanned: launchctl ${verb}\n` }
  }

  async function bootout(job: Job): Promise<Answer> {
    leaving.set(job.dict.Label, holdsOnFor)
    const ended = job.remove().then(() => jobs.delete(job.dict.Label))
    if (await Promise.race([ended, sleep(1000, false)])) return { code: 0 }
    return { code: 36, stderr: 'Boot-out failed: 36: Operation now in progress\n' }
  }

  function bootstrap(path: string): Answer {
    const ioError = { code: 5, stderr: 'Bootstrap failed: 5: Input/output error\n' }
    let dict: Dict
    try {
      dict = parsePlist(readFileSync(path, 'utf8')) as unknown as Dict
    } catch {
      return ioError
    }
    const refusals = leaving.get(dict.Label) ?? 0
    leaving.set(dict.Label, refusals - 1)
    if (!Array.isArray(dict.ProgramArguments) || jobs.has(dict.Label) || refusals > 0) return ioError
    jobs.set(dict.Label, new Job(dict, instead))
    return { code: 0 }
  }

  const server = await startStandInServer(answer)
  return {
    ...server,
    /** The labels that are loaded. */
    labels: () => [...jobs.keys()].sort(),
    job: (label: string) => jobs.get(label),
    /** The user logs out: all jobs end. */
    async close() {
      await Promise.all([...jobs.values()].map((job) => job.remove()))
      await server.close()
    },
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // It has ended.
  }
}
