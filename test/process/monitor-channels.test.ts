/** Level 4 as a process with several channels: each on its own, each alert once, and what comes after the alert. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { localStamp, MARKER } from '../../lib/tier/contract.ts'
import { NTFY_TOKEN, readHtml, startAlertServices, TELEGRAM_CHAT, TELEGRAM_TOKEN } from '../support/alert-services.ts'
import { addProfile } from '../support/profiles.ts'
import { createSandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { ANSWERS, startWebhookReceiver } from '../support/webhook-receiver.ts'

async function scene(settings: Record<string, string> = {}) {
  const services = await startAlertServices()
  const discord = await startWebhookReceiver()
  const values = { ...services.settings, DISCORD_WEBHOOK_URL: discord.url, ...settings }
  const sandbox = await createSandbox({ settings: values })
  onTestFinished(async () => {
    await sandbox.close()
    await services.close()
    await discord.close()
  })
  const { memoryDir, stateDir } = sandbox
  return {
    ...{ services, discord, sandbox, memoryDir, stateDir, ledgerPath: join(stateDir, 'watchdog', 'alerts.json') },
    tick: async (code: number, ...flags: string[]) => {
      const run = await sandbox.runScript('emergency-recovery-monitor', flags)
      expect(run.code, run.stdout + run.stderr).toBe(code)
      return run
    },
    fail: (why = 'the doctor gave up', minutesAgo = 1) =>
      writeTierLog(memoryDir, 'emergency-recovery', { text: MARKER.manual(why), minutesAgo }),
  }
}

const NO_OTHERS = { SLACK_WEBHOOK_URL: '', TELEGRAM_CHAT_ID: '', NTFY_URL: '', ALERT_WEBHOOK_URL: '' }
const ONLY_DISCORD = { ...NO_OTHERS, HEARTBEAT_URL: '' }

test('every configured channel gets the alert in its own form, with what the doctor found', async () => {
  const { services, discord, sandbox, memoryDir, ledgerPath, tick, fail } = await scene()
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.down('misconfigured', 'JSON5: <b> & "x"'), minutesAgo: 9 })
  fail()
  const report = `emergency-recovery-report-${localStamp(new Date(Date.now() - 5 * 60_000))}.md`
  const cause = '## Root cause\nA bracket <is> missing in `channels`.\n'
  writeFileSync(join(memoryDir, report), `# Recovery report\n\n## Symptom\nIt is down.\n\n${cause}\n## Fix\nnone\n`)
  await tick(0)

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

  await tick(0)
  expect(services.requests.filter(({ service }) => service !== 'heartbeat')).toHaveLength(4)
  const kept = sandbox.log('monitor-') + readFileSync(ledgerPath, 'utf8')
  for (const secret of [TELEGRAM_TOKEN, NTFY_TOKEN, 'slack-secret', '/ping/']) expect(kept).not.toContain(secret)
})

test('a channel that fails does not hold the others, and is the only one that gets the alert again', async () => {
  const { services, discord, tick, fail } = await scene({ NTFY_URL: '', ALERT_WEBHOOK_URL: '' })
  fail()
  const slow = { ok: false, error_code: 429, description: 'Too Many Requests', parameters: { retry_after: 0.1 } }
  services.answerNext('slack', ...Array.from({ length: 3 }, () => ({ status: 500, body: 'rollup_error' })))
  services.answerNext('telegram', { status: 429, body: JSON.stringify(slow) })
  const { stdout } = await tick(1)
  expect(stdout).toMatch(/NOT delivered to Slack: HTTP 500 \(rollup_error\)/)
  expect(stdout).toMatch(/alert delivered to Discord/)
  await tick(0)
  const delivered = [discord.delivered(), services.delivered('slack'), services.delivered('telegram')]
  expect(delivered.map(({ length }) => length)).toEqual([1, 1, 1])
})

test('a clock that is set back does not keep an alert waiting', async () => {
  const { discord, sandbox, memoryDir, tick } = await scene(ONLY_DISCORD)
  writeTierLog(memoryDir, 'emergency-recovery', { text: MARKER.manual('gave up'), minutesAgo: -59 })
  discord.answerNext(...Array(3).fill({ status: 500, body: '' }))
  const preload = `--import=${new URL('../fire/shifted-clock.mjs', import.meta.url).href}`
  const env = { NODE_OPTIONS: preload, CLOCK_SHIFT_SEC: '3600' }
  expect(await sandbox.runScript('emergency-recovery-monitor', [], { env })).toMatchObject({ code: 1 })
  await tick(0)
  expect(discord.delivered()).toHaveLength(1)
})

test('a channel that is gone is said through the others, and an alert that they took counts as delivered', async () => {
  const { services, discord, tick, fail } = await scene({ TELEGRAM_CHAT_ID: '', NTFY_URL: '', ALERT_WEBHOOK_URL: '' })
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  await tick(0)
  const [alert, notice] = services.delivered('slack').map(({ json }) => JSON.stringify(json))
  expect(alert).toContain('needs you')
  expect(notice).toMatch(/Discord takes no alerts of OpenClaw on .+ any more.*Unknown Webhook.*DISCORD_WEBHOOK_URL/)
  fail('something else', 0)
  await tick(0)
  expect(discord.requests).toHaveLength(1)
  expect(services.delivered('slack')).toHaveLength(3)
})

test('what is refused for a wrong token, chat or topic is said with what to check', async () => {
  const { tick } = await scene({ TELEGRAM_CHAT_ID: '-42', NTFY_TOKEN: 'tk_wrong_wrong_wrong', ALERT_WEBHOOK_URL: '' })
  const { stdout } = await tick(1, '--test-alert')
  expect(stdout).toMatch(/Slack .*HTTP 200 \(ok\)/)
  expect(stdout).toMatch(/Telegram .*HTTP 400 \(Bad Request: chat not found\).*TELEGRAM_BOT_TOKEN/)
  expect(stdout).toMatch(/ntfy .*HTTP 403 \(forbidden\).*NTFY_URL/)
})

test('after an outage of the network everything that waited comes as one message', async () => {
  const { discord, memoryDir, tick, fail } = await scene(ONLY_DISCORD)
  discord.answerNext(ANSWERS.badGateway, ANSWERS.badGateway, ANSWERS.badGateway)
  fail('first reason', 3)
  await tick(1)
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.recovered(1, 120), minutesAgo: 2 })
  fail('second reason', 1)
  await tick(0)
  expect(discord.delivered()).toHaveLength(1)
  const text = JSON.stringify(discord.delivered()[0])
  expect(text).toMatch(/3 messages about OpenClaw on .+; the last: .+ needs you/)
  expect(text).toMatch(/first reason.*By level 1, after 2 min down.*second reason/)
})

test('without a channel the outbox does not grow without end', async () => {
  const { ledgerPath, tick, fail } = await scene({ ...ONLY_DISCORD, DISCORD_WEBHOOK_URL: '' })
  fail()
  await tick(1)
  const ledger = JSON.parse(readFileSync(ledgerPath, 'utf8'))
  writeFileSync(ledgerPath, JSON.stringify({ ...ledger, outbox: Array(500).fill(ledger.outbox[0]) }))
  await tick(1)
  expect(JSON.parse(readFileSync(ledgerPath, 'utf8')).outbox).toHaveLength(50)
})

test('while it lasts the human is reminded, and the end is told with its healer and the seconds of the report', async () => {
  const { discord, memoryDir, ledgerPath, tick, fail } = await scene(ONLY_DISCORD)
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.down('hung', 'no answer'), minutesAgo: 6 })
  fail('the doctor gave up', 3)
  await tick(0)
  // As if that had been two hours ago.
  const ledger = JSON.parse(readFileSync(ledgerPath, 'utf8'))
  ledger.book.cases[0].openedAt = new Date(Date.now() - 2 * 3_600_000).toISOString()
  writeFileSync(ledgerPath, JSON.stringify(ledger))
  await tick(0)
  await tick(0)
  expect(discord.delivered()).toHaveLength(2)
  expect(discord.delivered()[1]!.content).toMatch(
    /⏰.* still needs you[\s\S]*It has needed you for 2 h[\s\S]*the doctor gave up/,
  )
  writeTierLog(memoryDir, 'healthcheck', { text: MARKER.recovered(2, 360) })
  await tick(0)
  await tick(0)
  expect(discord.delivered()).toHaveLength(3)
  expect(discord.delivered()[2]!.content).toMatch(/✅.* is back[\s\S]*By level 2, after 6 min down/)
})

test('a call for a human is sent while flapping is known, once', async () => {
  const { discord, memoryDir, tick, fail } = await scene(ONLY_DISCORD)
  for (const minutesAgo of [28, 24, 20, 16])
    writeTierLog(memoryDir, 'watchdog', { text: MARKER.recovered(1, 20), minutesAgo })
  await tick(0)
  fail('impostor: another process has the port', 12)
  await tick(0)
  expect(discord.delivered()).toHaveLength(2)
  expect(discord.delivered()[0]!.content).toContain('it fails again and again')
  expect(discord.delivered()[1]!.content).toMatch(/needs you\*\*\n[\s\S]*another process has the port/)
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.recovered(1, 20), minutesAgo: 8 })
  fail('impostor: another process has the port', 4)
  await tick(0)
  expect(discord.delivered()).toHaveLength(2)
})

test('NOTIFY=failures tells only what needs attention, NOTIFY=all everything, in one message', async () => {
  const { sandbox, discord, memoryDir, tick } = await scene(ONLY_DISCORD)
  const events = (minutesAgo: number) => {
    writeTierLog(memoryDir, 'watchdog', { text: MARKER.recovered(1, 18), minutesAgo })
    writeTierLog(memoryDir, 'healthcheck', { text: MARKER.notice('config rolled back: a by b'), minutesAgo })
  }
  events(9)
  await tick(0)
  expect(discord.requests).toEqual([])
  // The second is how the first version said it.
  const [attention, old] = ['needs attention: the token is refused', 'needs a look: memory is low']
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.notice(attention!) }, { text: MARKER.notice(old!) })
  await tick(0)
  expect(discord.delivered()).toHaveLength(1)
  expect(discord.delivered()[0]!.content).toMatch(/ℹ️[\s\S]*the token is refused[\s\S]*needs attention: memory is low/)
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: discord.url, NOTIFY: 'all' })
  events(1)
  await tick(0)
  await tick(0)
  expect(discord.delivered()).toHaveLength(2)
  expect(discord.delivered()[1]!.content).toMatch(/recovered by level 1 after 18 s[\s\S]*config rolled back: a by b/)
  sandbox.writeEnvFile({ NOTIFY: 'some' })
  expect((await tick(2)).stderr).toMatch(/NOTIFY="some"/)
})

test('the service outside hears from every run: at /fail when no human can be reached, paused in a pause', async () => {
  const { services, discord, stateDir, tick, fail } = await scene(NO_OTHERS)
  const paths = () => services.requests.map(({ path }) => path.replace(/^\/ping\/[^/]+/, 'ping'))
  await tick(0)
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  await tick(1)
  expect(paths()).toEqual(['ping', 'ping/fail'])
  expect(services.requests[1]!.text).toContain('cannot be delivered')
  await tick(1, '--dry-run')
  expect(paths()).toHaveLength(2)
  writeFileSync(join(stateDir, 'self-healing.paused'), '2099-01-01 08:00')
  await tick(3)
  await tick(1, '--dry-run')
  expect(paths()).toEqual(['ping', 'ping/fail', 'ping'])
  expect(services.requests[2]!.text).toMatch(/^paused until 2099-01-01T08:00:00/)
  expect(discord.delivered()).toEqual([])
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
