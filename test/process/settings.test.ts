/** What `.env`, the environment and the profile make of the settings. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { gatewayLabel, gatewayUnit } from '../../lib/services/supervisor.ts'
import { isForeignLog, portInConfig, rollingLogName } from '../../lib/tier/profile.ts'
import { loadSettings, type Settings } from '../../lib/tier/settings.ts'
import { createSandbox } from '../support/sandbox.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'settings-'))
  for (const name of ['.openclaw', '.openclaw-work', 'openclaw']) mkdirSync(join(home, name))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const put = (path: string, text: string) => writeFileSync(join(home, path), text)
const load = (env: Record<string, string> = {}, text = '') => {
  if (text) put('.openclaw/.env', text)
  return loadSettings({ HOME: home, ...env })
}
const work = (env: Record<string, string> = {}) => load({ OPENCLAW_PROFILE: 'work', ...env })

test('the environment wins over the .env file, the file over the default, which is the article’s; empty means unset', () => {
  expect(load()).toMatchObject({
    ...{ watchdogMaxRetries: 3, watchdogRetryDelaySec: 10, watchdogBackoffSec: [10, 30, 60, 600] },
    ...{ healthCheckMaxRetries: 3, healthCheckRetryDelaySec: 30, healthCheckEscalationWaitSec: 300 },
    ...{ emergencyRecoveryTimeoutSec: 1800, emergencyRecoveryCheckIntervalSec: 30, alertWindowMin: 30 },
    gatewayUrl: 'http://127.0.0.1:18789/',
  })
  put('openclaw/.env', 'HEALTH_CHECK_RETRY_DELAY=3\n')
  expect(load().healthCheckRetryDelaySec).toBe(3)
  const text = 'HEALTH_CHECK_RETRY_DELAY=7\nHEALTH_CHECK_MAX_RETRIES=9\nHEALTH_CHECK_ESCALATION_WAIT=\n'
  const expected = { healthCheckRetryDelaySec: 8, healthCheckMaxRetries: 9, healthCheckEscalationWaitSec: 300 }
  expect(load({ HEALTH_CHECK_RETRY_DELAY: '8', HEALTH_CHECK_MAX_RETRIES: '' }, text)).toMatchObject(expected)
  expect(load({ OPENCLAW_GATEWAY_URL: 'http://127.0.0.1:4711/' }).gatewayPort).toBe(4711)
})

test("the bash version's .env works unchanged: export, quotes, $HOME, ~, comments, CRLF, a BOM, all its names", () => {
  const text = `\uFEFF# my settings
    export OPENCLAW_MEMORY_DIR="$HOME/openclaw/erinnerungen"
    HEALTH_CHECK_RETRY_DELAY='12'
    HEALTH_CHECK_MAX_RETRIES=4   # four
    OPENCLAW_CONFIG_PATH=~/my/openclaw.json
    PROMETHEUS_TEXTFILE_DIR=$\{HOME}/m
    DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/1/abc#frag
    FINNHUB_TOKEN=x
    NOTIFICATION_CHANNEL=discord
    OPENCLAW_LLM_PROVIDER=claude
    OPENCLAW_WATCHDOG_ESCALATE_TO_L3_AFTER=1800
    CLAUDE_WORKSPACE_TRUST_TIMEOUT=10
    WORKSPACE_TRUST_CONFIRM_WAIT=3`
  expect(load({}, text.replace(/\n */g, '\r\n'))).toMatchObject({
    ...{ memoryDir: `${home}/openclaw/erinnerungen`, configPath: `${home}/my/openclaw.json` },
    ...{ healthCheckRetryDelaySec: 12, healthCheckMaxRetries: 4, prometheusTextfileDir: `${home}/m` },
    ...{ discordWebhookUrl: 'https://discord.com/api/webhooks/1/abc#frag', envProblems: [] },
  })
  // There it was a pause of 5 s, too short for an agent that has to start.
  const waits = ['5', '10', '120'].map((sec) => load({}, `CLAUDE_STARTUP_WAIT=${sec}\n`).doctorStartupWaitSec)
  expect(waits).toEqual([30, 30, 120])
})

const OF_1X = `OPENCLAW_WATCHDOG_HEALTH_TIMEOUT OPENCLAW_WATCHDOG_MAX_RETRIES OPENCLAW_WATCHDOG_RETRY_DELAY
  OPENCLAW_WATCHDOG_BACKOFF OPENCLAW_WATCHDOG_CRASH_DECAY_HOURS OPENCLAW_STOP_GRACE HEALTH_CHECK_HTTP_TIMEOUT
  CONFIG_KNOWN_GOOD_AFTER EMERGENCY_RECOVERY_CHECK_INTERVAL EMERGENCY_RECOVERY_IDLE_LIMIT EMERGENCY_RECOVERY_REPORT_WAIT
  DOCTOR_SAME_FAILURE_HOURS EMERGENCY_ALERT_WINDOW ALERT_HTTP_TIMEOUT GUARDIAN_MAX_REVIVALS`
