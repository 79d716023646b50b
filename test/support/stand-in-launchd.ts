/**
 * A stand-in for launchd, which can be had on a Mac only. It follows launchd.plist(5) and launchctl(1) for what this
 * project uses: it reads the property list, starts the program with the list's environment and nothing more, one
 * instance at a time, by RunAtLoad, StartInterval and WatchPaths, not more often than ThrottleInterval; opens
 * StandardOutPath and StandardErrorPath, and when it cannot, fails with 78; and ends the process group with the job.
 * `launchctl` (stand-in-launchctl.mjs) speaks to it through a socket; answers and exit codes are those of macOS 14/15.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PlistValue, parsePlist } from './plist.ts'

const UID = process.getuid?.() ?? 501
const DOMAIN = `gui/${UID}`
/** EX_CONFIG: what launchd records when it could not set the job up. */
const COULD_NOT_SET_UP = 78

interface Answer {
  code: number
  stdout?: string
  stderr?: string
}

interface Dict {
  [key: string]: PlistValue
}

export interface StandInOptions {
  /** How many of launchd's seconds go by in one real second (StartInterval, ThrottleInterval). */
  speed?: number
  /** For how long after a bootout launchd has not let go of a job, so that bootstrap fails with 5. */
  letGoMs?: number
}

export type StandInLaunchd = Awaited<ReturnType<typeof startStandInLaunchd>>

