/** What a person is told who was woken up: for every verdict and every other trouble, in three lines at most. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { adviceFor, rollbackOf } from '../../lib/gateway/advice.ts'
import { TREATMENTS } from '../../lib/gateway/treat.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

function settingsOf(profile?: string) {
  const home = mkdtempSync(join(tmpdir(), 'oc-advice-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const settings = loadSettings({ HOME: home }, { profile })
  mkdirSync(settings.stateDir, { recursive: true })
  writeFileSync(settings.configPath, '{}')
  return settings
}

test.each(Object.keys(TREATMENTS))(
  '%s: what helps, and what not to do, with nothing left to be filled in',
  (verdict) => {
    const advice = adviceFor(settingsOf(), 'gateway', verdict, 'port 18789 belongs to node (pid 4711, `node x.mjs`)')
    expect(advice.length).toBeLessThanOrEqual(3)
    expect(advice.join('\n')).not.toMatch(/[{}]|undefined|<its pid>/)
    expect(advice[0]).toMatch(verdict === 'supervised-elsewhere' ? /its own supervisor/ : /`[^`]+`/)
    if (verdict !== 'healthy') expect(advice.at(-1)).toMatch(/^do not /)
  },
)

test('a reason of its own comes first; a command that it names is not said twice', () => {
  const settings = settingsOf()
  const newer = adviceFor(settings, 'gateway', 'unusable-state', 'database uses newer schema version 42')
  expect(newer[0]).toMatch(/install the OpenClaw version/)
  expect(newer).toHaveLength(3)
  const all = adviceFor(settings, 'gateway', 'needs-migration', 'startup migrations did not complete').join('\n')
  expect(all.match(/doctor --fix/g)).toHaveLength(1)
})

test('a verdict of another version is treated like an unknown one', () => {
  const settings = settingsOf()
  expect(adviceFor(settings, 'gateway', 'of-tomorrow')).toEqual(adviceFor(settings, 'gateway', 'unknown'))
})

test.each(['watchers', 'disk', 'alerts'] as const)('%s: a command, and what not to do', (trouble) => {
  const advice = adviceFor(settingsOf(), trouble)
  expect(advice.join('\n')).toMatch(/`[^`]+`/)
  expect(advice.at(-1)).toMatch(/^do not /)
  expect(advice.length).toBeLessThanOrEqual(3)
})

test('the commands are those of the profile', () => {
  const advice = adviceFor(settingsOf('work'), 'gateway', 'hung').join('\n')
  expect(advice.match(/`openclaw [^`]*`/g)!.filter((one) => !one.startsWith('`openclaw --profile work '))).toEqual([])
})

test('folders are named when they are there', () => {
  const settings = settingsOf()
  const advice = () => adviceFor(settings, 'gateway', 'misconfigured').join('\n')
  expect(advice()).not.toContain('known-good')
  mkdirSync(join(settings.watchdogDir, 'known-good'), { recursive: true })
  writeFileSync(join(settings.watchdogDir, 'known-good', 'one.json5'), '{}')
  expect(advice()).toContain('known-good')
  rmSync(settings.configPath)
  expect(advice()).not.toContain('config validate')
})

test('a rollback says how to see it and how to undo it, until the config from before is deleted', () => {
  const settings = settingsOf()
  const kept = `${settings.configPath}.broken-2026-11-29-223818`
  const notice = `needs attention: config rolled back: ${settings.configPath} was replaced by the known-good one of /x; the broken one is kept as ${kept} (it is not JSON5)`
  expect(rollbackOf(settings, notice)!.isOpen).toBe(false)
  writeFileSync(kept, '{')
  const { todo, isOpen } = rollbackOf(settings, notice)!
  expect(isOpen).toBe(true)
  const config = '~/.openclaw/openclaw.json'
  expect(todo.join('\n')).toContain(`\`diff ${config}.broken-2026-11-29-223818 ${config}\``)
  expect(todo.join('\n')).toMatch(/`cp \S+ \S+ && openclaw gateway restart`/)
  expect(rollbackOf(settings, 'needs attention: it has been stopped for 6 h')).toBeUndefined()
})
