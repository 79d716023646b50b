/** Level 4 as a process: what a human gets to read, and that it comes once. */
import { spawnSync } from 'node:child_process'
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
import { ABOUT_WATCHERS, MARKER } from '../../lib/tier/contract.ts'
import { createSandbox, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { ANSWERS, startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.ts'

const MONITOR = 'emergency-recovery-monitor'

async function scene(settings: Record<string, string> = {}) {
  const discord = await startWebhookReceiver()
  const sandbox = await createSandbox({ settings: { DISCORD_WEBHOOK_URL: discord.url, ...settings } })
  onTestFinished(async () => {
    await sandbox.close()
    await discord.close()
  })
  const { memoryDir, stateDir } = sandbox
  return {
    ...{ sandbox, discord, memoryDir, ledgerPath: join(stateDir, 'watchdog', 'alerts.json') },
    /** One tick of cron, with the exit code that it must have. */
    tick: async (code: number, ...flags: string[]) => {
      const run = await sandbox.runScript(MONITOR, flags)
      expect(run.code, run.stdout + run.stderr).toBe(code)
      return run
    },
    fail: (why = 'the doctor gave up', minutesAgo = 1) =>
      writeTierLog(memoryDir, 'emergency-recovery', { text: MARKER.manual(why), minutesAgo, severity: 'ERROR' }),
  }
}

/** The messages as they are read, top to bottom. */
function contents(discord: WebhookReceiver): string[] {
  return discord.delivered().map(({ content, embeds = [] }) => {
    const embedded = embeds.flatMap(({ title, description, fields = [], footer }) => [
      ...[title, description, ...fields.map(({ name, value }) => `${name}: ${value}`), footer?.text],
    ])
    return [content, ...embedded].filter(Boolean).join('\n')
  })
}

test('an incident that no level could end reaches Discord with host, time, levels, reason, log and what to do', async () => {
  const { sandbox, discord, memoryDir, tick } = await scene()
  const evidence = 'pid 4711 (python3) listens on port 18789'
  writeTierLog(
    memoryDir,
    'watchdog',
    { text: MARKER.runEnded('healthy', 0, 1), minutesAgo: 15 },
    { text: MARKER.down('impostor', evidence), minutesAgo: 12 },
    { text: MARKER.escalate(2, 'its port is taken'), minutesAgo: 12 },
  )
  writeTierLog(memoryDir, 'healthcheck', { text: MARKER.escalate(3, 'down for 312 s'), minutesAgo: 6 })
  const words = Array.from({ length: 60 }, (_, i) => ({ text: `line ${i} of the session`, minutesAgo: 5 }))
  const why = { text: MARKER.manual(`${evidence}: a foreign process is never ended`), minutesAgo: 5 }
  const log = writeTierLog(memoryDir, 'emergency-recovery', ...words, why)
  expect(await tick(0)).toMatchObject({ stderr: '' })
  expect(discord.requests.map(({ problems }) => problems)).toEqual([[]])
  const [content = ''] = contents(discord)
  expect(content).toMatch(/OpenClaw Gateway on .+ needs you/)
  expect(content).toMatch(/impostor · Down since (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d, last healthy .*\d\d:\d\d/)
  expect(content).toContain(`Seen: \`${evidence}\``)
  expect(content).toMatch(/Level 1, watchdog.*escalated: its port is taken/)
  expect(content).toMatch(/Level 2, health check.*escalated: down for 312 s/)
  expect(content).toMatch(/Level 3, doctor.*called for you/)
  expect(content).toContain('lsof -nP -iTCP')
  expect(content).toContain(log)
  expect(content).toMatch(/```\n[\s\S]*line 59 of the session\n.*MANUAL INTERVENTION REQUIRED: pid 4711[\s\S]*\n```\n/)
  expect(sandbox.log('monitor-')).toMatch(/alert delivered to Discord[\s\S]*RUN ended: alerts delivered, exit 0/)
})

test('quotes, newlines, control characters, markup, mentions and overlong reasons are sent as valid JSON', async () => {
  const { discord, memoryDir, tick, fail } = await scene()
  const nasty = 'said "no"\\n\n\tthen: \\ C:\\x \u0007\u001b[31mred\u001b[0m ```fence``` 🚀 @everyone <@123> $(id) `id`'
  fail(nasty)
  fail('x🚀'.repeat(3000))
  const text = MARKER.manual(nasty)
  appendFileSync(writeTierLog(memoryDir, 'healthcheck', { text }), Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x0a]))
  await tick(0)
  expect(discord.requests.map(({ problems }) => problems)).toEqual([[]])
  expect(discord.delivered()[0]!.allowed_mentions).toEqual({ parse: [] })
  expect(contents(discord)[0]).not.toMatch(/@everyone|<@/)
})

test('four ticks with three logs are one message; after a recovery the same failure is told again', async () => {
  const { discord, memoryDir, tick, fail } = await scene()
  fail('the doctor gave up on pid 1', 9)
  writeTierLog(memoryDir, 'healthcheck', { text: MARKER.manual('no doctor left for today'), minutesAgo: 8 })
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.manual('its state cannot be written'), minutesAgo: 7 })
  for (let i = 0; i < 3; i++) await tick(0)
  fail('the doctor gave up on pid 22', 6)
  await tick(0)
  expect(discord.requests).toHaveLength(1)
  for (const why of ['the doctor gave up', 'no doctor left for today', 'its state cannot be written'])
    expect(contents(discord)[0]).toContain(why)
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.runEnded('healthy', 0, 1), minutesAgo: 4 })
  fail('the doctor gave up on pid 22', 2)
  await tick(0)
  await tick(0)
  expect(discord.requests).toHaveLength(2)
})

