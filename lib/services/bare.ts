import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'

/** Starts the gateway without a supervisor, so that it outlives this tier. Returns the pid or why it failed. */
export async function startBare(settings: Settings): Promise<{ pid: number } | { failure: string }> {
  const folder = join(settings.stateDir, 'logs')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // By systemd's variables OpenClaw would think that systemd restarts it (2026.9.6).
  const { INVOCATION_ID: _id, JOURNAL_STREAM: _journal, SYSTEMD_EXEC_PID: _pid, ...env } = settings.childEnv
  const $ = shell(settings, { cwd: settings.home, env })
  if ((await $`command -v openclaw`).code !== 0) return { failure: 'openclaw is not on the PATH' }
  const log = join(folder, 'gateway.log')
  const { stdout, failure } =
    await $`(umask 077; : >>${log}) || exit 1; openclaw gateway run </dev/null >>${log} 2>&1 & echo $!`
  return failure === undefined ? { pid: Number(stdout) } : { failure }
}

/** TERM, and KILL after the grace; true when it is gone. `isStillIt` guards against a reused pid. */
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
    // A stopped process hears a SIGTERM only after SIGCONT.
    await (signal === 'TERM' ? $`kill -TERM ${pid}; kill -CONT ${pid}` : $`kill -KILL ${pid}`)
    for (const deadline = performance.now() + limitSec * 1000; performance.now() < deadline; await delay(200)) {
      if (!(await isStillIt())) return true
    }
  }
  return !(await isStillIt())
}
