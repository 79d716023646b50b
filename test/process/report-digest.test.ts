/** The weekly digest as Level 4 sends it: off by default, once, and never lost. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { endOfLastWeek } from '../../lib/report/digest.ts'
import { MARKER } from '../../lib/tier/contract.ts'
import { readHtml, startAlertServices } from '../support/alert-services.ts'
import { createSandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { ANSWERS, startWebhookReceiver } from '../support/webhook-receiver.ts'
import { writeWeek } from '../support/week.ts'

async function scene(settings: Record<string, string> = {}) {
  const discord = await startWebhookReceiver()
  onTestFinished(discord.close)
  const all = { DISCORD_WEBHOOK_URL: discord.url, WEEKLY_DIGEST: 'on', ...settings }
  const sandbox = await createSandbox({ settings: all })
  onTestFinished(sandbox.close)
  writeWeek(sandbox.memoryDir, endOfLastWeek(new Date()))
  const tick = async (...flags: string[]) => (await sandbox.runScript('emergency-recovery-monitor', flags)).code
  return { discord, sandbox, tick }
}

test('without WEEKLY_DIGEST=on no digest is sent; without a channel none is due, and that is no failure', async () => {
  const off = await scene({ WEEKLY_DIGEST: '' })
  expect(await off.tick()).toBe(0)
  expect(off.discord.requests).toEqual([])
  const { sandbox, tick } = await scene({ DISCORD_WEBHOOK_URL: '' })
  for (let i = 0; i < 2; i++) expect(await tick()).toBe(0)
  // It is said once a week.
  expect(sandbox.log('monitor-').match(/WEEKLY_DIGEST .*DISCORD_WEBHOOK_URL/g)).toHaveLength(1)
})

test('the first run after the end of a week sends its table through every channel, and only that run', async () => {
  const services = await startAlertServices()
  onTestFinished(services.close)
  const { discord, tick } = await scene(services.settings)
  expect(await tick('--dry-run')).toBe(1)
  expect(discord.requests).toEqual([])
  for (let i = 0; i < 2; i++) expect(await tick()).toBe(0)

  expect(discord.requests.map(({ problems }) => problems)).toEqual([[]])
  const { content, embeds } = discord.delivered()[0]!
  expect(content).toMatch(/📊 OpenClaw on .+ \d{4}-\d\d-\d\d 09:00[\s\S]*4 failures, uptime 99/)
  const rows = [
    'Total failures: 4',
    'Level 3 resolved: 1 (25%)',
    'Mean time to recovery: 15 min',
    'impostor (1×, 41 min',
  ]
  for (const row of rows) expect(embeds![0]!.description).toContain(row)
  for (const service of ['slack', 'telegram', 'ntfy', 'webhook'] as const)
    expect(services.delivered(service)).toHaveLength(1)
  expect(readHtml(String(services.delivered('telegram')[0]!.json.text))).toContain('Manual interventions: 1')
  // It is no emergency: no phone rings.
  expect(services.delivered('ntfy')[0]!.json).toMatchObject({ priority: 3, tags: ['openclaw', 'digest'] })
  expect(services.delivered('webhook')[0]!.json).toMatchObject({ kind: 'digest', urgent: false })
})

test('while the network is out the digest waits, and then comes once', async () => {
  const { discord, tick } = await scene()
  discord.answerNext(ANSWERS.serverError, ANSWERS.serverError, ANSWERS.serverError, ANSWERS.serverError)
  expect(await tick()).toBe(1)
  expect(discord.delivered()).toEqual([])
  for (let ticks = 0; discord.delivered().length === 0 && ticks < 5; ticks++) await tick()
  expect(await tick()).toBe(0)
  expect(discord.delivered()).toHaveLength(1)
})

test('after three weeks without power one digest comes, of the last week; a failure is sent with it, as a failure', async () => {
  const { discord, sandbox, tick } = await scene()
  expect(await tick()).toBe(0)
  const path = join(sandbox.stateDir, 'watchdog', 'alerts.json')
  const ledger = JSON.parse(readFileSync(path, 'utf8'))
  const until = endOfLastWeek(new Date())
  expect(ledger.digestUntil).toBe(until.toISOString())
  const longAgo = new Date(until.getFullYear(), until.getMonth(), until.getDate() - 21, 9).toISOString()
  writeFileSync(path, JSON.stringify({ ...ledger, digestUntil: longAgo }))
  writeTierLog(sandbox.memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 1 })
  for (let i = 0; i < 3; i++) expect(await tick()).toBe(0)
  expect(discord.requests).toHaveLength(2)
  for (const words of ['the doctor gave up', 'Total failures']) expect(discord.requests[1]!.text).toContain(words)
  expect(discord.delivered()[1]!.content).toContain('🚨')
})