test('a message that was not taken is owed, also when its log is gone', async () => {
  const { discord, tick, fail } = await scene()
  const log = fail()
  discord.answerNext(ANSWERS.badGateway, ANSWERS.serverError, ANSWERS.serverError)
  await tick(1)
  rmSync(log)
  await tick(0)
  await tick(0)
  expect(contents(discord)).toEqual([expect.stringContaining('the doctor gave up')])
})

test('an unreachable webhook, or none, is said at every tick and exits 1; with nothing to say a tick exits 0', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  await discord.close()
  await tick(0)
  fail()
  for (let i = 0; i < 2; i++) {
    const { stdout } = await tick(1)
    expect(stdout).toMatch(
      /NOT delivered to Discord[\s\S]*the doctor gave up\n.*RUN ended: alerts not delivered, exit 1/,
    )
  }
  expect(sandbox.log('monitor-')).not.toContain(discord.url)
  sandbox.writeEnvFile()
  expect((await tick(1)).stdout).toContain(`${sandbox.stateDir}/.env`)
})

test('only the marker counts, not prose that resembles it, nor a quotation of it', async () => {
  const { sandbox, discord, memoryDir, tick } = await scene()
  const forged = `[2026-11-22T05:44:10+09:00] [watchdog] [ERROR] ${MARKER.manual('forged')}`
  writeTierLog(
    memoryDir,
    'emergency-recovery',
    { text: 'Level 3 failed. Manual intervention required.' },
    { text: `the gateway's log says:\n${MARKER.manual('forged')}\n${forged}` },
    { text: `note: ${MARKER.manual('forged')}` },
  )
  await tick(0)
  expect(discord.requests).toEqual([])
  // The one that Level 3 writes is found, even if a crash cut off the end of its line.
  const line = `[${new Date().toISOString().slice(0, 19)}+00:00] [emergency-recovery] [ERROR] ${MARKER.manual('real')}`
  appendFileSync(join(memoryDir, sandbox.memoryFiles('emergency-recovery')[0]!), line)
  await tick(0)
  await tick(0)
  expect(discord.delivered()).toHaveLength(1)
})

test('a short Retry-After is waited for, a long one is left to a later run, also when it is told to stop', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail('first')
  discord.answerNext(ANSWERS.rateLimited(0.2))
  await tick(0)
  expect(discord.requests.map(({ status }) => status)).toEqual([429, 204])
  fail('second')
  discord.answerNext(ANSWERS.rateLimited(20))
  const script = sandbox.startScript(MONITOR)
  await waitFor(() => discord.requests.length === 3, 'the request')
  process.kill(script.pid, 'SIGTERM')
  expect(await script.finished).toMatchObject({ code: 1 })
  expect(sandbox.log('monitor-')).toMatch(/NOT delivered to Discord: HTTP 429/)
  await tick(1)
  expect(discord.requests.map(({ status }) => status)).toEqual([429, 204, 429])
})

