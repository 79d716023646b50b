/**
 * What the gateway's own logs say about why it does not come up: one table of OpenClaw's texts (2026.9.6, its documentation
 * and issues). Logs are hostile input: they only choose between verdicts that spend fewer restarts.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { cleanText, localDay, wholeWords } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import { isForeignLog, rollingLogName } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'

/** What a line of the log speaks for. */
export type ClueVerdict =
  | 'misconfigured'
  | 'blocked'
  | 'unusable-state'
  | 'broken-install'
  | 'port-taken'
  | 'out-of-memory'
  | 'disk-full'

/** V8's words; and systemd's for the kernel's OOM killer. */
const OUT_OF_MEMORY = /Reached heap limit|JavaScript heap out of memory|result 'oom-kill'|killed by the OOM killer/i

export const CLUES: readonly { pattern: RegExp; verdict: ClueVerdict }[] = [
  { pattern: /required secrets? (?:is|are) unavailable/i, verdict: 'blocked' },
  { pattern: /uses newer schema version/i, verdict: 'unusable-state' },
  { pattern: /database disk image is malformed/i, verdict: 'unusable-state' },
  { pattern: /JSON5 parse failed/i, verdict: 'misconfigured' },
  { pattern: /Gateway start blocked/i, verdict: 'misconfigured' },
  { pattern: /Refusing to bind/i, verdict: 'misconfigured' },
  { pattern: /Invalid config\b|Config(?:uration)? (?:file )?(?:is )?invalid/i, verdict: 'misconfigured' },
  { pattern: /ERR_MODULE_NOT_FOUND|Cannot find (?:module|package)/, verdict: 'broken-install' },
  { pattern: /requires Node|Unsupported Node/i, verdict: 'broken-install' },
  { pattern: /EADDRINUSE|another gateway instance is already listening/i, verdict: 'port-taken' },
  { pattern: OUT_OF_MEMORY, verdict: 'out-of-memory' },
  // Linux says ENOSPC also when it has no more file watchers; the disk has room then.
  { pattern: /\bENOSPC\b(?!.*file watchers)|no space left on device/i, verdict: 'disk-full' },
]

export interface Clue {
  verdict: ClueVerdict
  /** The line, cleaned and cut. */
  line: string
  /** When it was written, epoch milliseconds: the line's own time, else when the log was last written. */
  loggedMs: number
}

/** A boot that got this far succeeded. */
const BOOTED = /\[gateway\] ready\b|"message":"ready"/
/** The first words of a boot (2026.9.6, measured). */
export const BOOT_BEGAN =
  /\[gateway\] (?:loading configuration|starting\.\.\.)|"message":"(?:loading configuration|starting\.\.\.)/

const TAIL_BYTES = 64 * 1024

/** The newest clue of the boot that failed, in logs written after `sinceMs` (the last healthy sighting). */
export async function findClue(
  settings: Settings,
  sinceMs: number,
  unit: string | undefined,
): Promise<Clue | undefined> {
  const clues = (await readGatewayLogs(settings, sinceMs, unit)).flatMap((source) => {
    const clue = lastClue(source.text, sinceMs)
    return clue ? [{ ...clue, loggedMs: clue.loggedMs ?? source.loggedMs }] : []
  })
  return clues.sort((a, b) => b.loggedMs - a.loggedMs)[0]
}

/** V8's lines before its last words begin with the pid: `[26944:0x16a15000]`. */
const COLLECTION = /^\[(\d+):0x[0-9a-f]+\]/
const COLLECTION_LINES = 20

/**
 * The line with which the process `pid` said after `sinceMs` that memory ran out. V8's line has no time of its own: the
 * next line with one tells, and where it names a pid, that counts.
 */
export async function outOfMemorySince(
  settings: Settings,
  sinceMs: number,
  unit: string | undefined,
  pid: number | undefined,
): Promise<string | undefined> {
  for (const { text, loggedMs } of await readGatewayLogs(settings, sinceMs, unit)) {
    let nextMs = loggedMs
    const lines = cleanText(text).split('\n')
    for (let i = lines.length - 1; i >= 0; i--) {
      nextMs = timeOf(lines[i]!) ?? nextMs
      if (nextMs < sinceMs) break
      if (!OUT_OF_MEMORY.test(lines[i]!)) continue
      const whose = lines
        .slice(Math.max(0, i - COLLECTION_LINES), i)
        .flatMap((line) => COLLECTION.exec(line)?.[1] ?? [])
      if (whose.length === 0 || whose.at(-1) === String(pid)) return wholeWords(lines[i]!, 240)
    }
  }
  return undefined
}

