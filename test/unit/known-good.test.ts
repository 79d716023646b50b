/** Which of the kept configs counts as the newest, whatever the clock says. */
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { readConfig } from '../../lib/gateway/config.ts'
import { keepKnownGood, knownGoods } from '../../lib/gateway/known-good.ts'
import { readRecord } from '../../lib/gateway/record.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

/** A home with a config, and a gateway that has been healthy on it for years. */
function patient() {
  const home = mkdtempSync(join(tmpdir(), 'known-good-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const settings = loadSettings({ HOME: home, CONFIG_KNOWN_GOOD_AFTER: '0' })
  mkdirSync(join(home, '.openclaw'))
  const gateway = { pid: 1, parentPid: 0, memoryMb: 100, ageSec: 60, command: 'openclaw' }
  const keep = async (text: string, nowMs: number) => {
    writeFileSync(settings.configPath, text)
    utimesSync(settings.configPath, 1, 1)
    const configHash = readConfig(settings)!.hash
    return await keepKnownGood(settings, { ...readRecord(settings).value, configHash }, gateway, nowMs)
  }
  return { keep, kept: () => knownGoods(settings).map(({ text }) => text) }
}

/** A quarter of an hour before the clocks of Berlin go back from three to two. */
const NOW = Date.parse('2026-10-25T02:45:00+02:00')

test.each([
  ['within one second', 0],
  ['in the hour that the end of summer time repeats', 1_800_000],
  ['after a clock that ran ten years ahead', -10 * 365 * 86_400_000],
])('the config that was kept last is the newest one: %s', async (_, step) => {
  vi.stubEnv('TZ', 'Europe/Berlin')
  onTestFinished(() => void vi.unstubAllEnvs())
  const { keep, kept } = patient()
  // As many as it takes for every order of their hashes to come up.
  const configs = ['{ a: 1 }', '{ a: 2 }', '{ a: 3 }', '{ a: 4 }']
  for (const [n, text] of configs.entries()) await keep(text, NOW + n * step)
  expect(kept()).toEqual(configs.toReversed())
})

test('the newest config is kept once, and one that comes back into use is the newest again', async () => {
  const { keep, kept } = patient()
  for (const text of ['{ a: 1 }', '{ a: 2 }', '{ a: 2 }', '{ a: 1 }']) await keep(text, NOW)
  expect(kept()).toEqual(['{ a: 1 }', '{ a: 2 }'])
})