test('a webhook that is gone is said with what to do, not asked at every tick, and its successor gets the alert', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  expect((await tick(1)).stdout).toMatch(/HTTP 404 \(Unknown Webhook\).*DISCORD_WEBHOOK_URL/)
  await tick(1)
  expect(discord.requests).toHaveLength(1)
  const other = await startWebhookReceiver()
  onTestFinished(other.close)
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: other.url })
  await tick(0)
  expect(other.delivered()).toHaveLength(1)
})

test('a message that Discord refuses is sent in our own words alone', async () => {
  const { discord, tick, fail } = await scene()
  fail()
  discord.answerNext({ status: 400, body: '{"message":"Invalid Form Body"}' })
  await tick(0)
  expect(discord.delivered()[0]).toMatchObject({ content: expect.stringMatching(/needs you\n/) })
  expect(discord.delivered()[0]!.embeds).toBeUndefined()
})

test('without an answer, or killed while it sends, it sends again and says so; the alert is not lost', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  discord.answerNext('hang', 'hang')
  expect(await sandbox.runScript(MONITOR, [], { env: { ALERT_HTTP_TIMEOUT: '3' } })).toMatchObject({ code: 1 })
  const script = sandbox.startScript(MONITOR)
  await waitFor(() => discord.requests.length === 2, 'the request')
  process.kill(script.pid, 'SIGKILL')
  await script.finished
  await tick(0)
  await tick(0)
  expect(contents(discord)).toEqual([expect.stringContaining('Perhaps a repetition')])
})

test('what is older than the window is history, unless the monitor itself did not run since', async () => {
  const { discord, ledgerPath, memoryDir, tick, fail } = await scene()
  // A daily log that is still written holds failures of the morning.
  appendFileSync(writeTierLog(memoryDir, 'healthcheck', { text: MARKER.manual('this morning'), minutesAgo: 100 }), '\n')
  fail('an old failure', 90)
  await tick(0)
  expect(discord.requests).toEqual([])
  const readAt = new Date(Date.now() - 95 * 60_000).toISOString()
  writeFileSync(ledgerPath, JSON.stringify({ ...JSON.parse(readFileSync(ledgerPath, 'utf8')), readAt }))
  await tick(0)
  await tick(0)
  expect(contents(discord)).toEqual([expect.stringContaining('an old failure')])
  expect(contents(discord)[0]).not.toContain('`this morning`')
})

test('a guardian that cannot revive a watcher is heard too, and that it could', async () => {
  const { discord, memoryDir, tick } = await scene()
  const text = MARKER.manual(`${ABOUT_WATCHERS}watchdog is not registered`)
  writeTierLog(memoryDir, 'guardian', { text, minutesAgo: 4 })
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.runEnded('healthy', 0, 1), minutesAgo: 3 })
  await tick(0)
  expect(contents(discord)[0]).toMatch(/The watchers of OpenClaw on .+ need you[\s\S]*watchdog is not registered/)
  writeTierLog(memoryDir, 'guardian', { text: MARKER.runEnded('all watchers are well', 0, 1), minutesAgo: 2 })
  await tick(0)
  await tick(0)
  expect(contents(discord)).toHaveLength(2)
  expect(contents(discord)[1]).toMatch(/✅ The watchers of OpenClaw on .+ are well again/)
})

test('what a clock that was ahead saw healthy does not end what fails after it was set back', async () => {
  const { discord, memoryDir, tick } = await scene()
  const healthy = MARKER.runEnded('healthy', 0, 1)
  const ahead = [6, 3, 1].map((minutesAgo) => ({ text: healthy, minutesAgo }))
  const down = [8, 7, 5, 2].map((minutesAgo) => ({ text: MARKER.down('hung', 'x'), minutesAgo }))
  writeTierLog(memoryDir, 'watchdog', ...ahead, ...down)
  writeTierLog(memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 4 })
  await tick(0)
  expect(contents(discord)).toEqual([expect.stringMatching(/needs you[\s\S]*hung · Down since/)])
})

