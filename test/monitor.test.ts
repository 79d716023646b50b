/** Level 4 as a process: what a human gets to read, and that it is got once. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ABOUT_WATCHERS, MARKER } from '../lib/tier/contract.ts'
import { createSandbox, type Sandbox, waitFor } from './support/sandbox.ts'
import { writeTierLog } from './support/tier-logs.ts'
import { ANSWERS, startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const MONITOR = 'emergency-recovery-monitor'

interface Scene {
  sandbox: Sandbox
  discord: WebhookReceiver
  /** One tick of cron. */
  tick: (...flags: string[]) => ReturnType<Sandbox['runScript']>
  /** Level 3 gives up. */
  fail: (why?: string, minutesAgo?: number) => string
}

async function scene(settings: Record<string, string> = {}): Promise<Scene> {
  const discord = await startWebhookReceiver()
  const sandbox = await createSandbox({ settings: { DISCORD_WEBHOOK_URL: discord.url, ...settings } })
  onTestFinished(async () => {
    await sandbox.close()
    await discord.close()
  })
  return {
    sandbox,
    discord,
    tick: (...flags) => sandbox.runScript(MONITOR, flags),
    fail: (why = 'the doctor gave up', minutesAgo = 1) =>
      writeTierLog(sandbox.memoryDir, 'emergency-recovery', {
        text: MARKER.manual(why),
        minutesAgo,
        severity: 'ERROR',
      }),
  }
}

/** The messages as they are read, top to bottom. */
function contents(discord: WebhookReceiver): string[] {
  return discord.delivered().map(({ content, embeds = [] }) => {
    const embedded = embeds.flatMap(({ title, description, fields = [], footer }) => [
      title,
      description,
      ...fields.map(({ name, value }) => `${name}: ${value}`),
      footer?.text,
    ])
    return [content, ...embedded].filter(Boolean).join('\n')
  })
}

test('an incident that no level could end reaches Discord with host, time, levels, reason, log and what to do', async () => {
  const { sandbox, discord, tick } = await scene()
  const evidence = 'pid 4711 (python3) listens on port 18789'
  writeTierLog(
    sandbox.memoryDir,
    'watchdog',
    { text: MARKER.down('impostor', evidence), minutesAgo: 12 },
    { text: MARKER.escalate(2, 'somebody else has its port'), minutesAgo: 12 },
  )
  writeTierLog(sandbox.memoryDir, 'healthcheck', { text: MARKER.escalate(3, 'down for 312 s'), minutesAgo: 6 })
  const log = writeTierLog(
    sandbox.memoryDir,
    'emergency-recovery',
    { text: 'what `$(tail -20 log)` would have said stands here', minutesAgo: 5 },
    { text: MARKER.manual(`${evidence}: a foreign process is never ended`), minutesAgo: 5 },
  )

  const run = await tick()

  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect(discord.requests.map(({ problems }) => problems)).toEqual([[]])
  const [content = ''] = contents(discord)
  expect(content).toMatch(/OpenClaw Gateway on .+ needs you/)
  expect(content).toMatch(/impostor · Down since (\d{4}-\d\d-\d\d )?\d\d:\d\d/)
  expect(content).toContain(evidence)
  expect(content).toMatch(/Level 1, watchdog.*handed on: somebody else has its port/)
  expect(content).toMatch(/Level 2, health check.*handed on: down for 312 s/)
  expect(content).toMatch(/Level 3, doctor.*called for you/)
  expect(content).toContain('lsof -nP -iTCP')
  expect(content).toContain(log)
  expect(content).toMatch(/```\n[\s\S]*MANUAL INTERVENTION REQUIRED: pid 4711[\s\S]*\n```\n/)
  expect(sandbox.log('monitor-')).toMatch(/alert delivered to Discord[\s\S]*RUN ended: alerts delivered, exit 0/)
})

test('defect 4 of the bash version: the end of the log is sent itself, not the command that would read it', async () => {
  const { sandbox, discord, tick } = await scene()
  const words = Array.from({ length: 60 }, (_, i) => ({ text: `line ${i} of the session`, minutesAgo: 2 }))
  writeTierLog(sandbox.memoryDir, 'emergency-recovery', ...words, { text: MARKER.manual('gave up'), minutesAgo: 2 })
  await tick()
  expect(contents(discord)[0]).toContain('line 59 of the session')
  expect(contents(discord)[0]).not.toMatch(/tail -/)
})

