/**
 * Every setting, in one table: name, default, unit, meaning. Nothing else in the project reads `process.env`.
 * Order: environment, then the `.env` file, then the default. An empty value means unset.
 * `.env.example` and the README's table are made from this table, and a test holds them to it.
 */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { expandHome, readEnvFile } from './env-file.ts'
import {
  DEFAULT_PROFILE,
  PROFILE_RULE,
  parseProfile,
  profileMemoryDir,
  profilePort,
  profileStateDir,
} from './profile.ts'
import {
  Expected,
  nameList,
  number,
  numberList,
  oneOf,
  onOff,
  path,
  SECRET,
  type Setting,
  secret,
  secretUrl,
  text,
  url,
  wholeNumber,
} from './setting-kinds.ts'

/** The coding agents that can be the doctor. */
export const DOCTOR_NAMES = ['claude', 'codex', 'qwen', 'gemini'] as const

/** A setting that cannot be used. The message names variable, value, expectation and file: it is the whole report. */
export class SettingsError extends Error {}

export const SETTINGS = {
  // The gateway
  gatewayUrl: url('OPENCLAW_GATEWAY_URL', '', 'where the gateway answers; default `http://127.0.0.1:<port>/`'),
  gatewayPort: wholeNumber('OPENCLAW_GATEWAY_PORT', 18789, 'port', "the gateway's port", 1, 65535),
  profile: {
    name: 'OPENCLAW_PROFILE',
    fallback: '',
    unit: 'name',
    meaning:
      'which of several gateways on this machine (see Profiles); only from the environment, for it says which `.env` is read',
    read: (text: string) => {
      const profile = parseProfile(text)
      if (profile === undefined) throw new Expected(PROFILE_RULE)
      return profile
    },
  },
  stateDir: path('OPENCLAW_STATE_DIR', '~/.openclaw', "OpenClaw's own folder; a profile's is `~/.openclaw-<profile>`"),
  configPath: path('OPENCLAW_CONFIG_PATH', '', "OpenClaw's config file; default `openclaw.json` in its folder"),
  memoryDir: path(
    'OPENCLAW_MEMORY_DIR',
    '~/openclaw/memory',
    "where the logs, reports and learnings are written; a profile's are in `~/openclaw-<profile>/memory`",
  ),
  // Level 1
  watchdogHealthTimeoutSec: number('OPENCLAW_WATCHDOG_HEALTH_TIMEOUT', 5, 'seconds', "Level 1's HTTP timeout", 0.05),
  watchdogMaxRetries: wholeNumber(
    'OPENCLAW_WATCHDOG_MAX_RETRIES',
    3,
    'probes',
    'probes that confirm a failure',
    1,
    100,
  ),
  watchdogRetryDelaySec: number('OPENCLAW_WATCHDOG_RETRY_DELAY', 10, 'seconds', 'between those probes'),
  watchdogBackoffSec: numberList(
    'OPENCLAW_WATCHDOG_BACKOFF',
    '10 30 60 600',
    'seconds',
    'least time between two restarts, by the number of crashes',
  ),
  watchdogCrashDecayHours: number(
    'OPENCLAW_WATCHDOG_CRASH_DECAY_HOURS',
    6,
    'hours',
    'without a crash after which the crash counter starts anew',
  ),
  watchdogMemoryWarnMb: number(
    'OPENCLAW_WATCHDOG_MEMORY_WARN_MB',
    1536,
    'MB',
    'memory of the gateway worth a warning',
    1,
  ),
  watchdogMemoryCriticalMb: number('OPENCLAW_WATCHDOG_MEMORY_CRITICAL_MB', 2048, 'MB', 'memory that is critical', 1),
  startupGraceSec: number(
    'OPENCLAW_STARTUP_GRACE',
    300,
    'seconds',
    'how long one gateway process may take to start before it counts as hung',
  ),
  stopGraceSec: number(
    'OPENCLAW_STOP_GRACE',
    20,
    'seconds',
    'how long a hung gateway process gets to end by itself before it is killed (launchd gives as long)',
  ),
  // Level 2
  healthCheckMaxRetries: wholeNumber('HEALTH_CHECK_MAX_RETRIES', 3, 'restarts', "Level 2's retries", 1, 100),
  healthCheckRetryDelaySec: number('HEALTH_CHECK_RETRY_DELAY', 30, 'seconds', 'between those retries'),
  healthCheckEscalationWaitSec: number(
    'HEALTH_CHECK_ESCALATION_WAIT',
    300,
    'seconds',
    'how long the gateway must have been down in all before Level 3 is started',
  ),
  healthCheckHttpTimeoutSec: number('HEALTH_CHECK_HTTP_TIMEOUT', 10, 'seconds', "Level 2's HTTP timeout", 0.05),
  configRollback: onOff('CONFIG_ROLLBACK', 'on', 'whether Level 2 may put back the last known-good config'),
  knownGoodAfterSec: number(
    'CONFIG_KNOWN_GOOD_AFTER',
    600,
    'seconds',
    'healthy on an unchanged config, after which that config is kept as known-good',
  ),
  // Level 3
  emergencyRecoveryTimeoutSec: number('EMERGENCY_RECOVERY_TIMEOUT', 1800, 'seconds', 'how long the doctor may work', 1),
  emergencyRecoveryCheckIntervalSec: number(
    'EMERGENCY_RECOVERY_CHECK_INTERVAL',
    30,
    'seconds',
    'between looks at the gateway while the doctor works',
    0.05,
  ),
  emergencyRecoveryIdleLimitSec: number(
    'EMERGENCY_RECOVERY_IDLE_LIMIT',
    300,
    'seconds',
    'without any sign of work after which the doctor counts as idle',
    0.1,
  ),
  emergencyRecoveryReportWaitSec: number(
    'EMERGENCY_RECOVERY_REPORT_WAIT',
    120,
    'seconds',
    'how long a recovered gateway waits for the report',
  ),
  doctors: nameList(
    'DOCTOR',
    DOCTOR_NAMES,
    'claude',
    'who is called as the doctor, in this order: one that is not installed, not signed in or out of quota is skipped',
  ),
  doctorStartupWaitSec: number(
    'CLAUDE_STARTUP_WAIT',
    60,
    'seconds',
    'how long the doctor may take to be connected to its instruments',
    0.1,
  ),
  learnedRemedies: oneOf(
    'LEARNED_REMEDIES',
    ['ask', 'on', 'off'],
    'ask',
    'what healed the same failure twice: propose it to you, apply it without asking, or neither learn nor apply',
  ),
  doctorMaxPerDay: wholeNumber('DOCTOR_MAX_PER_DAY', 6, 'runs', 'how many doctors may be started in 24 hours', 0, 1000),
  doctorSameFailureHours: number(
    'DOCTOR_SAME_FAILURE_HOURS',
    1,
    'hours',
    'in which no second doctor is started for the same unchanged failure',
  ),
  // What Claude Code signs in with, when it is not a login kept in HOME.
  anthropicApiKey: secret('ANTHROPIC_API_KEY', "Claude Code's key, when it has no login of its own"),
  claudeOauthToken: secret(
    'CLAUDE_CODE_OAUTH_TOKEN',
    'the token of `claude setup-token`, for a machine without a keychain, and for a Mac, where a background job may not get at it',
  ),
  anthropicBaseUrl: url('ANTHROPIC_BASE_URL', '', "another address of Claude Code's service (a gateway or proxy)"),
  openaiApiKey: secret('OPENAI_API_KEY', 'the key of Codex or Qwen Code, when they have no login of their own'),
  openaiBaseUrl: url('OPENAI_BASE_URL', '', 'another address of that service, e.g. of a model server on this machine'),
  openaiModel: text('OPENAI_MODEL', 'the model that Qwen Code asks for'),
  geminiApiKey: secret('GEMINI_API_KEY', "Gemini CLI's key"),
  // Level 4
  alertWindowMin: number('EMERGENCY_ALERT_WINDOW', 30, 'minutes', 'how old a failure may be to be alerted', 1),
  alertTimeoutSec: number('ALERT_HTTP_TIMEOUT', 10, 'seconds', 'how long a channel may take to answer', 0.05),
  notify: oneOf(
    'NOTIFY',
    ['failures', 'all'],
    'failures',
    'what is told: what needs a human, and its end; or also recoveries, rollbacks, revivals and memory warnings',
  ),
  weeklyDigest: onOff(
    'WEEKLY_DIGEST',
    'off',
    "whether the figures of the week are sent through all channels, on Mondays from 9:00 (Level 4's first run then)",
  ),
  discordWebhookUrl: secretUrl('DISCORD_WEBHOOK_URL', 'where Level 4 calls the human'),
  slackWebhookUrl: secretUrl('SLACK_WEBHOOK_URL', "Slack's incoming webhook"),
  telegramBotToken: secret('TELEGRAM_BOT_TOKEN', "Telegram's bot; used together with the chat"),
  telegramChatId: text('TELEGRAM_CHAT_ID', 'the chat that the bot writes to'),
  telegramApiUrl: url('TELEGRAM_API_URL', 'https://api.telegram.org', 'a Bot API server of your own'),
  ntfyUrl: secretUrl('NTFY_URL', "the topic's URL, e.g. `https://ntfy.sh/my-topic`"),
  ntfyToken: secret('NTFY_TOKEN', 'access token, when the topic needs one'),
  alertWebhookUrl: secretUrl('ALERT_WEBHOOK_URL', 'any other receiver: alerts are posted there as JSON'),
  heartbeatUrl: secretUrl(
    'HEARTBEAT_URL',
    "pinged by each run of Level 4 (healthchecks.io's protocol), so that a dead machine is noticed",
  ),
  // The guardian, and all
  guardianMaxRevivals: wholeNumber(
    'GUARDIAN_MAX_REVIVALS',
    3,
    'revivals',
    'in a row before the human is called',
    1,
    100,
  ),
  guardianPatienceSec: number(
    'GUARDIAN_PATIENCE',
    20,
    'seconds',
    'how long a watcher that seems dead, or was just started again, may take to show a sign of life',
    0.05,
  ),
  prometheusTextfileDir: path(
    'PROMETHEUS_TEXTFILE_DIR',
    '',
    "where the tiers' numbers go, a folder of node_exporter's; default `metrics` in the folder of our state",
  ),
  logRetentionDays: number('LOG_RETENTION_DAYS', 14, 'days', 'how long logs are kept (learnings are kept for ever)', 1),
} as const satisfies Record<string, Setting<unknown>>

