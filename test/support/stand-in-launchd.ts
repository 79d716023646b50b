/**
 * A stand-in for launchd, which can be had on a Mac only: LaunchAgents of one user, as public reports, Apple's manuals and
 * captures of macOS 13 to 26 show them (it was not compared with a Mac). It has
 * - jobs by RunAtLoad, KeepAlive, StartInterval (armed anew when the job has ended), StartCalendarInterval, WatchPaths
 *   (some seconds later), with ThrottleInterval between two starts, and with the environment that launchd gives;
 * - the on-demand-only mode, in which every start that nobody asked for is pended;
 * - the penalty box for a job that cannot be set up: nothing but bootout and bootstrap ends that;
 * - no start of its own for a job that was disabled;
 * - a bootout that answers before the job has ended, and a kickstart that waits for the throttle.
 * Minutes pass only when the test says so; launchd's own seconds are short ones.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from 'node:fs'
import { homedir, tmpdir, userInfo } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tried } from '../../lib/tier/state.ts'
import { domainPrint, jobPrint } from './launchctl-print.ts'
import { parsePlist } from './plist.ts'
import { type Answer, startStandInServer } from './stand-in-server.ts'

const DOMAIN = `gui/${process.getuid!()}`
/** How long one of launchd's own seconds lasts here. */
const SECOND_MS = 40
const WATCH_DELAY_SEC = 5
const KICKED = 'kickstart'

export interface Dict {
  Label: string
  ProgramArguments: string[]
  EnvironmentVariables?: Record<string, string>
  WorkingDirectory?: string
  StandardOutPath?: string
  StandardErrorPath?: string
  RunAtLoad?: boolean
  KeepAlive?: boolean
  ThrottleInterval?: number
  ExitTimeOut?: number
  StartInterval?: number
  StartCalendarInterval?: { Minute: number } | { Minute: number }[]
  WatchPaths?: string[]
}

export interface Job {
  dict: Dict
  path: string
  runs: number
  child?: ChildProcess
  lastExit?: number
  lastSignal?: number
  lastReason?: string
  /** Why it would have been started, were the domain not in on-demand-only mode. */
  pended?: string
  isBoxed: boolean
  isScheduled: boolean
  stopping?: 'SIGTERMed' | 'SIGKILLed'
}

interface Options {
  home?: string
  /** What is run in place of a job's ProgramArguments. */
  instead?: (argv: string[]) => string[]
}

