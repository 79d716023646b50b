import * as fs from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { localStamp } from './contract.ts'

type Check<T> = (value: unknown) => T | undefined

/** `fallback` when it is missing, unreadable or damaged (`check` gives undefined); a damaged one is kept aside. */
export function readState<T>(path: string, check: Check<T>, fallback: T, keepAside = true) {
  if (!fs.existsSync(path)) return { value: fallback }
  const value = tried(() => check(JSON.parse(readWhole(path))))
  if (value !== undefined) return { value }
  const aside = `${path}.corrupt-${localStamp(new Date())}`
  const isKept = keepAside && tried(() => fs.renameSync(path, aside) === undefined)
  const problem = `state file ${path} is damaged or cannot be read${isKept ? `; kept as ${basename(aside)}` : ''}`
  return { value: fallback, problem }
}

export function writeState(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** Through a temporary file and rename; `isKept`: also over a power cut. Throws what the file system throws. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600, isKept = true): void {
  fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${Date.now()}.tmp`)
  try {
    fs.writeFileSync(temporary, content, { mode, flag: 'wx', flush: isKept })
    // Readable for others under any umask.
    if ((mode & 0o077) !== 0) fs.chmodSync(temporary, mode)
    fs.renameSync(temporary, path)
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw error
  }
}

const LARGEST_BYTES = 16 * 1024 * 1024

/** Throws what the file system throws, and `EFBIG` over 16 MiB or for a pipe, which would wait for its writer. */
export function readWhole(path: string): string {
  const stat = fs.statSync(path)
  if (stat.size > LARGEST_BYTES || stat.isFIFO())
    throw Object.assign(new Error(`${path} is no file of at most ${LARGEST_BYTES} bytes`), { code: 'EFBIG' })
  return fs.readFileSync(path, 'utf8')
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Is the value of the pattern's form? More keys may be there. */
function hasShape(pattern: unknown, value: unknown): boolean {
  if (Array.isArray(pattern)) return Array.isArray(value) && value.every((one) => hasShape(pattern[0], one))
  if (!isRecord(pattern)) return typeof value === typeof pattern
  return isRecord(value) && Object.keys(pattern).every((key) => hasShape(pattern[key], value[key]))
}

export function shaped<T>(pattern: T): Check<T> {
  return (value) => (hasShape(pattern, value) ? (value as T) : undefined)
}

export const namesIn = (folder: string): string[] => tried(() => fs.readdirSync(folder)) ?? []

export const filesIn = (folder: string, isWanted = (_name: string) => true): string[] =>
  namesIn(folder).flatMap((name) => (isWanted(name) ? [join(folder, name)] : []))

export function tried<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
