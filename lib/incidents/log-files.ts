/** Which logs there are of a span of days, and which are missing. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { localDay, TIERS, type TierName } from '../tier/contract.ts'
import { isOurLog, logFolders } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'

/** From when to when a history is told. */
export interface Span {
  from: Date
  to: Date
}

export interface LogFiles {
  paths: string[]
  /** What is missing or cannot be looked at, a sentence each. */
  notes: string[]
}

const NAME = new RegExp(`^(${Object.keys(TIERS).join('|')})-(\\d{4}-\\d\\d-\\d\\d)(?:-\\d{6})?\\.log`)
/** The tiers that write a log every day. */
const DAILY = ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const
const DAY_MS = 86_400_000
/** How far before the span logs are read too: what began then may reach into it. */
const LOOK_BACK_MS = 2 * DAY_MS

export function logFilesOf(settings: Settings, span: Span): LogFiles {
  const first = localDay(new Date(span.from.getTime() - LOOK_BACK_MS))
  const last = localDay(span.to)
  const paths: string[] = []
  const notes: string[] = []
  const daysOf: Partial<Record<TierName, Set<string>>> = {}
  for (const [i, folder] of logFolders(settings).entries()) {
    const names = list(folder)
    if (typeof names === 'string') {
      // The fallback folder is there only when it was needed.
      if (i === 0 || names !== 'ENOENT') notes.push(`the log folder ${folder} cannot be read (${names})`)
      continue
    }
    for (const name of names.sort()) {
      const [, tier, day = ''] = NAME.exec(name) ?? []
      if (tier === undefined || day < first || day > last) continue
      if (isOurLog(name) && name.endsWith('.log')) {
        paths.push(join(folder, name))
        ;(daysOf[tier as TierName] ??= new Set()).add(day)
      } else {
        notes.push(`${join(folder, name)} is not read: somebody renamed or packed it`)
      }
    }
  }
  return { paths, notes: [...notes, ...missingDays(settings, span, daysOf)] }
}

function list(folder: string): string[] | string {
  try {
    return readdirSync(folder)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

function missingDays(settings: Settings, span: Span, daysOf: Partial<Record<TierName, Set<string>>>): string[] {
  const oldest = Object.values(daysOf)
    .flatMap((days) => [...days])
    .sort()[0]
  const wanted = daysIn(span)
  if (oldest === undefined) return wanted.length > 0 ? ['there is no log of these days at all'] : []
  const before = wanted.filter((day) => day < oldest)
  const notes = before.length > 0 ? [`there is no log from before ${oldest}${whyNone(settings, span)}`] : []
  for (const tier of DAILY) {
    const missing = wanted.filter((day) => day >= oldest && !daysOf[tier]?.has(day))
    if (missing.length > 0) notes.push(`no ${tier} log of ${missing.join(', ')}`)
  }
  return notes
}

function whyNone(settings: Settings, span: Span): string {
  const keptSince = span.to.getTime() - settings.logRetentionDays * DAY_MS
  return keptSince > span.from.getTime() ? ` (logs are kept for ${settings.logRetentionDays} days)` : ''
}

/** The local days of which the span holds an hour or more: just after midnight today's logs need not be there. */
function daysIn({ from, to }: Span): string[] {
  const days = new Map<string, number>()
  const step = 900_000
  for (let ms = from.getTime(); ms < to.getTime(); ms += step) {
    const day = localDay(new Date(ms))
    days.set(day, (days.get(day) ?? 0) + Math.min(step, to.getTime() - ms))
  }
  return [...days].filter(([, ms]) => ms >= 3_600_000).map(([day]) => day)
}
