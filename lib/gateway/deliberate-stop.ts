/** Was the gateway stopped on purpose, and not started since? */
import { join } from 'node:path'
import type { Service } from '../services/supervisor.ts'
import { cleanText } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { BOOT_BEGAN, CLUES, readGatewayLogs, timeOf } from './clues.ts'
import type { PatientRecord } from './record.ts'

/** OpenClaw itself waits 30 s for launchd to let go of the job after it noted the stop (2026.9.6, read in its code). */
const STILL_STOPPING_MS = 60_000

/**
 * How it was stopped; undefined without such a sign. `openclaw gateway stop` leaves a line in the CLI's lifecycle log; a
 * job that launchd has loaded was loaded since, and what systemd did since, systemd says.
 */
export async function deliberateStop(
  settings: Settings,
  service: Service,
  record: PatientRecord,
  nowMs: number,
): Promise<string | undefined> {
  const last = lastStop(settings)
  // A gateway that was seen healthy after that stop was started again in some other way.
  const stop = last && last.ms >= record.lastHealthyMs - 5000 && service.pid === undefined ? last : undefined
  const stopped = stop && `\`openclaw gateway stop\` was run at ${stop.at}`
  if (service.stopped) return stopped ?? `it was stopped (${service.detail})`
  if (!stop) return undefined
  if (service.kind === 'none' || service.kind === 'silent')
    return (await hasBootedSince(settings, stop.ms)) ? undefined : stopped
  const isUnloadedJob = service.kind === 'launchd' && !service.loaded
  const isStillStopping = nowMs >= stop.ms && nowMs - stop.ms < STILL_STOPPING_MS
  return isUnloadedJob || isStillStopping ? stopped : undefined
}

/** The last lifecycle command, when it was a stop. */
function lastStop(settings: Settings): { at: string; ms: number } | undefined {
  const log = readTail(join(settings.stateDir, 'logs', 'gateway-restart.log'), 64 * 1024)
  const lines = log.split('\n').filter((line) => line.includes('openclaw gateway lifecycle'))
  const last = /^\[([^\]]+)\].* action=([a-z-]+)/.exec(lines.at(-1) ?? '')
  const ms = Date.parse(last?.[1] ?? '')
  return last?.[2] === 'stop' && !Number.isNaN(ms) ? { at: last[1]!, ms } : undefined
}

/** How one ends that does not get through its boot (2026.9.6, measured). */
const BOOT_FAILED = /Gateway start blocked|Gateway failed to start/

const isBooting = (line: string) => BOOT_BEGAN.test(line) || BOOT_FAILED.test(line)

/** The last line of one that was told to stop; it has 5 s for its end then (2026.9.6, measured). */
const SHUT_DOWN = /\[shutdown\] completed\b/
const LONGEST_END_MS = 15_000

/** True when the gateway's own logs show a start after `stopMs`, below the last line of the one that was stopped. */
async function hasBootedSince(settings: Settings, stopMs: number): Promise<boolean> {
  const logs = await readGatewayLogs(settings, stopMs, undefined)
  return logs.some(({ text, loggedMs }) => {
    const lines = cleanText(text)
      .split('\n')
      .filter((line) => line.trim() !== '')
    for (let i = lines.length - 1; i >= 0; i--) {
      const ms = timeOf(lines[i]!)
      if (SHUT_DOWN.test(lines[i]!)) {
        const below = lines.slice(i + 1)
        const says = (line: string) => isBooting(line) || CLUES.some(({ pattern }) => pattern.test(line))
        return below.some(says) || (below.length > 0 && ms !== undefined && loggedMs - ms > LONGEST_END_MS)
      }
      if (ms === undefined) continue
      if (ms < stopMs) return false
      if (isBooting(lines[i]!)) return true
    }
    return false
  })
}
