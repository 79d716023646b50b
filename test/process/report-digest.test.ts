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

test('the first run after the end of a week sends its table through every channel, and only that run', async () => {
  const services = await startAlertServices()
  onTestFinished(services.close)
  const { discord, sandbox, tick } = await scene({ ...services.settings, WEEKLY_DIGEST: '' })
  expect(await tick()).toBe(0)
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: discord.url, ...services.settings, WEEKLY_DIGEST: 'on' })
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
  const [slack, telegram, ntfy, webhook] = (['slack', 'telegram', 'ntfy', 'webhook'] as const).map(services.delivered)
  expect([slack, telegram, ntfy, webhook].map((messages) => messages!.length)).toEqual([1, 1, 1, 1])
  expect(readHtml(String(telegram![0]!.json.text))).toContain('Manual interventions: 1')
  // It is no emergency: no phone rings.
  expect(ntfy![0]!.json).toMatchObject({ priority: 3, tags: ['openclaw', 'digest'] })
  expect(webhook![0]!.json).toMatchObject({ kind: 'digest', urgent: false })
})

test('it waits for a channel and for the network; after weeks without power only the last one comes, beside a failure', async () => {
  const { discord, sandbox, tick } = await scene({ DISCORD_WEBHOOK_URL: '' })
  for (let i = 0; i < 2; i++) expect(await tick()).toBe(0)
  // It is said once a week.
  expect(sandbox.log('monitor-').match(/WEEKLY_DIGEST .*DISCORD_WEBHOOK_URL/g)).toHaveLength(1)

  const path = join(sandbox.stateDir, 'watchdog', 'alerts.json')
  const until = endOfLastWeek(new Date())
  const setLastSent = (days: number) => {
    const ledger = JSON.parse(readFileSync(path, 'utf8'))
    expect(ledger.digestUntil).toBe(until.toISOString())
    const digestUntil = new Date(until.getFullYear(), until.getMonth(), until.getDate() - days, 9).toISOString()
    writeFileSync(path, JSON.stringify({ ...ledger, digestUntil }))
  }
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: discord.url, WEEKLY_DIGEST: 'on' })
  setLastSent(7)
  discord.answerNext(...Array.from({ length: 4 }, () => ANSWERS.serverError))
  expect(await tick()).toBe(1)
  expect(discord.delivered()).toEqual([])
  for (let ticks = 0; discord.delivered().length === 0 && ticks < 5; ticks++) await tick()
  expect(await tick()).toBe(0)
  expect(discord.delivered()).toHaveLength(1)

  setLastSent(21)
  writeTierLog(sandbox.memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 1 })
  for (let i = 0; i < 2; i++) expect(await tick()).toBe(0)
  const [, message, ...more] = discord.delivered()
  expect(more).toEqual([])
  for (const words of ['the doctor gave up', 'Total failures']) expect(JSON.stringify(message)).toContain(words)
  expect(message!.content).toContain('🚨')
})
