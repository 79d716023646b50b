/** A client of the doctor's instruments: the real scripts/doctor-tools.ts as a process, spoken to over standard input. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { projectDir, type Sandbox, waitFor } from './sandbox.ts'
import { typescriptLoader } from './script-process.ts'

/** What the server answers to `tools/call`. */
export interface Answer {
  text: string
  isError: boolean
}

export interface Tool {
  name: string
  inputSchema: {
    properties: Record<string, { type: unknown; maxLength?: number; enum?: string[] }>
    required: string[]
    additionalProperties: boolean
  }
  annotations: { readOnlyHint: boolean }
}

export type Instruments = ReturnType<typeof startInstruments>

const STAMP = '2026-11-22-054410'

/** Opens a session in a sandbox as Level 3 does, and starts the server for it. @param parts replace those of its context */
export function startInstruments(box: Sandbox, parts: Record<string, unknown> = {}) {
  const own = {
    folder: join(box.stateDir, 'watchdog', 'doctor', STAMP),
    logPath: join(box.memoryDir, `emergency-recovery-${STAMP}.log`),
  }
  const context = { tier: 'emergency-recovery', tierPid: process.pid, env: box.env, ...own, ...parts }
  const { folder, logPath } = context as typeof own
  for (const path of [folder, box.memoryDir]) mkdirSync(path, { recursive: true, mode: 0o700 })
  const contextPath = join(folder, 'context.json')
  writeFileSync(contextPath, JSON.stringify(context), { mode: 0o600 })
  const child = spawnServer(box, [contextPath])
  const statePath = join(folder, 'session.jsonl')
  const lines = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [])

  return {
    ...connect(child),
    ...{ pid: child.pid!, child, folder, logPath, statePath },
    reportPath: join(box.memoryDir, `emergency-recovery-report-${STAMP}.md`),
    /** What happened in the session, as the server keeps it. */
    state: () => lines(statePath).map((line) => JSON.parse(line) as Record<string, unknown>),
    /** Begins a new session, in which these calls were made. */
    reset: (calls: object[] = []) =>
      writeFileSync(statePath, calls.map((one, by) => `${JSON.stringify({ by, ...one })}\n`).join('')),
    /** The lines of the recovery log. */
    log: () => lines(logPath),
  }
}

/** The server with any arguments, in the sandbox's environment. */
export function spawnServer(box: Pick<Sandbox, 'env'>, args: string[]): ChildProcess {
  return spawn(process.execPath, [...typescriptLoader(), join(projectDir, 'scripts', 'doctor-tools.ts'), ...args], {
    env: box.env,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

function connect(child: ChildProcess) {
  const waiting = new Map<unknown, (response: Record<string, unknown>) => void>()
  const strays: Record<string, unknown>[] = []
  let stderr = ''
  let id = 0
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin!.on('error', () => {})
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const response = JSON.parse(line) as Record<string, unknown>
    const take = waiting.get(response.id) ?? ((stray) => strays.push(stray))
    waiting.delete(response.id)
    take(response)
  })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))

  /** Sends one line as it is. */
  const send = (line: string) => void child.stdin!.write(`${line}\n`)

  function request(method: string, params?: unknown): Promise<Record<string, unknown>> {
    const response = new Promise<Record<string, unknown>>((resolve, reject) => {
      waiting.set(++id, resolve)
      void ended.then((code) => reject(new Error(`the server ended with ${code} before it answered: ${stderr}`)))
    })
    response.catch(() => {})
    send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    return response
  }

  return {
    send,
    request,
    call: async (name: string, args?: unknown): Promise<Answer> => {
      const { result, error } = await request('tools/call', { name, arguments: args })
      if (error) throw new Error(JSON.stringify(error))
      const { content, isError } = result as { content: { text: string }[]; isError: boolean }
      return { text: content.map(({ text }) => text).join('\n'), isError }
    },
    tools: async () => ((await request('tools/list')).result as { tools: Tool[] }).tools,
    /** The next response to what was no request of ours: to a broken line. */
    nextStray: async () => {
      await waitFor(() => strays.length > 0, 'a response')
      return strays.shift()!
    },
    stderr: () => stderr,
    ended,
    /** Closes standard input, as a doctor does that ends. Resolves with the exit code. */
    close: () => {
      child.stdin!.end()
      return ended
    },
  }
}