type TableValues = { [K in keyof typeof SETTINGS]: ReturnType<(typeof SETTINGS)[K]['read']> }

export interface Settings extends TableValues {
  home: string
  /** Our own state: `<stateDir>/watchdog`. */
  watchdogDir: string
  /** The `.env` file that was read, or undefined when there is none. */
  envFile: string | undefined
  /** Lines of the `.env` file that say nothing that can be understood; they were passed over. */
  envProblems: string[]
  /** Names of the settings that the environment gives. */
  fromEnvironment: string[]
  /** The state folder as far as the environment alone tells it: scripts/run-tier.sh cannot read `.env` for it. */
  stateDirOfJobs: string
  /**
   * The environment for child processes: what we got, with HOME, the profile and (Linux, cron) XDG_RUNTIME_DIR made
   * sure of.
   */
  childEnv: Record<string, string>
  /** Values that must never leave the machine. */
  secrets: string[]
}

/**
 * Reads all settings. Throws `SettingsError` with one line that names variable, value, expectation and file.
 * @param env the environment; only tests pass another than the process's own.
 * @param options.profile the profile, when it is not the one of the environment
 * @param options.overlook called with the message of each value that cannot be used (and of a `.env` that cannot be
 *   read) instead of throwing; its default is taken. For the uninstallation, which must not depend on them.
 */
