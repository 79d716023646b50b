/** What the scenes of all stages have in common. */
import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import type { TierName } from '../../lib/tier/contract.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { remarksIn } from '../support/tier-logs.ts'
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

/** The scene of a gateway in a sandbox. */
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

/** Waits until a tier has logged so many lines of its own, markers and deeds aside: then it is in the midst of its run. */
export async function untilRemark(scene: Scene, tier: TierName = 'watchdog', count = 1): Promise<void> {
  const before = remarksIn(scene.log(tier))
  await waitFor(() => remarksIn(scene.log(tier)) >= before + count, `${count} remarks of ${tier}`)
}

/** The process in the gateway's own lock. */
export function lockedPid(stateDir: string, uid: number | undefined): number {
  const path = join(stateDir, 'tmp', `openclaw-${uid}`, 'gateway.state.lock')
  return JSON.parse(readFileSync(path, 'utf8')).pid
}

/** False for a zombie, too. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    // No /proc here, or it ended in this moment: the next look tells.
    return true
  }
}

/** @param limitMs how long its answer may take */
export function isLive(port: number, limitMs = 10_000): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/health', timeout: limitMs, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve(text === '{"ok":true,"status":"live"}'))
      response.on('error', () => resolve(false))
    })
    request.on('timeout', () => request.destroy(new Error('timeout')))
    request.on('error', () => resolve(false))
  })
}

/** Undoes in the order from last to first. */
export function undoings() {
  const list: (() => unknown)[] = []
  return {
    onClose: (undo: () => unknown) => void list.push(undo),
    undo: async () => {
      for (const one of list.splice(0).reverse()) await one()
    },
  }
}
