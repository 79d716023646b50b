/** The tiers' logs, written and read. A tier's log is its heartbeat. */
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { formatLine, localDay, localStamp, type Severity, type TierName } from './contract.ts'
import type { Settings } from './settings.ts'
import { filesIn, tried } from './state.ts'

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
  const paths = logFolders(settings).map((folder) => join(folder, logName(tier, now)))
  let usable = dryRun ? [] : paths
  if (!dryRun) tried(() => prepareLogFolder(settings, paths[0]!, now))

  const write = (severity: Severity, text: string) => {
    const line = `${formatLine(new Date(), tier, severity, redact(text))}\n`
    process.stdout.write(line)
    while (usable.length > 0) {
      try {
        return appendLine(usable[0]!, line)
      } catch (error) {
        process.stderr.write(`${tier}: the log cannot be written: ${(error as Error).message}\n`)
        usable = usable.slice(1)
      }
    }
  }
  return {
    get path() {
      return usable[0] ?? paths.at(-1)!
    },
    info: (text: string) => write('INFO', text),
    warn: (text: string) => write('WARN', text),
    error: (text: string) => write('ERROR', text),
  }
}

/** Begins a new line where the one before was cut off. */
function appendLine(path: string, line: string): void {
  fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const size = fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0
  const lastByte = size > 0 ? tried(() => readBytes(path, size - 1, size)[0]) : undefined
  fs.appendFileSync(path, (lastByte ?? 0x0a) === 0x0a ? line : `\n${line}`, { mode: 0o600 })
}

function prepareLogFolder(settings: Settings, path: string, now: Date): void {
  const { memoryDir, watchdogDir, home, logRetentionDays } = settings
  const { mode } = fs.statSync(memoryDir)
  // Not HOME, and nothing that others share (/tmp is sticky).
  const isShared = (mode & 0o1000) !== 0 || memoryDir === home
  if ((mode & 0o077) !== 0 && !isShared) fs.chmodSync(memoryDir, 0o700)
  // The first run of a day (or of an incident) cleans up.
  if (fs.existsSync(path)) return
  const oldest = now.getTime() - logRetentionDays * 86_400_000
  for (const folder of [...logFolders(settings), watchdogDir, join(watchdogDir, 'known-good')]) {
    for (const path of filesIn(folder, (name) => isOurLog(name) || LEFTOVER.test(name)))
      if ((modifiedMs(path) || oldest) < oldest) fs.rmSync(path, { force: true })
  }
}

/** Level 1's last escalation: on macOS a `WatchPaths` on this file starts Level 2 at once; its timer starts it, too. */
export function noteEscalation({ memoryDir }: Settings, line: string): void {
  tried(() => fs.writeFileSync(join(memoryDir, 'escalations.log'), `${line}\n`, { mode: 0o600 }))
}

export const readTail = (path: string, maxBytes: number): string => tried(() => readEnd(path, maxBytes).text) ?? ''

/** The last lines of a file that fit. Throws what the file system throws, and for what is no file. */
export function readEnd(path: string, maxBytes: number): { text: string; isWhole: boolean } {
  const stat = fs.statSync(path)
  // Opening a pipe would wait for its writer.
  if (!stat.isFile()) throw Object.assign(new Error(), { code: 'it is no file' })
  const text = readBytes(path, Math.max(0, stat.size - maxBytes), stat.size).toString('utf8')
  return stat.size > maxBytes ? { text: wholeLines(text), isWhole: false } : { text, isWhole: true }
}

function readBytes(path: string, from: number, to: number): Buffer {
  const fd = fs.openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(to - from)
    return buffer.subarray(0, fs.readSync(fd, buffer, 0, buffer.length, from))
  } finally {
    fs.closeSync(fd)
  }
}

/** A text without the line whose beginning was cut off; of one single line, without its first word. */
export function wholeLines(text: string): string {
  const end = text.indexOf('\n')
  return text.slice(1 + (end < 0 ? text.search(/\s|$/) : end))
}

const MOST_BYTES = 8 * 1024 * 1024

/** The whole lines of a growing file from a place on, at most 8 MB, and where they end. A longer line is cut. */
export function readFrom(path: string, at: number): { text: string; end: number } {
  const size = fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0
  const bytes = size > at ? readBytes(path, at, Math.min(size, at + MOST_BYTES)) : Buffer.alloc(0)
  const whole = bytes.lastIndexOf(0x0a) + 1 || (bytes.length < MOST_BYTES ? 0 : bytes.length)
  return { text: bytes.toString('utf8', 0, whole), end: at + whole }
}

const modifiedMs = (path: string) => tried(() => fs.statSync(path).mtimeMs) ?? 0

/** When the tier last wrote into its log; 0: never. */
export function lastHeartbeatMs(settings: Settings, tier: TierName): number {
  const isIts = (name: string) => isOurLog(name) && new RegExp(`^${tier}-\\d`).test(name)
  return Math.max(0, ...logFolders(settings).flatMap((folder) => filesIn(folder, isIts).map(modifiedMs)))
}