test('numbers of 1.x that are no longer documented still take effect', () => {
  const texts = (settings: object) =>
    Object.entries(settings).flatMap(([key, value]) => (key.startsWith('env') ? [] : `${key}: ${value}`))
  const before = texts(load())
  for (const name of OF_1X.split(/\s+/)) {
    const changed = texts(load({}, `${name}=7\n`)).filter((one) => !before.includes(one))
    expect(changed, name).toEqual([expect.stringMatching(/: 7$/)])
  }
})

test.each([
  ['HEALTH_CHECK_RETRY_DELAY', '-1', 'expected seconds, a number >= 0'],
  ['HEALTH_CHECK_RETRY_DELAY', '0x10', 'expected seconds, a number >= 0'],
  ['OPENCLAW_GATEWAY_PORT', '99999', 'expected port, a whole number from 1 to 65535'],
  ['OPENCLAW_GATEWAY_URL', 'localhost:18789', 'expected a URL that begins with http:// or https://'],
  ['OPENCLAW_WATCHDOG_BACKOFF', '10 x', 'expected seconds, numbers >= 0 separated by spaces'],
  ['CONFIG_ROLLBACK', 'maybe', 'expected on or off'],
  ['DOCTOR', 'claude house', 'expected one or more of claude, codex'],
  ['OPENCLAW_MEMORY_DIR', '$HOMEWORK/m', 'expected an absolute path'],
])('%s="%s" is refused by name, value, expectation and file', (name, value, expectation) => {
  const message = `${name}="${value}": ${expectation}`.replace(/[$.*+?^{}()|[\]\\]/g, '\\$&')
  expect(() => load({}, `${name}=${value}\n`)).toThrow(RegExp(`^${message}.* \\(file ${home}/.openclaw/.env\\)$`))
})

test('secrets of .env are known for redaction, also those that are not ours; a bad webhook URL is not shown', () => {
  const text = 'OPENCLAW_GATEWAY_TOKEN=verysecret123\nMY_BANK=hunter2hunter2\nOPENCLAW_LOG_LEVEL=debug12345\n'
  expect(load({}, text).secrets).toEqual(expect.arrayContaining(['verysecret123', 'hunter2hunter2']))
  expect(load().secrets).not.toContain('debug12345')
  const refusal = /^DISCORD_WEBHOOK_URL="\(secret\)": expected a URL((?!geheim).)*$/
  expect(() => load({ DISCORD_WEBHOOK_URL: 'discord.com/api/webhooks/1/geheim' })).toThrow(refusal)
})

test('what is no setting is named and not fatal; names of other programs are never unknown', () => {
  for (const [line, problem] of [
    ['this is no setting', 'line 1 is not NAME=value and was skipped'],
    ['HEALTH_CHECK_RETRY=1', 'unknown setting HEALTH_CHECK_RETRY, did you mean HEALTH_CHECK_RETRY_DELAY?'],
    ['NOTIFI=all', 'unknown setting NOTIFI, did you mean NOTIFY?'],
  ]) {
    const settings = load({}, `${line}\nHEALTH_CHECK_MAX_RETRIES=5\n`)
    expect(settings.envProblems).toEqual([`${home}/.openclaw/.env: ${problem}`])
    expect(settings.healthCheckMaxRetries).toBe(5)
  }
  const others = `OPENCLAW_GATEWAY_TOKEN OPENCLAW_GATEWAY_HOST OPENCLAW_HOME OPENCLAW_LOG_LEVEL OPENAI_API_KEYS
    OPENAI_API_KEY_1 GEMINI_API_KEY_2 ZAI_API_KEY DISCORD_BOT_TOKEN VECTOR CLAUDE_CONFIG_DIR ALERT_EMAIL CONFIG_SHELL`
  const names = others.split(/\s+/)
  const env = Object.fromEntries(names.map((name) => [name, 'x']))
  expect(load(env, names.map((name) => `${name}=x`).join('\n')).envProblems).toEqual([])
  // In the environment only names that begin like ours are checked.
  put('.openclaw/.env', '')
  expect(load({ HEALTH_CHECK_MAX_RETRY: '1', NOTIFI: 'all' }).envProblems).toEqual([
    'environment: unknown setting HEALTH_CHECK_MAX_RETRY, did you mean HEALTH_CHECK_MAX_RETRIES?',
  ])
})

test('a misspelt name is said once in the log of a tier, and by status, and both go on', async ({ onTestFinished }) => {
  const box = await createSandbox({ settings: { HEALTH_CHECK_RETRY_DELAI: '5' } })
  onTestFinished(box.close)
  await box.startGateway()
  for (let tick = 0; tick < 2; tick++) expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  const said = 'unknown setting HEALTH_CHECK_RETRY_DELAI, did you mean HEALTH_CHECK_RETRY_DELAY?'
  expect(box.log('watchdog').split(said)).toHaveLength(2)
  expect((await box.runScript('status')).stdout.replace(/\s+/g, ' ')).toContain(said)
})

