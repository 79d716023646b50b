/** Outside commands with a time limit that holds. */

export interface CommandResult {
  /** Exit code; null when it was ended by a signal, timed out or could not be started. */
  code: number | null
  stdout: string
  stderr: string
  timedOut: boolean
  /** The executable is not on the PATH. */
  missing: boolean
  /** Undefined after exit 0, else one line: what went wrong, with the tail of stderr. */
  failure: string | undefined
}

export interface CommandOptions {
  timeoutMs: number
  env: Record<string, string>
  cwd?: string
  input?: string
}

/** All that a command said, and how it ended when it failed: whole, so that redaction finds what it knows. */
export function outputOf({ code, stdout, stderr, timedOut, missing }: CommandResult): string {
  const end = missing ? '(it is not on the PATH)' : timedOut ? '(no answer in time)' : `(exit ${code ?? 'by a signal'})`
  return [inLines(stdout.trim()), stderr.trim(), code === 0 ? '' : end].filter(Boolean).join('\n')
}

/** JSON that stands on one line, line by line: a reader of cut lines would see its beginning alone. */
function inLines(text: string): string {
  try {
    return text.startsWith('{') ? JSON.stringify(JSON.parse(text), null, 1) : text
  } catch {
    return text
  }
}

const MAX_OUTPUT_BYTES = 4 * 1024 * 1024

/** Process groups of commands that run right now; ended with us, see `endRunningCommands`. */
const running = new Set<number>()

/**
 * Runs a command and never throws: every outcome is in the result.
 *
 * The child gets a process group of its own and at the limit the whole group is killed: execa's own timeout waits for
 * as long as a grandchild holds the pipe (1 s was seen to become 7 s).
 */
export async function runCommand(file: string, args: string[], options: CommandOptions): Promise<CommandResult> {
  const { execa } = await import('execa')
  const child = execa(file, args, {
    env: options.env,
    extendEnv: false,
    cwd: options.cwd ?? '/',
    detached: true,
    cleanup: false,
    reject: false,
    maxBuffer: MAX_OUTPUT_BYTES,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
  })
  const pid = child.pid
  let timedOut = false
  if (pid !== undefined) running.add(pid)
  const timer = setTimeout(() => {
    timedOut = true
    if (pid !== undefined) killGroup(pid)
    // A grandchild that left the group may still hold the pipes: do not wait for it.
    child.stdout?.destroy()
    child.stderr?.destroy()
  }, options.timeoutMs)
  try {
    const result = await child
    const stdout = typeof result.stdout === 'string' ? result.stdout : ''
    const stderr = typeof result.stderr === 'string' ? result.stderr : ''
    const missing = result.code === 'ENOENT'
    const code = timedOut ? null : (result.exitCode ?? null)
    return { code, stdout, stderr, timedOut, missing, failure: describe() }

    function describe(): string | undefined {
      const name = [file, ...args].join(' ')
      if (missing) return `${file} is not on the PATH`
      if (timedOut) return `\`${name}\` gave no answer within ${options.timeoutMs / 1000} s`
      if (code === 0) return undefined
      const last = (stderr.trim() || stdout.trim()).split('\n').slice(-3).join(' / ')
      // From the next word on: of a secret that is cut in two redaction knows neither half.
      const tail = last.length <= 300 ? last : last.slice(-300).replace(/^\S*/, '…')
      const how = code === null ? `was ended by ${result.signal ?? result.code ?? 'a signal'}` : `exit ${code}`
      return `\`${name}\`: ${how}${tail ? `: ${tail}` : ''}`
    }
  } finally {
    clearTimeout(timer)
    if (pid !== undefined) running.delete(pid)
  }
}

/** Kills what `runCommand` still has running. For the moment when the tier itself is told to stop. */
export function endRunningCommands(): void {
  for (const pid of running) killGroup(pid)
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // ESRCH: it ended in the same moment.
  }
}