export async function startStandInLaunchd({ speed = 1, letGoMs = 0 }: StandInOptions = {}) {
  // In /tmp: a socket's path may have about 100 characters only.
  const folder = mkdtempSync(join(realpathSync('/tmp'), 'launchd-'))
  const socket = join(folder, 'socket')
  const jobs = new Map<string, Job>()
  const disabled = new Set<string>()
  /** Labels that were booted out, until launchd has let go of them. */
  const leaving = new Map<string, Promise<void>>()
  const calls: string[] = []
  let asleep = false
  /** Answers planned by a test, by the beginning of the command. */
  const planned: { beginning: string; answer: Answer; times: number }[] = []

  class Job {
    readonly label: string
    readonly path: string
    readonly dict: Dict
    child: ChildProcess | undefined
    runs = 0
    lastExit: number | undefined
    private lastStartMs = -Infinity
    private isMissed = false
    private isGone = false
    private timers: NodeJS.Timeout[] = []

    constructor(path: string, dict: Dict) {
      this.label = String(dict.Label)
      this.path = path
      this.dict = dict
      if (typeof dict.StartInterval === 'number')
        this.timers.push(setInterval(() => this.intervalFired(), (dict.StartInterval * 1000) / speed))
      for (const watched of (dict.WatchPaths as string[] | undefined) ?? []) this.watch(watched)
      if (dict.RunAtLoad === true) this.request()
    }

    /** Missed firings become one at wake. */
    private intervalFired(): void {
      if (asleep) this.isMissed = true
      else this.request()
    }

    wake(): void {
      if (this.isMissed) this.request()
      this.isMissed = false
    }

    private watch(path: string): void {
      const look = () => {
        const stat = statSync(path, { throwIfNoEntry: false })
        return stat ? `${stat.mtimeMs} ${stat.size} ${stat.ino}` : ''
      }
      let seen = look()
      const timer = setInterval(() => {
        const now = look()
        if (now !== seen && !asleep) this.request()
        seen = now
      }, 50)
      this.timers.push(timer)
    }

    /** Starts it, unless it runs; within ThrottleInterval of the last start, when that is over. */
    request(): void {
      if (this.child || this.isGone) return
      const throttleMs = (Number(this.dict.ThrottleInterval ?? 10) * 1000) / speed
      const waitMs = this.lastStartMs + throttleMs - performance.now()
      if (waitMs <= 0) this.start()
      else this.timers.push(setTimeout(() => this.request(), waitMs))
    }

    start(): void {
      const { dict } = this
      const argv = dict.ProgramArguments as string[]
      this.lastStartMs = performance.now()
      this.runs++
      const files: number[] = []
      try {
        for (const key of ['StandardOutPath', 'StandardErrorPath'])
          files.push(openSync(dict[key] === undefined ? '/dev/null' : String(dict[key]), 'a'))
      } catch {
        this.lastExit = COULD_NOT_SET_UP
        for (const file of files) closeSync(file)
        return
      }
      const umask = typeof dict.Umask === 'number' ? process.umask(dict.Umask) : undefined
      const child = spawn(argv[0]!, argv.slice(1), {
        // Nothing is inherited: what the list does not say, the job does not have.
        env: (dict.EnvironmentVariables ?? {}) as Record<string, string>,
        cwd: typeof dict.WorkingDirectory === 'string' ? dict.WorkingDirectory : '/',
        stdio: ['ignore', ...files],
        detached: true,
      })
      if (umask !== undefined) process.umask(umask)
      for (const file of files) closeSync(file)
      this.child = child
      const ended = (code: number | null) => {
        if (this.child !== child) return
        this.child = undefined
        this.lastExit = code ?? -1
        if (dict.AbandonProcessGroup !== true && child.pid !== undefined) kill(-child.pid, 'SIGTERM')
      }
      child.once('exit', ended)
      child.once('error', () => ended(COULD_NOT_SET_UP))
    }

    /** SIGTERM, and after ExitTimeOut SIGKILL. */
    async stop(): Promise<void> {
      const { child } = this
      if (!child?.pid) return
      const pid = child.pid
      kill(pid, 'SIGTERM')
      const deadline = performance.now() + Number(this.dict.ExitTimeOut ?? 20) * 1000
      while (this.child === child) {
        if (performance.now() > deadline) kill(pid, 'SIGKILL')
        await sleep(20)
      }
    }

    async remove(): Promise<void> {
      this.isGone = true
      for (const timer of this.timers) clearTimeout(timer)
      await this.stop()
    }

    print(): string {
      const lines = [
        `active count = ${this.child ? 1 : 0}`,
        `path = ${this.path}`,
        'type = LaunchAgent',
        `state = ${this.child ? 'running' : 'not running'}`,
        '',
        `program = ${(this.dict.ProgramArguments as string[])[0]}`,
        'arguments = {',
        ...(this.dict.ProgramArguments as string[]).map((argument) => `\t${argument}`),
        '}',
        '',
        'default environment = {',
        '\tPATH => /usr/bin:/bin:/usr/sbin:/sbin',
        '}',
        '',
        'environment = {',
        ...Object.entries((this.dict.EnvironmentVariables ?? {}) as Dict).map(([key, value]) => `\t${key} => ${value}`),
        '}',
        '',
        `runs = ${this.runs}`,
        ...(this.child ? [`pid = ${this.child.pid}`] : []),
        `last exit code = ${this.lastExit ?? '(never exited)'}`,
      ]
      return `${DOMAIN}/${this.label} = {\n${lines.map((line) => (line ? `\t${line}` : '')).join('\n')}\n}\n`
    }
  }

  const notFound = (label: string): Answer => ({
    code: 113,
    stderr: `Could not find service "${label}" in domain for user gui: ${UID}\n`,
  })
  const ioError: Answer = {
    code: 5,
    stderr: 'Bootstrap failed: 5: Input/output error\nTry re-running the command as root for richer errors.\n',
  }

  async function answer(args: string[]): Promise<Answer> {
    calls.push(args.join(' '))
    const plan = planned.find(({ beginning, times }) => times > 0 && args.join(' ').startsWith(beginning))
    if (plan) {
      plan.times--
      return plan.answer
    }
    const [verb, ...rest] = args
    const target = rest.filter((argument) => !argument.startsWith('-'))
    const label = target[0]?.startsWith(`${DOMAIN}/`) ? target[0].slice(DOMAIN.length + 1) : ''
    const job = jobs.get(label)
    switch (verb) {
      case 'print':
        if (target[0] === DOMAIN) return { code: 0, stdout: `${DOMAIN} = {\n\ttype = login\n\thandle = 100003\n}\n` }
        return job ? { code: 0, stdout: job.print() } : notFound(label)
      case 'list':
        return {
          code: 0,
          stdout: `PID\tStatus\tLabel\n${[...jobs.values()].map((each) => `${each.child?.pid ?? '-'}\t${each.lastExit ?? 0}\t${each.label}\n`).join('')}`,
        }
      case 'enable':
        disabled.delete(label)
        return { code: 0 }
      case 'disable':
        disabled.add(label)
        return { code: 0 }
      case 'kickstart':
        if (!job) return notFound(label)
        if (rest.includes('-k')) await job.stop()
        if (!job.child) job.start()
        return { code: 0 }
      case 'bootout':
        return job ? bootout(job) : { code: 3, stderr: 'Boot-out failed: 3: No such process\n' }
      case 'bootstrap':
        return bootstrap(target[0] ?? '', target[1] ?? '')
      default:
        return { code: 64, stderr: `Unrecognized subcommand: ${verb}\n` }
    }
  }

  async function bootout(job: Job): Promise<Answer> {
    const gone = job.remove().then(async () => {
      jobs.delete(job.label)
      await sleep(letGoMs)
      leaving.delete(job.label)
    })
    leaving.set(job.label, gone)
    const result = await Promise.race([gone.then(() => 'gone'), sleep(letGoMs + 1000, 'late')])
    if (result === 'gone' || !jobs.has(job.label)) return { code: 0 }
    return { code: 36, stderr: 'Boot-out failed: 36: Operation now in progress\n' }
  }

  function bootstrap(domain: string, path: string): Answer {
    if (domain !== DOMAIN)
      return { code: 125, stderr: 'Bootstrap failed: 125: Domain does not support specified action\n' }
    let dict: PlistValue
    try {
      dict = parsePlist(readFileSync(path, 'utf8'))
    } catch {
      return ioError
    }
    if (!isJob(dict)) return ioError
    const label = String(dict.Label)
    if (disabled.has(label)) return { code: 119, stderr: 'Bootstrap failed: 119: Service is disabled\n' }
    if (jobs.has(label) || leaving.has(label)) return ioError
    jobs.set(label, new Job(path, dict))
    return { code: 0 }
  }

  const server: Server = createServer({ allowHalfOpen: true }, (connection) => {
    let text = ''
    connection.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    connection.on('error', () => {})
    connection.on('end', () => {
      void answer(JSON.parse(text) as string[]).then((result) => connection.end(JSON.stringify(result)))
    })
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))

  return {
    socket,
    /** Every call of launchctl, e.g. `kickstart -k gui/501/com.openclaw.watchdog`. */
    calls,
    /** The labels that are loaded. */
    labels: () => [...jobs.keys()],
    job: (label: string) => jobs.get(label),
    /** What an agent in this domain would be told: a call of launchctl without the client process. */
    launchctl: (...args: string[]) => answer(args),
    /** From now on, calls that begin so get this answer, so many times. */
    plan(beginning: string, reply: Answer, times = 1) {
      planned.push({ beginning, answer: reply, times })
    },
    /** The machine sleeps: no timer fires and no path is watched. */
    sleep() {
      asleep = true
    },
    /** The machine wakes: what was missed is run, once. */
    wake() {
      asleep = false
      for (const job of jobs.values()) job.wake()
    },
    /** The user logs out: all jobs end. */
    async close() {
      await Promise.all([...jobs.values()].map((job) => job.remove()))
      await new Promise((resolve) => server.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function isJob(value: PlistValue): value is Dict {
  if (typeof value !== 'object' || Array.isArray(value)) return false
  const { Label, ProgramArguments } = value
  return typeof Label === 'string' && Array.isArray(ProgramArguments) && ProgramArguments.length > 0
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Nobody is left.
  }
}
