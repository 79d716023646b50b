/** Small JSON state files: written whole or not at all, and never trusted when read back. */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { localStamp } from './contract.ts'

/** What reading a state file came to; `problem` is a sentence for the log when the file was of no use. */
export interface StateRead<T> {
  value: T
  problem?: string
}

/**
 * Reads a state file; `fallback` when it is missing, unreadable or damaged. A damaged one is kept aside as
 * `<name>.corrupt-<stamp>` unless `keepAside` is false.
 * @param check returns the value when the parsed JSON has the right shape, else undefined.
 */
export function readState<T>(
  path: string,
  check: (value: unknown) => T | undefined,
  fallback: T,
  keepAside = true,
): StateRead<T> {
  let text: string
  try {
    text = readWhole(path)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') return { value: fallback }
    return { value: fallback, problem: `state file ${path} cannot be read (${code}); going on without it` }
  }
  try {
    const value = check(JSON.parse(text))
    if (value !== undefined) return { value }
  } catch {
    // Not JSON: handled like JSON of the wrong shape.
  }
  if (!keepAside) return { value: fallback, problem: `state file ${path} is damaged; going on without it` }
  const aside = `${path}.corrupt-${localStamp(new Date())}`
  try {
    renameSync(path, aside)
    return { value: fallback, problem: `state file ${path} was damaged; kept as ${basename(aside)}, starting afresh` }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return { value: fallback, problem: `state file ${path} is damaged and could not be moved aside (${code})` }
  }
}

/** Writes a state file (0600), whole or not at all. */
export function writeState(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** Writes a file through a temporary one beside it, fsync and rename. Throws what the file system throws. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${Date.now()}.tmp`)
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  try {
    const fd = openSync(temporary, 'wx', mode)
    try {
      // What others shall read they can read under any umask.
      if ((mode & 0o077) !== 0) fchmodSync(fd, mode)
      // On a full disk write(2) may take only a part of the bytes before it fails.
      for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** True for the names of what stays behind of damaged state and of a write that was killed: nothing reads it again. */
export function isLeftover(name: string): boolean {
  return /\.corrupt-\d{4}-\d\d-\d\d-\d{6}$/.test(name) || /^\..+\.\d+\.\d+\.tmp$/.test(name)
}

const LARGEST_BYTES = 16 * 1024 * 1024

/** Reads a small text file. Throws what the file system throws, and `EFBIG` for one over 16 MiB. */
export function readWhole(path: string): string {
  if (statSync(path).size > LARGEST_BYTES)
    throw Object.assign(new Error(`${path} is larger than ${LARGEST_BYTES} bytes`), { code: 'EFBIG' })
  return readFileSync(path, 'utf8')
}

/** True for a plain JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What `read` returns; undefined when it throws. */
export function tried<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
