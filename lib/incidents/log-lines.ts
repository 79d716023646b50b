/**
 * Reads one log line by line without ever holding more of it than a piece: a log may be long, damaged, or full of text
 * that somebody else chose. What cannot be read is counted, never guessed.
 */
import { isUtf8 } from 'node:buffer'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { type LogLine, parseLine } from '../tier/contract.ts'

/** What was wrong with one log; all counts are of lines. */
export interface Damage {
  path: string
  /** Why it could not be read at all, e.g. `EACCES`. */
  unreadable?: string
  /** Neither a line of ours nor the continuation of one: half a line, a block of zeros, noise. */
  odd: number
  /** Lines of ours with bytes that are no UTF-8; they were read all the same. */
  notUtf8: number
  /** Lines longer than any of ours; what is behind that length was passed over. */
  overlong: number
  /** Lines with a time that has not come yet: the clock was set back since. They are passed over. */
  fromTheFuture: number
  /** Lines a minute or more older than the one before: the clock was set back, or somebody edited the log. */
  outOfOrder: number
  /** Bytes at the beginning of a log that is too long to be read. */
  skippedBytes: number
  /** Lines that were not remembered because there are too many of them. */
  tooMany: number
}

const PIECE_BYTES = 64 * 1024
/** The tiers cut what they quote to hundreds of characters; only what follows a line break of ours may be longer. */
const MAX_LINE_BYTES = 16 * 1024
/** A log of a day is below 1 MB. Of a longer one than this the end is read. */
const MAX_LOG_BYTES = 256 * 1024 * 1024

export function noDamage(path: string): Damage {
  return { path, odd: 0, notUtf8: 0, overlong: 0, fromTheFuture: 0, outOfOrder: 0, skippedBytes: 0, tooMany: 0 }
}

export function isDamaged(damage: Damage): boolean {
  const { odd, notUtf8, overlong, fromTheFuture, outOfOrder, skippedBytes, tooMany } = damage
  return (
    damage.unreadable !== undefined ||
    odd + notUtf8 + overlong + fromTheFuture + outOfOrder + skippedBytes + tooMany > 0
  )
}

/** Gives every line of ours in the log to `take`, in the order of the file, and says what was wrong with the others. */
export function readLog(path: string, take: (line: LogLine, damage: Damage) => void): Damage {
  const damage = noDamage(path)
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    return { ...damage, unreadable: (error as NodeJS.ErrnoException).code ?? String(error) }
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) return { ...damage, unreadable: 'it is no file' }
    damage.skippedBytes = Math.max(0, stat.size - MAX_LOG_BYTES)
    // The bytes that are there now: a log that grows while it is read would otherwise never end.
    for (const line of linesOf(fd, damage.skippedBytes, stat.size, damage)) readLine(line, damage, take)
  } catch (error) {
    damage.unreadable = (error as NodeJS.ErrnoException).code ?? String(error)
  } finally {
    closeSync(fd)
  }
  return damage
}

/** Lines as bytes, without their line break; none is longer than `MAX_LINE_BYTES`. */
function* linesOf(fd: number, from: number, to: number, damage: Damage): Generator<Buffer> {
  const piece = Buffer.alloc(PIECE_BYTES)
  let rest: Buffer = Buffer.alloc(0)
  // The first line of a log that is begun in the middle is half a line.
  let isCut = from > 0
  for (let position = from; position < to; ) {
    const length = readSync(fd, piece, 0, Math.min(piece.length, to - position), position)
    if (length === 0) break
    position += length
    let start = 0
    for (let end = piece.indexOf(0x0a); end !== -1 && end < length; end = piece.indexOf(0x0a, start)) {
      const line = rest.length > 0 ? Buffer.concat([rest, piece.subarray(start, end)]) : piece.subarray(start, end)
      if (!isCut) yield line
      rest = Buffer.alloc(0)
      isCut = false
      start = end + 1
    }
    rest = Buffer.concat([rest, piece.subarray(start, length)])
    if (rest.length <= MAX_LINE_BYTES) continue
    if (!isCut) {
      damage.overlong++
      yield rest.subarray(0, MAX_LINE_BYTES)
    }
    rest = Buffer.alloc(0)
    isCut = true
  }
  // A last line without its end is being written right now, or was cut off by a full disk.
  if (rest.length > 0 && !isCut) yield rest
}

const OPENING_BRACKET = 0x5b
const BLANK = 0x20

function readLine(bytes: Buffer, damage: Damage, take: (line: LogLine, damage: Damage) => void): void {
  if (bytes.length === 0) return
  if (bytes[0] === BLANK) return // a continuation
  const text = bytes[0] === OPENING_BRACKET ? bytes.toString('utf8') : ''
  const line = parseLine(text)
  if (!line) {
    damage.odd++
    return
  }
  // A tier that quotes such bytes writes that character itself: then the log is as it should be.
  if (text.includes('\ufffd') && !isUtf8(bytes)) damage.notUtf8++
  take(line, damage)
}
