import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
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
  if (!existsSync(path)) return { value: fallback }
  const value = tried(() => check(JSON.parse(readWhole(path))))
  if (value !== undefined) return { value }
  const aside = `${path}.corrupt-${localStamp(new Date())}`
  const isKept = keepAside && tried(() => renameSync(path, aside) === undefined)
  const problem = `state file ${path} is damaged or cannot be read${isKept ? `; kept as ${basename(aside)}` : ''}`
  return { value: fallback, problem }
}

export function writeState(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** Through a temporary file and rename; `isKept`: also over a power cut. Throws what the file system throws. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600, isKept = true): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${Date.now()}.tmp`)
  try {
    writeFileSync(temporary, content, { mode, flag: 'wx', flush: isKept })
    // Readable for others under any umask.
    if ((mode & 0o077) !== 0) chmodSync(temporary, mode)
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
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
