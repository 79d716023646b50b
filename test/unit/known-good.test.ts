/** Which of the kept configs counts as the newest, whatever the clock says. */
import { mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { configHash } from '../../lib/gateway/config.ts'
import { keepKnownGood, knownGoods } from '../../lib/gateway/known-good.ts'
import { readRecord, writeRecord } from '../../lib/gateway/record.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

/** A quarter of an hour before the clocks of Berlin go back from three to two. */
const NOW = Date.parse('2026-10-25T02:45:00+02:00')
const [A, B, C, D, E, F] = ['{ a: 1 }', '{ a: 2 }', '{ a: 3 }', '{ a: 4 }', '{ a: 5 }', '{ a: 6 }'] as const

test.each<[what: string, stepMs: number, configs: string[], kept: string[]]>([
  // As many as it takes for every order of their hashes to come up.
  ['within one second', 0, [A, B, C, D], [D, C, B, A]],
  ['in the hour that the end of summer time repeats', 1_800_000, [A, B, C, D], [D, C, B, A]],
  ['after a clock that ran ten years ahead', -10 * 365 * 86_400_000, [A, B, C, D], [D, C, B, A]],
  ['also when it comes back into use; it is kept once', 0, [A, B, B, A], [A, B]],
  ['and so are four before it', 0, [A, B, C, D, E, F], [F, E, D, C, B]],
])('the config that was kept last is the newest one: %s', async (_what, stepMs, configs, kept) => {
  const home = mkdtempSync(join(tmpdir(), 'known-good-'))
  vi.stubEnv('TZ', 'Europe/Berlin')
  onTestFinished(() => {
    vi.unstubAllEnvs()
    rmSync(home, { recursive: true })
  })
  const settings = loadSettings({ HOME: home, CONFIG_KNOWN_GOOD_AFTER: '0' })
  const gateway = { pid: 1, parentPid: 0, memoryMb: 100, ageSec: 60, command: 'openclaw' }
  mkdirSync(join(home, '.openclaw'))
  for (const [n, text] of configs.entries()) {
    writeFileSync(settings.configPath, text)
    utimesSync(settings.configPath, 1, 1)
    const record = { ...readRecord(settings).value, configHash: configHash(text) }
    await keepKnownGood(settings, record, gateway, NOW + n * stepMs)
  }
  expect(knownGoods(settings).map(({ text }) => text)).toEqual(kept)
  for (const { path } of knownGoods(settings)) expect(statSync(path).mode & 0o777).toBe(0o600)

  // A clock that ran ahead for a while does not keep a config from being kept for as long again.
  writeRecord(settings, { ...readRecord(settings).value, configHealthySinceMs: Date.now() + 1e9 })
  expect(readRecord(settings).value.configHealthySinceMs).toBeLessThanOrEqual(Date.now())
})

test('the first one is kept at once, when a boot with it succeeded; a later one once it has proved itself', async () => {
  const home = mkdtempSync(join(tmpdir(), 'known-good-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const settings = loadSettings({ HOME: home })
  const keep = async (text: string, ageSec: number) => {
    mkdirSync(join(home, '.openclaw'), { recursive: true })
    writeFileSync(settings.configPath, text)
    utimesSync(settings.configPath, NOW / 1000 - 20, NOW / 1000 - 20)
    const record = { ...readRecord(settings).value, configHash: configHash(text), configHealthySinceMs: NOW }
    await keepKnownGood(settings, record, { pid: 1, parentPid: 0, memoryMb: 100, ageSec, command: 'openclaw' }, NOW)
    return knownGoods(settings).map((kept) => kept.text)
  }
  expect(await keep(A, 30)).toEqual([])
  expect(await keep(A, 10)).toEqual([A])
  expect(await keep(B, 10)).toEqual([A])
})