/** The ends of the gateway's logs that were written since then, and of its unit's journal. */
export async function readGatewayLogs(settings: Settings, sinceMs: number, unit: string | undefined) {
  const sources = [...gatewayLogs(settings).map(readLog), ...(unit ? [await readJournal(settings, unit, sinceMs)] : [])]
  return sources.filter(({ loggedMs }) => loggedMs >= sinceMs)
}

type FoundClue = Pick<Clue, 'verdict' | 'line'> & { loggedMs: number | undefined }

/** The newest clue that a boot left; agents and tools log errors in the same words, so a boot must have begun before it. */
function lastClue(text: string, sinceMs: number): FoundClue | undefined {
  const lines = cleanText(text).split('\n')
  let logged: FoundClue | undefined
  for (let i = lines.length - 1; i >= 0; i--) {
    const line = lines[i]!
    const loggedMs = timeOf(line)
    if (BOOTED.test(line) || (loggedMs !== undefined && loggedMs < sinceMs)) return undefined
    if (logged && BOOT_BEGAN.test(line)) return logged
    // A running gateway that refuses a broken edit lives on.
    if (/\breload\b/i.test(line)) continue
    const clue = CLUES.find(({ pattern }) => pattern.test(line))
    if (!clue) continue
    const found = { verdict: clue.verdict, line: wholeWords(messageOf(line), 240), loggedMs }
    // The last words of Node or of OpenClaw's command line have no time.
    if (loggedMs === undefined) return logged ?? found
    logged ??= found
  }
  return logged
}

/** The time at the beginning of a readable line, or in a JSON one; lines of standard error have none. */
export function timeOf(line: string): number | undefined {
  const text = /^\[?(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))/.exec(line) ?? /"time":"([^"]{20,40})"/.exec(line)
  const ms = text ? Date.parse(text[1]!) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}

/** The readable part of one of OpenClaw's JSON log lines; other lines as they are. */
function messageOf(line: string): string {
  return /"message":"((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? line
}

/** The log that gateways of all users share: evidence for a reader, it never decides a verdict. */
export function sharedLog(settings: Settings, now = new Date()): string | undefined {
  const path = join('/tmp/openclaw', `${rollingLogName(settings.profile)}-${localDay(now)}.log`)
  return modifiedMs(path) > 0 ? path : undefined
}

/** The log files of this gateway alone that exist, of today's and older layouts. */
export function gatewayLogs(settings: Settings): string[] {
  const library = join(settings.home, 'Library', 'Logs', 'openclaw')
  const state = join(settings.stateDir, 'logs')
  return [library, state].flatMap((folder) => {
    try {
      return (
        readdirSync(folder)
          .filter((name) => /^gateway.*\.log$/.test(name) && name !== 'gateway-restart.log')
          // On macOS the gateways of all profiles write into one folder.
          .filter((name) => folder !== library || !isForeignLog(name, settings.profile))
          .map((name) => join(folder, name))
      )
    } catch {
      return []
    }
  })
}

function readLog(path: string) {
  return { text: readTail(path, TAIL_BYTES), loggedMs: modifiedMs(path) }
}

async function readJournal(settings: Settings, unit: string, sinceMs: number) {
  const since = new Date(Math.max(sinceMs, Date.now() - 86_400_000)).toISOString().slice(0, 19).replace('T', ' ')
  const $ = shell(settings)
  const { stdout } = await $`journalctl --user -u ${unit} --since ${`${since} UTC`} -n 200 -o cat --no-pager`
  return { text: stdout, loggedMs: stdout.trim() ? Date.now() : 0 }
}

function modifiedMs(path: string): number {
  try {
    return statSync(path).mtimeMs
  } catch {
    return 0
  }
}
