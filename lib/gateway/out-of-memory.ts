/** What a person should know of a gateway that is up: it ran out of memory, and was started again. */
import { MARKER, NEEDS_ATTENTION } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import type { Examination } from './judge.ts'
import { outOfMemory } from './last-words.ts'
import { readGatewayLogs } from './logs.ts'
import type { GatewayRecord } from './record.ts'

const DAY_MS = 86_400_000

/** Logs that the process before this one ran out of memory; gives a notice, once a day, when it was not the first in a day. */
export async function noticeOutOfMemory(run: TierRun, before: GatewayRecord, seen: Examination, nowMs: number) {
  const { settings, journal } = run
  const { outOfMemoryMs, outOfMemoryToldMs } = before
  const sinceMs = before.lastHealthyMs
  const line = outOfMemory(await readGatewayLogs(settings, sinceMs, seen.service), sinceMs, before.pid)
  if (line === undefined) return {}
  journal.warn(`the gateway's process ${before.pid} ran out of memory: ${line}`)
  const isRepeated = outOfMemoryMs > 0 && nowMs - outOfMemoryMs < DAY_MS
  if (!isRepeated || nowMs - outOfMemoryToldMs < DAY_MS) return { outOfMemoryMs: nowMs }
  const what = 'out of memory for the second time within a day; each time it was restarted, which is no cure'
  journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what}`))
  return { outOfMemoryMs: nowMs, outOfMemoryToldMs: nowMs }
}
