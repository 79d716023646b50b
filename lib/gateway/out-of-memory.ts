/** A gateway that ran out of memory, whoever started it again: what happens once is a bad hour, twice is a leak. */
import { MARKER, NEEDS_A_LOOK } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { outOfMemorySince } from './clues.ts'
import type { Examination } from './examination.ts'
import type { PatientRecord } from './record.ts'

const DAY_MS = 86_400_000

/**
 * Called when another process is healthy than at the last sighting: says it when its predecessor ran out of memory, and
 * calls for a look when that was not the first time within a day, once a day.
 */
export async function noticeOutOfMemory(
  { settings, journal }: TierRun,
  before: PatientRecord,
  seen: Examination,
  nowMs: number,
): Promise<Pick<PatientRecord, 'outOfMemoryMs' | 'outOfMemoryToldMs'>> {
  const { outOfMemoryMs, outOfMemoryToldMs } = before
  const unit = seen.service?.kind === 'systemd' ? seen.service.name : undefined
  const line = await outOfMemorySince(settings, before.lastHealthyMs, unit, before.pid)
  if (line === undefined) return { outOfMemoryMs, outOfMemoryToldMs }
  journal.warn(`the gateway's process ${before.pid} ran out of memory: ${line}`)
  const isRepeated = outOfMemoryMs > 0 && nowMs - outOfMemoryMs < DAY_MS
  if (!isRepeated || nowMs - outOfMemoryToldMs < DAY_MS) return { outOfMemoryMs: nowMs, outOfMemoryToldMs }
  const what = `out of memory for the second time within a day; it was started again each time, which does not cure it`
  journal.warn(MARKER.notice(`${NEEDS_A_LOOK}${what}`))
  return { outOfMemoryMs: nowMs, outOfMemoryToldMs: nowMs }
}
