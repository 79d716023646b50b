/** The clock is set while the tiers are at work: by an hour, by years, forwards and back. Nobody is accused of it. */
import { expect, onTestFinished, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import { killGateway } from './aftermath.ts'

const PRELOAD = `--import=${new URL('./shifted-clock.mjs', import.meta.url).href}`
const HOUR = 3600
const YEAR = 365 * 24 * HOUR
const JUMPS = [0, HOUR, -HOUR, 5 * YEAR, -5 * YEAR, 30 * YEAR, 0] as const
const SCRIPTS = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian'] as const

const runAt = (box: Sandbox, script: string, shiftSec: number) =>
  box.runScript(script, [], { env: { NODE_OPTIONS: PRELOAD, CLOCK_SHIFT_SEC: String(shiftSec) }, timeoutMs: 120_000 })

test('a healthy gateway is left alone whatever the clock does, and nobody is called', async () => {
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  const box = await createSandbox({ settings: { DISCORD_WEBHOOK_URL: receiver.url, CONFIG_KNOWN_GOOD_AFTER: '0' } })
  onTestFinished(box.close)
  await box.startGateway()
  for (const shiftSec of JUMPS) {
    for (const script of SCRIPTS) {
      const run = await runAt(box, script, shiftSec)
      expect(run.code, `${script}, ${shiftSec} s: ${run.stdout}${run.stderr}`).toBe(0)
      expect(run.stdout + run.stderr).not.toMatch(/DOWN|MANUAL|unexpected|revived|corrupt/)
    }
  }
  expect(box.events().filter(({ what }) => what === 'boot')).toHaveLength(1)
  expect(receiver.delivered()).toEqual([])
}, 600_000)

test('a gateway that crashes is brought back at every reading of the clock', async () => {
  // The real backoff: a restart of the future must not keep the next one waiting for years.
  const box = await createSandbox({ settings: { OPENCLAW_WATCHDOG_BACKOFF: '10 30 60 600' } })
  onTestFinished(box.close)
  await box.startGateway()
  for (const shiftSec of JUMPS) {
    await runAt(box, 'gateway-watchdog', shiftSec)
    await killGateway(box)
    const run = await runAt(box, 'gateway-watchdog', shiftSec)
    expect(run.code, `${shiftSec} s: ${run.stdout}${run.stderr}`).toBe(0)
    expect(run.stdout).toMatch(/RECOVERED by level 1/)
  }
}, 600_000)

test('a call for a human goes out at every reading of the clock, once', async () => {
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  const box = await createSandbox({ settings: { DISCORD_WEBHOOK_URL: receiver.url } })
  onTestFinished(box.close)
  const names = ['one', 'two', 'three', 'four', 'five', 'six', 'seven']
  for (const [i, shiftSec] of JUMPS.entries()) {
    // Written at that reading of the clock, too.
    writeTierLog(box.memoryDir, 'emergency-recovery', {
      text: MARKER.manual(`reason ${names[i]}`),
      minutesAgo: -shiftSec / 60,
      severity: 'ERROR',
    })
    for (let n = 0; n < 2; n++) {
      const run = await runAt(box, 'emergency-recovery-monitor', shiftSec)
      expect(run.code, `${shiftSec} s: ${run.stdout}${run.stderr}`).toBe(0)
    }
    const told = receiver.delivered().filter((message) => JSON.stringify(message).includes(`reason ${names[i]}`))
    expect(told.length, `told at ${shiftSec} s\n${box.log()}`).toBe(1)
  }
}, 600_000)
