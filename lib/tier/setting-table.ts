/** `.env.example` and the table of docs/settings.md are made of `SETTINGS`. */
import { closest, distance } from 'fastest-levenshtein'
import { PROFILE_RULE, parseProfile } from './profile.ts'

export interface Setting<T> {
  name: string
  fallback: string
  unit: string
  meaning: string
  expected: string
  read: (text: string, home: string) => T | undefined
}

export const DOCTOR_NAMES = ['claude', 'codex', 'qwen', 'gemini'] as const

export const SECRET = 'secret'

/** Twenty-three days of seconds: a longer timer overflows in Node and fires at once. */
const MAX_NUMBER = 2_000_000

function kind<T>(unit: string, expected: string, read: Setting<T>['read']) {
  const how = { unit, expected, read }
  return (name: string, fallback: string, meaning: string): Setting<T> => ({ name, fallback, meaning, ...how })
}

function numberIn(text: string, pattern: RegExp, min: number, max: number): number | undefined {
  return pattern.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined
}

const number = (unit: string, min: number, max = MAX_NUMBER) =>
  kind(unit, `${unit}, a number >= ${min} and <= ${max}`, (text) => numberIn(text, /^\d+(\.\d+)?$/, min, max))
const whole = (unit: string, min: number, max: number) =>
  kind(unit, `${unit}, a whole number from ${min} to ${max}`, (text) => numberIn(text, /^\d+$/, min, max))
const oneOf = <const T extends string>(choices: readonly T[]) =>
  kind(choices.join(' or '), choices.join(' or '), (text) => choices.find((one) => one === text.toLowerCase()))

