/** A script of the project as a process. */
import type { ChildProcess } from 'node:child_process'

export interface Run {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunningScript {
  pid: number
  child: ChildProcess
  finished: Promise<Run>
}

/** How this Node runs a TypeScript file: by itself, or (before 22.18) through tsx, found by its absolute path. */
export function typescriptLoader(): string[] {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 22 || (major === 22 && minor >= 18)) return []
  return ['--import', import.meta.resolve('tsx')]
}

/** Collects what a script writes until it ends. Rejects, with what was written so far, when it runs for too long. */
export async function collect(child: ChildProcess, name: string, timeoutMs: number): Promise<Run> {
  const run = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream]!.setEncoding('utf8').on('data', (text: string) => (run[stream] += text))
  return new Promise((resolve, reject) => {
    const complain = () => reject(new Error(`${name} still runs after ${timeoutMs} ms:\n${run.stdout}${run.stderr}`))
    const timer = setTimeout(complain, timeoutMs)
    const end = (code: number | null, signal: NodeJS.Signals | null) => {
      clearTimeout(timer)
      resolve({ code, signal, ...run })
    }
    // `close` says that all output was read. It never comes while another process holds the pipe: then `exit` has to do.
    child.once('close', end)
    // A test process that was held up finds these 2 s over and the output still unread: that is read before setImmediate.
    child.once('exit', (code, signal) => setTimeout(() => setImmediate(end, code, signal), 2000).unref())
  })
}