test('a hung doctor that the guardian ended is a call about the gateway: a well guardian does not end it', async () => {
  const { discord, memoryDir, tick } = await scene()
  writeTierLog(memoryDir, 'guardian', { text: MARKER.manual('emergency-recovery hung and was ended'), minutesAgo: 4 })
  writeTierLog(memoryDir, 'guardian', { text: MARKER.runEnded('all alive', 0, 1), minutesAgo: 3 })
  await tick(0)
  expect(contents(discord)).toEqual([expect.stringMatching(/OpenClaw Gateway on .+ needs you/)])
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.runEnded('healthy', 0, 1), minutesAgo: 1 })
  await tick(0)
  expect(contents(discord)[1]).toMatch(/✅ OpenClaw Gateway on .+ is back/)
})

test('secrets of the config and the settings do not leave the machine', async () => {
  const bot = '123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc'
  const { sandbox, discord, ledgerPath, memoryDir, tick } = await scene({ TELEGRAM_BOT_TOKEN: bot })
  sandbox.writeConfig({ channels: { slack: { signingSecret: 'a very quiet phrase' } } })
  const secrets = ['stand-in-token-0123456789', 'a very quiet phrase', bot, discord.url]
  const text = `it said ${secrets.join(' and ')}`
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.down('hung', text), minutesAgo: 2 })
  writeTierLog(memoryDir, 'emergency-recovery', { text, minutesAgo: 1 }, { text: MARKER.manual(text) })
  await tick(0)
  expect(discord.delivered()).toHaveLength(1)
  const left = [discord.requests[0]!.text, readFileSync(ledgerPath, 'utf8'), sandbox.log('monitor-')]
  for (const secret of secrets) for (const one of left) expect(one).not.toContain(secret)
})

test('folders that cannot be written are alerted once, by Level 4 itself, and so is everything else meanwhile', async () => {
  const { sandbox, discord, memoryDir, tick, fail } = await scene()
  const logs = join(sandbox.home, 'openclaw')
  const state = join(sandbox.stateDir, 'watchdog')
  writeFileSync(logs, 'a file where the folder should be')
  await tick(0)
  await tick(0)
  expect(contents(discord)).toEqual([expect.stringMatching(/Self-healing on .+ cannot write its files[\s\S]*openclaw/)])
  rmSync(logs)
  await tick(0)
  await tick(0)
  expect(contents(discord)[1]).toMatch(/✅ Self-healing on .+ can write its files again/)
  rmSync(state, { recursive: true })
  writeFileSync(state, 'a file where the folder should be')
  await tick(0)
  fail()
  await tick(0)
  await tick(0)
  expect(contents(discord)).toHaveLength(4)
  expect(contents(discord)[3]).toContain('the doctor gave up')
  // What was remembered elsewhere is taken over when the folder is well again.
  rmSync(state)
  await tick(0)
  await tick(0)
  expect(contents(discord)).toHaveLength(5)
  expect(contents(discord)[4]).not.toContain('the doctor gave up')
  expect(existsSync(join(memoryDir, 'alerts.json'))).toBe(false)
})

test('where 16 kB cannot be written, the look at that takes no space', async () => {
  const { sandbox, memoryDir } = await scene()
  const script = new URL(`../../scripts/${MONITOR}.ts`, import.meta.url).pathname
  const monitor = [process.execPath, ...typescriptLoader(), script]
  const env = { HOME: sandbox.home, PATH: process.env.PATH }
  const { stdout } = spawnSync('sh', ['-c', 'ulimit -f 12; exec "$0" "$@"', ...monitor], { env, encoding: 'utf8' })
  expect(stdout).toMatch(/cannot be written: .*EFBIG/)
  for (const folder of [memoryDir, join(sandbox.stateDir, 'watchdog')])
    expect(readdirSync(folder)).not.toContain('.can-be-written')
})

test('a damaged memory is kept aside, and the failure is told rather once more than not', async () => {
  const { discord, ledgerPath, tick, fail } = await scene()
  fail()
  await tick(0)
  writeFileSync(ledgerPath, '{"saved": 3, "cas')
  expect((await tick(0)).stdout).toMatch(/alerts\.json\.corrupt-/)
  await tick(0)
  expect(contents(discord)).toHaveLength(2)
})

