/** The gateway without a supervisor: a process that we start and, when it must be, end. */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'

/**
 * Starts `openclaw gateway run` in a session of its own, so that it outlives this tier; its output is appended to
 * `<stateDir>/logs/gateway.log`, where its users look for it. Returns the pid, or why it could not be started.
 */
export async function startBare(settings: Settings): Promise<{ pid: number } | { failure: string }> {
  const folder = join(settings.stateDir, 'logs')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const log = openSync(join(folder, 'gateway.log'), 'a', 0o600)
  try {
    return await new Promise((resolve) => {
      const child = spawn('openclaw', ['gateway', 'run'], {
        cwd: settings.home,
        detached: true,
        stdio: ['ignore', log, log],
        env: unsupervised(settings.childEnv),
      })
      child.once('error', (error: NodeJS.ErrnoException) =>
        resolve({ failure: error.code === 'ENOENT' ? 'openclaw is not on the PATH' : `openclaw: ${error.message}` }),
      )
      child.once('spawn', () => {
        child.unref()
        resolve({ pid: child.pid! })
      })
    })
  } finally {
    closeSync(log)
  }
}

/**
 * The environment without what systemd gave this tier's own job: OpenClaw would take it for a sign that systemd starts
 * the gateway again, and exit where it should restart itself (2026.9.6, read in its code).
 */
function unsupervised(env: Record<string, string>): Record<string, string> {
  const { INVOCATION_ID: _id, JOURNAL_STREAM: _journal, SYSTEMD_EXEC_PID: _pid, ...rest } = env
  return rest
}

/**
 * Ends a process: SIGTERM, so that it can finish its work, and SIGKILL when it is still there after `graceMs`.
 * @param isStillIt asked before each signal; a pid that has become somebody else's is left alone
 * @returns true when it is gone
 */
export async function endProcess(pid: number, graceMs: number, isStillIt: () => Promise<boolean>): Promise<boolean> {
  for (const [signal, limitMs] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', 5000],
  ] as const) {
    if (!(await isStillIt())) return true
    try {
      process.kill(pid, signal)
      // A stopped process (SIGSTOP) would never see the SIGTERM; systemd sends SIGCONT after it for the same reason.
      if (signal === 'SIGTERM') process.kill(pid, 'SIGCONT')
    } catch {
      // ESRCH: it ended in the same moment; EPERM shows below as still there.
    }
    for (const deadline = performance.now() + limitMs; performance.now() < deadline; await delay(200)) {
      if (!(await isStillIt())) return true
    }
  }
  return !(await isStillIt())
}
