/** Level 4 as a process: what a human gets to read, and that it comes once. */
import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test as inTurn } from 'vitest'
import { ABOUT_WATCHERS, MARKER } from '../../lib/tier/contract.ts'
import { HEALTHY, MONITOR, monitorScene } from '../support/monitor-scene.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'
import { ANSWERS, startWebhookReceiver } from '../support/webhook-receiver.ts'

const test = inTurn.concurrent

test('an incident that no level could end reaches Discord with all that is needed', async (t) => {
  const { sandbox, discord, says, tick, read } = await monitorScene(t)
  const evidence = 'pid 4711 (python3) listens on port 18789'
  says('watchdog', 15, HEALTHY)
  says('watchdog', 12, MARKER.down('impostor', evidence), MARKER.escalate(2, 'its port is taken'))
  says('healthcheck', 6, MARKER.escalate(3, 'down for 312 s'))
  const nasty = 'said "no"\\n\n\tthen: \\ C:\\x \u0007\u001b[31mred\u001b[0m ```fence``` @everyone <@123> $(id) `id`'
  const words = [...Array.from({ length: 60 }, (_, i) => `line ${i} of the session`), nasty, 'x🚀'.repeat(3000)]
  const log = says('emergency-recovery', 5, ...words, MARKER.manual(`${evidence}: a foreign process is never ended`))
  says('emergency-recovery', 5, MARKER.manual(nasty), MARKER.manual('x🚀'.repeat(3000)))
  appendFileSync(log, Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0x0a]))
  await tick(0)
  expect(discord.requests.map(({ problems }) => problems)).toEqual([[]])
  expect(discord.delivered()[0]!.allowed_mentions).toEqual({ parse: [] })
  const [content = ''] = read()
  expect(content).not.toMatch(/@everyone|<@/)
  expect(content).toMatch(/^\*\*🚨 OpenClaw Gateway on .+ needs you: another process has its port\*\*\n/)
  expect(content).toContain(`**\n\`${evidence}\`\n`)
  expect(content).toMatch(/impostor · Down since (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d, last healthy .*\d\d:\d\d/)
  expect(content).toMatch(/Level 1, watchdog.*its port is taken/)
  expect(content).toMatch(/Level 2, health check.*down for 312 s/)
  expect(content).toMatch(/Level 3, doctor.*called a human/)
  // By /proc where there is one, else with a tool that a Mac has.
  expect(content).toMatch(/➜ [^`\n]*`(?:ls -l \/proc\/\d+\/exe|sudo ss|ps -o|sudo lsof) /)
  expect(content).toContain(log)
  expect(content).toMatch(
    /```\n[\s\S]*line 59 of the session\n[\s\S]*MANUAL INTERVENTION REQUIRED: pid 4711[\s\S]*\n```\n/,
  )
  expect(sandbox.log('monitor-')).toMatch(/alert delivered to Discord[\s\S]*RUN ended: alerts delivered, exit 0/)
})

test('three logs are one message, told once; after a recovery the same failure is told again', async (t) => {
  const { says, tick, fail, read } = await monitorScene(t)
  const whys = ['the doctor gave up on pid 1', 'no doctor left for today', 'its state cannot be written']
  fail(whys[0], 9)
  says('healthcheck', 8, MARKER.manual(whys[1]!))
  says('watchdog', 7, MARKER.manual(whys[2]!))
  await tick(0)
  fail('the doctor gave up on pid 22', 6)
  await tick(0)
  expect(read()).toHaveLength(1)
  for (const why of whys) expect(read()[0]).toContain(why)
  says('watchdog', 4, HEALTHY)
  fail('the doctor gave up on pid 22', 2)
  await tick(0)
  expect(read()).toHaveLength(2)
})

test('what was not taken is owed, also when its log is gone, and comes as one message', async (t) => {
  const { discord, says, tick, fail, read } = await monitorScene(t)
  const log = fail('first reason', 3)
  discord.answerNext(ANSWERS.badGateway, ANSWERS.serverError, ANSWERS.serverError)
  await tick(1)
  rmSync(log)
  says('watchdog', 2, MARKER.recovered(1, 120))
  fail('second reason')
  await tick(0)
  const text =
    /3 messages about OpenClaw on .+; the last: .+ needs you[\s\S]*first reason[\s\S]*level 1[\s\S]*second reason/
  expect(read()).toEqual([expect.stringMatching(text)])
})