const askOnOff = oneOf(['ask', 'on', 'off'])
const newsKind = oneOf(['failures', 'all'])
const supervisor = oneOf(['auto', 'external'])
const words = (text: string) => text.split(/[\s,]+/).filter(Boolean)
const readUrl = (text: string) => (/^https?:\/\//i.test(text) && URL.canParse(text) ? text : undefined)
const A_URL = 'a URL that begins with http:// or https://'

const seconds = number('seconds', 0)
const timeout = number('seconds', 0.05)
/** In the bash version this name stood for a pause, 5 s by default: too short for an agent that has to start. */
const startupWait = kind('seconds', `seconds, a number >= 0.05 and <= ${MAX_NUMBER}`, (text) => {
  const sec = numberIn(text, /^\d+(\.\d+)?$/, 0.05, MAX_NUMBER)
  return sec === undefined || sec < 5 ? sec : Math.max(sec, 30)
})
const minutes = number('minutes', 1)
const hours = number('hours', 0)
const megabytes = number('MB', 1)
const count = whole('retries', 1, 100)
const processes = whole('processes', 1, 100)
const text = kind('text', 'text', (value) => value)
const secret = kind(SECRET, 'text', (value) => value)
const url = kind('URL', A_URL, readUrl)
const secretUrl = kind(SECRET, A_URL, readUrl)
const onOff = kind('on or off', 'on or off', (value) =>
  /^(on|true|1|yes)$/i.test(value) ? true : /^(off|false|0|no)$/i.test(value) ? false : undefined,
)
const path = kind('path', 'an absolute path (~ and $HOME are understood)', (value, home) => {
  const expanded = value.replace(/^~(?=\/|$)/, home)
  return expanded.startsWith('/') ? expanded.replace(/(?<=.)\/+$/, '') : undefined
})
const numbers = kind('seconds', 'seconds, numbers >= 0 separated by spaces', (value) =>
  /^[\s,]*(?:\d+(?:\.\d+)?(?:[\s,]+|$))+$/.test(value) ? words(value).map(Number) : undefined,
)
const profileName = kind('name', PROFILE_RULE, parseProfile)
const doctorNames = kind(DOCTOR_NAMES.join(', '), `one or more of ${DOCTOR_NAMES.join(', ')}`, (value) => {
  const names = words(value.toLowerCase()) as (typeof DOCTOR_NAMES)[number][]
  return names.length > 0 && names.every((one) => DOCTOR_NAMES.includes(one)) ? [...new Set(names)] : undefined
})

export const SETTINGS = {
  // The gateway
  gatewayUrl: url('OPENCLAW_GATEWAY_URL', '', 'where the gateway answers; default `http://127.0.0.1:<port>/`'),
  gatewayPort: whole('port', 1, 65_535)('OPENCLAW_GATEWAY_PORT', '18789', "the gateway's port"),
  profile: profileName('OPENCLAW_PROFILE', '', 'which gateway of this machine; only read from the environment'),
  stateDir: path('OPENCLAW_STATE_DIR', '~/.openclaw', "OpenClaw's own folder; a profile's is `~/.openclaw-<profile>`"),
  configPath: path('OPENCLAW_CONFIG_PATH', '', "OpenClaw's config file; default `openclaw.json` in its folder"),
  supervisorMode: supervisor(
    'OPENCLAW_SUPERVISOR_MODE',
    'auto',
    'external: something else starts it, so it is never started here',
  ),
  launchdLabel: text('OPENCLAW_LAUNCHD_LABEL', '', "the gateway's job in launchd; default `ai.openclaw.gateway`"),
  memoryDir: path('OPENCLAW_MEMORY_DIR', '~/openclaw/memory', 'for logs and reports; or `~/openclaw-<profile>/memory`'),
  logRetentionDays: number('days', 1)('LOG_RETENTION_DAYS', '14', 'how long logs are kept (learnings: without limit)'),
  prometheusTextfileDir: path('PROMETHEUS_TEXTFILE_DIR', '', "where metrics go: a folder of node_exporter's"),
  // Level 1
  pulseSec: whole('seconds', 0, 60)('OPENCLAW_PULSE_INTERVAL', '15', 'how often the gateway is asked; 0: every 180 s'),
  watchdogMemoryWarnMb: megabytes('OPENCLAW_WATCHDOG_MEMORY_WARN_MB', '1536', 'memory of the gateway: warning'),
  watchdogMemoryCriticalMb: megabytes('OPENCLAW_WATCHDOG_MEMORY_CRITICAL_MB', '2048', 'the same: critical'),
  startupGraceSec: seconds('OPENCLAW_STARTUP_GRACE', '300', 'how long a start may take before it counts as hung'),
  crashLoopDeaths: processes('OPENCLAW_CRASH_LOOP_DEATHS', '5', 'so many that end unasked are a crash loop'),
  crashLoopMin: minutes('OPENCLAW_CRASH_LOOP_MINUTES', '10', 'if they end within this time'),
  flappingDeaths: processes('OPENCLAW_FLAPPING_DEATHS', '5', 'so many that end unasked within an hour are a warning'),
  // Alive, but silent
  failedRuns: whole('runs', 0, 1000)(
    'SILENT_FAILED_RUNS',
    '3',
    'so many failed runs of its agents cause a notice; 0: never',
  ),
  failedRunsMin: minutes('SILENT_FAILED_RUNS_MINUTES', '60', 'if they failed within this time'),
  quietChannelDays: number('days', 0)(
    'SILENT_CHANNEL_DAYS',
    '3',
    'a channel without a message for so long causes a notice; 0: never',
  ),
  credentialDays: number('days', 0)(
    'SILENT_CREDENTIAL_DAYS',
    '3',
    'a token that expires within this time causes a notice; 0: never',
  ),
  probeAgent: onOff('PROBE_AGENT', 'off', 'whether its agent is asked for one word now and then, which costs tokens'),
  probeAgentHours: hours('PROBE_AGENT_HOURS', '6', 'how often it is asked'),
  // Level 2
  healthCheckMaxRetries: count('HEALTH_CHECK_MAX_RETRIES', '3', 'how often Level 2 restarts the gateway'),
  healthCheckRetryDelaySec: seconds('HEALTH_CHECK_RETRY_DELAY', '30', 'between those restarts'),
  healthCheckEscalationWaitSec: seconds('HEALTH_CHECK_ESCALATION_WAIT', '300', 'downtime before Level 3 is started'),
  alwaysWait: onOff('HEALTH_CHECK_ALWAYS_WAIT', 'off', 'whether Level 3 waits for what cannot pass by itself, too'),
  configRollback: onOff('CONFIG_ROLLBACK', 'on', 'whether Level 2 may put back the last known-good config'),
  // Level 3
  doctors: doctorNames('DOCTOR', 'claude', 'the doctors, in this order; one that cannot be used is skipped'),
  emergencyRecoveryTimeoutSec: number('seconds', 1)('EMERGENCY_RECOVERY_TIMEOUT', '1800', 'how long a doctor may work'),
  doctorMaxPerDay: whole('runs', 0, 1000)('DOCTOR_MAX_PER_DAY', '6', 'how many doctors may be started in 24 hours'),
  learnedRemedies: askOnOff('LEARNED_REMEDIES', 'ask', 'what fixed a failure twice: proposed, applied, or not learned'),
  anthropicApiKey: secret('ANTHROPIC_API_KEY', '', "Claude Code's key, when it has no login of its own"),
  claudeOauthToken: secret('CLAUDE_CODE_OAUTH_TOKEN', '', 'made by `claude setup-token`, for jobs without a keychain'),
  claudeConfigDir: text('CLAUDE_CONFIG_DIR', '', "Claude Code's folder, and its login's name in the keychain"),
  anthropicBaseUrl: url('ANTHROPIC_BASE_URL', '', "another address of Claude Code's service (a gateway or proxy)"),
  openaiApiKey: secret('OPENAI_API_KEY', '', 'the key of Codex or Qwen Code, when they have no login of their own'),
  openaiBaseUrl: url('OPENAI_BASE_URL', '', 'another address of that service, e.g. of a local model server'),
  openaiModel: text('OPENAI_MODEL', '', 'the model that Qwen Code uses'),
  geminiApiKey: secret('GEMINI_API_KEY', '', "Gemini CLI's key"),
  // Level 4
  notify: newsKind('NOTIFY', 'failures', 'what is sent: failures and their end, or also recoveries and warnings'),
  weeklyDigest: onOff('WEEKLY_DIGEST', 'off', "whether the week's figures are sent, on Mondays from 9:00"),
  discordWebhookUrl: secretUrl('DISCORD_WEBHOOK_URL', '', 'where Level 4 sends its alerts: a Discord webhook'),
  slackWebhookUrl: secretUrl('SLACK_WEBHOOK_URL', '', "Slack's incoming webhook"),
  telegramBotToken: secret('TELEGRAM_BOT_TOKEN', '', "Telegram's bot; used together with the chat"),
  telegramChatId: text('TELEGRAM_CHAT_ID', '', 'the chat that the bot writes to'),
  githubRepository: text('GITHUB_REPOSITORY', '', 'where incidents are filed as issues: owner/name on GitHub'),
  githubIssuesToken: secret('GITHUB_ISSUES_TOKEN', '', 'its token, fine-grained, with Issues: read and write'),
  ntfyUrl: secretUrl('NTFY_URL', '', "the topic's URL, e.g. `https://ntfy.sh/my-topic`"),
  ntfyToken: secret('NTFY_TOKEN', '', 'access token, when the topic needs one'),
  alertWebhookUrl: secretUrl('ALERT_WEBHOOK_URL', '', 'any other receiver: alerts are posted there as JSON'),
  heartbeatUrl: secretUrl('HEARTBEAT_URL', '', "pinged by each run of Level 4 (healthchecks.io's protocol)"),
} as const satisfies Record<string, Setting<unknown>>

/** Numbers that no user needs to change, each with its reason; files of 1.x may set them. */
const CONSTANTS = {
  watchdogHealthTimeoutSec: timeout('OPENCLAW_WATCHDOG_HEALTH_TIMEOUT', '5', 'a healthy gateway answers at once'),
  watchdogMaxRetries: count('OPENCLAW_WATCHDOG_MAX_RETRIES', '3', 'one lost probe is no outage'),
  watchdogRetryDelaySec: seconds('OPENCLAW_WATCHDOG_RETRY_DELAY', '10', 'the event loop may be blocked for seconds'),
  watchdogBackoffSec: numbers('OPENCLAW_WATCHDOG_BACKOFF', '10 30 60 600', 'by the number of crashes'),
  watchdogCrashDecayHours: hours('OPENCLAW_WATCHDOG_CRASH_DECAY_HOURS', '6', 'crashes further apart are unrelated'),
  stopGraceSec: seconds('OPENCLAW_STOP_GRACE', '20', 'launchd waits as long before SIGKILL'),
  healthCheckHttpTimeoutSec: timeout('HEALTH_CHECK_HTTP_TIMEOUT', '10', 'longer than that of Level 1'),
  knownGoodAfterSec: seconds('CONFIG_KNOWN_GOOD_AFTER', '600', 'a bad config shows within minutes of a start'),
  emergencyRecoveryCheckIntervalSec: timeout('EMERGENCY_RECOVERY_CHECK_INTERVAL', '30', 'a doctor works for minutes'),
  emergencyRecoveryIdleLimitSec: timeout('EMERGENCY_RECOVERY_IDLE_LIMIT', '300', 'longer than any instrument takes'),
  emergencyRecoveryReportWaitSec: seconds('EMERGENCY_RECOVERY_REPORT_WAIT', '120', 'the gateway runs: no hurry'),
  doctorStartupWaitSec: startupWait('CLAUDE_STARTUP_WAIT', '60', 'a loaded machine starts programs slowly'),
  doctorSameFailureHours: hours('DOCTOR_SAME_FAILURE_HOURS', '1', 'a second doctor would see what the first one saw'),
  alertWindowMin: minutes('EMERGENCY_ALERT_WINDOW', '30', 'an older failure has passed or was sent'),
  alertTimeoutSec: timeout('ALERT_HTTP_TIMEOUT', '10', 'the next run comes in 5 minutes anyway'),
  telegramApiUrl: url('TELEGRAM_API_URL', 'https://api.telegram.org', 'only a Bot API server of your own differs'),
  githubApiUrl: url('GITHUB_API_URL', 'https://api.github.com', 'only GitHub Enterprise Server has another'),
  guardianMaxRevivals: count('GUARDIAN_MAX_REVIVALS', '3', 'in a row: one more would not help'),
} as const satisfies Record<string, Setting<unknown>>

export const ALL_SETTINGS = { ...SETTINGS, ...CONSTANTS }

/** Names of the bash version and of 1.x that have no meaning here. */
const IGNORED = ['CLAUDE_WORKSPACE_TRUST_TIMEOUT', 'OPENCLAW_WATCHDOG_ESCALATE_TO_L3_AFTER', 'GUARDIAN_PATIENCE']
const KNOWN = [...Object.values(ALL_SETTINGS).map(({ name }) => name), ...IGNORED]

/** OpenClaw, which reads the same file, has no names that begin so. */
const OURS = /^(?:OPENCLAW_WATCHDOG|HEALTH_CHECK|EMERGENCY_RECOVERY|EMERGENCY_ALERT|GUARDIAN|DOCTOR|LEARNED)_/
/** OpenClaw reads `OPENAI_API_KEYS` and `OPENAI_API_KEY_1` besides `OPENAI_API_KEY`; the host is other programs'. */
const OTHERS = /_API_KEY(?:S|_\w*)$|^OPENCLAW_GATEWAY_HOST$/

export function misspelling(name: string): string | undefined {
  if (KNOWN.includes(name) || OTHERS.test(name)) return undefined
  const ours = OURS.exec(name)?.[0]
  const limit = ours ? Infinity : name.length < 10 ? 1 : 2
  const candidates = KNOWN.filter((one) => one.startsWith(ours ?? ''))
  const nearest = closest(name, candidates)
  return distance(nearest, name) <= limit ? `unknown setting ${name}, did you mean ${nearest}?` : undefined
}
