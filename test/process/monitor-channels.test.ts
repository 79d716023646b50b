/** Level 4 as a process with several channels: each on its own, each alert once, and what comes after the alert. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test as inTurn, type TestContext } from 'vitest'
import { localStamp, MARKER } from '../../lib/tier/contract.ts'
import { NTFY_TOKEN, readHtml, startAlertServices, TELEGRAM_CHAT, TELEGRAM_TOKEN } from '../support/alert-services.ts'
import { monitorScene } from '../support/monitor-scene.ts'
import { addProfile } from '../support/profiles.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { ANSWERS } from '../support/webhook-receiver.ts'

const test = inTurn.concurrent

async function scene(t: TestContext, settings: Record<string, string> = {}) {
  const services = await startAlertServices()
  t.onTestFinished(services.close)
  return { services, ...(await monitorScene(t, { ...services.settings, ...settings })) }
}
const NO_OTHERS = { SLACK_WEBHOOK_URL: '', TELEGRAM_CHAT_ID: '', NTFY_URL: '', ALERT_WEBHOOK_URL: '' }

test('every channel gets the alert in its own form; only one that failed again', async (t) => {
  const { services, sandbox, memoryDir, ledgerPath, says, tick, fail, read } = await scene(t)
  says('watchdog', 9, MARKER.down('misconfigured', 'JSON5: <b> & "x"'))
  fail()
  const report = `emergency-recovery-report-${localStamp(new Date(Date.now() - 5 * 60_000))}.md`
  const cause = '## Root cause\nA bracket <is> missing in `channels`.\n'
  writeFileSync(join(memoryDir, report), `# Recovery report\n\n## Symptom\nIt is down.\n\n${cause}\n## Fix\nnone\n`)
  services.answerNext('slack', ...Array(3).fill({ status: 500, body: 'rollup_error' }))
  services.answerNext('telegram', { status: 429, body: '{"ok":false,"parameters":{"retry_after":0.1}}' })
  const received = () => (['slack', 'telegram', 'ntfy', 'webhook'] as const).map((name) => services.delivered(name))
  await tick(1)
  expect(received().map(({ length }) => length)).toEqual([0, 1, 1, 1])
  await tick(0, 0)
  expect(received().map(({ length }) => length)).toEqual([1, 1, 1, 1])

  expect(read()).toEqual([expect.stringContaining('A bracket <is> missing in ˋchannelsˋ.')])
  const [slack, telegram, ntfy, webhook] = received().map(([one]) => one!)
  expect(slack!.json.text).toMatch(
    /OpenClaw Gateway on .+ needs you: its config keeps it from starting: JSON5: &lt;b&gt; /,
  )
  expect(slack!.text).toContain('`the doctor gave up`')
  expect(slack!.text).toContain('`A bracket &lt;is&gt; missing in ˋchannelsˋ.`')
  expect(telegram!.json).toMatchObject({ chat_id: TELEGRAM_CHAT, link_preview_options: { is_disabled: true } })
  const shown = readHtml(String(telegram!.json.text))
  for (const text of ['JSON5: <b> & "x"', 'A bracket <is> missing in ˋchannelsˋ.']) expect(shown).toContain(text)
  const message = expect.stringContaining('the doctor gave up')
  expect(ntfy!.json).toMatchObject({ topic: 'openclaw-alerts', priority: 5, message })
  expect(webhook!.json).toMatchObject({ version: 1, kind: 'failure', urgent: true, whys: ['the doctor gave up'] })
  expect(webhook!.headers['idempotency-key']).toBe(webhook!.json.id)
  const kept = sandbox.log('monitor-') + readFileSync(ledgerPath, 'utf8')
  for (const secret of [TELEGRAM_TOKEN, NTFY_TOKEN, 'slack-secret', '/ping/']) expect(kept).not.toContain(secret)
})

test('a clock that is set back does not keep an alert waiting', async (t) => {
  const { discord, run, tick, fail, read } = await scene(t, NO_OTHERS)
  fail('gave up', -59)
  discord.answerNext(...Array(3).fill(ANSWERS.serverError))
  const preload = `--import=${new URL('../fire/shifted-clock.mjs', import.meta.url).href}`
  await run(1, [], { env: { NODE_OPTIONS: preload, CLOCK_SHIFT_SEC: '3600' } })
  await tick(0)
  expect(read()).toHaveLength(1)
})

test('a channel that is gone is said through the others', async (t) => {
  const { services, discord, tick, fail } = await scene(t, {
    TELEGRAM_CHAT_ID: '',
    NTFY_URL: '',
    ALERT_WEBHOOK_URL: '',
  })
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  await tick(0)
  const [alert, notice] = services.delivered('slack').map(({ text }) => text)
  expect(alert).toContain('needs you')
  expect(notice).toMatch(/Discord takes no alerts of OpenClaw on .+ any more.*Unknown Webhook.*DISCORD_WEBHOOK_URL/)
  fail('something else', 0)
  await tick(0)
  expect(discord.requests).toHaveLength(1)
  expect(services.delivered('slack')).toHaveLength(3)
})

test('--test-alert says what each channel answered, and what to check', async (t) => {
  const { discord, run, fail, read } = await scene(t, { TELEGRAM_CHAT_ID: '-42', NTFY_TOKEN: 'tk_wrong_wrong_wrong' })
  fail()
  const said = await run(1, ['--test-alert'])
  expect(said).toMatch(/Discord .*HTTP 204[\s\S]*Slack .*HTTP 200 \(ok\)/)
  expect(said).toMatch(/Telegram .*HTTP 400 \(Bad Request: chat not found\).*TELEGRAM_BOT_TOKEN/)
  expect(said).toMatch(/ntfy .*HTTP 403 \(forbidden\).*NTFY_URL/)
  expect(read()).toEqual([expect.stringContaining('Test from')])
  discord.answerNext(ANSWERS.unknownWebhook)
  expect(await run(1, ['--test-alert'])).toMatch(/HTTP 404 \(Unknown Webhook\).*DISCORD_WEBHOOK_URL/)
})

test('while it lasts the human is reminded; the end names its healer', async (t) => {
  const { says, tick, fail, editLedger, read } = await scene(t, NO_OTHERS)
  says('watchdog', 6, MARKER.down('hung', 'no answer'))
  fail('the doctor gave up', 3)
  await tick(0)
  const twoHoursAgo = new Date(Date.now() - 2 * 3_600_000).toISOString()
  editLedger(({ book }) => (book.cases[0]!.openedAt = twoHoursAgo))
  await tick(0, 0)
  const reminder = expect.stringMatching(/⏰.* still needs you[\s\S]*needed you for 2 h[\s\S]*the doctor gave up/)
  expect(read().slice(1)).toEqual([reminder])
  says('healthcheck', 0, MARKER.recovered(2, 360))
  await tick(0, 0)
  expect(read().slice(2)).toEqual([expect.stringMatching(/✅.* is back[\s\S]*ended by level 2: down for 6 min/)])
})

test('NOTIFY=failures tells what needs attention, NOTIFY=all everything', async (t) => {
  const { sandbox, discord, says, tick, read } = await scene(t, NO_OTHERS)
  const events = (minutesAgo: number) => {
    says('watchdog', minutesAgo, MARKER.recovered(1, 18))
    says('healthcheck', minutesAgo, MARKER.notice('config rolled back: a by b'))
  }
  events(9)
  await tick(0)
  expect(discord.requests).toEqual([])
  // The second is how the first version said it.
  for (const what of ['needs attention: the token is refused', 'needs a look: memory is low'])
    says('watchdog', 0, MARKER.notice(what))
  await tick(0)
  expect(read()).toEqual([expect.stringMatching(/ℹ️[\s\S]*the token is refused[\s\S]*needs attention: memory is low/)])
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: discord.url, NOTIFY: 'all' })
  events(1)
  await tick(0, 0)
  const all = expect.stringMatching(/recovered by level 1 after 18 s[\s\S]*config rolled back: a by b/)
  expect(read().slice(1)).toEqual([all])
  sandbox.writeEnvFile({ NOTIFY: 'some' })
  expect(await tick(2)).toMatch(/NOTIFY="some"/)
})

test('the service outside hears from every run: well, paused, or /fail', async (t) => {
  const { services, discord, sandbox, tick, fail } = await scene(t, NO_OTHERS)
  const heard = () => services.requests.map(({ path, text }) => `${path.replace(/^\/ping\/[^/]+/, '')} ${text}`)
  await tick(0)
  fail()
  const pause = join(sandbox.stateDir, 'self-healing.paused')
  writeFileSync(pause, '2099-01-01 08:00')
  await tick(3)
  expect(discord.requests).toEqual([])
  rmSync(pause)
  discord.answerNext(ANSWERS.unknownWebhook)
  await tick(1)
  const paused = expect.stringMatching(/^ paused until 2099-01-01T08:00:00/)
  expect(heard()).toEqual([' ', paused, expect.stringMatching(/^\/fail ./)])
})

test('an alert names its profile in its title and in the commands', async (t) => {
  const { sandbox, read } = await scene(t, NO_OTHERS)
  const work = await addProfile(sandbox, 'work')
  writeTierLog(work.memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 1 })
  expect(await work.run('emergency-recovery-monitor')).toMatchObject({ code: 0 })
  // As Discord shows it: a backslash before a bracket is not seen.
  const shown = read().map((text) => text.replaceAll('\\', ''))
  expect(shown).toEqual([expect.stringMatching(/\(profile work\) needs you[\s\S]*openclaw --profile work gateway/)])
  expect(shown[0]).toContain('/.openclaw-work/self-healing.paused')
})