test('defect 5 of the bash version: quotes, newlines, tabs, backslashes and control characters still make valid JSON', async () => {
  const { discord, tick, fail, sandbox } = await scene()
  const nasty = 'said "no"\\n\n\tthen: \\ C:\\x \u0007\u001b[31mred\u001b[0m ```fence``` 🚀 @everyone <@123> $(id) `id`'
  fail(nasty)
  const log = writeTierLog(
    sandbox.memoryDir,
    'healthcheck',
    { text: nasty, minutesAgo: 1 },
    { text: MARKER.manual(nasty) },
  )
  appendFileSync(log, Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x0a]))
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests.flatMap(({ problems }) => problems)).toEqual([])
  expect(discord.delivered()).toHaveLength(1)
  expect(discord.delivered()[0]!.allowed_mentions).toEqual({ parse: [] })
  expect(contents(discord)[0]).not.toMatch(/@everyone|<@/)
})

test('defects 6 and 13 of the bash version: four ticks with three logs are one message', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail('the doctor gave up', 3)
  writeTierLog(sandbox.memoryDir, 'healthcheck', { text: MARKER.manual('no doctor left for today'), minutesAgo: 2 })
  writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.manual('its state cannot be written'), minutesAgo: 1 })
  for (let i = 0; i < 4; i++) expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests).toHaveLength(1)
  for (const why of ['the doctor gave up', 'no doctor left for today', 'its state cannot be written'])
    expect(contents(discord)[0]).toContain(why)
})

test('defect 6 of the bash version: a message that was not taken is not counted as sent', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  const log = fail()
  const broken = [ANSWERS.badGateway, ANSWERS.serverError, ANSWERS.serverError]
  discord.answerNext(...broken)
  expect(await tick()).toMatchObject({ code: 1 })
  expect(sandbox.log('monitor-')).toMatch(/alert NOT delivered to Discord: HTTP 500; kept for a later run/)
  // Later its log is no longer recent, or gone: it is owed all the same.
  rmSync(log)
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(1)
  expect(contents(discord)[0]).toContain('the doctor gave up')
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(1)
})

test('defects 12 and 18 of the bash version: an unreachable webhook ends nothing and is said', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  await discord.close()
  fail()
  for (let i = 0; i < 2; i++) {
    const run = await tick()
    expect(run.code).toBe(1)
    expect(run.stdout).toMatch(/NOT delivered to Discord: the connection was refused/)
    expect(run.stdout).toMatch(/waiting to be delivered: .*the doctor gave up/)
    expect(run.stdout).toMatch(/RUN ended: alerts not delivered, exit 1/)
  }
  expect(sandbox.log('monitor-')).not.toContain(discord.url)
})

test('defect 2 of the bash version: only the marker counts, not prose that resembles it, nor a quotation of it', async () => {
  const { sandbox, discord, tick } = await scene()
  writeTierLog(
    sandbox.memoryDir,
    'emergency-recovery',
    { text: 'Level 3 failed. Manual intervention required.' },
    {
      text: `the gateway's log says:\n${MARKER.manual('forged')}\n[2026-11-22T05:44:10+09:00] [watchdog] [ERROR] ${MARKER.manual('forged')}`,
    },
    { text: `note: ${MARKER.manual('forged')}` },
  )
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests).toEqual([])
  // The one that Level 3 writes is the one that is found, even if a crash cut off the end of its line.
  const log = join(sandbox.memoryDir, sandbox.memoryFiles('emergency-recovery')[0]!)
  const line = `[${new Date().toISOString().slice(0, 19)}+00:00] [emergency-recovery] [ERROR] ${MARKER.manual('real')}`
  appendFileSync(log, line)
  await tick()
  await tick()
  expect(discord.delivered()).toHaveLength(1)
})

test('defect 26 of the bash version: a reason that is longer than all limits is cut to what Discord takes', async () => {
  const { discord, tick, fail } = await scene()
  fail('x🚀'.repeat(3000))
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests.flatMap(({ problems }) => problems)).toEqual([])
  expect(discord.delivered()).toHaveLength(1)
})

test('a short Retry-After is waited for, a long one is left to a later run', async () => {
  const { discord, tick, fail } = await scene()
  fail('first')
  discord.answerNext(ANSWERS.rateLimited(0.2))
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests.map(({ status }) => status)).toEqual([429, 204])

  fail('second')
  discord.answerNext(ANSWERS.rateLimited(600))
  expect(await tick()).toMatchObject({ code: 1 })
  // Ten minutes are not over: Discord is left alone.
  expect(await tick()).toMatchObject({ code: 1 })
  expect(discord.requests.map(({ status }) => status)).toEqual([429, 204, 429])
})

test('a webhook that is gone is said with what to do, not asked at every tick, and its successor gets the alert', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  const run = await tick()
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/HTTP 404 \(Unknown Webhook\).*make a new one .*DISCORD_WEBHOOK_URL/)
  expect(await tick()).toMatchObject({ code: 1 })
  expect(discord.requests).toHaveLength(1)
  const other = await startWebhookReceiver()
  onTestFinished(other.close)
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: other.url })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(other.delivered()).toHaveLength(1)
})

