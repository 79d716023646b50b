/** The tiers' logs, written and read. A tier's log is its heartbeat. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { formatLine, localDay, localStamp, type Severity, type TierName } from './contract.ts'
import type { Settings } from './settings.ts'
import { tried } from './state.ts'

export type Journal = ReturnType<typeof openJournal>

export function logName(tier: TierName, now: Date): string {
  return tier === 'emergency-recovery' ? `emergency-recovery-${localStamp(now)}.log` : `${tier}-${localDay(now)}.log`
}

const OURS =
  /^(?:(?:watchdog|healthcheck|monitor|guardian)-\d{4}-\d\d-\d\d\.log|(?:emergency-recovery|emergency-recovery-report|(?:claude|codex|qwen|gemini)-session)-\d{4}-\d\d-\d\d-\d{6}[a-z0-9.-]*)$/

/** True for the name of a log of ours, which is removed when it is old; the learnings are kept. */
export const isOurLog = (name: string): boolean => OURS.test(name)

/** Damaged state that was kept aside, and what a killed write left. */
const LEFTOVER = /\.corrupt-\d{4}-\d\d-\d\d-\d{6}$|^\..+\.\d+\.\d+\.tmp$/

export const logFolders = (settings: Settings): string[] => [settings.memoryDir, join(settings.watchdogDir, 'logs')]

/** Opens the tier's log. A dry run writes to standard output only. */
export function openJournal(settings: Settings, tier: TierName, redact: (text: string) => string, dryRun: boolean) {
  const now = new Date()
  let [path, ...others] = logFolders(settings).map((folder) => join(folder, logName(tier, now))) as [
    string,
    ...string[],
  ]
  let isOpen = !dryRun
  if (isOpen) tried(() => prepareLogFolder(settings, path, now))

  const write = (severity: Severity, text: string) => {
    const line = `${formatLine(new Date(), tier, severity, redact(text))}\n`
    process.stdout.write(line)
    while (isOpen) {
      try {
        return appendLine(path, line)
      } catch (error) {
        process.stderr.write(`${tier}: the log cannot be written: ${(error as Error).message}\n`)
        isOpen = others.length > 0
        ;[path = path, ...others] = others
      }
    }
  }
  return {
    get path() {
      return path
    },
    info: (text: string) => write('INFO', text),
    warn: (text: string) => write('WARN', text),
    error: (text: string) => write('ERROR', text),
  }
}

/** Begins a new line where the one before was cut off. */
function appendLine(path: string, line: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  const lastByte = size > 0 ? tried(() => readBytes(path, size - 1, size)[0]) : undefined
  appendFileSync(path, (lastByte ?? 0x0a) === 0x0a ? line : `\n${line}`, { mode: 0o600 })
}

function prepareLogFolder(settings: Settings, path: string, now: Date): void {
  const { memoryDir, watchdogDir, home, logRetentionDays } = settings
  const { mode } = statSync(memoryDir)
  // Not HOME, and nothing that others share (/tmp is sticky).
  const isShared = (mode & 0o1000) !== 0 || memoryDir === home
  if ((mode & 0o077) !== 0 && !isShared) chmodSync(memoryDir, 0o700)
  // The first run of a day (or of an incident) cleans up.
  if (existsSync(path)) return
  const oldest = now.getTime() - logRetentionDays * 86_400_000
  for (const folder of [...logFolders(settings), watchdogDir, join(watchdogDir, 'known-good')]) {
    const names = listFolder(folder).filter((name) => isOurLog(name) || LEFTOVER.test(name))
    for (const old of names.map((name) => join(folder, name)).filter((one) => (modifiedMs(one) || oldest) < oldest))
      rmSync(old, { force: true })
  }
}

/** Level 1's last escalation: on macOS a `WatchPaths` on this file starts Level 2 at once; its timer starts it, too. */
export function noteEscalation({ memoryDir }: Settings, line: string): void {
  tried(() => writeFileSync(join(memoryDir, 'escalations.log'), `${line}\n`, { mode: 0o600 }))
}

export function readTail(path: string, maxBytes: number): string {
  return (
    tried(() => {
      // Opening a pipe would wait for its writer.
      const stat = statSync(path)
      if (!stat.isFile()) return ''
      const start = Math.max(0, stat.size - maxBytes)
      const text = readBytes(path, start, stat.size).toString('utf8')
      return start === 0 ? text : wholeLines(text)
    }) ?? ''
  )
}

export function readBytes(path: string, from: number, to: number): Buffer {
  const fd = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(to - from)
    return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, from))
  } finally {
    closeSync(fd)
  }
}

/** A text without the line whose beginning was cut off; of one single line, without its first word. */
export function wholeLines(text: string): string {
  const end = text.indexOf('\n')
  return text.slice(1 + (end < 0 ? text.search(/\s|$/) : end))
}

const MOST_BYTES = 8 * 1024 * 1024

/** At most 8 MB of a growing file from a place on, and where that ends; whole lines where there are any. */
export function readFrom(path: string, at: number): { text: string; end: number } {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  const bytes = size > at ? readBytes(path, at, Math.min(size, at + MOST_BYTES)) : Buffer.alloc(0)
  // A character that is not whole yet is left for the next time.
  const whole = bytes.lastIndexOf(0x0a) + 1 || bytes.length
  return { text: bytes.toString('utf8', 0, whole), end: at + whole }
}

/** Logs of the given tiers that were written in the last `withinSec` seconds, oldest first. */
export function recentLogs(settings: Settings, tiers: readonly TierName[], withinSec: number, now = new Date()) {
  const oldest = now.getTime() - withinSec * 1000
  const wanted = new RegExp(`^(?:${tiers.join('|')})-\\d{4}-\\d\\d-\\d\\d(?:-\\d{6})?\\.log$`)
  return logFolders(settings)
    .flatMap((folder) => listFolder(folder).map((name) => join(folder, name)))
    .filter((path) => wanted.test(basename(path)) && modifiedMs(path) >= oldest)
    .sort((a, b) => modifiedMs(a) - modifiedMs(b))
}

const listFolder = (folder: string) => tried(() => readdirSync(folder)) ?? []
const modifiedMs = (path: string) => tried(() => statSync(path).mtimeMs) ?? 0

/** When the tier last wrote a line; undefined when it never did. */
export function lastHeartbeat(settings: Settings, tier: TierName): Date | undefined {
  const newest = recentLogs(settings, [tier], settings.logRetentionDays * 86_400).at(-1)
  return newest === undefined ? undefined : new Date(modifiedMs(newest))
}