test('--dry-run shows the message, sends nothing and writes nothing', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  const names = () => readdirSync(sandbox.home, { recursive: true, encoding: 'utf8' })
  const files = () => names().map((name) => [name, statSync(join(sandbox.home, name)).mtimeMs])
  const before = files()
  expect((await tick(1, '--dry-run')).stdout).toMatch(/needs you[\s\S]*the doctor gave up/)
  expect(files()).toEqual(before)
  expect(discord.requests).toEqual([])
})

test('--test-alert says what the webhook answered and reads no log; a pause puts the alert off', async () => {
  const { sandbox, discord, tick, fail } = await scene()
  fail()
  expect((await tick(0, '--test-alert')).stdout).toMatch(/Discord .*HTTP 204/)
  expect(contents(discord)[0]).toMatch(/Test from/)
  discord.answerNext(ANSWERS.unknownWebhook)
  expect((await tick(1, '--test-alert')).stdout).toMatch(/HTTP 404 \(Unknown Webhook\).*DISCORD_WEBHOOK_URL/)
  const pause = join(sandbox.stateDir, 'self-healing.paused')
  mkdirSync(sandbox.stateDir, { recursive: true })
  writeFileSync(pause, '')
  await tick(3)
  rmSync(pause)
  await tick(0)
  expect(contents(discord)).toEqual([expect.anything(), expect.stringContaining('the doctor gave up')])
  sandbox.writeEnvFile()
  await tick(1, '--test-alert')
})

test('from 1.x: a line from the future, read by the first version, mutes nothing', async () => {
  const { discord, ledgerPath, sandbox, memoryDir, tick, fail } = await scene()
  const text = MARKER.runEnded('healthy', 0, 1)
  const log = writeTierLog(memoryDir, 'watchdog', { text, minutesAgo: 9 }, { text, minutesAgo: -500_000 })
  mkdirSync(join(sandbox.stateDir, 'watchdog'), { recursive: true })
  const positions = { [log]: statSync(log).size }
  writeFileSync(ledgerPath, JSON.stringify({ saved: 3, positions, book: { cases: [], histories: [] }, outbox: [] }))
  fail()
  await tick(0)
  expect(contents(discord)).toEqual([expect.stringContaining('the doctor gave up')])
})

test('from 1.x: the waiting alert is delivered, and nothing that was told is told again', async () => {
  const { sandbox, discord, ledgerPath, memoryDir, tick } = await scene()
  const madeAt = Date.parse('2026-11-29T11:50:54Z')
  const said = (time: string, text: string) => ({
    text,
    minutesAgo: (madeAt - Date.parse(`2026-11-29T${time}Z`)) / 60_000,
  })
  // As the first version had read them when it left its ledger.
  const log = writeTierLog(
    memoryDir,
    'healthcheck',
    said('11:26:38', MARKER.down('impostor', 'python3 has the port')),
    said('11:28:38', MARKER.manual('the first failure')),
    said('11:29:42', MARKER.recovered(2, 180)),
    said('11:34:46', MARKER.down('hung', 'no answer within 5 s')),
    said('11:36:46', MARKER.manual('the doctor gave up')),
    said('11:44:49', MARKER.manual('no doctor is left for today')),
  )
  const shift = (time: string) => new Date(Date.parse(time) + Date.now() - madeAt).toISOString()
  const ledger = readFileSync(new URL('../fixtures/monitor-ledger-1x.json', import.meta.url), 'utf8')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, shift)
    .replaceAll('$LOG', log)
    .replaceAll('$HOME', sandbox.home)
  mkdirSync(join(sandbox.stateDir, 'watchdog'), { recursive: true })
  writeFileSync(ledgerPath, ledger)
  await tick(0)
  await tick(0)
  expect(contents(discord)).toHaveLength(1)
  expect(discord.delivered()[0]!.content).toMatch(/still needs you: something new[\s\S]*no doctor is left for today/)
  expect(discord.delivered()[0]!.content).not.toMatch(/first failure|gave up/)
  writeTierLog(memoryDir, 'watchdog', { text: MARKER.runEnded('healthy', 0, 1) })
  await tick(0)
  await tick(0)
  expect(contents(discord)).toHaveLength(2)
  expect(contents(discord)[1]).toMatch(/✅ OpenClaw Gateway on .+ is back/)
})