export async function startStandInLaunchd({ home = homedir(), instead = (argv) => argv }: Options = {}) {
  const jobs = new Map<string, ReturnType<typeof load>>()
  const disabled = new Map<string, boolean>()
  /** `protects`: jobs with this in their command line are refused, as macOS does for a protected folder. */
  const mode = { onDemandOnly: false, manager: 'Aqua', kickstartHangs: false, protects: 'nothing at all' }
  let minute = 0

  function load(dict: Dict, path: string) {
    const job: Job = { dict, path, runs: 0, isBoxed: false, isScheduled: false }
    let [startedMs, minutesIdle, isLeaving] = [Number.NEGATIVE_INFINITY, 0, false]
    let watched = stampsOf(dict)
    let timer: NodeJS.Timeout | undefined
    let isWatchDue = false
    const poll = setInterval(() => {
      const now = stampsOf(dict)
      if (now === watched) return
      watched = now
      isWatchDue = true
      setTimeout(() => !job.child && want('watch paths', true), WATCH_DELAY_SEC * SECOND_MS)
    }, 20)

    /** @param isAsked somebody or something outside launchd's own timers asked for it */
    function want(why: string, isAsked: boolean): void {
      if (job.child || job.isBoxed || isLeaving || timer) return
      if (!isAsked && disabled.get(dict.Label)) return
      if (mode.onDemandOnly && !isAsked) job.pended = why
      else {
        const throttledMs = startedMs + (dict.ThrottleInterval ?? 10) * SECOND_MS - performance.now()
        job.isScheduled = true
        timer = setTimeout(start, Math.max(0, throttledMs))
        if (throttledMs <= 0) start()
      }
    }

    function start(): void {
      clearTimeout(timer)
      timer = undefined
      Object.assign(job, { pended: undefined, isScheduled: false, lastReason: undefined })
      isWatchDue = false
      startedMs = performance.now()
      job.runs++
      const [program = '', ...args] = instead(dict.ProgramArguments)
      const out = (path = '/dev/null') => openSync(path, 'a')
      const files = tried(() => [out(dict.StandardOutPath), out(dict.StandardErrorPath)] as const)
      const isProtected = dict.ProgramArguments.some((word) => word.includes(mode.protects))
      const canRun = !isProtected && tried(() => accessSync(program, constants.X_OK) ?? true)
      const isThere = tried(() => statSync(dict.WorkingDirectory ?? '/').isDirectory())
      if (!files || !canRun || !isThere) {
        // xpcproxy, which sets it up, ends with EX_CONFIG.
        Object.assign(job, { isBoxed: true, lastExit: 78, lastSignal: undefined })
        for (const file of files ?? []) closeSync(file)
        return
      }
      const { username, shell } = userInfo()
      const ofLaunchd = {
        ...{ HOME: home, USER: username, LOGNAME: username, SHELL: shell ?? '/bin/zsh', TMPDIR: `${tmpdir()}/` },
        ...{ PATH: '/usr/bin:/bin:/usr/sbin:/sbin', XPC_FLAGS: '0x0', XPC_SERVICE_NAME: dict.Label },
        NODE_OPTIONS: `--import=${import.meta.resolve('./without-proc.mjs')}`,
      }
      const env = { ...ofLaunchd, ...dict.EnvironmentVariables }
      const cwd = dict.WorkingDirectory ?? '/'
      const child = spawn(program, args, { env, cwd, stdio: ['ignore', ...files], detached: true })
      for (const file of files) closeSync(file)
      job.child = child
      child.once('exit', (code, signal) => ended(code, signal && constantsOf[signal]))
    }

    function ended(code: number | null, signal: number | null | undefined): void {
      // What it has left in its process group goes with it.
      tried(() => process.kill(-job.child!.pid!))
      Object.assign(job, { child: undefined, lastExit: code ?? undefined, lastSignal: signal ?? undefined })
      minutesIdle = 0
      job.stopping = undefined
      if (isLeaving) forget()
      if (isWatchDue) want('watch paths', true)
      if (dict.KeepAlive) want('inefficient', false)
    }

    function forget(): void {
      clearInterval(poll)
      clearTimeout(timer)
      if (jobs.get(dict.Label)?.job === job) jobs.delete(dict.Label)
    }

    async function end(): Promise<void> {
      const { child } = job
      if (!child) return
      job.stopping = 'SIGTERMed'
      child.kill()
      const limit = performance.now() + (dict.ExitTimeOut ?? 5) * SECOND_MS
      while (job.child === child && performance.now() < limit) await sleep(10)
      if (job.child !== child) return
      job.stopping = 'SIGKILLed'
      child.kill('SIGKILL')
      while (job.child === child) await sleep(10)
    }

    if (dict.RunAtLoad) want('speculative', false)
    else if (dict.KeepAlive) want('inefficient', false)
    return {
      job,
      end,
      /** It has begun to leave when this returns. */
      remove() {
        isLeaving = true
        if (!job.child) forget()
        return end()
      },
      /** Answers when it runs, or will not. */
      async kick(isKill: boolean): Promise<void> {
        if (isKill) await end()
        want(KICKED, true)
        while (job.isScheduled) await sleep(10)
      },
      release: () => job.pended !== undefined && want(job.pended, false),
      minutePassed(isAsleep: boolean) {
        const slots = [dict.StartCalendarInterval ?? []].flat()
        const isDue = slots.some((slot) => slot.Minute === minute % 60)
        // An interval that ends in sleep is lost; a slot of the calendar comes at wake.
        minutesIdle += job.child || isAsleep ? 0 : 1
        if (dict.StartInterval && minutesIdle * 60 >= dict.StartInterval && !isAsleep) want('interval', false)
        return isDue
      },
      slot: () => want('calendar interval', true),
    }
  }

  async function answer([verb = '', ...rest]: string[]): Promise<Answer> {
    const [target = '', path = ''] = rest.filter((argument) => !argument.startsWith('-'))
    const label = target.slice(DOMAIN.length + 1)
    const loaded = jobs.get(label)
    if (verb === 'managername') return { code: 0, stdout: `${mode.manager}\n` }
    if (verb === 'list') return { code: 0, stdout: `PID\tStatus\tLabel\n${[...jobs.values()].map(listed).join('')}` }
    if (verb === 'print' && label === '') return { code: 0, stdout: domainPrint(target, mode) }
    if (verb === 'print-disabled') return { code: 0, stdout: disabledPrint() }
    if (verb === 'enable' || verb === 'disable') {
      disabled.set(label, verb === 'disable')
      return { code: 0 }
    }
    if (verb === 'bootstrap') return bootstrap(path)
    if (!loaded) {
      if (verb === 'bootout') return { code: 3, stderr: 'Boot-out failed: 3: No such process\n' }
      const uid = DOMAIN.slice(4)
      return { code: 113, stderr: `Bad request.\nCould not find service "${label}" in domain for user gui: ${uid}\n` }
    }
    if (verb === 'print') return { code: 0, stdout: jobPrint(loaded.job, DOMAIN) }
    if (verb === 'bootout') void loaded.remove()
    else if (verb === 'stop') void loaded.end()
    else if (verb === 'kickstart') {
      if (loaded.job.isBoxed) return mode.kickstartHangs ? new Promise(() => {}) : { code: 139 }
      await loaded.kick(rest.includes('-k'))
      if (loaded.job.isBoxed) return { code: 139 }
    } else return { code: 64, stderr: `unplanned: launchctl ${verb}\n` }
    return { code: 0 }
  }

  const disabledPrint = () =>
    `disabled services = {\n${[...disabled].map(([one, off]) => `\t"${one}" => ${off ? 'disabled' : 'enabled'}\n`).join('')}}\n`

  function bootstrap(path: string): Answer {
    const failed = (code: number, why: string) => ({ code, stderr: `Bootstrap failed: ${code}: ${why}\n` })
    const dict = tried(() => parsePlist(readFileSync(path, 'utf8')) as unknown as Dict)
    if (!Array.isArray(dict?.ProgramArguments) || jobs.has(dict.Label)) return failed(5, 'Input/output error')
    if (disabled.get(dict.Label)) return failed(119, 'Service is disabled')
    jobs.set(dict.Label, load(dict, path))
    return { code: 0 }
  }

  const server = await startStandInServer(answer)
  return {
    ...server,
    mode,
    labels: () => [...jobs.keys()].sort(),
    job: (label: string) => jobs.get(label)?.job,
    /** The login phase is over, a staged update is finished: what was pended starts. */
    leaveOnDemandOnly() {
      mode.onDemandOnly = false
      for (const one of jobs.values()) one.release()
    },
    /** Time passes, a minute after the other, or in sleep; a slot slept through comes once, at wake. */
    passMinutes(count: number, isAsleep = false) {
      const due = new Set<string>()
      for (let i = 0; i < count; i++) {
        minute++
        for (const [label, one] of jobs) if (one.minutePassed(isAsleep)) isAsleep ? due.add(label) : one.slot()
      }
      for (const label of due) jobs.get(label)?.slot()
    },
    /** macOS ends it to free memory. */
    jetsam(label: string) {
      const { job } = jobs.get(label)!
      job.child!.kill('SIGKILL')
      job.lastReason = 'JETSAM_REASON_MEMORY_PERPROCESSLIMIT'
    },
    /** The user logs out: all jobs end. */
    async close() {
      await Promise.all([...jobs.values()].map((one) => one.remove()))
      await server.close()
    },
  }
}

const constantsOf: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 }

const listed = ({ job: { child, lastExit, lastSignal, dict } }: { job: Job }) =>
  `${child?.pid ?? '-'}\t${lastSignal ? -lastSignal : (lastExit ?? 0)}\t${dict.Label}\n`

/** Of the watched paths: when and how they changed last. */
const stampsOf = ({ WatchPaths = [] }: Dict) =>
  WatchPaths.map((path) => tried(() => `${statSync(path).mtimeMs} ${statSync(path).size} ${dirname(path)}`)).join()
