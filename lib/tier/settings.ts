/** Settings: environment, then the `.env` file, then the default; empty means unset. Nothing else reads `process.env`. */
import { existsSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { parse as parseDotenv } from 'dotenv'
import { EXIT } from './contract.ts'
import { DEFAULT_PROFILE, PROFILE_RULE, parseProfile, profilePort, profileStateDir, profileSuffix } from './profile.ts'
import { ALL_SETTINGS, misspelling, SECRET, type Setting } from './setting-table.ts'
import { readWhole, tried } from './state.ts'

export const SYSTEM_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'

export class SettingsError extends Error {
  exitCode = EXIT.unusable
}

type TableValues = {
  [K in keyof typeof ALL_SETTINGS]: NonNullable<ReturnType<(typeof ALL_SETTINGS)[K]['read']>>
}

type Options = { profile?: string; overlook?: (problem: string) => void }
export type Settings = ReturnType<typeof loadSettings>

/** Throws `SettingsError` with one line that names all that is unusable; the uninstallation passes `overlook` and gets the default instead. */
export function loadSettings(env: NodeJS.ProcessEnv = process.env, options: Options = {}) {
  // Cron entries may lack HOME.
  const home = env.HOME || homedir()
  const profile = readProfile(options.profile, env)
  const unusable: string[] = []
  const fail = options.overlook ?? ((problem: string) => void unusable.push(problem))
  const ownStateDir = profileStateDir(home, profile)
  const { file, values, problems } = readEnvFile(home, profile, env.OPENCLAW_STATE_DIR || ownStateDir, fail)
  const given = (name: string) => env[name] || values[name]
  const isDefault = profile === DEFAULT_PROFILE
  const ownMemoryDir = join(home, `openclaw${profileSuffix(profile, '-')}`, 'memory')
  const ownFolders: Record<string, string> = { OPENCLAW_STATE_DIR: ownStateDir, OPENCLAW_MEMORY_DIR: ownMemoryDir }
  const foldersOfDefault = [profileStateDir(home, DEFAULT_PROFILE), join(home, 'openclaw', 'memory')]

  const read = (setting: Setting<unknown>): unknown => {
    const { name, unit } = setting
    const parse = (text: string) => (text === '' ? '' : setting.read(text.trim(), home))
    const fallback = ownFolders[name] ?? setting.fallback
    const text = given(name)
    const value = parse(text ? text.replace(/\$\{HOME\}|\$HOME(?![A-Za-z0-9_])/g, home) : fallback)
    // A shared folder would mix its logs with those of the default profile.
    const isShared = !isDefault && name in ownFolders && foldersOfDefault.includes(String(value))
    if (value !== undefined && !isShared) return value
    const expected = isShared ? `a folder of the profile ${profile} alone, e.g. ${fallback}` : setting.expected
    const source = env[name] ? 'environment' : `file ${file}`
    fail(`${name}="${unit === SECRET ? '(secret)' : text}": expected ${expected} (${source})`)
    return parse(fallback)
  }

  const table = Object.fromEntries(
    Object.entries(ALL_SETTINGS).map(([key, setting]) => [key, key === 'profile' ? profile : read(setting)]),
  ) as TableValues
  if (unusable.length > 0) throw new SettingsError(unusable.join('; '))
  const misspelt = (names: string[], where?: string) =>
    names.flatMap((name) => misspelling(name) ?? []).map((problem) => `${where}: ${problem}`)
  const ofEnvironment = Object.keys(env).filter((name) => LIKE_OURS.test(name) && !(name in values))
  const configPath = table.configPath || join(table.stateDir, 'openclaw.json')
  // OPENCLAW_PROFILE alone leaves state and config at the default's (2026.9.6): `openclaw --profile` sets all three.
  const ofProfile = { OPENCLAW_PROFILE: profile, OPENCLAW_STATE_DIR: table.stateDir, OPENCLAW_CONFIG_PATH: configPath }
  let { gatewayPort } = table
  if (!given('OPENCLAW_GATEWAY_PORT')) {
    const { port, protocol } = new URL(table.gatewayUrl || 'http://127.0.0.1')
    if (table.gatewayUrl) gatewayPort = Number(port) || (protocol === 'https:' ? 443 : 80)
    else if (!isDefault) gatewayPort = profilePort(profile, configPath)
  }
  return {
    ...table,
    gatewayUrl: table.gatewayUrl || `http://127.0.0.1:${gatewayPort}/`,
    gatewayPort,
    configPath,
    home,
    watchdogDir: join(table.stateDir, 'watchdog'),
    envFile: file,
    /** Skipped lines and probably misspelt names: sentences that name the file. */
    envProblems: [...problems, ...misspelt(Object.keys(values), file), ...misspelt(ofEnvironment, 'environment')],
    fromEnvironment: Object.values(ALL_SETTINGS).flatMap(({ name }) => (env[name] ? [name] : [])),
    /** As the environment alone gives it: scripts/run-tier.sh does not read `.env` for it. */
    stateDirOfJobs: env.OPENCLAW_STATE_DIR ? table.stateDir : ownStateDir,
    childEnv: childEnvironment(env, home, isDefault ? {} : ofProfile),
    secrets: secretsIn(env, values).filter((value) => value.length >= 6),
  }
}

/** Of the environment only what begins like ours is checked. */
const LIKE_OURS = /^(?:OPENCLAW|HEALTH_CHECK|EMERGENCY|GUARDIAN|DOCTOR|LEARNED|CONFIG|ALERT|CLAUDE|PROMETHEUS)_/

const SECRET_NAME = /(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|WEBHOOK|CREDENTIAL|PRIVATE)/i
const PLAIN_NAME =
  /(?:MODEL|VERSION|URL|HOST|ADDR(?:ESS)?|PATH|DIR|FILE|PORT|LEVEL|MODE|PROFILE|REGION|NAME|TZ|LANG)S?$/i
const LIKE_A_KEY = /^(?![/~$-])(?=.*\d)(?=.*[A-Za-z]).{8,}$/

/** OpenClaw has its secrets in the same .env. */
function secretsIn(env: NodeJS.ProcessEnv, values: Record<string, string>): string[] {
  const units = new Map<string, string>(Object.values(ALL_SETTINGS).map(({ name, unit }) => [name, unit]))
  const isSecret = (name: string) => SECRET_NAME.test(name) || units.get(name) === SECRET
  const isKey = (name: string, value: string) => !units.has(name) && !PLAIN_NAME.test(name) && LIKE_A_KEY.test(value)
  const ofFile = Object.entries(values).filter(([name, value]) => isSecret(name) || isKey(name, value))
  return [...ofFile, ...Object.entries(env).filter(([name]) => isSecret(name))].flatMap(([, value]) => value ?? [])
}

function readProfile(given: string | undefined, env: NodeJS.ProcessEnv): string {
  const name = (given ?? env.OPENCLAW_PROFILE ?? '').trim() || DEFAULT_PROFILE
  const profile = parseProfile(name)
  if (profile !== undefined) return profile
  const source = given === undefined ? 'environment' : '--profile'
  throw new SettingsError(`OPENCLAW_PROFILE=${JSON.stringify(name)}: expected ${PROFILE_RULE} (${source})`)
}

/** The default profile's `.env` may also lie where the bash version had it. */
function readEnvFile(home: string, profile: string, stateDir: string, fail: (problem: string) => void) {
  const places = [stateDir, ...(profile === DEFAULT_PROFILE ? [join(home, 'openclaw')] : [])]
  const file = places.map((folder) => join(folder, '.env')).find((path) => existsSync(path))
  let source = ''
  try {
    if (file) source = readWhole(file)
  } catch (error) {
    fail(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code}): expected a file readable by this user`)
  }
  const lines = source.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)
  const values: Record<string, string> = parseDotenv(lines.map(keepHash).join('\n'))
  const severalLines = Object.values(values).filter((value) => value.includes('\n'))
  const isPart = (line: string) => severalLines.some((value) => value.includes(line.trim().replace(/["'`].*$/, '')))
  const problems = lines.flatMap((line, i) =>
    IN_ENV.test(line) || isPart(line) ? [] : [`${file}: line ${i + 1} is not NAME=value and was skipped`],
  )
  const named = values.OPENCLAW_PROFILE?.trim()
  if (named && parseProfile(named) !== profile)
    problems.push(`${file}: OPENCLAW_PROFILE has no effect and was skipped: this is the file of profile ${profile}`)
  return { file, values, problems }
}

