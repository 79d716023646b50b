/** The clock is set while the tiers are at work: by an hour, by years, forwards and back. No tier acts on it. */
import { expect, onTestFinished, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { createSandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

const PRELOAD = `--import=${new URL('./shifted-clock.mjs', import.meta.url).href}`
const HOUR = 3600
const YEAR = 365 * 24 * HOUR
const JUMPS = [0, HOUR, -HOUR, 5 * YEAR, -5 * YEAR, 30 * YEAR, 0]
const SCRIPTS = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian']

test('a healthy gateway is left alone whatever the clock does, a crash is healed and a human called, once', async () => {
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  // The real backoff: a restart of the future must not keep the next one waiting for years.
  const backoff = { OPENCLAW_WATCHDOG_BACKOFF: '10 30 60 600', CONFIG_KNOWN_GOOD_AFTER: '0' }
  const box = await createSandbox({ settings: { DISCORD_WEBHOOK_URL: receiver.url, ...backoff } })
  onTestFinished(box.close)
  /** Runs a script at that reading of the clock; it must end with 0. */
  const runAt = async (shiftSec: number, script: string) => {
    const env = { NODE_OPTIONS: PRELOAD, CLOCK_SHIFT_SEC: String(shiftSec) }
    const { code, stdout, stderr } = await box.runScript(script, [], { env })
    expect(code, `${script}, ${shiftSec} s: ${stdout}${stderr}`).toBe(0)
    return stdout + stderr
  }
  await box.startGateway()
  for (const shiftSec of JUMPS)
    for (const script of SCRIPTS) expect(await runAt(shiftSec, script)).not.toMatch(/DOWN|MANUAL|corrupt/)
  expect(box.events().filter(({ what }) => what === 'boot')).toHaveLength(1)
  expect(receiver.delivered()).toEqual([])

  for (const [i, shiftSec] of JUMPS.entries()) {
    await runAt(shiftSec, 'gateway-watchdog')
    await box.endProcesses()
    expect(await runAt(shiftSec, 'gateway-watchdog')).toMatch(/RECOVERED by level 1/)
    // Letters: the same reason with another number would be the same failure.
    const reason = `reason ${'abcdefg'[i]} of many`
    const text = MARKER.manual(reason)
    writeTierLog(box.memoryDir, 'emergency-recovery', { text, minutesAgo: -shiftSec / 60, severity: 'ERROR' })
    for (let n = 0; n < 2; n++) await runAt(shiftSec, 'emergency-recovery-monitor')
    const sent = receiver.delivered().filter((message) => JSON.stringify(message).includes(reason))
    expect(sent, `at ${shiftSec} s\n${box.log()}`).toHaveLength(1)
  }
})
