/** One job of the stand-in launchd: its triggers, its process, its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PlistValue } from './plist.ts'

/** EX_CONFIG: what launchd records when it could not set the job up. */
const COULD_NOT_SET_UP = 78

export interface Dict {
  [key: string]: PlistValue
}

export interface JobOptions {
  /** How many of launchd's seconds go by in one real second (StartInterval, ThrottleInterval). */
  speed?: number
  /** StartInterval starts nothing: no tick comes in between what a test does itself. */
  withoutIntervals?: boolean
  /** What is run in place of a job's ProgramArguments. */
  instead?: (argv: string[]) => string[]
}

export class Job {
  readonly label: string
  readonly path: string
  readonly dict: Dict
  child: ChildProcess | undefined
  runs = 0
  lastExit: number | undefined
  private lastStartMs = -Infinity
  private isMissed = false
  private isAsleep = false
  private isGone = false
  private timers: NodeJS.Timeout[] = []

  private readonly speed: number
  private readonly instead: ((argv: string[]) => string[]) | undefined

  constructor(path: string, dict: Dict, { speed = 1, withoutIntervals = false, instead }: JobOptions) {
    this.label = String(dict.Label)
    this.path = path
    this.dict = dict
    this.speed = speed
    this.instead = instead
    if (typeof dict.StartInterval === 'number' && !withoutIntervals)
      this.timers.push(setInterval(() => this.request(), (dict.StartInterval * 1000) / speed))
    for (const watched of (dict.WatchPaths as string[] | undefined) ?? []) this.watch(watched)
    if (dict.RunAtLoad === true) this.request()
  }

  /** The machine sleeps: no timer fires, and what becomes of a watched path is seen at wake. */
  sleep(): void {
    this.isAsleep = true
  }

  wake(): void {
    this.isAsleep = false
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
      if (this.isAsleep) return
      const now = look()
      if (now !== seen) this.request()
      seen = now
    }, 50)
    this.timers.push(timer)
  }

  /**
   * Starts it, unless it runs; within ThrottleInterval of the last start, when that is over. What would have started it
   * while the machine slept becomes one start at wake.
   */
  request(): void {
    if (this.child || this.isGone) return
    if (this.isAsleep) {
      this.isMissed = true
      return
    }
    const throttleMs = (Number(this.dict.ThrottleInterval ?? 10) * 1000) / this.speed
    const waitMs = this.lastStartMs + throttleMs - performance.now()
    if (waitMs <= 0) this.start()
    else this.timers.push(setTimeout(() => this.request(), waitMs))
  }

  start(): void {
    const { dict } = this
    const asked = dict.ProgramArguments as string[]
    const argv = this.instead?.(asked) ?? asked
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

  /** As `launchctl print` shows it. @param domain e.g. `gui/501` */
  print(domain: string): string {
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
    return `${domain}/${this.label} = {\n${lines.map((line) => (line ? `\t${line}` : '')).join('\n')}\n}\n`
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Nobody is left.
  }
}
