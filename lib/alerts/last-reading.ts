/** From when on Level 4 reads: its own log says when it last did. */
import { join } from 'node:path'
import { logFolders, logName, type MarkedLine, markedLines } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

/** How runs end that have read the logs; others (stood down, stopped, a test) leave that to the next. */
export const VERDICT = {
  quiet: 'nothing to alert',
  delivered: 'alerts delivered',
  kept: 'alerts not delivered',
  tested: 'test alert',
} as const

/** How far back a monitor that could not run for long (power cut, pause, cron gone) looks at most. */
const MAX_LOOK_BACK_SEC = 86_400

/**
 * The age from which on lines count: EMERGENCY_ALERT_WINDOW minutes, and when the monitor itself did not run for
 * longer than that, back to its last reading: what happened meanwhile is no less true for that.
 */
export function readFrom(settings: Settings, now: Date): Date {
  const window = now.getTime() - settings.alertWindowMin * 60_000
  const earliest = now.getTime() - MAX_LOOK_BACK_SEC * 1000
  const last = [new Date(earliest), now]
    .flatMap((day) => logFolders(settings).map((folder) => join(folder, logName('monitor', day))))
    .flatMap(markedLines)
    .filter(hasRead)
    .reduce((latest, { at }) => Math.max(latest, at.getTime()), 0)
  return new Date(last === 0 ? window : Math.min(window, Math.max(last, earliest)))
}

function hasRead({ marker }: MarkedLine): boolean {
  const verdicts: string[] = [VERDICT.quiet, VERDICT.delivered, VERDICT.kept]
  return marker.kind === 'run-ended' && verdicts.includes(marker.verdict)
}