/** dotenv cuts an unquoted value at any `#`, a shell only after a blank. */
function keepHash(line: string): string {
  const m = /^(\s*(?:export\s+)?[\w.-]+\s*=\s*)([^'"`\s#][^\s'"`]*#[^'"`]*?)(\s+#.*)?$/.exec(line)
  return m ? `${m[1]}"${m[2]}"${m[3] ?? ''}` : line
}

const IN_ENV = /^\s*(?:(?:export\s+)?[\w.-]+\s*=|#|$)/

function childEnvironment(env: NodeJS.ProcessEnv, home: string, own: Record<string, string>) {
  // `ps` cuts command lines to COLUMNS.
  const { OPENCLAW_PROFILE, COLUMNS, ...others } = env
  // Without USER, Claude Code up to 2.1.260 does not find its login in the keychain.
  const USER = tried(() => userInfo().username) ?? env.USER
  const names = USER ? { USER, LOGNAME: USER } : {}
  const childEnv = { PATH: SYSTEM_PATH, ...others, HOME: home, ...names, ...own } as Record<string, string>
  // systemctl --user finds its manager by this; cron does not set it.
  const uid = process.getuid?.()
  if (uid !== undefined && !childEnv.XDG_RUNTIME_DIR && existsSync(`/run/user/${uid}`))
    childEnv.XDG_RUNTIME_DIR = `/run/user/${uid}`
  return childEnv
}