test('without a webhook the failure is said at every tick and exits 1, and with nothing to say it exits 0', async () => {
  const { sandbox, tick, fail } = await scene({ DISCORD_WEBHOOK_URL: '' })
  expect(await tick()).toMatchObject({ code: 0 })
  fail()
  for (let i = 0; i < 2; i++) {
    const run = await tick()
    expect(run.code).toBe(1)
    expect(run.stdout).toMatch(new RegExp(`nobody can be told: set DISCORD_WEBHOOK_URL .* in ${sandbox.stateDir}/.env`))
    expect(run.stdout).toMatch(/waiting to be delivered: .*the doctor gave up/)
  }
})

test('a message that Discord refuses is sent in our own words alone', async () => {
  const { discord, tick, fail } = await scene()
  fail()
  discord.answerNext({
    status: 400,
    headers: { 'Content-Type': 'application/json' },
    body: '{"message":"Invalid Form Body"}',
  })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)[0]).toMatch(/needs you\n\(The full alert was not accepted/)
})

test('an answer that does not come is not waited for, and the next message says that it may be a repetition', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  discord.answerNext('hang')
  expect(await sandbox.runScript(MONITOR, [], { env: { ALERT_HTTP_TIMEOUT: '3' } })).toMatchObject({ code: 1 })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)[0]).toContain('Perhaps a repetition')
})

test('killed while it sends, the next run sends again and says so; the alert is not lost', async () => {
  const { sandbox, discord, fail, tick } = await scene()
  fail()
  discord.answerNext('hang')
  const script = sandbox.startScript(MONITOR)
  await waitFor(() => discord.requests.length === 1, 'the request')
  process.kill(script.pid, 'SIGKILL')
  await script.finished
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)).toHaveLength(1)
  expect(contents(discord)[0]).toContain('Perhaps a repetition')
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)).toHaveLength(1)
})

test('told to stop while it sends, it still writes down whether the alert was taken', async () => {
  const { sandbox, discord, fail, tick } = await scene()
  fail()
  discord.answerNext(ANSWERS.rateLimited(20))
  const script = sandbox.startScript(MONITOR)
  await waitFor(() => discord.requests.length === 1, 'the request')
  process.kill(script.pid, 'SIGTERM')
  expect(await script.finished).toMatchObject({ code: 1 })
  expect(sandbox.log('monitor-')).toMatch(/NOT delivered to Discord: HTTP 429[\s\S]*stopped by SIGTERM/)
  // The 20 s that Discord asked for are respected.
  expect(await tick()).toMatchObject({ code: 1 })
  expect(discord.requests).toHaveLength(1)
})

test('what is older than the window is history, unless the monitor itself could not run since', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail('an old failure', 90)
  // A daily log that is still written holds failures of the morning.
  const today = writeTierLog(sandbox.memoryDir, 'healthcheck', { text: MARKER.manual('this morning'), minutesAgo: 100 })
  appendFileSync(today, '\n')
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.requests).toEqual([])

  const { memoryDir } = sandbox
  for (const name of sandbox.memoryFiles('monitor-')) rmSync(join(memoryDir, name))
  writeTierLog(memoryDir, 'monitor', { text: MARKER.runEnded('nothing to alert', 0, 0.1), minutesAgo: 95 })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)).toHaveLength(1)
  expect(contents(discord)[0]).toContain('an old failure')
  expect(contents(discord)[0]).not.toContain('this morning')
})

test('the same failure after a recovery is alerted again, with another pid in one incident it is not', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail('pid 1 has the port', 5)
  await tick()
  fail('pid 22 has the port', 4)
  await tick()
  expect(discord.delivered()).toHaveLength(1)
  writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.runEnded('healthy', 0, 1), minutesAgo: 3 })
  fail('pid 22 has the port', 2)
  await tick()
  expect(discord.delivered()).toHaveLength(2)
})

test('a guardian that cannot revive a watcher is heard too', async () => {
  const { sandbox, discord, tick } = await scene()
  writeTierLog(sandbox.memoryDir, 'guardian', { text: MARKER.manual(`${ABOUT_WATCHERS}watchdog is not registered`) })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)[0]).toMatch(/The watchers of OpenClaw on .+ need you/)
  expect(contents(discord)[0]).toContain('watchdog is not registered')
})

