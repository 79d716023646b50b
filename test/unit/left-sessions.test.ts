/** What a run of Level 3 that was killed has left, and what the next run makes of it. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { clearLeftSessions } from '../../lib/doctor/session.ts'
import { configHash } from '../../lib/gateway/config.ts'
import { readRecord, writeRecord } from '../../lib/gateway/record.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

const [BEFORE, AFTER] = ['{ logging: { level: "info" } }', '{ logging: { level: "debug" } }']
const EDITED_AT = Date.now() - 3_600_000
const STAMP = '2026-11-22-081210'

/** A machine with a session that edited the config and was never closed. */
function machine() {
  const home = mkdtempSync(join(tmpdir(), 'left-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const settings = loadSettings({ HOME: home, PATH: join(home, 'bin') })
  const runs = join(settings.watchdogDir, 'doctor')
  const folder = join(runs, STAMP)
  for (const path of [folder, settings.memoryDir]) mkdirSync(path, { recursive: true })
  const context = {
    ...{ folder, tier: 'emergency-recovery', tierPid: 1, env: { HOME: home, PATH: join(home, 'bin') } },
    logPath: join(settings.memoryDir, `emergency-recovery-${STAMP}.log`),
    reportPath: join(settings.memoryDir, `emergency-recovery-report-${STAMP}.md`),
  }
  const edit = { at: EDITED_AT, name: 'set_config', args: {}, acts: true, decision: 'done' }
  const look = { at: EDITED_AT + 60_000, name: 'read_config', args: {}, acts: false, decision: 'done' }
  writeFileSync(join(folder, 'context.json'), JSON.stringify(context))
  writeFileSync(
    join(folder, 'session.json'),
    JSON.stringify({ calls: [edit, look], configBefore: BEFORE, configAfter: configHash(AFTER) }),
  )
  writeFileSync(settings.configPath, AFTER)
  const clear = (isUp: boolean) => clearLeftSessions(settings, isUp, (text) => text)
  return { settings, folder, runs, clear, config: () => readFileSync(settings.configPath, 'utf8') }
}

const healthyAt = (settings: ReturnType<typeof loadSettings>, lastHealthyMs: number) =>
  writeRecord(settings, { ...readRecord(settings).value, lastHealthyMs })

test('an edit that led nowhere is rolled back, and its folder goes', async () => {
  const { settings, clear, config, runs } = machine()
  healthyAt(settings, EDITED_AT - 1000)
  expect(await clear(false)).toEqual([expect.stringContaining('rolled back')])
  expect(config()).toBe(BEFORE)
  expect(readdirSync(runs)).toEqual([])
})

test.each<[string, (left: ReturnType<typeof machine>) => boolean]>([
  ['the gateway is healthy on', () => true],
  [
    'the gateway was healthy on, before it went down again',
    ({ settings }) => {
      healthyAt(settings, EDITED_AT + 1000)
      return false
    },
  ],
])('an edit that %s stays; what the config was before is kept', async (_, prepare) => {
  const left = machine()
  expect(await left.clear(prepare(left))).toEqual([])
  expect(left.config()).toBe(AFTER)
  expect(readFileSync(`${left.settings.configPath}.before-doctor-${STAMP}`, 'utf8')).toBe(BEFORE)
  expect(readFileSync(join(left.settings.memoryDir, `emergency-recovery-${STAMP}.config-before.json5`), 'utf8')).toBe(
    BEFORE,
  )
  expect(readdirSync(left.runs)).toEqual([])
})

test('a config that somebody has changed since is theirs', async () => {
  const { settings, clear, config } = machine()
  writeFileSync(settings.configPath, '{ mine: true }')
  expect(await clear(false)).toEqual([])
  expect(config()).toBe('{ mine: true }')
})

test('a session that cannot be read is said and goes; copies of the first version stay', async () => {
  const { folder, runs, clear, config } = machine()
  writeFileSync(join(folder, 'context.json'), '{ "folder"')
  const old = join(runs, '2026-10-01-000000')
  mkdirSync(old)
  for (const name of ['config-before-2026-10-01-000000.json', 'run.json']) writeFileSync(join(old, name), '')
  expect(await clear(false)).toEqual([expect.stringContaining('cannot be read')])
  expect(config()).toBe(AFTER)
  expect(existsSync(folder)).toBe(false)
  expect(readdirSync(old)).toEqual(['config-before-2026-10-01-000000.json'])
})
