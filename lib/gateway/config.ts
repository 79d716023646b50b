import { statSync } from 'node:fs'
import { oneLine, wholeWords } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, readWhole, tried } from '../tier/state.ts'

/** The config as it stands; undefined when there is none that can be read. */
export function readConfig({ configPath }: Settings) {
  return tried(() => {
    const text = readWhole(configPath)
    return { text, hash: configHash(text), modifiedMs: statSync(configPath).mtimeMs }
  })
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
export async function configSyntaxProblem(settings: Settings): Promise<string | undefined> {
  let text: string
  try {
    text = readWhole(settings.configPath)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return code === 'ENOENT'
      ? `${settings.configPath} does not exist`
      : `${settings.configPath} cannot be read (${code})`
  }
  const { default: JSON5 } = await import('json5')
  try {
    const value: unknown = JSON5.parse(text)
    return isRecord(value) ? undefined : `${settings.configPath} holds no object`
  } catch (error) {
    return `${settings.configPath} is not JSON5: ${oneLine((error as Error).message, 120)}`
  }
}

/** `openclaw config validate --json`, which takes seconds. Undefined: no verdict. "Valid" does not mean "boots". */
export async function validateConfig(
  settings: Settings,
  command: readonly string[] = ['openclaw'],
): Promise<{ valid: true } | { valid: false; issues: string } | undefined> {
  const result = await shell(settings, { timeoutSec: 60 })`${command} config validate --json`
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