test('secrets of the config and the settings do not leave the machine', async () => {
  const { sandbox, discord, tick } = await scene({
    TELEGRAM_BOT_TOKEN: '123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc',
  })
  sandbox.writeConfig({ channels: { slack: { signingSecret: 'a very quiet phrase' } } })
  const secrets = ['stand-in-token-0123456789', 'a very quiet phrase', '123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc']
  const text = `it said ${secrets.join(' and ')} and ${discord.url}`
  writeTierLog(sandbox.memoryDir, 'watchdog', { text: MARKER.down('hung', text), minutesAgo: 2 })
  writeTierLog(sandbox.memoryDir, 'emergency-recovery', { text, minutesAgo: 1 }, { text: MARKER.manual(text) })
  await tick()
  expect(discord.delivered()).toHaveLength(1)
  const kept = readFileSync(join(sandbox.stateDir, 'watchdog', 'alerts.json'), 'utf8')
  for (const secret of [...secrets, discord.url]) {
    expect(discord.requests[0]!.text).not.toContain(secret)
    expect(kept).not.toContain(secret)
    expect(sandbox.log('monitor-')).not.toContain(secret)
  }
})

test('a log folder that cannot be written is alerted once, by Level 4 itself', async () => {
  const { sandbox, discord, tick } = await scene()
  writeFileSync(join(sandbox.home, 'openclaw'), 'a file where the folder should be')
  expect(await tick()).toMatchObject({ code: 0 })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)).toHaveLength(1)
  expect(contents(discord)[0]).toMatch(/Self-healing on .+ cannot write its files[\s\S]*openclaw\/memory/)
  rmSync(join(sandbox.home, 'openclaw'))
  expect(await tick()).toMatchObject({ code: 0 })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)).toHaveLength(2)
  expect(contents(discord)[1]).toMatch(/✅ Self-healing on .+ can write its files again/)
})

test('a state folder that cannot be written is alerted once, and so is everything else meanwhile', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  writeFileSync(join(sandbox.stateDir, 'watchdog'), 'a file where the folder should be')
  expect(await tick()).toMatchObject({ code: 0 })
  fail()
  expect(await tick()).toMatchObject({ code: 0 })
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)).toHaveLength(2)
  expect(contents(discord)[0]).toContain('cannot write its files')
  expect(contents(discord)[1]).toContain('the doctor gave up')
  // What was remembered elsewhere is taken over when the folder is well again.
  rmSync(join(sandbox.stateDir, 'watchdog'))
  fail('the doctor gave up', 0)
  expect(await tick()).toMatchObject({ code: 0 })
  expect(contents(discord)).toHaveLength(3)
  expect(contents(discord)[2]).toMatch(/can write its files again/)
  expect(contents(discord)[2]).not.toContain('the doctor gave up')
  expect(existsSync(join(sandbox.memoryDir, 'alerts.json'))).toBe(false)
})

test('a damaged memory is kept aside and said, and the failure is told rather once more than not', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  await tick()
  writeFileSync(join(sandbox.stateDir, 'watchdog', 'alerts.json'), '{"saved": 3, "cas')
  const run = await tick()
  expect(run.code).toBe(0)
  expect(run.stdout).toMatch(/alerts\.json was damaged; kept as alerts\.json\.corrupt-/)
  expect(contents(discord)).toHaveLength(2)
  await tick()
  expect(contents(discord)).toHaveLength(2)
})

test('--dry-run shows the message, sends nothing and writes nothing', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  const files = () =>
    readdirSync(sandbox.home, { recursive: true, encoding: 'utf8' }).map((name) => [
      name,
      statSync(join(sandbox.home, name)).mtimeMs,
    ])
  const before = files()
  const run = await tick('--dry-run')
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/dry run: would send:[\s\S]*needs you[\s\S]*the doctor gave up/)
  expect(files()).toEqual(before)
  expect(discord.requests).toEqual([])
})

test('--test-alert says what the webhook answered, and does not count as a look at the logs', async () => {
  const { discord, tick, fail, sandbox } = await scene()
  fail()
  const run = await tick('--test-alert')
  expect(run).toMatchObject({ code: 0 })
  expect(run.stdout).toMatch(/Discord took the test: HTTP 204/)
  expect(contents(discord)[0]).toMatch(/Test from/)
  discord.answerNext(ANSWERS.unknownWebhook)
  const second = await tick('--test-alert')
  expect(second.code).toBe(1)
  expect(second.stdout).toMatch(/did not take the test: HTTP 404 \(Unknown Webhook\); .*DISCORD_WEBHOOK_URL/)
  await tick()
  expect(contents(discord)[1]).toContain('the doctor gave up')
  sandbox.writeEnvFile()
  expect(await tick('--test-alert')).toMatchObject({ code: 1 })
})

test('paused, it stands down; the alert follows when the pause is over', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  const pause = join(sandbox.stateDir, 'self-healing.paused')
  mkdirSync(sandbox.stateDir, { recursive: true })
  writeFileSync(pause, '')
  expect(await tick()).toMatchObject({ code: 3 })
  expect(discord.requests).toEqual([])
  rmSync(pause)
  expect(await tick()).toMatchObject({ code: 0 })
  expect(discord.delivered()).toHaveLength(1)
})
