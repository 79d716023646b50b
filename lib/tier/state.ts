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

export interface StateRead<T> {
  value: T
  problem?: string
}

/** `fallback` when it is missing, unreadable or damaged (`check` gives undefined); a damaged one is kept aside. */
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
  const value = tried(() => check(JSON.parse(text)))
  if (value !== undefined) return { value }
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

export function writeState(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** Through a temporary file and rename; `isKept`: also over a power cut. Throws what the file system throws. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600, isKept = true): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${Date.now()}.tmp`)
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  try {
    const fd = openSync(temporary, 'wx', mode)
    try {
      // Readable for others under any umask.
      if ((mode & 0o077) !== 0) fchmodSync(fd, mode)
      // write(2) may take a part only.
      for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
      if (isKept) fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** Damaged state that was kept aside, and what a killed write left. */
export function isLeftover(name: string): boolean {
  return /\.corrupt-\d{4}-\d\d-\d\d-\d{6}$/.test(name) || /^\..+\.\d+\.\d+\.tmp$/.test(name)
}

const LARGEST_BYTES = 16 * 1024 * 1024

/** Throws what the file system throws, and `EFBIG` over 16 MiB. */
export function readWhole(path: string): string {
  if (statSync(path).size > LARGEST_BYTES)
    throw Object.assign(new Error(`${path} is larger than ${LARGEST_BYTES} bytes`), { code: 'EFBIG' })
  return readFileSync(path, 'utf8')
}

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
