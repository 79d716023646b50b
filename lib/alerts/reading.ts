/** What happened since the last runs, by the logs and the folders. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { historyOf } from '../incidents/history.ts'
import { isHealthyObservation, readEvents, withoutAhead } from '../incidents/logs.ts'
import { ABOUT_WATCHERS } from '../tier/contract.ts'
import { readTail, recentLogs } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import type { Scope } from './alert.ts'
import { hash, type Ledger } from './ledger.ts'
import type { Happening } from './news.ts'

// The monitor's own log is not among them: what concerns itself, it says itself.
const TIERS_READ = ['watchdog', 'healthcheck', 'emergency-recovery', 'guardian'] as const
const MARKED = /^\[([^\]]+)\] \[[a-z-]+\] \[[A-Z]+\] (?:MANUAL INTERVENTION REQUIRED|RECOVERED by|NOTICE )/gm
const TAIL_BYTES = 1024 * 1024
const DAY_MS = 86_400_000
/** Keys of earlier readings are kept too: after a jump of the clock they count again. */
const MAX_KEYS = 300

/** Lines count for EMERGENCY_ALERT_WINDOW minutes, or from the last reading on, at most a day back. */
export function readSince(settings: Settings, { readAt }: Ledger, now: Date): Date {
  const window = now.getTime() - settings.alertWindowMin * 60_000
  const last = Date.parse(readAt)
  return new Date(last <= now.getTime() ? Math.min(window, Math.max(last, now.getTime() - DAY_MS)) : window)
}

/** Cheap, for quiet runs: may a line since then be news? */
export function hasMarks(settings: Settings, since: Date, now: Date): boolean {
  return recentLogs(settings, TIERS_READ, (now.getTime() - since.getTime()) / 1000, now).some((path) =>
    [...readTail(path, TAIL_BYTES).matchAll(MARKED)].some(([, time]) => Date.parse(time!) >= since.getTime()),
  )
}

export function readHappenings(settings: Settings, ledger: Ledger, since: Date, now: Date) {
  const opened = ledger.book.cases.map(({ openedAt }) => Date.parse(openedAt) || now.getTime())
  const span = { from: new Date(Math.min(since.getTime(), ...opened)), to: now }
  const { events, notes } = readEvents(settings, span, now)
  const read = { events: withoutAhead(events), notes }
  const history = historyOf(read, span)
  const taken = new Set(ledger.told)
  const keys: string[] = []
  const isNew = (at: Date, text: string) => {
    const key = hash(`${at.getTime()} ${text}`)
    keys.push(key)
    return at >= since && !taken.has(key) && !(at.getTime() <= Date.parse(ledger.toldUntil))
  }
  const happenings: Happening[] = []
  for (const recovery of history.incidents) {
    const { end: at, manualCalls } = recovery
    if (at && manualCalls === 0 && isNew(at, 'recovery'))
      happenings.push({ kind: 'over', scope: 'gateway', at, recovery })
  }
  for (const event of read.events.filter(({ atMs, tier }) => atMs >= since.getTime() && tier !== 'monitor')) {
    const at = new Date(event.atMs)
    const said = event.kind === 'said' ? event.said : undefined
    const text = said?.kind === 'manual' ? said.why : said?.kind === 'notice' ? said.what : undefined
    // The guardian also calls because of Level 3: only what it says of the watchers is about them.
    const isAboutWatchers = text === undefined ? event.tier === 'guardian' : text.startsWith(ABOUT_WATCHERS)
    const scope: Scope = isAboutWatchers ? 'watchers' : 'gateway'
    const exitCode = event.kind === 'run' ? event.exitCode : undefined
    if (text !== undefined && isNew(at, text))
      happenings.push(
        said?.kind === 'manual'
          ? { kind: 'call', scope, at, why: text, log: event.log }
          : { kind: 'notice', scope, at, what: text },
      )
    if (scope === 'watchers' ? exitCode === 0 : isHealthyObservation(event))
      happenings.push({ kind: 'over', scope, at })
    else if (exitCode === 1 || said?.kind === 'down' || said?.kind === 'escalate')
      happenings.push({ kind: 'goes-on', scope, at })
  }
  happenings.sort((a, b) => a.at.getTime() - b.at.getTime())
  return { happenings, history, told: [...new Set([...ledger.told.slice(-MAX_KEYS), ...keys])] }
}

/** Our folders that cannot be written, e.g. `/home/u/openclaw/memory: ENOSPC: no space left on device`. */
export function unwritableFolders(settings: Settings): string[] {
  return [settings.watchdogDir, settings.memoryDir].flatMap((folder) => {
    const path = join(folder, '.can-be-written')
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      try {
        writeFileSync(path, Buffer.alloc(16 * 1024), { mode: 0o600 })
      } finally {
        // On a full disk half of it would take what the state files need.
        rmSync(path, { force: true })
      }
      return []
    } catch (error) {
      return [`${folder}: ${(error as Error).message.split(',')[0]}`]
    }
  })
}
