/** Level 4 as a process with several channels: each on its own, each alert once, and what comes after the alert. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { MARKER } from '../lib/tier/contract.ts'
import { NTFY_TOKEN, readHtml, startAlertServices, TELEGRAM_CHAT, TELEGRAM_TOKEN } from './support/alert-services.ts'
import { addProfile } from './support/profiles.ts'
import { createSandbox } from './support/sandbox.ts'
import { writeTierLog } from './support/tier-logs.ts'
import { ANSWERS, startWebhookReceiver } from './support/webhook-receiver.ts'

async function scene(settings: Record<string, string> = {}) {
  const services = await startAlertServices()
  const discord = await startWebhookReceiver()
  const sandbox = await createSandbox({
    settings: { ...services.settings, DISCORD_WEBHOOK_URL: discord.url, ...settings },
  })
  onTestFinished(async () => {
    await sandbox.close()
    await services.close()
    await discord.close()
  })
  return {
    services,
    discord,
    sandbox,
    tick: (...flags: string[]) => sandbox.runScript('emergency-recovery-monitor', flags),
    fail: (why = 'the doctor gave up', minutesAgo = 1) =>
      writeTierLog(sandbox.memoryDir, 'emergency-recovery', { text: MARKER.manual(why), minutesAgo }),
  }
}

const ONLY_DISCORD = {
  SLACK_WEBHOOK_URL: '',
  TELEGRAM_CHAT_ID: '',
  NTFY_URL: '',
  ALERT_WEBHOOK_URL: '',
  HEARTBEAT_URL: '',
}

test('every configured channel gets the alert in its own form, with what the doctor found', async () => {
  const { services, discord, sandbox, tick, fail } = await scene()
  writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.down('misconfigured', 'JSON5: <b> & "x"'), minutesAgo: 9 })
  fail()
  writeFileSync(
    join(sandbox.memoryDir, 'emergency-recovery-report-2026-11-22-054410.md'),
    '# Recovery report\n\n## Symptom\nIt is down.\n\n## Root cause\nA bracket <is> missing in `channels`.\n\n## Fix\nnone\n',
  )
  expect(await tick()).toMatchObject({ code: 0 })

  expect(discord.delivered()).toHaveLength(1)
  expect(JSON.stringify(discord.delivered()[0]!.embeds)).toContain('A bracket <is> missing in ˋchannelsˋ.')

  const [slack] = services.delivered('slack')
  expect(slack!.json.text).toMatch(/OpenClaw Gateway on .+ needs you: the doctor gave up/)
  expect(slack!.text).toContain('`A bracket &lt;is&gt; missing in ˋchannelsˋ.`')

  const [telegram] = services.delivered('telegram')
  expect(telegram!.json).toMatchObject({ chat_id: TELEGRAM_CHAT, link_preview_options: { is_disabled: true } })
  const shown = readHtml(String(telegram!.json.text))
  expect(shown).toContain('JSON5: <b> & "x"')
  expect(shown).toContain('The doctor found: A bracket <is> missing in `channels`.')

  const [ntfy] = services.delivered('ntfy')
  expect(ntfy!.json).toMatchObject({ topic: 'openclaw-alerts', priority: 5 })
  expect(ntfy!.json.message).toContain('the doctor gave up')

  const [webhook] = services.delivered('webhook')
  expect(webhook!.json).toMatchObject({ version: 1, kind: 'failure', urgent: true, whys: ['the doctor gave up'] })
  expect(webhook!.headers['idempotency-key']).toBe(webhook!.json.id)

  expect(await tick()).toMatchObject({ code: 0 })
  expect(services.requests.filter(({ service }) => service !== 'heartbeat')).toHaveLength(4)
  for (const secret of [TELEGRAM_TOKEN, NTFY_TOKEN, 'slack-secret', '/ping/']) {
    expect(sandbox.log('monitor-')).not.toContain(secret)
    expect(readFileSync(join(sandbox.stateDir, 'watchdog', 'alerts.json'), 'utf8')).not.toContain(secret)
  }
})

test('a channel that fails does not hold the others, and is the only one that gets the alert again', async () => {
  const { services, discord, tick, fail } = await scene({ NTFY_URL: '', ALERT_WEBHOOK_URL: '' })
  fail()
  const slow = {
    ok: false,
    error_code: 429,
    description: 'Too Many Requests: retry after 0',
    parameters: { retry_after: 0.1 },
  }
  services.answerNext('slack', ...Array.from({ length: 3 }, () => ({ status: 500, body: 'rollup_error' })))
  services.answerNext('telegram', { status: 429, body: JSON.stringify(slow) })
  const first = await tick()
  expect(first.code).toBe(1)
  expect(first.stdout).toMatch(/NOT delivered to Slack: HTTP 500 \(rollup_error\)/)
  expect(first.stdout).toMatch(/alert delivered to Discord/)
  expect(services.requests.filter(({ service }) => service === 'telegram')).toHaveLength(1)
  expect(await tick()).toMatchObject({ code: 0 })
  expect([discord.delivered(), services.delivered('slack'), services.delivered('telegram')]).toMatchObject([
    { length: 1 },
    { length: 1 },
    { length: 1 },
  ])
})

test('a channel that is gone is said through the others, and an alert that they took counts as delivered', async () => {
  const { services, discord, tick, fail } = await scene({ TELEGRAM_CHAT_ID: '', NTFY_URL: '', ALERT_WEBHOOK_URL: '' })
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  const run = await tick()
  expect(run.code).toBe(0)
  expect(run.stdout).toMatch(/NOT delivered to Discord: HTTP 404 \(Unknown Webhook\)/)
  const [alert, notice] = services.delivered('slack').map(({ json }) => JSON.stringify(json))
  expect(alert).toContain('needs you')
  expect(notice).toMatch(/Discord takes no alerts of OpenClaw on .+ any more.*Unknown Webhook.*DISCORD_WEBHOOK_URL/)
  fail('something else', 0)
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests).toHaveLength(1)
  expect(services.delivered('slack')).toHaveLength(3)
})

test('what is refused for a wrong token, chat or topic is said with what to check', async () => {
  const { tick } = await scene({ TELEGRAM_CHAT_ID: '-42', NTFY_TOKEN: 'tk_wrong_wrong_wrong', ALERT_WEBHOOK_URL: '' })
  const run = await tick('--test-alert')
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/Discord took the test: HTTP 204/)
  expect(run.stdout).toMatch(/Slack took the test: HTTP 200 \(ok\)/)
  expect(run.stdout).toMatch(
    /Telegram did not take the test: HTTP 400 \(Bad Request: chat not found\); check TELEGRAM_BOT_TOKEN/,
  )
  expect(run.stdout).toMatch(/ntfy did not take the test: HTTP 403 \(forbidden\); check NTFY_URL/)
})

test('after an outage of the network everything that waited comes as one message', async () => {
  const { sandbox, discord, tick, fail } = await scene(ONLY_DISCORD)
  discord.answerNext(ANSWERS.badGateway, ANSWERS.badGateway, ANSWERS.badGateway)
  fail('first reason', 3)
  expect(await tick()).toMatchObject({ code: 1 })
  writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.recovered(1, 120), minutesAgo: 2 })
  fail('second reason', 1)
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(1)
  const text = JSON.stringify(discord.delivered()[0])
  expect(text).toMatch(/3 messages about OpenClaw on .+; the last: .+ needs you/)
  expect(text).toMatch(/first reason.*By level 1, after 2 min down.*second reason/)
})

test('while it lasts the human is reminded, and the end is told with who ended it', async () => {
  const { sandbox, discord, tick, fail } = await scene(ONLY_DISCORD)
  writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.down('hung', 'no answer'), minutesAgo: 4 })
  fail('the doctor gave up', 3)
  await tick()
  // As if that had been two hours ago.
  const path = join(sandbox.stateDir, 'watchdog', 'alerts.json')
  const ledger = JSON.parse(readFileSync(path, 'utf8'))
  ledger.book.cases[0].openedAt = new Date(Date.now() - 2 * 3_600_000).toISOString()
  writeFileSync(path, JSON.stringify(ledger))
  await tick()
  await tick()
  expect(discord.delivered()).toHaveLength(2)
  expect(discord.delivered()[1]!.content).toMatch(
    /⏰.* still needs you[\s\S]*It has needed you for 2 h[\s\S]*the doctor gave up/,
  )

  writeTierLog(sandbox.memoryDir, 'healthcheck', { text: MARKER.recovered(2, 7260) })
  await tick()
  await tick()
  expect(discord.delivered()).toHaveLength(3)
  expect(discord.delivered()[2]!.content).toMatch(/✅.* is back[\s\S]*By level 2, after 2 h down/)
})

test('a call for a human is sent while flapping is known, once', async () => {
  const { sandbox, discord, tick, fail } = await scene(ONLY_DISCORD)
  for (const minutesAgo of [28, 24, 20, 16])
    writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.recovered(1, 20), minutesAgo })
  expect(await tick()).toMatchObject({ code: 0 })
  fail('impostor: another process has the port', 12)
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(2)
  expect(discord.delivered()[0]!.content).toContain('it fails again and again')
  expect(discord.delivered()[1]!.content).toMatch(/needs you\*\*\n[\s\S]*another process has the port/)
  writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.recovered(1, 20), minutesAgo: 8 })
  expect(await tick()).toMatchObject({ code: 0 })
  fail('impostor: another process has the port', 4)
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(2)
})

test('NOTIFY=failures tells nothing that needs nobody, NOTIFY=all does, in one message', async () => {
  const { sandbox, discord, tick } = await scene(ONLY_DISCORD)
  const events = () => {
    writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.recovered(1, 18), minutesAgo: 2 })
    writeTierLog(sandbox.memoryDir, 'healthcheck', { text: MARKER.notice('config rolled back: a by b') })
  }
  events()
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests).toEqual([])
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: discord.url, NOTIFY: 'all' })
  events()
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(1)
  expect(discord.delivered()[0]!.content).toMatch(
    /ℹ️[\s\S]*recovered by level 1 after 18 s[\s\S]*config rolled back: a by b/,
  )
  sandbox.writeEnvFile({ NOTIFY: 'some' })
  expect(await tick()).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/NOTIFY="some": expected failures or all/),
  })
})

test('the service outside hears from every run, and at /fail when the human cannot be reached', async () => {
  const { HEARTBEAT_URL: _, ...onlyDiscord } = ONLY_DISCORD
  const { services, discord, tick, fail } = await scene(onlyDiscord)
  const paths = () => services.requests.map(({ path }) => path.replace(/^\/ping\/[^/]+/, 'ping'))
  await tick()
  expect(paths()).toEqual(['ping'])
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  expect(await tick()).toMatchObject({ code: 1 })
  expect(paths()).toEqual(['ping', 'ping/fail'])
  expect(services.requests[1]!.text).toContain('cannot be delivered')
  services.answerNext('heartbeat', { status: 404, body: 'not found' })
  const run = await tick('--dry-run')
  expect(paths()).toHaveLength(2)
  expect(run.stdout).toMatch(/dry run/)
  expect((await tick()).stdout).toMatch(/the heartbeat was not taken: HTTP 404/)
})

test('a deliberate pause is no dead machine: the service outside still hears, that it is paused; nobody else hears anything', async () => {
  const { HEARTBEAT_URL: _, ...onlyDiscord } = ONLY_DISCORD
  const { services, discord, sandbox, tick, fail } = await scene(onlyDiscord)
  fail()
  writeFileSync(join(sandbox.stateDir, 'self-healing.paused'), '2099-01-01 08:00')
  expect(await tick()).toMatchObject({ code: 3, stdout: expect.stringContaining('standing down: paused by') })
  expect(services.requests).toHaveLength(1)
  expect(services.requests[0]!.path).toMatch(/^\/ping\/[^/]+$/)
  expect(services.requests[0]!.text).toMatch(/^paused until 2099-01-01T08:00:00/)
  expect(discord.delivered()).toEqual([])
  await tick('--dry-run')
  expect(services.requests).toHaveLength(1)
})

test('an alert names the profile whose gateway it is about, in its title and in the commands to use', async () => {
  const { discord, sandbox } = await scene(ONLY_DISCORD)
  const work = await addProfile(sandbox, 'work')
  writeTierLog(work.memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 1 })
  expect(await work.run('emergency-recovery-monitor')).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(1)
  // As Discord shows it: a backslash before a bracket is not seen.
  const shown = JSON.stringify(discord.delivered()[0]).replaceAll('\\\\', '')
  expect(shown).toMatch(/OpenClaw Gateway on \S+ \(profile work\) needs you/)
  expect(shown).toContain('openclaw --profile work gateway')
  expect(shown).toContain('/.openclaw-work/self-healing.paused')
})
