/** The gateway without a supervisor: a process that we start and, when it must be, end. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'

/**
 * Starts the gateway in a session of its own, so that it outlives this tier; its output goes to
 * `<stateDir>/logs/gateway.log`. Returns the pid, or why it could not be started.
 */
export async function startBare(settings: Settings): Promise<{ pid: number } | { failure: string }> {
  const folder = join(settings.stateDir, 'logs')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // By systemd's variables in this tier's own job OpenClaw would think that systemd starts it again (2026.9.6).
  const { INVOCATION_ID: _id, JOURNAL_STREAM: _journal, SYSTEMD_EXEC_PID: _pid, ...env } = settings.childEnv
  const $ = shell(settings, { cwd: settings.home, env })
  if ((await $`command -v openclaw`).code !== 0) return { failure: 'openclaw is not on the PATH' }
  const log = join(folder, 'gateway.log')
  const { stdout, failure } =
    await $`(umask 077; : >>${log}) || exit 1; openclaw gateway run </dev/null >>${log} 2>&1 & echo $!`
  return failure === undefined ? { pid: Number(stdout) } : { failure }
}

/**
 * Ends a process: `kill -TERM`, so that it can finish its work, and `kill -KILL` when it is still there after the grace.
 * @param isStillIt asked before each signal; a pid that has become another process's is left alone
 * @returns true when it is gone
 */
export async function endProcess(
  settings: Settings,
  pid: number,
  graceSec: number,
  isStillIt: () => Promise<boolean>,
): Promise<boolean> {
  const $ = shell(settings)
  for (const [signal, limitSec] of [
    ['TERM', graceSec],
    ['KILL', 5],
  ] as const) {
    if (!(await isStillIt())) return true
    // A stopped process (SIGSTOP) sees the SIGTERM only when it goes on.
    await (signal === 'TERM' ? $`kill -TERM ${pid}; kill -CONT ${pid}` : $`kill -KILL ${pid}`)
    for (const deadline = performance.now() + limitSec * 1000; performance.now() < deadline; await delay(200)) {
      if (!(await isStillIt())) return true
    }
  }
  return !(await isStillIt())
}
