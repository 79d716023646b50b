/** The tiers against the real OpenClaw gateway, without a supervisor, in a HOME and on a port of the test's own. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createSandbox, type Sandbox, waitFor } from '../support/sandbox.ts'
import { startStranger } from '../support/stranger.ts'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.ts'
import { useRealOpenClaw } from './real-sandbox.ts'

let box: Sandbox
let receiver: WebhookReceiver

beforeAll(async () => {
  receiver = await startWebhookReceiver()
  box = await createSandbox({
    settings: {
      OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '5',
      OPENCLAW_WATCHDOG_RETRY_DELAY: '1',
      OPENCLAW_STARTUP_GRACE: '240',
      OPENCLAW_STOP_GRACE: '20',
      HEALTH_CHECK_HTTP_TIMEOUT: '10',
      HEALTH_CHECK_RETRY_DELAY: '2',
      CONFIG_KNOWN_GOOD_AFTER: '0',
      DISCORD_WEBHOOK_URL: receiver.url,
    },
  })
  useRealOpenClaw(box)
  // The first start of all, from nothing: the watchdog's own work.
  expect((await watchdog()).code).toBe(0)
})
afterAll(async () => {
  await box?.close()
  await receiver?.close()
})
beforeEach(async () => {
  // Every test begins with a healthy gateway on a known-good config.
  for (let i = 0; i < 2; i++) expect((await watchdog()).code).toBe(0)
})

const LONG = { timeoutMs: 400_000 }
const watchdog = () => box.runScript('gateway-watchdog', [], LONG)
const healthCheck = () => box.runScript('gateway-healthcheck', [], LONG)
const gatewayPid = () => JSON.parse(readFileSync(join(box.stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid as number

async function killGateway(): Promise<void> {
  const pid = gatewayPid()
  process.kill(pid, 'SIGKILL')
  // With its memory it takes its time.
  await waitFor(() => !box.processes().includes(pid), `the end of ${pid}`)
}

test('healthy: both tiers leave it alone', async () => {
  const pid = gatewayPid()
  expect((await watchdog()).stdout).not.toMatch(/DOWN|restart/)
  expect((await healthCheck()).stdout).not.toMatch(/DOWN|restart/)
  await watchdog()
  expect(gatewayPid()).toBe(pid)
})

test('killed -9: Level 1 starts it again', async () => {
  await killGateway()
  const run = await watchdog()
  expect(run.code).toBe(0)
  expect(run.stdout).toMatch(/DOWN absent/)
  expect(run.stdout).toMatch(/RECOVERED by level 1/)
})

test('stopped in its tracks (SIGSTOP): Level 1 confirms it, ends it and starts it again', async () => {
  const pid = gatewayPid()
  process.kill(pid, 'SIGSTOP')
  const run = await watchdog()
  expect(run.code).toBe(0)
  expect(run.stdout).toMatch(/DOWN hung: connected, but no answer/)
  expect(run.stdout).toMatch(/RECOVERED by level 1/)
  expect(gatewayPid()).not.toBe(pid)
})

test('a planned restart (SIGUSR2) is left alone: same process, no restart spent', async () => {
  const pid = gatewayPid()
  process.kill(pid, 'SIGUSR2')
  const runs = [await watchdog(), await watchdog()]
  for (const run of runs) {
    expect(run.code).toBe(0)
    expect(run.stdout).not.toMatch(/DOWN|\] restart:/)
  }
  expect(gatewayPid()).toBe(pid)
})

test('killed, and its config unparseable: Level 1 hands on, Level 2 puts the known-good one back', async () => {
  const good = readFileSync(box.configPath, 'utf8')
  await killGateway()
  writeFileSync(box.configPath, good.slice(0, good.length / 2))
  const first = await watchdog()
  expect(first.code).toBe(1)
  expect(first.stdout).toMatch(/DOWN misconfigured: .* is not JSON5/)
  const second = await healthCheck()
  expect(second.code).toBe(0)
  expect(second.stdout).toMatch(/NOTICE needs attention: config rolled back/)
  expect(second.stdout).toMatch(/RECOVERED by level 2/)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
  const kept = readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))
  expect(kept).toHaveLength(1)
})

test('a config that lost gateway.mode passes validation and is refused with exit 78: Level 2 rolls it back', async () => {
  const good = readFileSync(box.configPath, 'utf8')
  await killGateway()
  const config = JSON.parse(good)
  delete config.gateway.mode
  writeFileSync(box.configPath, JSON.stringify(config))
  const first = await watchdog()
  expect(first.code).toBe(1)
  expect(first.stdout).toMatch(/misconfigured.*Gateway start blocked/s)
  expect((await healthCheck()).code).toBe(0)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
})

test('a stranger on the port: nobody is killed or restarted, and the human is told its name and pid', async () => {
  await killGateway()
  const stranger = await startStranger(box)
  try {
    expect((await watchdog()).code).toBe(1)
    const second = await healthCheck()
    expect(second.code).toBe(1)
    expect(second.stdout).toMatch(/MANUAL INTERVENTION REQUIRED/)
    expect(stranger.isAlive()).toBe(true)
    expect((await box.runScript('emergency-recovery-monitor', [], LONG)).code).toBe(0)
    const told = receiver.requests.at(-1)!
    expect(told.problems).toEqual([])
    expect(told.text).toContain(`node (pid ${stranger.pid}`)
    expect((await box.runScript('emergency-recovery-monitor', [], LONG)).code).toBe(0)
    expect(receiver.requests.at(-1)).toBe(told)
  } finally {
    stranger.end()
  }
})