test('an unreachable webhook, or none, exits 1, and the outbox does not grow', async (t) => {
  const { sandbox, discord, ledgerPath, tick, fail, editLedger } = await monitorScene(t)
  await discord.close()
  fail()
  expect(await tick(1)).toMatch(/Discord[\s\S]*the doctor gave up\n.*RUN ended: alerts not delivered, exit 1/)
  expect(sandbox.log('monitor-')).not.toContain(discord.url)
  sandbox.writeEnvFile()
  editLedger((ledger) => (ledger.outbox = Array(500).fill(ledger.outbox[0])))
  expect(await tick(1)).toContain(`${sandbox.stateDir}/.env`)
  expect(JSON.parse(readFileSync(ledgerPath, 'utf8')).outbox).toHaveLength(50)
})

test('only the marker counts, not prose that resembles it, nor a quotation of it', async (t) => {
  const { sandbox, discord, memoryDir, says, tick } = await monitorScene(t)
  const forged = `[2026-11-22T05:44:10+09:00] [watchdog] [ERROR] ${MARKER.manual('forged')}`
  const quoted = `the gateway's log says:\n${MARKER.manual('forged')}\n${forged}`
  says('emergency-recovery', 0, 'Manual intervention required.', quoted, `note: ${MARKER.manual('forged')}`)
  await tick(0)
  expect(discord.requests).toEqual([])
  // The one that Level 3 writes is found, even if a crash cut off the end of its line.
  const line = `[${new Date().toISOString().slice(0, 19)}+00:00] [emergency-recovery] [ERROR] ${MARKER.manual('real')}`
  appendFileSync(join(memoryDir, sandbox.memoryFiles('emergency-recovery')[0]!), line)
  await tick(0)
  expect(discord.delivered()).toHaveLength(1)
})

test('a Retry-After is waited for; told to stop, it leaves the alert to a later run', async (t) => {
  const { sandbox, discord, tick, fail } = await monitorScene(t)
  fail()
  discord.answerNext(ANSWERS.rateLimited(0.2), ANSWERS.rateLimited(20))
  const script = sandbox.startScript(MONITOR)
  await waitFor(() => discord.requests.length === 2, 'the requests')
  process.kill(script.pid, 'SIGTERM')
  expect(await script.finished).toMatchObject({ code: 1 })
  await tick(1)
  expect(discord.requests.map(({ status }) => status)).toEqual([429, 429])
})

test('a webhook that is gone is not asked again; its successor gets the alert', async (t) => {
  const { sandbox, discord, tick, fail } = await monitorScene(t)
  fail()
  discord.answerNext(ANSWERS.unknownWebhook)
  expect(await tick(1, 1)).toContain('the doctor gave up')
  expect(discord.requests).toHaveLength(1)
  const other = await startWebhookReceiver()
  t.onTestFinished(other.close)
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: other.url })
  other.answerNext({ status: 400, body: '{"message":"Invalid Form Body"}' })
  await tick(0)
  expect(other.delivered()).toEqual([
    { content: expect.stringMatching(/needs you\n/), allowed_mentions: { parse: [] } },
  ])
})

test.for(['without an answer', 'killed while it sends'])('%s, it sends again and says so', async (how, t) => {
  const { sandbox, discord, run, tick, fail, read } = await monitorScene(t)
  fail()
  discord.answerNext('hang')
  if (how === 'without an answer') await run(1, [], { env: { ALERT_HTTP_TIMEOUT: '3' } })
  else {
    const script = sandbox.startScript(MONITOR)
    await waitFor(() => discord.requests.length === 1, 'the request')
    process.kill(script.pid, 'SIGKILL')
    await script.finished
  }
  await tick(0)
  expect(read()).toEqual([expect.stringContaining('Perhaps a repetition')])
})

test('what is older than the window is history, unless no monitor ran since', async (t) => {
  const { discord, says, tick, fail, editLedger, read } = await monitorScene(t)
  // A daily log that is still written holds failures of the morning.
  appendFileSync(says('healthcheck', 100, MARKER.manual('this morning')), '\n')
  fail('an old failure', 90)
  await tick(0)
  expect(discord.requests).toEqual([])
  editLedger((ledger) => (ledger.readAt = new Date(Date.now() - 95 * 60_000).toISOString()))
  await tick(0)
  expect(read()).toEqual([expect.stringContaining('an old failure')])
  expect(read()[0]).not.toContain('`this morning`')
})

