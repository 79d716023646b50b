import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadSettings, SettingsError } from '../lib/tier/settings.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'settings-'))
  mkdirSync(join(home, '.openclaw'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

function envFile(text: string, path = join(home, '.openclaw', '.env')): void {
  writeFileSync(path, text)
}
const load = (env: Record<string, string> = {}) => loadSettings({ HOME: home, ...env })

test('without anything the numbers are those of the article', () => {
  const settings = load()
  expect(settings).toMatchObject({
    gatewayPort: 18789,
    gatewayUrl: 'http://127.0.0.1:18789/',
    watchdogMaxRetries: 3,
    watchdogRetryDelaySec: 10,
    watchdogBackoffSec: [10, 30, 60, 600],
    healthCheckMaxRetries: 3,
    healthCheckRetryDelaySec: 30,
    healthCheckEscalationWaitSec: 300,
    emergencyRecoveryTimeoutSec: 1800,
    emergencyRecoveryCheckIntervalSec: 30,
    alertWindowMin: 30,
    memoryDir: join(home, 'openclaw', 'memory'),
    stateDir: join(home, '.openclaw'),
  })
})

test('the environment wins over the .env file, and the file over the default', () => {
  envFile('HEALTH_CHECK_RETRY_DELAY=7\nHEALTH_CHECK_MAX_RETRIES=9\n')
  const settings = load({ HEALTH_CHECK_RETRY_DELAY: '8' })
  expect(settings.healthCheckRetryDelaySec).toBe(8)
  expect(settings.healthCheckMaxRetries).toBe(9)
})

test('an empty value means unset, in the environment and in the file', () => {
  envFile('HEALTH_CHECK_RETRY_DELAY=\nHEALTH_CHECK_MAX_RETRIES=9\n')
  const settings = load({ HEALTH_CHECK_MAX_RETRIES: '' })
  expect(settings.healthCheckRetryDelaySec).toBe(30)
  expect(settings.healthCheckMaxRetries).toBe(9)
})

test("the bash version's .env works unchanged: export, quotes, $HOME, ~, comments, CRLF, a BOM", () => {
  envFile(
    [
      '\uFEFF# my settings',
      'export OPENCLAW_MEMORY_DIR="$HOME/openclaw/erinnerungen"',
      "HEALTH_CHECK_RETRY_DELAY='12'",
      'HEALTH_CHECK_MAX_RETRIES=4   # four',
      'OPENCLAW_CONFIG_PATH=~/my/openclaw.json',
      'DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/1/abc#frag',
      'SOMETHING_OF_OPENCLAW=yes',
      '',
    ].join('\r\n'),
  )
  const settings = load()
  expect(settings.memoryDir).toBe(join(home, 'openclaw', 'erinnerungen'))
  expect(settings.healthCheckRetryDelaySec).toBe(12)
  expect(settings.healthCheckMaxRetries).toBe(4)
  expect(settings.configPath).toBe(join(home, 'my', 'openclaw.json'))
  expect(settings.discordWebhookUrl).toBe('https://discord.com/api/webhooks/1/abc#frag')
  expect(settings.envProblems).toEqual([])
})

test('${HOME} is expanded, and $HOMEWORK is not', () => {
  const settings = load({ OPENCLAW_MEMORY_DIR: '${HOME}/m' })
  expect(settings.memoryDir).toBe(join(home, 'm'))
  expect(() => load({ OPENCLAW_MEMORY_DIR: '$HOMEWORK/m' })).toThrow(/OPENCLAW_MEMORY_DIR="\$HOMEWORK\/m"/)
})

test('~/openclaw/.env is read when ~/.openclaw/.env is not there', () => {
  mkdirSync(join(home, 'openclaw'))
  envFile('HEALTH_CHECK_RETRY_DELAY=3\n', join(home, 'openclaw', '.env'))
  expect(load().healthCheckRetryDelaySec).toBe(3)
  envFile('HEALTH_CHECK_RETRY_DELAY=4\n')
  expect(load().healthCheckRetryDelaySec).toBe(4)
})

test.each([
  ['HEALTH_CHECK_RETRY_DELAY', 'abc', 'expected seconds, a number >= 0'],
  ['HEALTH_CHECK_RETRY_DELAY', '-1', 'expected seconds, a number >= 0'],
  ['HEALTH_CHECK_RETRY_DELAY', '0x10', 'expected seconds, a number >= 0'],
  ['HEALTH_CHECK_RETRY_DELAY', 'Infinity', 'expected seconds, a number >= 0'],
  ['OPENCLAW_GATEWAY_PORT', '99999', 'expected port, a whole number from 1 to 65535'],
  ['OPENCLAW_GATEWAY_URL', 'localhost:18789', 'expected a URL that begins with http:// or https://'],
  ['OPENCLAW_WATCHDOG_BACKOFF', '10 x', 'expected seconds, numbers >= 0 separated by spaces'],
  ['CONFIG_ROLLBACK', 'maybe', 'expected on or off'],
  ['OPENCLAW_MEMORY_DIR', 'relative/path', 'expected an absolute path'],
])('%s="%s" is refused by name, value, expectation and file', (name, value, expectation) => {
  envFile(`${name}=${value}\n`)
  let message = ''
  try {
    load()
  } catch (error) {
    expect(error).toBeInstanceOf(SettingsError)
    message = (error as Error).message
  }
  expect(message).toContain(`${name}="${value}"`)
  expect(message).toContain(expectation)
  expect(message).toContain(join(home, '.openclaw', '.env'))
  expect(message).not.toContain('\n')
})

test('a webhook URL that cannot be used is refused without being shown', () => {
  expect(() => load({ DISCORD_WEBHOOK_URL: 'discord.com/api/webhooks/1/geheim' })).toThrow(/DISCORD_WEBHOOK_URL/)
  try {
    load({ DISCORD_WEBHOOK_URL: 'discord.com/api/webhooks/1/geheim' })
  } catch (error) {
    expect((error as Error).message).not.toContain('geheim')
  }
})

test('a line of the .env file that says nothing is named by its number, and the others count', () => {
  envFile('this is no setting\nHEALTH_CHECK_RETRY_DELAY=5\n')
  const settings = load()
  expect(settings.envProblems).toEqual(['line 1 is not NAME=value and was passed over'])
  expect(settings.healthCheckRetryDelaySec).toBe(5)
})

test('without HOME the home folder comes from the password database', () => {
  expect(loadSettings({}).home).toMatch(/^\//)
})

test('the port is taken from the URL when only that is set', () => {
  expect(load({ OPENCLAW_GATEWAY_URL: 'http://127.0.0.1:4711/' }).gatewayPort).toBe(4711)
  expect(load({ OPENCLAW_GATEWAY_URL: 'http://127.0.0.1:4711/', OPENCLAW_GATEWAY_PORT: '4712' }).gatewayPort).toBe(4712)
})

test('secrets of the .env file are known for redaction, also those that are not ours', () => {
  envFile('OPENCLAW_GATEWAY_TOKEN=verysecret123\nHEALTH_CHECK_RETRY_DELAY=5\n')
  expect(load().secrets).toContain('verysecret123')
})

test('no .env file whatever makes loading end in anything but settings or a SettingsError', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      envFile(text)
      try {
        load()
      } catch (error) {
        expect(error).toBeInstanceOf(SettingsError)
      }
    }),
    { numRuns: 300 },
  )
})
