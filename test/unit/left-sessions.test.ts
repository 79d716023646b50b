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
function machine(lastHealthyMs = EDITED_AT - 1000) {
  const home = mkdtempSync(join(tmpdir(), 'left-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const env = { HOME: home, PATH: join(home, 'bin') }
  const settings = loadSettings(env)
  const runs = join(settings.watchdogDir, 'doctor')
  const folder = join(runs, STAMP)
  for (const path of [folder, settings.memoryDir]) mkdirSync(path, { recursive: true })
  const logPath = join(settings.memoryDir, `emergency-recovery-${STAMP}.log`)
  const context = { folder, tier: 'emergency-recovery', tierPid: 1, logPath, env }
  writeFileSync(join(folder, 'context.json'), JSON.stringify(context))
  const happened = [
    { at: EDITED_AT, name: 'set_config', args: {}, acts: true, decision: 'done' },
    { configBefore: BEFORE },
    { configAfter: configHash(AFTER) },
    { at: EDITED_AT + 60_000, name: 'read_config', args: {}, acts: false, decision: 'done' },
  ]
  // A kill may leave half a line.
  writeFileSync(join(folder, 'session.jsonl'), [...happened.map((one) => JSON.stringify(one)), '{"at":'].join('\n'))
  writeFileSync(settings.configPath, AFTER)
  writeRecord(settings, { ...readRecord(settings).value, lastHealthyMs })
  const clear = (isUp: boolean) => clearLeftSessions(settings, isUp, (text) => text)
  return { settings, folder, runs, clear, config: () => readFileSync(settings.configPath, 'utf8') }
}

const MINE = '{ mine: true }'

test.each([
  ['that led nowhere is rolled back', AFTER, false, undefined, BEFORE],
  ['the gateway is healthy on stays', AFTER, true, undefined, AFTER],
  ['the gateway was healthy on, before it went down again, stays', AFTER, false, EDITED_AT + 1000, AFTER],
  ['that another hand has changed since stays', MINE, false, undefined, MINE],
])('an edit %s; what the config was before is kept', async (_, now, isUp, lastHealthyMs, left) => {
  const { settings, clear, config, runs } = machine(lastHealthyMs)
  writeFileSync(settings.configPath, now)
  mkdirSync(join(runs, 'killed-before-its-first-file'))
  expect(await clear(isUp)).toHaveLength(left === BEFORE ? 1 : 0)
  expect(config()).toBe(left)
  const beside = `${settings.configPath}.before-doctor-${STAMP}`
  const copy = join(settings.memoryDir, `emergency-recovery-${STAMP}.config-before.json5`)
  for (const path of left === BEFORE ? [] : [beside, copy]) expect(readFileSync(path, 'utf8')).toBe(BEFORE)
  expect(readdirSync(runs)).toEqual([])
})

test('a session that cannot be read is said and goes; copies of the first version stay', async () => {
  const { folder, runs, clear, config } = machine()
  writeFileSync(join(folder, 'context.json'), '{ "folder"')
  const old = join(runs, '2026-10-01-000000', 'config-before-2026-10-01-000000.json')
  mkdirSync(join(old, '..'))
  writeFileSync(old, '')
  expect(await clear(false)).toEqual([expect.stringContaining(folder)])
  expect(config()).toBe(AFTER)
  expect([folder, old].map((path) => existsSync(path))).toEqual([false, true])
})
