/**
 * What a doctor's program is locked into, tried out: a home for settings, context files and secrets that would loosen it,
 * a neighbour on the loopback interface that it must not call, and the program started exactly as `prepare()` says, with
 * the fake instruments. Every connection that its Node processes open is noted; for the others the neighbour is the proxy.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'vitest'
import type { Doctor, DoctorEvent } from '../../lib/agents/agent.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { tried } from '../../lib/tier/state.ts'
import { processesOfHome } from '../support/processes-of-home.ts'
import { waitFor } from '../support/wait-for.ts'
import { node24Bin } from './parts.ts'

/** Stands in files only, and may reach nothing else. */
export const SECRET = 'planted-7f3a9c51e2'
export const INSTRUMENTS = ['gateway_status', 'set_config', 'write_report']

export type Ward = Awaited<ReturnType<typeof createWard>>

type VisitOptions = { prompt?: string; instruments?: 'late' | 'dead' | 'dies' | 'long' | 'slow' }

/** @param bin the program's folder @param env the environment of the tier, beside HOME and PATH */
export async function createWard({ onTestFinished }: TestContext, bin: string, env: Record<string, string>) {
  // Not below /tmp: into a home there Codex writes nothing, and into a user's it does.
  const root = mkdtempSync('/var/tmp/doctor-ward-')
  const home = join(root, 'home')
  const folder = join(home, '.openclaw', 'doctor', 'run')
  const at = (name: string) => join(root, name)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(at('connections.cjs'), NOTES_CONNECTIONS)
  const asked: string[] = []
  const neighbour = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (data) => {
      asked.push(data.toString('latin1').split('\r\n')[0]!)
      socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${SECRET}`)
    })
  })
  await new Promise<void>((resolve) => neighbour.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(neighbour.address() as AddressInfo).port}`
  const processes = () => [...processesOfHome(home), ...processesOfHome(join(folder, 'codex-home'))]
  onTestFinished(async () => {
    for (const pid of processes()) process.kill(pid, 'SIGKILL')
    neighbour.close()
    rmSync(root, { recursive: true, force: true, maxRetries: 5 })
  })

  function start(doctor: Doctor, { prompt = '# Briefing\n\nThe gateway is down.', instruments }: VisitOptions = {}) {
    const script = join(import.meta.dirname, '..', 'support', 'fake-instruments-openai.mjs')
    const server = { command: process.execPath, args: [script, at('calls'), ...(instruments ? [instruments] : [])] }
    const launch = doctor.prepare({ settings: ward.settings(), folder, server, instruments: INSTRUMENTS })
    const noting = { NODE_OPTIONS: `--require ${at('connections.cjs')}`, CONNECTIONS: at('connections') }
    const startedAt = performance.now()
    const child = spawn(launch.program, launch.args, { cwd: folder, env: { ...launch.env, ...noting }, detached: true })
    const seen = { events: [] as DoctorEvent[], stdout: '', stderr: '' }
    const take = (name: 'stdout' | 'stderr', read: Doctor['read'] = () => []) =>
      createInterface({ input: child[name] }).on('line', (line) => {
        seen[name] += `${line}\n`
        const events = read(line)
        seen.events.push(...events)
        // As the session does it.
        if (events.some(({ kind }) => kind === 'trouble')) end(child)
      })
    take('stdout', doctor.read)
    take('stderr', doctor.readError)
    child.stdin.on('error', () => {})
    child.stdin.end(prompt)
    const lines = (name: string) => (existsSync(at(name)) ? readFileSync(at(name), 'utf8').trim().split('\n') : [])
    const ended = once(child, 'close').then(async ([code]) => {
      await waitFor(() => processes().length === 0, 'everything of the doctor to have ended', 15_000)
      const notes = lines('calls').map((line) => JSON.parse(line))
      return {
        ...seen,
        /** Null when it was ended because of a trouble. */
        code: code as number | null,
        durationMs: performance.now() - startedAt,
        trouble: seen.events.find((event) => event.kind === 'trouble'),
        /** The instruments that were called, and the names of the variables that they were given. */
        calls: notes.filter(({ name }) => name) as { name: string; input: unknown }[],
        variables: notes[0]?.env as string[],
        /** `host:port` of every connection. */
        connections: [...new Set(lines('connections'))],
        /** The files of the run's folder at the end, by their path in it. */
        left: filesBelow(folder),
      }
    })
    return { child, ended }
  }

  const ward = {
    home,
    /** The session's own folder, below the home as in reality. */
    folder,
    /** A file that is created by whatever must not run. */
    canary: at('canary'),
    neighbour: { url, asked },
    processes,
    /** The environment of the tier; a test may change it before a visit. */
    env: { ...env, HOME: home, PATH: `${bin}:${node24Bin}:/usr/bin:/bin` } as Record<string, string>,
    settings: () => loadSettings(ward.env),
    plant: (path: string, content: unknown) => {
      const whole = join(home, path)
      mkdirSync(dirname(whole), { recursive: true })
      writeFileSync(whole, typeof content === 'string' ? content : JSON.stringify(content))
    },
    /** The files below the home by path, the session's folder left out. */
    files: () => filesBelow(home, folder),
    start,
    visit: (doctor: Doctor, options?: VisitOptions) => start(doctor, options).ended,
  }
  return ward
}

/** Ends the program with everything that it started, as closing the doctor's terminal does. */
export const end = (child: ChildProcess) => void tried(() => process.kill(-child.pid!, 'SIGKILL'))

function filesBelow(folder: string, but = 'nothing'): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).filter((path) => !path.startsWith(`${but}/`))
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length + 1), readFileSync(path, 'latin1')]))
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
