/** The logs of the gateway and of the self-healing system, for whoever reads them: named, unpacked, made readable. */
import { createReadStream, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { isOurLog, logFolders, readTail } from '../tier/journal.ts'
import { isForeignLog } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import { gatewayLogs, sharedLog } from './clues.ts'
import { readConfig } from './config.ts'
import { parseOrNothing, valueAt } from './config-tree.ts'

/** So much of the end of a log is looked at, however large it is. */
const LOG_BYTES = 8 * 1024 * 1024
const LARGEST_GZ_BYTES = 256 * 1024 * 1024

/** The logs of this gateway and of the self-healing system, by the names under which they can be read. */
export function namedLogs(settings: Settings): Map<string, string> {
  const rotated = [...new Set(gatewayLogs(settings).map(dirname)), join(settings.stateDir, 'logs'), '/tmp/openclaw']
    .flatMap((folder) => namesIn(folder).map((name) => join(folder, name)))
    .filter((path) => /\/(?:gateway|openclaw)[\w.-]*\.log(?:\.\d+)?(?:\.gz)?$/.test(path))
    .filter((path) => !isForeignLog(basename(path).replace(/(\.log)(?:\.\d+)?(?:\.gz)?$/, '$1'), settings.profile))
  const ours = logFolders(settings).flatMap((folder) =>
    namesIn(folder)
      .filter((name) => isOurLog(name) || name === 'recovery-learnings.md')
      .map((name) => join(folder, name)),
  )
  const own = valueAt(parseOrNothing(readConfig(settings)?.text ?? ''), ['logging', 'file'])
  const paths = new Set([
    ...(typeof own === 'string' && /^\/.*\.log$/.test(own) ? [own] : []),
    ...gatewayLogs(settings),
    ...rotated,
    ...[sharedLog(settings)].flatMap((one) => one ?? []),
    ...ours,
  ])
  const named = new Map<string, string>()
  for (const path of paths) {
    if (!statOf(path)?.isFile()) continue
    const name = named.has(basename(path)) ? `${basename(dirname(path))}/${basename(path)}` : basename(path)
    named.set(name, path)
  }
  return named
}

/** The end of a log, unpacked if it must be; without the end of a private key whose beginning was cut off. */
export async function logTail(path: string): Promise<string> {
  return wholeKeys(path.endsWith('.gz') ? await unpackedTail(path) : readTail(path, LOG_BYTES))
}

async function unpackedTail(path: string): Promise<string> {
  if ((statOf(path)?.size ?? 0) > LARGEST_GZ_BYTES) throw new Error(`${basename(path)} is too large to unpack`)
  const tail: Buffer[] = []
  let bytes = 0
  await pipeline(createReadStream(path), createGunzip(), async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) {
      tail.push(chunk)
      bytes += chunk.length
      while (bytes - tail[0]!.length > LOG_BYTES) bytes -= tail.shift()!.length
    }
  })
  return Buffer.concat(tail).toString('utf8')
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
  const found = readableLines(text).filter((line) => line.toLowerCase().includes(wanted))
  return found.slice(-lineCount(lines)).join('\n') || '(no such line)'
}

/** How many lines are wanted: 1 to 400. */
export function lineCount(lines: unknown): number {
  return Math.min(400, Math.max(1, Number(lines ?? 100)))
}

/** OpenClaw's JSON log lines as time, level and message; other lines as they are. */
function readableLines(text: string): string[] {
  if (text.includes('\0')) return ['(it holds binary data, which is not shown)']
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      try {
        const { time, message, _meta: meta } = line.startsWith('{') ? JSON.parse(line) : ({} as Record<string, unknown>)
        if (typeof message !== 'string') return line
        return `${time ?? ''} ${isRecord(meta) ? `${meta.logLevelName ?? ''} ` : ''}${message}`
      } catch {
        return line
      }
    })
}

/** The end of a log for the briefing. */
export function logEnd(path: string, bytes: number): string {
  return readableLines(wholeKeys(readTail(path, bytes))).join('\n')
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
