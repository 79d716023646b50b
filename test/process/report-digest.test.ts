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
  const services = await startAlertServices()
  const discord = await startWebhookReceiver()
  const sandbox = await createSandbox({
    settings: { DISCORD_WEBHOOK_URL: discord.url, WEEKLY_DIGEST: 'on', ...settings },
  })
  onTestFinished(async () => {
    await sandbox.close()
    await services.close()
    await discord.close()
  })
  writeWeek(sandbox.memoryDir, endOfLastWeek(new Date()))
  return {
    services,
    discord,
    sandbox,
    tick: (...flags: string[]) => sandbox.runScript('emergency-recovery-monitor', flags),
  }
}

const isDigest = ({ text }: { text: string }) => text.includes('the week to')

test('without WEEKLY_DIGEST=on no digest is sent', async () => {
  const { discord, tick } = await scene({ WEEKLY_DIGEST: '' })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests).toEqual([])
})

test('the first run after the end of a week sends its table through every channel, and only that run', async () => {
  const { services, discord, sandbox, tick } = await scene()
  sandbox.writeEnvFile({ ...services.settings, DISCORD_WEBHOOK_URL: discord.url, WEEKLY_DIGEST: 'on' })
  expect(await tick('--dry-run')).toMatchObject({ code: 1, stdout: expect.stringContaining('Total failures: 4') })
  expect(discord.requests).toEqual([])
  expect(await tick()).toMatchObject({ code: 0 })
  expect(await tick()).toMatchObject({ code: 0 })

  expect(discord.requests.map(({ problems }) => problems)).toEqual([[]])
  const message = discord.delivered()[0]!
  expect(message.content).toMatch(/📊 OpenClaw on .+: the week to \d{4}-\d\d-\d\d 09:00[\s\S]*4 failures, uptime 99/)
  for (const row of ['Total failures: 4', 'Level 3 resolved: 1 (25%)', 'Mean time to recovery: 15 min'])
    expect(message.embeds![0]!.description).toContain(row)
  for (const service of ['slack', 'telegram', 'ntfy', 'webhook'] as const)
    expect(services.delivered(service).filter(isDigest)).toHaveLength(1)
  expect(readHtml(String(services.delivered('telegram')[0]!.json.text))).toContain('Manual interventions: 1')
  // It is no emergency: no phone rings.
  expect(services.delivered('ntfy')[0]!.json).toMatchObject({ priority: 3, tags: ['openclaw', 'digest'] })
  expect(services.delivered('webhook')[0]!.json).toMatchObject({ kind: 'digest', urgent: false })
  expect(sandbox.log('monitor-')).toContain('weekly digest delivered to Discord')
})

test('while the network is out the digest waits, and then comes once', async () => {
  const { discord, tick } = await scene()
  discord.answerNext(ANSWERS.serverError, ANSWERS.serverError, ANSWERS.serverError, ANSWERS.serverError)
  expect(await tick()).toMatchObject({ code: 1 })
  expect(discord.delivered()).toEqual([])
  for (let ticks = 0; discord.delivered().length === 0 && ticks < 5; ticks++) await tick()
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(1)
})

test('after three weeks without power one digest comes, of the last week', async () => {
  const { discord, sandbox, tick } = await scene()
  expect(await tick()).toMatchObject({ code: 0 })
  const path = join(sandbox.stateDir, 'watchdog', 'alerts.json')
  const until = endOfLastWeek(new Date())
  expect(JSON.parse(readFileSync(path, 'utf8')).digestUntil).toBe(until.toISOString())
  const longAgo = new Date(until.getFullYear(), until.getMonth(), until.getDate() - 21, 9).toISOString()
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), digestUntil: longAgo }))
  for (let i = 0; i < 3; i++) expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests.filter(isDigest)).toHaveLength(2)
})

test('without a channel that is said once a week, and is no failure', async () => {
  const { sandbox, tick } = await scene({ DISCORD_WEBHOOK_URL: '' })
  for (let i = 0; i < 2; i++) expect(await tick()).toMatchObject({ code: 0 })
  expect(sandbox.log('monitor-').match(/WEEKLY_DIGEST is on, but .*DISCORD_WEBHOOK_URL/g)).toHaveLength(1)
})

test('a failure in the same moment is told as the failure that it is, and the table with it', async () => {
  const { discord, sandbox, tick } = await scene()
  writeTierLog(sandbox.memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 1 })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests).toHaveLength(1)
  expect(discord.requests[0]!.text).toContain('the doctor gave up')
  expect(discord.requests[0]!.text).toContain('Total failures')
  expect(discord.delivered()[0]!.content).toContain('🚨')
})
