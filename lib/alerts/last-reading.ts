/** From when on Level 4 reads: its own log says when it last did. */
import type { MarkedLine } from '../tier/journal.ts'
import { markedLines, recentLogs } from '../tier/journal.ts'
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
  const last = recentLogs(settings, ['monitor'], MAX_LOOK_BACK_SEC, now)
    .flatMap(markedLines)
    .filter(hasRead)
    .reduce((latest, { at }) => Math.max(latest, at.getTime()), 0)
  const earliest = now.getTime() - MAX_LOOK_BACK_SEC * 1000
  return new Date(last === 0 ? window : Math.min(window, Math.max(last, earliest)))
}

function hasRead({ marker }: MarkedLine): boolean {
  const verdicts: string[] = [VERDICT.quiet, VERDICT.delivered, VERDICT.kept]
  return marker.kind === 'run-ended' && verdicts.includes(marker.verdict)
}