test.for([
  ['The watchers of OpenClaw', 'guardian', 'watchdog', `${ABOUT_WATCHERS}watchdog is not registered`],
  ['OpenClaw Gateway', 'watchdog', 'guardian', 'emergency-recovery hung and was ended'],
] as const)(
  '%s: what the guardian calls for is over when the %s is well, not the %s',
  async ([who, its, other, why], t) => {
    const { says, tick, read } = await monitorScene(t)
    says('guardian', 4, MARKER.manual(why))
    says(other, 3, HEALTHY)
    await tick(0)
    expect(read()).toEqual([expect.stringMatching(`${who} on .+ needs? you[^]*${why.replace(ABOUT_WATCHERS, '')}`)])
    says(its, 1, HEALTHY)
    await tick(0)
    expect(read().slice(1)).toEqual([expect.stringMatching(`✅ ${who} on .+ (is back|are well again)`)])
  },
)

test('secrets of the config and the settings do not leave the machine', async (t) => {
  const bot = '123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc'
  const { sandbox, discord, ledgerPath, says, tick } = await monitorScene(t, { TELEGRAM_BOT_TOKEN: bot })
  sandbox.writeConfig({ channels: { slack: { signingSecret: 'a very quiet phrase' } } })
  const secrets = ['stand-in-token-0123456789', 'a very quiet phrase', bot, discord.url]
  const text = `it said ${secrets.join(' and ')}`
  says('watchdog', 2, MARKER.down('hung', text))
  says('emergency-recovery', 1, text, MARKER.manual(text))
  await tick(0)
  expect(discord.delivered()).toHaveLength(1)
  const left = [discord.requests[0]!.text, readFileSync(ledgerPath, 'utf8'), sandbox.log('monitor-')]
  for (const secret of secrets) for (const one of left) expect(one).not.toContain(secret)
})

test('folders that cannot be written are alerted once, and all else meanwhile', async (t) => {
  const { sandbox, memoryDir, state, tick, fail, read } = await monitorScene(t)
  const logs = join(sandbox.home, 'openclaw')
  writeFileSync(logs, 'a file where the folder should be')
  await tick(0, 0)
  expect(read()).toEqual([expect.stringMatching(/Self-healing on .+ cannot write its files[\s\S]*openclaw/)])
  rmSync(logs)
  await tick(0)
  expect(read().slice(1)).toEqual([expect.stringMatching(/✅ Self-healing on .+ can write its files again/)])
  rmSync(state, { recursive: true })
  writeFileSync(state, 'a file where the folder should be')
  await tick(0)
  fail()
  await tick(0, 0)
  expect(read().slice(3)).toEqual([expect.stringContaining('the doctor gave up')])
  // What was remembered elsewhere is taken over when the folder is well again.
  rmSync(state)
  await tick(0)
  expect(read()).toHaveLength(5)
  expect(read()[4]).not.toContain('the doctor gave up')
  expect(readdirSync(memoryDir)).not.toContain('alerts.json')
})

test('where 16 kB cannot be written, the look at that takes no space', async (t) => {
  const { sandbox, memoryDir, state } = await monitorScene(t)
  const monitor = [process.execPath, ...typescriptLoader(), join(projectDir, 'scripts', `${MONITOR}.ts`)]
  const env = { HOME: sandbox.home, PATH: process.env.PATH }
  const { stdout } = await execa({
    env,
    extendEnv: false,
    reject: false,
  })`sh -c ${'ulimit -f 12; exec "$0" "$@"'} ${monitor}`
  expect(stdout).toContain('EFBIG')
  for (const folder of [memoryDir, state]) expect(readdirSync(folder)).not.toContain('.can-be-written')
})

test('--dry-run writes and sends nothing; a damaged memory is kept aside, the failure told once more', async (t) => {
  const { sandbox, discord, state, ledgerPath, run, tick, fail, read } = await monitorScene(t)
  fail()
  const files = () => readdirSync(sandbox.home, { recursive: true, encoding: 'utf8' })
  const before = files()
  expect(await run(1, ['--dry-run'])).toMatch(/needs you[\s\S]*the doctor gave up/)
  expect(files()).toEqual(before)
  expect(discord.requests).toEqual([])
  await tick(0)
  writeFileSync(ledgerPath, '{"saved": 3, "cas')
  await tick(0)
  expect(readdirSync(state).join(' ')).toMatch(/alerts\.json\.corrupt-/)
  expect(read()).toHaveLength(2)
})