export function loadSettings(
  env: NodeJS.ProcessEnv = process.env,
  options: { profile?: string; overlook?: (problem: string) => void } = {},
): Settings {
  // os.homedir() falls back to the password database: cron entries and hand-made plists may lack HOME.
  const home = env.HOME || homedir()
  const profile = readProfile(options.profile, env)
  const fail = (problem: string) => {
    if (!options.overlook) throw new SettingsError(problem)
    options.overlook(problem)
  }
  const { file, values, problems } = readEnvFile(home, profile, env.OPENCLAW_STATE_DIR, fail)
  const fallbacks: Record<string, string> = {
    OPENCLAW_STATE_DIR: profileStateDir(home, profile),
    OPENCLAW_MEMORY_DIR: profileMemoryDir(home, profile),
  }

  const read = <K extends keyof typeof SETTINGS>(key: K): TableValues[K] => {
    const setting: Setting<unknown> = SETTINGS[key]
    if (key === 'profile') return profile as TableValues[K]
    const fromEnv = env[setting.name]
    const given = fromEnv || values[setting.name]
    const fallback = fallbacks[setting.name] ?? setting.fallback
    const raw = given ? expandHome(given, home) : fallback
    if (raw === '') return '' as TableValues[K]
    try {
      const value = setting.read(raw.trim(), home) as TableValues[K]
      // A profile that shared these with the default one would read its logs and fight over its gateway.
      const isDefaults = [profileStateDir(home, DEFAULT_PROFILE), profileMemoryDir(home, DEFAULT_PROFILE)]
      if (profile !== DEFAULT_PROFILE && setting.name in fallbacks && isDefaults.includes(String(value)))
        throw new Expected(`a folder of the profile ${profile} alone, e.g. ${fallback}`)
      return value
    } catch (error) {
      if (!(error instanceof Expected)) throw error
      const source = fromEnv ? 'environment' : `file ${file}`
      const shown = setting.unit === SECRET ? '(secret)' : given
      fail(`${setting.name}="${shown}": expected ${error.message} (${source})`)
      return (fallback === '' ? '' : setting.read(fallback, home)) as TableValues[K]
    }
  }

  const table = Object.fromEntries(
    Object.keys(SETTINGS).map((key) => [key, read(key as keyof typeof SETTINGS)]),
  ) as unknown as TableValues
  const secrets = Object.entries(SETTINGS).flatMap(([key, setting]) =>
    setting.unit === SECRET ? [String(table[key as keyof TableValues])] : [],
  )
  const configPath = table.configPath || join(table.stateDir, 'openclaw.json')
  const hasPort = Boolean(env.OPENCLAW_GATEWAY_PORT || values.OPENCLAW_GATEWAY_PORT)
  let { gatewayPort } = table
  if (!hasPort && table.gatewayUrl) gatewayPort = portOf(table.gatewayUrl)
  else if (!hasPort && profile !== DEFAULT_PROFILE) gatewayPort = profilePort(profile, configPath)
  return {
    ...table,
    gatewayUrl: table.gatewayUrl || `http://127.0.0.1:${gatewayPort}/`,
    gatewayPort,
    configPath,
    home,
    watchdogDir: join(table.stateDir, 'watchdog'),
    envFile: file,
    envProblems: problems,
    fromEnvironment: Object.values(SETTINGS).flatMap(({ name }) => (env[name] ? [name] : [])),
    stateDirOfJobs: env.OPENCLAW_STATE_DIR ? table.stateDir : profileStateDir(home, profile),
    childEnv: childEnvironment(env, home, profile, table.stateDir, configPath),
    // The .env file is shared with OpenClaw: it may hold secrets that are no settings of ours.
    secrets: [...secrets, ...secretLooking(values), ...keyLike(values), ...secretLooking(env)].filter(
      (value) => value.length >= 6,
    ),
  }
}

