/**
 * What a doctor's program is locked into, tried out: a home for settings, context files and secrets that would loosen it,
 * a neighbour on the loopback interface that it must not call, and the program started exactly as `prepare()` says, with
 * the fake instruments. Every connection that its Node processes open is noted.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'vitest'
import type { Doctor, DoctorEvent, Trouble } from '../../lib/agents/agent.ts'
import { loadSettings, type Settings } from '../../lib/tier/settings.ts'
import { processesOfHome } from '../support/processes-of-home.ts'
import { waitFor } from '../support/wait-for.ts'
import { node24Bin } from './parts.ts'

/** Stands in files only, and may reach nobody. */
export const SECRET = 'planted-7f3a9c51e2'
export const INSTRUMENTS = ['gateway_status', 'set_config', 'write_report']

export type Ward = Awaited<ReturnType<typeof createWard>>

interface VisitOptions {
  prompt?: string
  instruments?: 'late' | 'dead' | 'dies' | 'long' | 'slow'
}

interface Visit {
  /** Null when the visit was ended because of a trouble. */
  code: number | null
  events: DoctorEvent[]
  stdout: string
  stderr: string
  trouble: { trouble: Trouble; detail: string } | undefined
  /** The instruments that were called. */
  calls: { name: string; input: unknown }[]
  /** `host:port` of every connection. */
  connections: string[]
  /** The files of the run's folder at the end, by their path in it. */
  left: Record<string, string>
  durationMs: number
}

/**
 * @param bin the folder with the program
 * @param env the environment of the tier, beside HOME and PATH
 */
export async function createWard({ onTestFinished }: TestContext, bin: string, env: Record<string, string>) {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'doctor-ward-')))
  const home = join(root, 'home')
  const folder = join(home, '.openclaw', 'doctor', 'run')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    response.end(SECRET)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const canary = join(root, 'canary')
  writeFileSync(join(root, 'connections.cjs'), NOTES_CONNECTIONS)
  const processes = () => [...processesOfHome(home), ...processesOfHome(join(folder, 'codex-home'))]
  onTestFinished(async () => {
    for (const pid of processes()) process.kill(pid, 'SIGKILL')
    server.closeAllConnections()
    server.close()
    rmSync(root, { recursive: true, force: true, maxRetries: 5 })
  })
  /** Starts the program and does not wait for its end. */
  const start = (doctor: Doctor, { prompt = '# Briefing\n\nThe gateway is down.', instruments }: VisitOptions = {}) => {
    const [calls, connections] = [join(root, 'calls'), join(root, 'connections')]
    const script = join(import.meta.dirname, '..', 'support', 'fake-instruments-openai.mjs')
    const args = [script, calls, ...(instruments ? [instruments] : [])]
    const server = { command: process.execPath, args }
    const launch = doctor.prepare({ settings: ward.settings(), folder, server, instruments: INSTRUMENTS })
    const noting = { NODE_OPTIONS: `--require ${join(root, 'connections.cjs')}`, CONNECTIONS: connections }
    const startedAt = performance.now()
    const child = spawn(launch.program, launch.args, { cwd: folder, env: { ...launch.env, ...noting }, detached: true })
    const seen = { events: [] as DoctorEvent[], stdout: '', stderr: '' }
    const take = (events: DoctorEvent[]) => {
      seen.events.push(...events)
      // As the session does it: the visit is over.
      if (events.some(({ kind }) => kind === 'trouble')) end(child)
    }
    createInterface({ input: child.stdout }).on('line', (line) => {
      seen.stdout += `${line}\n`
      take(doctor.read(line))
    })
    createInterface({ input: child.stderr }).on('line', (line) => {
      seen.stderr += `${line}\n`
      take(doctor.readError?.(line) ?? [])
    })
    child.stdin.on('error', () => {})
    child.stdin.end(prompt)
    const ended = (async (): Promise<Visit> => {
      const [code] = (await once(child, 'close')) as [number | null]
      await waitFor(() => processes().length === 0, 'everything of the doctor to have ended', 15_000)
      const lines = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [])
      return {
        ...seen,
        ...{ code, durationMs: performance.now() - startedAt },
        trouble: seen.events.find((event) => event.kind === 'trouble'),
        calls: lines(calls)
          .map((line) => JSON.parse(line))
          .filter(({ name }) => name),
        connections: [...new Set(lines(connections))],
        left: filesBelow(folder),
      }
    })()
    return { child, events: seen.events, ended }
  }
  const ward = {
    home,
    /** The session's own folder, below the home as in reality. */
    folder,
    /** A file that is created by whatever must not run. */
    canary,
    start,
    processes,
    /** The environment of the tier; a test may change it before a visit. */
    env: { ...env, HOME: home, PATH: `${bin}:${node24Bin}:/usr/bin:/bin` } as Record<string, string>,
    settings: (): Settings => loadSettings(ward.env),
    neighbour: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked },
    plant: (path: string, content: unknown) => {
      const whole = join(home, path)
      mkdirSync(dirname(whole), { recursive: true })
      writeFileSync(whole, typeof content === 'string' ? content : JSON.stringify(content))
    },
    /** The files below the home by path, the session's folder left out. */
    files: () => filesBelow(home, folder),
    visit: (doctor: Doctor, options?: VisitOptions) => start(doctor, options).ended,
  }
  return ward
}

/** Ends the program with everything that it started, as closing the doctor's terminal does. */
export function end(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

function filesBelow(folder: string, but?: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !but || !path.startsWith(`${but}/`))
  return Object.fromEntries(files.map((path) => [path.slice(folder.length + 1), readFileSync(path, 'latin1')]))
}

const NOTES_CONNECTIONS = `
const { appendFileSync } = require('node:fs')
const { Socket } = require('node:net')
const connect = Socket.prototype.connect
Socket.prototype.connect = function (...args) {
  const [first] = Array.isArray(args[0]) ? args[0] : args
  const to = typeof first === 'object' ? first : { port: first }
  if (!to.path) appendFileSync(process.env.CONNECTIONS, (to.host ?? 'localhost') + ':' + to.port + '\\n')
  return connect.apply(this, args)
}
`
