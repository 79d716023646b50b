import { accessSync, constants, existsSync, lstatSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { oneLine, wholeWords } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, readWhole, tried } from '../tier/state.ts'

export function readConfig({ configPath }: Settings) {
  return tried(() => {
    const text = readWhole(configPath)
    const { mtimeMs: modifiedMs, ctimeMs } = statSync(configPath)
    // A copy that is moved into its place keeps the time of its text.
    return { text, hash: configHash(text), modifiedMs, placedMs: Math.max(modifiedMs, ctimeMs) }
  })
}

const SETTLE_SEC = 5
const EDITOR_SEC = 60

/** Seconds until a config that was just changed is taken for what its owner wants; longer while an editor has it open. */
export function editingSec({ configPath, home }: Settings): number {
  const modifiedMs = tried(() => statSync(configPath).mtimeMs) ?? 0
  // What vim and emacs keep beside a file that they have open, or beside what it is a link to; Neovim in one folder.
  const files = [configPath, tried(() => realpathSync(configPath)) ?? configPath].flatMap((path) => [
    ...['.*.swp', '.*.kate-swp', '.#*', '#*#'].map((kept) => join(dirname(path), kept.replace('*', basename(path)))),
    join(home, '.local', 'state', 'nvim', 'swap', `${path.replaceAll('/', '%')}.swp`),
  ])
  const isOpen = files.some((file) => tried(() => lstatSync(file)) !== undefined)
  return Math.max(0, (isOpen ? EDITOR_SEC : SETTLE_SEC) - Math.abs(Date.now() - modifiedMs) / 1000)
}

/** False for a file of another account, or on a disk that is read-only. */
export function isConfigWritable({ configPath }: Settings): boolean {
  const target = tried(() => realpathSync(configPath)) ?? configPath
  const places = [target, dirname(target), dirname(configPath)].filter((path) => existsSync(path))
  return places.every((path) => tried(() => accessSync(path, constants.W_OK) === undefined) === true)
}

/** FNV-1a forwards and backwards: loading node:crypto costs more. */
export function configHash(text: string): string {
  const bytes = Buffer.from(text)
  let forwards = 0x811c9dc5
  let backwards = 0x811c9dc5 ^ bytes.length
  for (let i = 0; i < bytes.length; i++) {
    forwards = Math.imul(forwards ^ bytes[i]!, 0x01000193)
    backwards = Math.imul(backwards ^ bytes[bytes.length - 1 - i]!, 0x01000193)
  }
  return [forwards, backwards].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')
}

/** What is wrong with the file as JSON5, as a phrase; undefined when it can be read. */
export async function configSyntaxProblem({ configPath }: Settings): Promise<string | undefined> {
  const { default: JSON5 } = await import('json5')
  try {
    return isRecord(JSON5.parse(readWhole(configPath))) ? undefined : `${configPath} holds no object`
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return `${configPath} does not exist`
    return code ? `${configPath} cannot be read (${code})` : `${configPath} is not JSON5: ${oneLine(message, 120)}`
  }
}

/** `openclaw config validate --json`, which takes seconds. Undefined: no verdict. "Valid" does not mean "boots". */
export async function validateConfig(
  settings: Settings,
  command?: readonly string[],
): Promise<{ valid: true } | { valid: false; issues: string } | undefined> {
  // Another `openclaw` on the PATH may be older than the config, or newer.
  const program = command ?? (await (await import('./host.ts')).openclawCommand(settings))
  const result = await shell(settings, { timeoutSec: 60 })`${program} config validate --json`
  const answer: unknown = tried(() => JSON.parse(result.stdout))
  if (!isRecord(answer)) return undefined
  if (result.code === 0 && answer.valid === true) return { valid: true }
  if (result.code !== 1 || answer.valid !== false) return undefined
  const issues = Array.isArray(answer.issues) ? answer.issues : []
  const described = issues.map((issue) =>
    isRecord(issue) ? [issue.path, issue.message].filter(Boolean).join(': ') : String(issue),
  )
  return { valid: false, issues: wholeWords(described.join('; ') || 'no details given', 300) }
}