const names = (one: Settings) => [gatewayLabel(one), gatewayUnit(one)]

test('a profile has folders, label, unit and port of its own, as OpenClaw names them', () => {
  const paths = { OPENCLAW_STATE_DIR: `${home}/.openclaw-work`, OPENCLAW_PROFILE: 'work' }
  const configPath = `${home}/.openclaw-work/openclaw.json`
  const settings = work()
  expect(settings).toMatchObject({
    ...{ configPath, stateDir: paths.OPENCLAW_STATE_DIR, memoryDir: `${home}/openclaw-work/memory` },
    childEnv: { ...paths, OPENCLAW_CONFIG_PATH: configPath },
    // As OpenClaw 2026.9.6 derives it: `openclaw --profile work gateway status --json`, without a config.
    gatewayUrl: 'http://127.0.0.1:41984/',
  })
  expect(names(settings)).toEqual(['ai.openclaw.work', 'openclaw-gateway-work.service'])
})

test('a profile is the default one without a name, and refused with a name that could leave HOME', () => {
  for (const name of ['', ' ', 'Default']) {
    const plain = load({ OPENCLAW_PROFILE: name })
    expect(plain).toMatchObject({ profile: 'default', stateDir: `${home}/.openclaw`, gatewayPort: 18_789 })
    expect(plain.childEnv).not.toHaveProperty('OPENCLAW_PROFILE')
    expect(names(plain)).toEqual(['ai.openclaw.gateway', 'openclaw-gateway.service'])
  }
  for (const name of ['../x', 'a b', '-x', 'ä', 'x'.repeat(65), 'a.b', "a'b"]) {
    const refusal = /^OPENCLAW_PROFILE=".*": expected at most 64 .*\((?:environment|--profile)\)$/
    expect(() => load({ OPENCLAW_PROFILE: name })).toThrow(refusal)
    expect(() => loadSettings({ HOME: home }, { profile: name, overlook: () => {} })).toThrow(refusal)
  }
})

test('a profile reads its own .env alone, and may not use the folders of the default profile', () => {
  put('.openclaw/.env', 'HEALTH_CHECK_MAX_RETRIES=7\nOPENCLAW_GATEWAY_PORT=1111\n')
  put('openclaw/.env', 'HEALTH_CHECK_MAX_RETRIES=8\n')
  expect(work().healthCheckMaxRetries).toBe(3)
  put('.openclaw-work/.env', 'HEALTH_CHECK_MAX_RETRIES=many\nOPENCLAW_GATEWAY_PORT=2222\nOPENCLAW_PROFILE=other\n')
  const overlooked: string[] = []
  const settings = loadSettings({ HOME: home }, { profile: 'work', overlook: (problem) => overlooked.push(problem) })
  expect(settings).toMatchObject({ profile: 'work', healthCheckMaxRetries: 3, gatewayPort: 2222 })
  expect(settings.envProblems).toEqual([expect.stringContaining('OPENCLAW_PROFILE')])
  expect(overlooked).toEqual([expect.stringContaining('HEALTH_CHECK_MAX_RETRIES="many"')])
  const shared = { OPENCLAW_MEMORY_DIR: '$HOME/openclaw/memory', OPENCLAW_STATE_DIR: '~/.openclaw/' }
  for (const [name, folder] of Object.entries(shared))
    expect(() => work({ [name]: folder })).toThrow(/: expected a folder of the profile work alone, e\.g\. .*-work/)
})

test('a profile has the port of OPENCLAW_GATEWAY_PORT, else that of its config, broken or not', () => {
  const config = `{ // a "port": 1\n gateway: { auth: { port: 2 }, "port": 19789, mode: 'local' }, port: 3 }`
  for (const text of [config, config.slice(0, -20)]) {
    put('.openclaw-work/openclaw.json', text)
    expect(work().gatewayPort).toBe(19_789)
  }
  expect(work({ OPENCLAW_GATEWAY_PORT: '4444' }).gatewayPort).toBe(4444)
  expect(load({ OPENCLAW_PROFILE: 'dev' }).gatewayPort).toBe(19_001)
  for (const text of ['{'.repeat(100_000), `"${'\\'.repeat(100_001)}`, '/*'.repeat(50_000), 'a:'.repeat(50_000)])
    expect(portInConfig(text)).toBeUndefined()
})

test('a profile knows its own logs among those of all', () => {
  expect(rollingLogName('My_work-2')).toBe('openclaw--1my-0work--2')
  const ofWork = ['openclaw-work-2026-11-22.log', 'gateway-work.err.log']
  const ofDefault = ['openclaw-2026-11-22.1.log', 'gateway.log']
  const others = (profile: string) =>
    [...ofWork, ...ofDefault, 'update.log'].filter((name) => isForeignLog(name, profile))
  expect([others('work'), others('default')]).toEqual([ofDefault, ofWork])
})
