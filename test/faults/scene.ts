/** What the scenes of all stages have in common. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Sandbox } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'
import type { Scene } from './fault.ts'

/** For the real gateway: shorter waits than the defaults; upper limits stay generous. */
export const SETTINGS = {
  OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '5',
  OPENCLAW_WATCHDOG_RETRY_DELAY: '0.5',
  OPENCLAW_WATCHDOG_BACKOFF: '0',
  OPENCLAW_STARTUP_GRACE: '240',
  OPENCLAW_STOP_GRACE: '10',
  HEALTH_CHECK_RETRY_DELAY: '1',
  HEALTH_CHECK_ESCALATION_WAIT: '1',
  HEALTH_CHECK_HTTP_TIMEOUT: '10',
  CONFIG_KNOWN_GOOD_AFTER: '0',
}
/** Its heap has a limit, so that a leak is over soon; its debugger, should it be opened, is on a port of its own. */
export const nodeOptions = (debugPort: number) => `--max-old-space-size=512 --inspect-port=127.0.0.1:${debugPort}`

/** What earlier plays have left beside the config. */
export function removeCopies(stateDir: string): void {
  for (const name of readdirSync(stateDir))
    if (/^openclaw\.json\.(?:broken|before|left)-/.test(name)) rmSync(join(stateDir, name))
}

export function sandboxScene(box: Sandbox, pid: number, onClose: Scene['onClose']): Scene {
  return {
    port: box.port,
    pid,
    stateDir: box.stateDir,
    configPath: box.configPath,
    writeConfig: (text) => box.writeConfig(text),
    log: (beginning) => box.log(beginning),
    async signal(this: Scene, signal, target = this.pid) {
      process.kill(target, signal)
      if (signal === 'SIGKILL') await waitFor(() => !isRunning(target), `the end of ${target}`)
    },
    pidNow: async () => lockedPid(box.stateDir, process.getuid?.()),
    isLive: (limitMs) => isLive(box.port, limitMs),
    onClose,
  }
}

export function lockedPid(stateDir: string, uid: number | undefined): number {
  const path = join(stateDir, 'tmp', `openclaw-${uid}`, 'gateway.state.lock')
  return JSON.parse(readFileSync(path, 'utf8')).pid
}

/** False for a zombie, too. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // Without /proc the signal tells enough.
    return process.platform !== 'linux' || !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** @param limitMs how long its answer may take */
export async function isLive(port: number, limitMs = 10_000): Promise<boolean> {
  const signal = AbortSignal.timeout(limitMs)
  // A connection that is kept would hold up a gateway that ends.
  const options = { signal, headers: { connection: 'close' } }
  const text = await fetch(`http://127.0.0.1:${port}/health`, options).then(
    (response) => response.text(),
    () => '',
  )
  return text === '{"ok":true,"status":"live"}'
}

export const needsMount = () =>
  process.platform === 'linux' && process.getuid?.() === 0 ? undefined : 'only root can mount a small file system'

/** Puts a sandbox's state folder on a file system of its own, under the feet of a running gateway; returns what undoes that. */
export function onSmallDisk(stateDir: string, size: string): () => void {
  const small = join(stateDir, '..', '..', 'small')
  execFileSync('mkdir', [small])
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', small])
  execFileSync('cp', ['-a', `${stateDir}/.`, small])
  execFileSync('mount', ['--move', small, stateDir])
  return () => execFileSync('umount', ['-l', stateDir])
}

export function undoings() {
  const list: (() => unknown)[] = []
  return {
    onClose: (undo: () => unknown) => void list.unshift(undo),
    undo: async () => {
      for (const one of list.splice(0)) await one()
    },
  }
}
