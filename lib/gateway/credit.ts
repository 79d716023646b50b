/** Whose work a recovery is: told by what the tiers logged and by how old the process is, not by who saw it first. */
import { parseDeed, parseLine, TIERS, type TierName } from '../tier/contract.ts'
import { readTail, recentLogs } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import type { Examination } from './examination.ts'

/** A restart is logged when it is done: `openclaw gateway restart` has waited for the new process for up to a minute by then. */
const BEFORE_MS = 120_000
/** A supervisor may hold a start back (launchd: 10 s), and a process shows its age in whole seconds. */
const AFTER_MS = 60_000

/**
 * The level whose restart the process that is healthy now came from; undefined: nobody of us started it.
 * @param since when the incident began
 */
export function creditFor(settings: Settings, seen: Examination, since: Date, nowMs: number): number | undefined {
  // Where its process cannot be seen, nothing speaks against the last restart.
  const startedMs = seen.process && nowMs - seen.process.ageSec * 1000
  const withinSec = (nowMs - since.getTime()) / 1000 + 60
  return (
    recentLogs(settings, ['watchdog', 'healthcheck', 'emergency-recovery'], withinSec, new Date(nowMs))
      .flatMap((path) =>
        readTail(path, 64 * 1024)
          .split('\n')
          .map(parseLine),
      )
      .filter((line) => line && parseDeed(line.text)?.kind === 'restart' && line.at >= since)
      .filter((line) => startedMs === undefined || isNear(line!.at.getTime(), startedMs))
      // The logs come in the order in which they were last written.
      .sort((a, b) => a!.at.getTime() - b!.at.getTime())
      .map((line) => TIERS[line!.tier as TierName].level)
      .at(-1)
  )
}

function isNear(restartedMs: number, startedMs: number): boolean {
  return startedMs - restartedMs <= AFTER_MS && restartedMs - startedMs <= BEFORE_MS
}
