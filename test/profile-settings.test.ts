/** What a profile changes in the settings: folders, port, `.env`, the environment of child processes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { gatewayLabel, gatewayUnit } from '../lib/services/supervisor.ts'
import { isForeignLog, parseProfile, portInConfig, rollingLogName } from '../lib/tier/profile.ts'
import { loadSettings, SettingsError } from '../lib/tier/settings.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'profile-'))
  for (const name of ['.openclaw', '.openclaw-work', 'openclaw']) mkdirSync(join(home, name))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const put = (path: string, text: string) => writeFileSync(join(home, path), text)
const load = (env: Record<string, string> = {}) => loadSettings({ HOME: home, OPENCLAW_PROFILE: 'work', ...env })

test('a profile has folders, label, unit, and port of its own, as OpenClaw names them', () => {
  const settings = load()
  expect(settings).toMatchObject({
    profile: 'work',
    stateDir: join(home, '.openclaw-work'),
    configPath: join(home, '.openclaw-work', 'openclaw.json'),
    watchdogDir: join(home, '.openclaw-work', 'watchdog'),
    memoryDir: join(home, 'openclaw-work', 'memory'),
    childEnv: {
      OPENCLAW_PROFILE: 'work',
      OPENCLAW_STATE_DIR: join(home, '.openclaw-work'),
      OPENCLAW_CONFIG_PATH: join(home, '.openclaw-work', 'openclaw.json'),
    },
  })
  expect(gatewayLabel(settings)).toBe('ai.openclaw.work')
  expect(gatewayUnit(settings)).toBe('openclaw-gateway-work.service')
  // As OpenClaw 2026.9.6 derives it: `openclaw --profile work gateway status --json`, without a config.
  expect(settings.gatewayPort).toBe(41_984)
  expect(settings.gatewayUrl).toBe('http://127.0.0.1:41984/')
})

test('without one, or with the profile called default, everything is as it was', () => {
  for (const name of ['', ' ', 'default', 'Default'])
    expect(load({ OPENCLAW_PROFILE: name })).toMatchObject({
      profile: 'default',
      stateDir: join(home, '.openclaw'),
      memoryDir: join(home, 'openclaw', 'memory'),
      gatewayPort: 18_789,
    })
  const settings = load({ OPENCLAW_PROFILE: 'default' })
  expect(settings.childEnv).not.toHaveProperty('OPENCLAW_PROFILE')
  expect([gatewayLabel(settings), gatewayUnit(settings)]).toEqual(['ai.openclaw.gateway', 'openclaw-gateway.service'])
})

test('its .env is the one in its own folder; another profile’s is not read', () => {
  put('.openclaw/.env', 'HEALTH_CHECK_MAX_RETRIES=7\nOPENCLAW_GATEWAY_PORT=1111\n')
  put('openclaw/.env', 'HEALTH_CHECK_MAX_RETRIES=8\n')
  expect(load().healthCheckMaxRetries).toBe(3)
  put('.openclaw-work/.env', 'HEALTH_CHECK_MAX_RETRIES=9\nOPENCLAW_GATEWAY_PORT=2222\nOPENCLAW_PROFILE=other\n')
  const settings = load()
  expect(settings).toMatchObject({ healthCheckMaxRetries: 9, gatewayPort: 2222, profile: 'work' })
  expect(settings.envProblems).toEqual([expect.stringMatching(/^OPENCLAW_PROFILE says nothing here/)])
})

test('its port is OPENCLAW_GATEWAY_PORT, else that of its config, broken or not', () => {
  const config =
    '{ // a "port": 1 in a comment\n gateway: { auth: { port: 2 }, "port": 19789, mode: \'local\' }, port: 3 }'
  put('.openclaw-work/openclaw.json', config)
  expect(load().gatewayPort).toBe(19_789)
  put('.openclaw-work/openclaw.json', config.slice(0, -20))
  expect(load().gatewayPort).toBe(19_789)
  expect(load({ OPENCLAW_GATEWAY_PORT: '4444' }).gatewayPort).toBe(4444)
  expect(load({ OPENCLAW_PROFILE: 'dev' }).gatewayPort).toBe(19_001)
})

test('no text whatever makes reading the port fail or take long', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => portInConfig(text) === portInConfig(`${text}`)))
  for (const text of ['{'.repeat(100_000), `"${'\\'.repeat(100_001)}`, '/*'.repeat(50_000), 'a:'.repeat(50_000)])
    expect(portInConfig(text)).toBeUndefined()
})

test.each(['../x', 'a b', '-x', 'a/b', 'ä', 'x'.repeat(65), 'a.b', "a'b"])('the name %j is refused', (name) => {
  expect(parseProfile(name)).toBeUndefined()
  expect(() => load({ OPENCLAW_PROFILE: name })).toThrow(SettingsError)
  expect(() => load({ OPENCLAW_PROFILE: name })).toThrow(
    /^OPENCLAW_PROFILE=".*": expected at most 64 .*\(environment\)$/,
  )
  expect(() => loadSettings({ HOME: home }, { profile: name, overlook: () => {} })).toThrow(/\(--profile\)$/)
})

test('folders of the default profile are refused to another: their logs would mix', () => {
  expect(() => load({ OPENCLAW_MEMORY_DIR: '$HOME/openclaw/memory' })).toThrow(
    /^OPENCLAW_MEMORY_DIR=.*expected a folder of the profile work alone, e\.g\. .*\/openclaw-work\/memory/,
  )
  expect(() => load({ OPENCLAW_STATE_DIR: '~/.openclaw/' })).toThrow(/a folder of the profile work alone/)
})

test('logs in folders that all gateways write into are told apart', () => {
  expect(rollingLogName('My_work-2')).toBe('openclaw--1my-0work--2')
  expect(isForeignLog('openclaw-work-2026-11-22.log', 'work')).toBe(false)
  expect(isForeignLog('openclaw-2026-11-22.1.log', 'default')).toBe(false)
  expect(isForeignLog('openclaw-work-2026-11-22.log', 'default')).toBe(true)
  expect(isForeignLog('openclaw-2026-11-22.log', 'work')).toBe(true)
  expect(isForeignLog('gateway-work.err.log', 'work')).toBe(false)
  expect(isForeignLog('gateway.err.log', 'work')).toBe(true)
  expect(isForeignLog('gateway-work.log', 'default')).toBe(true)
  expect(isForeignLog('update.log', 'default')).toBe(false)
})

test('values that cannot be used are only told where they must not matter', () => {
  put('.openclaw-work/.env', 'HEALTH_CHECK_MAX_RETRIES=many\nOPENCLAW_GATEWAY_PORT=3333\n')
  const overlooked: string[] = []
  const settings = loadSettings({ HOME: home }, { profile: 'work', overlook: (problem) => overlooked.push(problem) })
  expect(settings).toMatchObject({ profile: 'work', healthCheckMaxRetries: 3, gatewayPort: 3333 })
  expect(overlooked).toEqual([expect.stringContaining('HEALTH_CHECK_MAX_RETRIES="many"')])
})
