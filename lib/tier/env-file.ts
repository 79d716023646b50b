/** The `.env` file, which OpenClaw, the bash version and people's editors have written before us. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parse as parseDotenv } from 'dotenv'
import { DEFAULT_PROFILE, parseProfile, profileStateDir } from './profile.ts'
import { readWhole } from './state.ts'

/**
 * Reads the profile's `.env`; the default profile's may also lie where the bash version had it.
 * @param stateDir the state folder, if the environment names one
 * @param fail called when it is there and cannot be read; then it counts as empty
 * @returns the file that was read (undefined: there is none), its values, and a sentence for each line that says nothing
 */
export function readEnvFile(
  home: string,
  profile: string,
  stateDir: string | undefined,
  fail: (problem: string) => void,
): { file: string | undefined; values: Record<string, string>; problems: string[] } {
  const candidates = [
    join(stateDir || profileStateDir(home, profile), '.env'),
    ...(profile === DEFAULT_PROFILE ? [join(home, 'openclaw', '.env')] : []),
  ]
  const file = candidates.find((candidate) => existsSync(candidate))
  const nothing = { file, values: {}, problems: [] }
  if (file === undefined) return nothing
  let source: string
  try {
    source = readWhole(file)
  } catch (error) {
    fail(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code}): expected a file readable by this user`)
    return nothing
  }
  const lines = source.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)
  const values: Record<string, string> = parseDotenv(lines.map(keepHash).join('\n'))
  const oddLines = lines.flatMap((line, i) => describeOddLine(line, i + 1, values))
  const other = values.OPENCLAW_PROFILE && parseProfile(values.OPENCLAW_PROFILE.trim()) !== profile
  const misplaced = `OPENCLAW_PROFILE says nothing here and was passed over: this is the file of the profile ${profile}`
  return { file, values, problems: other ? [...oddLines, misplaced] : oddLines }
}

/**
 * dotenv cuts an unquoted value at any `#`; the shell that read this file before us only at a `#` behind a blank.
 * A webhook URL with `#` in it would be cut silently, so such a value is put in quotes first.
 */
function keepHash(line: string): string {
  const m = /^(\s*(?:export\s+)?[\w.-]+\s*=\s*)([^'"`\s#][^\s'"`]*#[^'"`]*?)(\s+#.*)?$/.exec(line)
  return m ? `${m[1]}"${m[2]}"${m[3] ?? ''}` : line
}

function describeOddLine(line: string, lineNumber: number, values: Record<string, string>): string[] {
  const trimmed = line.trim()
  if (trimmed === '' || trimmed.startsWith('#')) return []
  const m = /^(?:export\s+)?([\w.-]+)\s*=/.exec(trimmed)
  if (m && m[1]! in values) return []
  // The second and later lines of a quoted value have no name of their own.
  if (
    !m &&
    Object.values(values).some((value) => value.includes('\n') && value.includes(trimmed.replace(/["'`].*$/, '')))
  )
    return []
  return [`line ${lineNumber} is not NAME=value and was passed over`]
}

/** `$HOME` and `${HOME}` as the shell would have expanded them; dotenv leaves them literal. */
export function expandHome(value: string, home: string): string {
  return value.replace(/\$\{HOME\}|\$HOME(?![A-Za-z0-9_])/g, home)
}
