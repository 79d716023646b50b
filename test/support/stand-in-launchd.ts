/**
 * A stand-in for launchd, which can be had on a Mac only, as far as setup and the guardian use it: it reads the property
 * list and, when it is loaded, starts the program with the list's environment and nothing more (no interval passes in a
 * test, no path is watched); opens StandardErrorPath, and when it cannot, fails with 78. Answers and exit codes are those
 * that are documented or that users report. It was not compared with a Mac.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { tried } from '../../lib/tier/state.ts'
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
}

/** @param instead what is run in place of a job's ProgramArguments */
export async function startStandInLaunchd(instead = (argv: string[]) => argv) {
  const jobs = new Map<string, ReturnType<typeof load>>()

  function load(dict: Dict) {
    const job = { dict, runs: 0, child: undefined as ChildProcess | undefined, lastExit: 78, start, remove }
    if (dict.RunAtLoad) start()
    return job

    function start(): void {
      const [program = '', ...args] = instead(dict.ProgramArguments)
      job.runs++
      job.lastExit = 78
      const errors = tried(() => openSync(dict.StandardErrorPath ?? '/dev/null', 'a'))
      if (errors === undefined) return
      const env = dict.EnvironmentVariables ?? {}
      const child = spawn(program, args, { env, cwd: '/', stdio: ['ignore', 'ignore', errors], detached: true })
      closeSync(errors)
      job.child = child
      child.once('exit', (code) => {
        job.child = undefined
        job.lastExit = code ?? -1
        tried(() => process.kill(-child.pid!))
      })
    }

    async function remove(): Promise<void> {
      job.child?.kill()
      while (job.child) await sleep(20)
      jobs.delete(dict.Label)
    }
  }

  async function answer([verb = '', ...rest]: string[]): Promise<Answer> {
    const [target = '', path = ''] = rest.filter((argument) => !argument.startsWith('-'))
    const label = target.slice(DOMAIN.length + 1)
    const job = jobs.get(label)
    if (verb === 'enable' || (verb === 'print' && label === '')) return { code: 0 }
    if (verb === 'bootstrap') return bootstrap(path)
    if (verb === 'bootout' && !job) return { code: 3, stderr: 'Boot-out failed: 3: No such process\n' }
    if (!job) return { code: 113, stderr: `Could not find service "${label}" in domain for user gui\n` }
    if (verb === 'kickstart') job.start()
    else if (verb === 'bootout') {
      if (!(await Promise.race([job.remove().then(() => true), sleep(1000, false)])))
        return { code: 36, stderr: 'Boot-out failed: 36: Operation now in progress\n' }
    } else if (verb !== 'print') return { code: 64, stderr: `unplanned: launchctl ${verb}\n` }
    const state = job.child ? `running\n\tpid = ${job.child.pid}` : 'not running'
    return { code: 0, stdout: `${target} = {\n\tstate = ${state}\n\tlast exit code = ${job.lastExit}\n}\n` }
  }

  function bootstrap(path: string): Answer {
    const dict = tried(() => parsePlist(readFileSync(path, 'utf8')) as unknown as Dict)
    if (!Array.isArray(dict?.ProgramArguments) || jobs.has(dict.Label))
      return { code: 5, stderr: 'Bootstrap failed: 5: Input/output error\n' }
    jobs.set(dict.Label, load(dict))
    return { code: 0 }
  }

  const server = await startStandInServer(answer)
  return {
    ...server,
    labels: () => [...jobs.keys()].sort(),
    job: (label: string) => jobs.get(label),
    /** The user logs out: all jobs end. */
    async close() {
      await Promise.all([...jobs.values()].map((job) => job.remove()))
      await server.close()
    },
  }
}
