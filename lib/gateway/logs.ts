/** The logs of the gateway and of the self-healing system, for whoever reads them: named, unpacked, made readable. */
import { createReadStream, readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { constants, createGunzip } from 'node:zlib'
import { isOurLog, logFolders, readTail, wholeLines } from '../tier/journal.ts'
import { isForeignLog, rollingLogName } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import { gatewayLogs } from './clues.ts'
import { readConfig } from './config.ts'
import { parseOrNothing, valueAt } from './config-tree.ts'

/** So much of the end of a log is looked at, however large it is. */
const LOG_BYTES = 8 * 1024 * 1024
/** A log that packs to nothing unpacks to terabytes. */
const LARGEST_UNPACKED_BYTES = 2 * 1024 * 1024 * 1024

/** What a log is called, also one that was rotated and packed. */
const LOG_NAME = /^(?:gateway|openclaw)[\w.-]*\.log(?:\.\d+)?(?:\.gz)?$/

/** The logs of this gateway and of the self-healing system, by the names under which they can be read. */
export function namedLogs(settings: Settings): Map<string, string> {
  const own = valueAt(parseOrNothing(readConfig(settings)?.text ?? ''), ['logging', 'file'])
  // All profiles write into these; of what is there by another name nothing tells whose it is.
  const rolling = new RegExp(`^${rollingLogName(settings.profile)}-\\d{4}-\\d\\d-\\d\\d\\.`)
  const shared = logsIn('/tmp/openclaw').filter((path) => rolling.test(basename(path)))
  const state = [...new Set(gatewayLogs(settings).map(dirname)), join(settings.stateDir, 'logs')]
    .flatMap(logsIn)
    .filter((path) => !isForeignLog(basename(path).replace(/(\.log)(?:\.\d+)?(?:\.gz)?$/, '$1'), settings.profile))
  const ours = logFolders(settings).flatMap((folder) =>
    namesIn(folder)
      // A copy of the config shows more of it than may be seen.
      .filter((name) => (isOurLog(name) && !name.endsWith('.json5')) || name === 'recovery-learnings.md')
      .map((name) => join(folder, name)),
  )
  const paths = new Set([
    ...(typeof own === 'string' && /^\/.*\.log$/.test(own) ? [own] : []),
    ...gatewayLogs(settings),
    ...state,
    ...shared,
    ...ours,
  ])
  const named = new Map<string, string>()
  for (const path of paths) {
    if (!isLogFile(path)) continue
    const name = named.has(basename(path)) ? `${basename(dirname(path))}/${basename(path)}` : basename(path)
    named.set(name, path)
  }
  return named
}

/** A plain file; a link only to one that is itself called like a log. */
function isLogFile(path: string): boolean {
  if (!statOf(path)?.isFile()) return false
  const real = basename(realpathSync(path))
  return real === basename(path) || LOG_NAME.test(real) || isOurLog(real)
}

function logsIn(folder: string): string[] {
  return namesIn(folder)
    .filter((name) => LOG_NAME.test(name))
    .map((name) => join(folder, name))
}

/**
 * The end of a log as lines for a reader, unpacked if it must be; without the end of a private key whose beginning was
 * cut off. Throws for one that cannot be unpacked.
 */
export async function logTail(path: string): Promise<string> {
  return readableLog(path.endsWith('.gz') ? await unpackedTail(path) : readTail(path, LOG_BYTES))
}

async function unpackedTail(path: string): Promise<string> {
  const tail: Buffer[] = []
  let kept = 0
  let all = 0
  // What a power cut left of an archive is still read.
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH })
  try {
    await pipeline(createReadStream(path), gunzip, async (source: AsyncIterable<Buffer>) => {
      for await (const chunk of source) {
        tail.push(chunk)
        kept += chunk.length
        all += chunk.length
        if (all > LARGEST_UNPACKED_BYTES) throw new Error('it is too large')
        while (kept - tail[0]!.length > LOG_BYTES) kept -= tail.shift()!.length
      }
    })
  } catch (error) {
    throw new Error(`${basename(path)} cannot be unpacked: ${(error as Error).message}`)
  }
  const text = Buffer.concat(tail).toString('utf8')
  return all === kept ? text : wholeLines(text)
}

/** The end of a private key whose beginning was cut off is nothing that redaction could know. */
function wholeKeys(text: string): string {
  const end = /-----END [A-Z ]*PRIVATE KEY-----/.exec(text)
  const begin = text.search(/-----BEGIN [A-Z ]*PRIVATE KEY-----/)
  return end && (begin < 0 || begin > end.index) ? text.slice(end.index + end[0].length) : text
}

/** The last lines of a text that was redacted as a whole, those with the searched words alone if asked. */
export function lastLines(text: string, lines: unknown, search: unknown): string {
  const wanted = String(search ?? '').toLowerCase()
  const found = text.split('\n').filter((line) => line.toLowerCase().includes(wanted))
  return found.slice(-lineCount(lines)).join('\n') || '(no such line)'
}

/** How many lines are wanted: 1 to 400. */
export function lineCount(lines: unknown): number {
  return Math.min(400, Math.max(1, Number(lines ?? 100)))
}

/** OpenClaw's JSON log lines as time, level and message; other lines as they are. */
export function readableLog(text: string): string {
  // A power cut, or a log that was emptied under its writer, leaves zeros in the midst of good lines.
  const plain = text.replaceAll('\0', '')
  const odd = plain.match(/[\u0001-\u0008\u000e-\u001a\u001c-\u001f\ufffd]/g)?.length ?? 0
  if (odd * 10 > plain.length || (plain === '' && text !== '')) return '(it holds binary data, which is not shown)'
  return wholeKeys(plain).trimEnd().split('\n').map(messageOf).join('\n')
}

function messageOf(line: string): string {
  try {
    const { time, message, _meta: meta } = line.startsWith('{') ? JSON.parse(line) : ({} as Record<string, unknown>)
    if (typeof message !== 'string') return line
    return `${time ?? ''} ${isRecord(meta) ? `${meta.logLevelName ?? ''} ` : ''}${message}`
  } catch {
    return line
  }
}

/** The end of a log for the briefing. */
export function logEnd(path: string, bytes: number): string {
  return readableLog(readTail(path, bytes))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function statOf(path: string) {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}
