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
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (run.stdout += text))
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (run.stderr += text))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const complain = () => reject(new Error(`${name} still runs after ${timeoutMs} ms:\n${run.stdout}${run.stderr}`))
    timer = setTimeout(complain, timeoutMs)
  })
  // `close` says that all output was read. It never comes while somebody else holds the pipe: then `exit` has to do.
  const ended = new Promise<Pick<Run, 'code' | 'signal'>>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }))
    // A test process that was held up finds these 2 s over and the output still unread: that is read before setImmediate.
    child.once('exit', (code, signal) => setTimeout(() => setImmediate(resolve, { code, signal }), 2000).unref())
  })
  try {
    const { code, signal } = await Promise.race([ended, late])
    return { code, signal, ...run }
  } finally {
    clearTimeout(timer)
  }
}
