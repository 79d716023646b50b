/** The tiers' logs: writes lines as the tiers write them, at any time of the past, and counts what they say. */
import { appendFileSync, mkdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { formatLine, parseLine, parseMarker, type Severity, type TierName } from '../../lib/tier/contract.ts'
import { logName } from '../../lib/tier/journal.ts'
import { waitFor } from './wait-for.ts'

type Entry = { text: string; minutesAgo?: number; severity?: Severity }

/** Appends entries to a tier's log, which is named after and was last written at the time of the entries; its path. */
export function writeTierLog(memoryDir: string, tier: TierName, ...entries: Entry[]): string {
  const times = entries.map(({ minutesAgo = 0 }) => new Date(Date.now() - minutesAgo * 60_000))
  const path = join(memoryDir, logName(tier, times[0]!))
  mkdirSync(memoryDir, { recursive: true })
  for (const [i, { text, severity = 'WARN' }] of entries.entries())
    appendFileSync(path, `${formatLine(times[i]!, tier, severity, text)}\n`)
  utimesSync(path, times.at(-1)!, times.at(-1)!)
  return path
}

const kindsIn = (log: string) =>
  log.split('\n').flatMap((line) => [parseLine(line)].flatMap((one) => (one ? [parseMarker(one.text)?.kind] : [])))

/** How many starts and restarts of the gateway a log tells of. */
export const restartsIn = (log: string): number => kindsIn(log).filter((kind) => kind === 'restart').length

/** How many lines are neither markers nor deeds. Their number tells how far a run is; their words are free. */
export const remarksIn = (log: string): number => kindsIn(log).filter((kind) => kind === undefined).length

/** Waits until a tier has logged so many remarks more: then it is in the midst of its run. */
export async function untilRemark(
  { log }: { log(beginning: string): string },
  tier: TierName = 'watchdog',
  count = 1,
): Promise<void> {
  const before = remarksIn(log(tier))
  await waitFor(() => remarksIn(log(tier)) >= before + count, `${count} remarks of ${tier}`)
}
