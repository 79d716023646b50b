/**
 * A stand-in for launchd, which can be had on a Mac only. It follows launchd.plist(5) and launchctl(1) for what this
 * project uses: it reads the property list, starts the program with the list's environment and nothing more, one
 * instance at a time, by RunAtLoad, StartInterval and WatchPaths, not more often than ThrottleInterval; opens
 * StandardOutPath and StandardErrorPath, and when it cannot, fails with 78; and ends the process group with the job.
 * `launchctl` (stand-in-client.sh) speaks to it through a socket; answers and exit codes are those that are documented or that
 * users report (113, 5, 36, 3, 119, 125). It was not compared with a Mac.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PlistValue, parsePlist } from './plist.ts'
import { type Dict, Job, type JobOptions } from './stand-in-launchd-job.ts'
import { type Answer, startStandInServer } from './stand-in-server.ts'

const UID = process.getuid?.() ?? 501
const DOMAIN = `gui/${UID}`

export interface StandInOptions extends JobOptions {
  /** How many bootstraps after a bootout find that launchd has not let go of the job, and fail with 5. */
  holdsOnFor?: number
}

export type StandInLaunchd = Awaited<ReturnType<typeof startStandInLaunchd>>

export async function startStandInLaunchd({ holdsOnFor = 0, ...jobOptions }: StandInOptions = {}) {
  const jobs = new Map<string, Job>()
  const disabled = new Set<string>()
  /** Labels that were booted out, and how many bootstraps still fail for that. */
  const leaving = new Map<string, number>()

  const notFound = (label: string): Answer => ({
    code: 113,
    stderr: `Could not find service "${label}" in domain for user gui: ${UID}\n`,
  })
  const ioError: Answer = {
    code: 5,
    stderr: 'Bootstrap failed: 5: Input/output error\nTry re-running the command as root for richer errors.\n',
  }

  async function answer(args: string[]): Promise<Answer> {
    const [verb, ...rest] = args
    const target = rest.filter((argument) => !argument.startsWith('-'))
    const label = target[0]?.startsWith(`${DOMAIN}/`) ? target[0].slice(DOMAIN.length + 1) : ''
    const job = jobs.get(label)
    switch (verb) {
      case 'print':
        if (target[0] === DOMAIN) return { code: 0, stdout: `${DOMAIN} = {\n\ttype = login\n\thandle = 100003\n}\n` }
        return job ? { code: 0, stdout: job.print(DOMAIN) } : notFound(label)
      case 'list':
        return {
          code: 0,
          stdout: `PID\tStatus\tLabel\n${[...jobs.values()].map((each) => `${each.child?.pid ?? '-'}\t${each.lastExit ?? 0}\t${each.label}\n`).join('')}`,
        }
      case 'print-disabled': {
        const lines = [...disabled].map((each) => `\t\t"${each}" => disabled\n`)
        return { code: 0, stdout: `\n\tdisabled services = {\n${lines.join('')}\t}\n` }
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
    leaving.set(job.label, holdsOnFor)
    const ended = job.remove().then(() => jobs.delete(job.label))
    if (await Promise.race([ended, sleep(1000, false)])) return { code: 0 }
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
    if (jobs.has(label)) return ioError
    const refusals = leaving.get(label) ?? 0
    leaving.set(label, refusals - 1)
    if (refusals > 0) return ioError
    jobs.set(label, new Job(path, dict, jobOptions))
    return { code: 0 }
  }

  const server = await startStandInServer(answer)

  return {
    ...server,
    /** The labels that are loaded. */
    labels: () => [...jobs.keys()].sort(),
    job: (label: string) => jobs.get(label),
    sleep() {
      for (const job of jobs.values()) job.sleep()
    },
    /** The machine wakes: what was missed is run, once. */
    wake() {
      for (const job of jobs.values()) job.wake()
    },
    /** The user logs out: all jobs end. */
    async close() {
      await Promise.all([...jobs.values()].map((job) => job.remove()))
      await server.close()
    },
  }
}

function isJob(value: PlistValue): value is Dict {
  if (typeof value !== 'object' || Array.isArray(value)) return false
  const { Label, ProgramArguments } = value
  return typeof Label === 'string' && Array.isArray(ProgramArguments) && ProgramArguments.length > 0
}
