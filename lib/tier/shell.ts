/** The one way to run a command: zx, quiet, never throwing, in a process group that is ended as a whole at the time limit. */
import { statSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { tried } from './state.ts'

export type Answer = Awaited<ReturnType<ReturnType<typeof shell>>>

interface ShellOptions {
  timeoutSec?: number
  input?: string
  cwd?: string
  env?: Record<string, string>
  /** `latin1` keeps bytes that are not UTF-8. */
  encoding?: 'utf8' | 'latin1'
}

const MAX_OUTPUT_MB = 4

const running = new Set<number>()

/** `` $`systemctl --user restart ${unit}` ``; a value is one word, an array several. zx is loaded by the first command: a healthy
 * tick runs none. `failure`: one line with the tail of stderr; undefined after exit 0. */
export function shell({ childEnv }: { childEnv?: Record<string, string> }, options: ShellOptions = {}) {
  const { timeoutSec = 15, input, cwd = '/', env = childEnv, encoding = 'utf8' } = options
  return async (pieces: TemplateStringsArray, ...values: unknown[]) => {
    const { $ } = await import('zx/core')
    const command = $({
      ...{ nothrow: true, quiet: true, detached: true, prefix: '', shell: '/bin/sh', quote },
      ...{ cwd, env, input: input === undefined ? undefined : Buffer.from(input, encoding) },
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })(pieces, ...values)
    const { child } = command
    const pid = child?.pid
    const output: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] }
    let bytes = 0
    let timedOut = false
    const end = () => {
      if (pid !== undefined) killGroup(pid)
      // A grandchild that left the group may still hold the pipes.
      child?.stdout?.destroy()
      child?.stderr?.destroy()
    }
    // EPIPE: it ended, or closed its standard input, before it had read all.
    child?.stdin?.on('error', () => {})
    for (const name of ['stdout', 'stderr'] as const)
      child?.[name]?.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > MAX_OUTPUT_MB * 2 ** 20) end()
        else output[name].push(chunk)
      })
    if (pid !== undefined) running.add(pid)
    const timer = setTimeout(() => {
      timedOut = true
      end()
    }, timeoutSec * 1000)
    try {
      const { exitCode, signal } = await command
      const stdout = Buffer.concat(output.stdout).toString(encoding)
      const stderr = Buffer.concat(output.stderr).toString(encoding)
      const isTooLong = bytes > MAX_OUTPUT_MB * 2 ** 20
      const code = timedOut || isTooLong || signal ? null : exitCode
      // In the shell's own words, whatever its language: a wrapper that does not find its node ends with 127, too.
      const missing = code === 127 && /^\/bin\/sh:/m.test(stderr)
      const limit = isTooLong
        ? `more than ${MAX_OUTPUT_MB} MB of output`
        : timedOut && `no answer within ${timeoutSec} s`
      const how = limit || (code === null ? `ended by ${signal}` : `exit ${code}`)
      const last = (stderr.trim() || stdout.trim()).split('\n').slice(-3).join(' / ')
      // From the next word on: redaction does not find half a secret.
      const tail = last.length <= 300 ? last : last.slice(-300).replace(/^\S*/, '…')
      const said = missing
        ? `${command.cmd.split(' ')[0]} is not on the PATH`
        : `\`${command.cmd}\`: ${how}${tail && `: ${tail}`}`
      return { code, stdout, stderr, timedOut, missing, failure: code === 0 ? undefined : said }
    } finally {
      clearTimeout(timer)
      if (pid !== undefined) running.delete(pid)
    }
  }
}

/** How a process ended, as the end of a sentence: `exited with code 78`, `was killed by SIGKILL (9)`. */
export function howItEnded(code: number | undefined, signal: number | undefined): string | undefined {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? 'signal'
  if (signal !== undefined) return `was killed by ${name} (${signal})`
  return code === undefined ? undefined : `exited with code ${code}`
}

export function endRunningCommands(): void {
  for (const pid of running) killGroup(pid)
}

export function outputOf({ code, stdout, stderr, timedOut, missing }: Answer): string {
  const end = missing ? '(it is not on the PATH)' : timedOut ? '(no answer in time)' : `(exit ${code ?? 'by a signal'})`
  const shown = stdout.trim()
  const json = shown.startsWith('{') ? tried(() => JSON.stringify(JSON.parse(shown), null, 1)) : undefined
  return [json ?? shown, stderr.trim(), code === 0 ? '' : end].filter(Boolean).join('\n')
}

/** For any POSIX shell; zx's own quoting needs bash. */
export const quote = (word: string): string =>
  /^[\w/.:=@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

const killGroup = (pid: number) => tried(() => process.kill(-pid, 'SIGKILL'))

export function findOnPath(name: string, searchPath = ''): string | undefined {
  const paths = searchPath.split(':').map((folder) => join(folder, name))
  return paths.find((path) => path.startsWith('/') && tried(() => statSync(path))?.isFile())
}
