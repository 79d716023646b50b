/** Why it does not come up, by its logs (texts of 2026.9.6). They are hostile input: they choose only verdicts with fewer restarts. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { cleanText, localDay, wholeWords } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import { isForeignLog, rollingLogName } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { tried } from '../tier/state.ts'

const OUT_OF_MEMORY = /Reached heap limit|JavaScript heap out of memory|result 'oom-kill'|killed by the OOM killer/i

export const CLUES = [
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
] as const

export interface Clue {
  verdict: (typeof CLUES)[number]['verdict']
  line: string
  /** When it was written, epoch milliseconds: the line's own time, else when the log was last written. */
  loggedMs: number
}

const BOOTED = /\[gateway\] ready\b|"message":"ready"/
export const BOOT_BEGAN =
  /\[gateway\] (?:loading configuration|starting\.\.\.)|"message":"(?:loading configuration|starting\.\.\.)/

/** The newest clue of the boot that failed, in logs written after `sinceMs`. */
export async function findClue(
  settings: Settings,
  sinceMs: number,
  unit: string | undefined,
): Promise<Clue | undefined> {
  const clues = (await readGatewayLogs(settings, sinceMs, unit)).flatMap((log) => lastClue(log, sinceMs) ?? [])
  return clues.sort((a, b) => b.loggedMs - a.loggedMs)[0]
}

/** V8's lines before its last words begin with the pid: `[26944:0x16a15000]`. */
const COLLECTION = /^\[(\d+):0x[0-9a-f]+\]/
const COLLECTION_LINES = 20

/** The line with which that process ran out of memory. V8's line has no time: the next line with one counts. */
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

export async function readGatewayLogs(settings: Settings, sinceMs: number, unit: string | undefined) {
  const files = gatewayLogs(settings).map((path) => ({ text: readTail(path, 64 * 1024), loggedMs: modifiedMs(path) }))
  const sources = [...files, ...(unit ? [await readJournal(settings, unit, sinceMs)] : [])]
  return sources.filter(({ loggedMs }) => loggedMs >= sinceMs)
}

/** Agents and tools log errors in the same words, so a boot must have begun before the clue. */
function lastClue(log: { text: string; loggedMs: number }, sinceMs: number): Clue | undefined {
  const lines = cleanText(log.text).split('\n')
  let logged: Clue | undefined
  for (let i = lines.length - 1; i >= 0; i--) {
    const line = lines[i]!
    const ms = timeOf(line)
    if (BOOTED.test(line) || (ms !== undefined && ms < sinceMs)) return undefined
    if (logged && BOOT_BEGAN.test(line)) return logged
    if (/\breload\b/i.test(line)) continue
    const clue = CLUES.find(({ pattern }) => pattern.test(line))
    if (!clue) continue
    const found = { verdict: clue.verdict, line: wholeWords(messageOf(line), 240), loggedMs: ms ?? log.loggedMs }
    if (ms === undefined) return logged ?? found
    logged ??= found
  }
  return logged
}

/** The time of a readable or a JSON line; lines of standard error have none. */
export function timeOf(line: string): number | undefined {
  const text = /^\[?(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))/.exec(line) ?? /"time":"([^"]{20,40})"/.exec(line)
  const ms = text ? Date.parse(text[1]!) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}

function messageOf(line: string): string {
  return /"message":"((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? line
}

/** The log that gateways of all users share; it never decides a verdict. */
export function sharedLog(settings: Settings, now = new Date()): string | undefined {
  const path = join('/tmp/openclaw', `${rollingLogName(settings.profile)}-${localDay(now)}.log`)
  return modifiedMs(path) > 0 ? path : undefined
}

export function gatewayLogs(settings: Settings): string[] {
  const library = join(settings.home, 'Library', 'Logs', 'openclaw')
  const state = join(settings.stateDir, 'logs')
  return [library, state].flatMap((folder) =>
    (tried(() => readdirSync(folder)) ?? [])
      .filter((name) => /^gateway.*\.log$/.test(name) && name !== 'gateway-restart.log')
      // On macOS the gateways of all profiles write into one folder.
      .filter((name) => folder !== library || !isForeignLog(name, settings.profile))
      .map((name) => join(folder, name)),
  )
}

async function readJournal(settings: Settings, unit: string, sinceMs: number) {
  const since = new Date(Math.max(sinceMs, Date.now() - 86_400_000)).toISOString().slice(0, 19).replace('T', ' ')
  const $ = shell(settings)
  const { stdout } = await $`journalctl --user -u ${unit} --since ${`${since} UTC`} -n 200 -o cat --no-pager`
  return { text: stdout, loggedMs: stdout.trim() ? Date.now() : 0 }
}

function modifiedMs(path: string): number {
  return tried(() => statSync(path).mtimeMs) ?? 0
}