function portOf(address: string): number {
  const { port, protocol } = new URL(address)
  return port ? Number(port) : protocol === 'https:' ? 443 : 80
}

/** Values of the `.env` file that look like keys under a name that does not say so: `MY_BANK_LOGIN=hunter2…`. */
function keyLike(values: Record<string, string | undefined>): string[] {
  const ours = new Set(Object.values(SETTINGS).map(({ name }) => name as string))
  const isPlain =
    /(?:MODEL|VERSION|URL|HOST|ADDR(?:ESS)?|PATH|DIR|FILE|PORT|LEVEL|MODE|PROFILE|REGION|NAME|TZ|LANG)S?$/i
  return Object.entries(values).flatMap(([name, value]) =>
    !ours.has(name) && !isPlain.test(name) && value && /^(?![/~$-])(?=.*\d)(?=.*[A-Za-z]).{8,}$/.test(value)
      ? [value]
      : [],
  )
}

function secretLooking(values: Record<string, string | undefined>): string[] {
  return Object.entries(values).flatMap(([name, value]) =>
    /(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|WEBHOOK|CREDENTIAL|PRIVATE)/i.test(name) && value ? [value] : [],
  )
}

/** Before everything else, for it says where the rest is read; so a bad one is never overlooked. */
function readProfile(given: string | undefined, env: NodeJS.ProcessEnv): string {
  const name = (given ?? env.OPENCLAW_PROFILE ?? '').trim() || DEFAULT_PROFILE
  const profile = parseProfile(name)
  if (profile !== undefined) return profile
  const source = given === undefined ? 'environment' : '--profile'
  throw new SettingsError(`OPENCLAW_PROFILE=${JSON.stringify(name)}: expected ${PROFILE_RULE} (${source})`)
}

function childEnvironment(
  env: NodeJS.ProcessEnv,
  home: string,
  profile: string,
  stateDir: string,
  configPath: string,
): Record<string, string> {
  const childEnv: Record<string, string> = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' }
  for (const [name, value] of Object.entries(env)) if (value !== undefined) childEnv[name] = value
  childEnv.HOME = home
  // Whatever `openclaw …` is asked or told, it is this profile's gateway that is meant. OPENCLAW_PROFILE alone names the
  // service, the log and the port, but leaves state and config at the default's (2026.9.6, measured): the three that
  // `openclaw --profile` sets.
  if (profile === DEFAULT_PROFILE) delete childEnv.OPENCLAW_PROFILE
  else
    Object.assign(childEnv, {
      OPENCLAW_PROFILE: profile,
      OPENCLAW_STATE_DIR: stateDir,
      OPENCLAW_CONFIG_PATH: configPath,
    })
  // systemctl --user finds its manager by this; cron does not set it.
  const uid = process.getuid?.()
  if (uid !== undefined && !childEnv.XDG_RUNTIME_DIR && existsSync(`/run/user/${uid}`))
    childEnv.XDG_RUNTIME_DIR = `/run/user/${uid}`
  return childEnv
}
