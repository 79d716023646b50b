/** The last words of a gateway that failed to start or died, and the reason that they name. */
import { wholeWords } from '../tier/contract.ts'
import type { Log, LogLine } from './logs.ts'
import { OUT_OF_MEMORY, REASONS } from './reasons.ts'

export type LastWords = NonNullable<ReturnType<typeof wordsOf>>

type Entry = Pick<LogLine, 'ms' | 'from'> & { lines: string[] }

const BOOT_BEGAN = /^\[gateway\] loading configuration|^loading configuration|^\[self-healing\] starting/
const IS_READY = /^\[gateway\] ready\b|^ready$/
const UNIT_STARTED = /^Start(?:ed|ing) /
/** The line that says that it will not start, or with which a program dies. */
const HEADLINE =
  /Gateway failed to start|Gateway start blocked|Refusing to (?:bind|run)|already running under|^(?:\[openclaw\] |gateway\.maintenance_required|\w*Error\b.*:|FATAL ERROR:|dyld\b|(?:\S*\/)?env: |sh: |node: |openclaw: )/i
/** No chat begins a line of the logger so; the beginning of that boot may be rotated away. */
const REFUSES = /^Gateway failed to start: /
/** What only systemd tells of an end, or of a start that did not come to be. */
const SYSTEMD_KNOWS = new RegExp(`${OUT_OF_MEMORY.source}|: Failed to (?:load|run|spawn|set up) `, 'i')
/** What follows a refusal and says nothing about it. */
const NOISE =
  /^(?:Run ["“`]?openclaw|If startup is still blocked|Automatic triage|Debugging prompt|Sanitized diagnostics|No supported coding-agent|No configured embedded|If already installed|You can also open|Next step:|env OPENCLAW_|Original failure retained|Config write audit|Container environment|Set OPENCLAW_|Node\.js v|node:internal|\s+at |\s*[\^{}]|\s*throw |\s*(?:code|requireStack|url): )|wrote stability bundle|^\[self-healing\]|^\s*$|openclaw triage/

/** The last line of one that was stopped; it has 5 s for its end (2026.9.6). */
const SHUT_DOWN = /^\[shutdown\] completed\b/
const LONGEST_END_MS = 15_000

/** Written so long after the line above, a line without a time is no further line of it. */
const SEPARATE_MS = 1000
const WORDS_CHARS = 300

/** What the boot that failed last said at its end. Agents and chats log errors in the same words, so of a gateway that was
 * ready, or whose start is not seen, only what stands apart from the lines of its logger counts.
 * @param hide takes out secrets: before the lines are joined and cut, for a key goes over several lines */
export function lastWords(logs: readonly Log[], sinceMs: number, isBooting: boolean, hide: (text: string) => string) {
  const all = logs.flatMap((log) => wordsOf(isBooting ? beforeThisBoot(log) : log, sinceMs, hide) ?? [])
  return all.sort((a, b) => b.ms - a.ms)[0]
}

function beforeThisBoot(log: Log): Log {
  const lastOf = (from: LogLine['from'], pattern: RegExp) =>
    log.lines.findLastIndex((line) => line.from === from && pattern.test(line.text))
  const began = lastOf('systemd', UNIT_STARTED)
  const at = began < 0 ? lastOf('logger', BOOT_BEGAN) : began
  return { ...log, lines: log.lines.slice(0, Math.max(0, at)) }
}

function wordsOf(log: Log, sinceMs: number, hide: (text: string) => string) {
  const { entries, isBoot } = lastRun(log, sinceMs)
  const own = isBoot ? entries : entries.filter(({ from, lines }) => from !== 'logger' || REFUSES.test(lines[0]!))
  const said = own.filter(({ from, lines }) => from !== 'systemd' && lines.some((line) => !NOISE.test(line)))
  const killed = own.findLast(({ from, lines }) => from === 'systemd' && SYSTEMD_KNOWS.test(lines[0]!))
  const head = said.findLast(({ lines }) => lines.some((line) => HEADLINE.test(line))) ?? killed ?? said.at(-1)
  if (!head) return undefined
  const whole = hide(head.lines.join('\n'))
  const text = textOf(whole.split('\n'))
  // Without a headline it may be a chat's further lines, below which something else was written later.
  const counts = isBoot || head === killed || HEADLINE.test(text)
  const reasonOf = (words: string) => REASONS.find(({ pattern }) => pattern.test(words))
  const reason = reasonOf(text) ?? reasonOf(whole) ?? said.map(({ lines }) => reasonOf(textOf(lines))).findLast(Boolean)
  return {
    text,
    reason: counts ? reason : undefined,
    /** True for words of a boot that failed, not of a gateway that had served. */
    isRefusal: isBoot || HEADLINE.test(text),
    ms: head.ms ?? log.writtenMs,
  }
}

/** The headline with the lines below it that belong to it. */
function textOf(lines: readonly string[]): string {
  const at = lines.findLastIndex((line) => HEADLINE.test(line))
  const said = (at < 0 ? lines : lines.slice(at)).filter((line) => !NOISE.test(line))
  // Boots that follow each other say the same.
  const text = [...new Set(said.map((line) => line.trim()))].slice(0, 3)
  return wholeWords(text.join(' ').replace(/\.?\.? Run openclaw gateway status --deep.*$/, ''), WORDS_CHARS)
}

/** The entries of the last run, oldest first; `isBoot`: it began and did not come up. */
function lastRun(log: Log, sinceMs: number): { entries: Entry[]; isBoot: boolean } {
  const entries = entriesOf(log)
  for (let i = entries.length - 1; i >= 0; i--) {
    const { ms, from, lines } = entries[i]!
    if (ms !== undefined && ms < sinceMs) return { entries: entries.slice(i + 1), isBoot: false }
    if (from === 'logger' && IS_READY.test(lines[0]!)) return { entries: entries.slice(i + 1), isBoot: false }
    if (from === 'logger' && SHUT_DOWN.test(lines[0]!)) {
      // `[lifecycle] stopped after SIGTERM 3 times in 5 min` still belongs to the end.
      const isLater = (one: Entry) => (one.ms ?? 0) - (ms ?? 0) > LONGEST_END_MS || HEADLINE.test(one.lines[0]!)
      return { entries: entries.slice(i + 1).filter((one) => one.from !== 'logger' || isLater(one)), isBoot: true }
    }
    const hasBegun = from === 'systemd' ? UNIT_STARTED.test(lines[0]!) : from === 'logger' && BOOT_BEGAN.test(lines[0]!)
    if (hasBegun) return { entries: entries.slice(i), isBoot: true }
  }
  // One that begins in the midst of a run was rotated.
  const isRotated = entries.some(({ from, lines }) => from === 'logger' && !HEADLINE.test(lines[0]!))
  return { entries, isBoot: log.isWhole && !isRotated }
}

/** A line of output belongs to the line of the logger above it, unless it was written later. */
function entriesOf({ lines, writtenMs, isWhole }: Log): Entry[] {
  const entries: Entry[] = []
  const lastLogged = lines.findLastIndex(({ from }) => from !== 'output')
  for (const [i, { text, ms, from }] of lines.entries()) {
    const above = entries.at(-1)
    // In a file the lines at its end were written when the file was.
    const at = ms ?? (i > lastLogged ? writtenMs : undefined)
    const isApart = above?.ms !== undefined && at !== undefined && at - above.ms > SEPARATE_MS
    const isFurther = above && above.from !== 'systemd' && !SHUT_DOWN.test(above.lines[0]!) && !isApart
    if (from === 'output' && isFurther) above.lines.push(text)
    // Of a log that was cut, the first lines without a time may belong to what was cut off.
    else if (from === 'output' && !above && !isWhole && i < lastLogged) continue
    else entries.push({ ms: at, from, lines: [text] })
  }
  return entries
}

/** V8's lines before its last words begin with the pid: `[26944:0x16a15000]`. */
const COLLECTION = /^\[(\d+):0x[0-9a-f]+\]/
const COLLECTION_LINES = 20

/** The line with which that process ran out of memory, if the logs say so of it. */
export function outOfMemory(logs: readonly Log[], sinceMs: number, pid: number | undefined): string | undefined {
  for (const { lines, writtenMs } of logs) {
    let nextMs = writtenMs
    for (let i = lines.length - 1; i >= 0; i--) {
      const { text, ms, from } = lines[i]!
      nextMs = ms ?? nextMs
      if (nextMs < sinceMs) break
      if (from === 'logger' || !OUT_OF_MEMORY.test(text)) continue
      const before = lines.slice(Math.max(0, i - COLLECTION_LINES), i)
      const whose = before.flatMap((line) => COLLECTION.exec(line.text)?.[1] ?? []).at(-1)
      if (from === 'systemd' || whose === String(pid)) return wholeWords(text, 240)
    }
  }
  return undefined
}

/** True when the logs show a start after `stopMs`, below the last line of the one that was stopped. */
export function hasBootedAfter(logs: readonly Log[], stopMs: number): boolean {
  const isStart = ({ text }: LogLine) =>
    BOOT_BEGAN.test(text) || HEADLINE.test(text) || REASONS.some(({ pattern }) => pattern.test(text))
  return logs.some(({ lines, writtenMs }) => {
    const said = lines.filter(({ text }) => text.trim() !== '')
    // An older one is the end of another process, or what a chat says.
    const sinceMs = stopMs - LONGEST_END_MS
    const end = said.findLastIndex(({ text, ms = 0 }) => SHUT_DOWN.test(text) && ms >= sinceMs)
    const below = said.slice(end + 1)
    if (end < 0) return below.some(({ text, ms = 0 }) => ms >= stopMs && (BOOT_BEGAN.test(text) || HEADLINE.test(text)))
    const isLater = below.length > 0 && writtenMs - said[end]!.ms! > LONGEST_END_MS
    return isLater || below.some(isStart)
  })
}
