import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Settings } from '../tier/settings.ts'
import { howItEnded, shell } from '../tier/shell.ts'
import { readWhole, tried } from '../tier/state.ts'

/** Starts the gateway without a supervisor, so that it outlives this tier. Returns the pid or why it failed. */
export async function startBare(settings: Settings): Promise<{ pid: number } | { failure: string }> {
  const folder = join(settings.stateDir, 'logs')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const $ = shell(settings, { cwd: settings.home })
  if ((await $`command -v openclaw`).code !== 0) return { failure: 'openclaw is not on the PATH' }
  const log = join(folder, 'gateway.log')
  // What a boot says first may carry no time: it would pass for a further line of what the last process said.
  const began = `${new Date().toISOString()} [self-healing] starting the gateway`
  // By these variables OpenClaw would think that systemd or launchd restarts it (2026.9.6; openclaw/openclaw#85224).
  // The shell that waits for its exit code has read all of its text: an upgrade changes nothing under it.
  const { stdout, failure } =
    await $`unset INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID OPENCLAW_LAUNCHD_LABEL XPC_SERVICE_NAME
    (umask 077; echo ${began} >>${log}) || exit 1
    { openclaw gateway run </dev/null >>${log} 2>&1 & pid=$!; echo $pid; exec >/dev/null 2>&1
    umask 077; wait $pid; echo $pid $? >${endPath(settings)}; } &`
  return failure === undefined ? { pid: Number(stdout) } : { failure }
}

const endPath = (settings: Settings) => join(settings.watchdogDir, 'bare-gateway-end')

/** How the process that was started so ended, if it did after that time: `exited with code 78`. */
export function bareEnd(settings: Settings, startedPid: number | undefined, sinceMs: number): string | undefined {
  const path = endPath(settings)
  const [, pid, status] = /^(\d+) (\d+)\n/.exec(tried(() => readWhole(path)) ?? '') ?? []
  if (status === undefined || Number(pid) !== startedPid || statSync(path).mtimeMs < sinceMs) return undefined
  // A shell's way to tell a signal.
  const code = Number(status)
  return code > 128 ? howItEnded(undefined, code - 128) : howItEnded(code, undefined)
}

/** TERM, and KILL after the grace; true when it is gone. `isStillIt` guards against a reused pid. */
export async function endProcess(settings: Settings, pid: number, graceSec: number, isStillIt: () => Promise<boolean>) {
  const $ = shell(settings)
  for (const [signal, limitSec] of Object.entries({ TERM: graceSec, KILL: 5 })) {
    if (!(await isStillIt())) return true
    // A stopped process hears a SIGTERM only after SIGCONT.
    await $`kill -${signal} ${pid}; kill -CONT ${pid}`
    for (const deadline = performance.now() + limitSec * 1000; performance.now() < deadline; await delay(200))
      if (!(await isStillIt())) return true
  }
  return !(await isStillIt())
}
