/**
 * Alive but silent, on the real OpenClaw: its model provider and its chat service are played on the loopback interface, and
 * fail as the real ones would; Level 2 must tell, and must leave the gateway alone.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { startModelApi, type Turn } from '../support/model-api.ts'
import { createSandbox, type Sandbox, waitFor } from '../support/sandbox.ts'
import { slowly } from './patient-machine.ts'
import { useRealOpenClaw, WITHOUT_HEARTBEAT } from './real-sandbox.ts'

const HOUR_MS = 3_600_000
const MINUTES = { timeoutMs: 300_000 }

/** Telegram's Bot API as far as OpenClaw asks it; `write` sends the bot a message. */
async function startTelegram() {
  const messages: object[] = []
  const sent: string[] = []
  let id = 1
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const method = /\/bot[^/]+\/(\w+)/.exec(request.url!)?.[1]
    const reply = (result: unknown) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ ok: true, result }))
    if (method === 'getMe') return reply({ id: 7, is_bot: true, first_name: 'bot', username: 'a_bot' })
    if (method === 'sendMessage') {
      sent.push(JSON.parse(body).text)
      return reply({ message_id: ++id, date: 1, chat: { id: 42, type: 'private' } })
    }
    if (method !== 'getUpdates') return reply(true)
    const give = () => reply(messages.splice(0).map((message) => ({ update_id: ++id, message })))
    if (messages.length > 0) return give()
    const poll = setTimeout(give, 500)
    response.on('close', () => clearTimeout(poll))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const from = { id: 42, is_bot: false, first_name: 'user' }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    write: (text: string) =>
      messages.push({
        message_id: ++id,
        date: Math.floor(Date.now() / 1000),
        chat: { ...from, type: 'private' },
        from,
        text,
      }),
  }
}

/** The notices of a run of Level 2, so long after the one before. */
async function toldAfter(box: Sandbox, ms: number): Promise<string[]> {
  const path = join(box.stateDir, 'watchdog', 'silence.json')
  const older = (key: string, value: unknown) => (/^(?:read|asked|probed)Ms$/.test(key) ? Number(value) - ms : value)
  if (ms > 0) writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, 'utf8'), older)))
  const run = await box.runScript('gateway-healthcheck', [], MINUTES)
  expect(run.code, run.stdout).toBe(0)
  return run.stdout.match(/NOTICE .*/g) ?? []
}

test('failed runs of agents, a channel that falls quiet, a token that expires, and the probe', async () => {
  let turn: Turn = { status: 401, error: { message: 'Incorrect API key provided', code: 'invalid_api_key' } }
  const model = await startModelApi('chat', () => turn)
  onTestFinished(model.close)
  const telegram = await startTelegram()
  const settings = { PROBE_AGENT: 'on', SILENT_CHANNEL_DAYS: '0.25', OPENCLAW_STARTUP_GRACE: '300' }
  const box = await createSandbox({ settings })
  onTestFinished(box.close)
  useRealOpenClaw(box)
  const acme = {
    ...{ baseUrl: model.url, apiKey: 'sk-dummy', api: 'openai-completions' },
    models: [{ id: 'm1', name: 'm1', contextWindow: 64_000, maxTokens: 4096 }],
  }
  const config = {
    gateway: { mode: 'local', port: box.port, bind: 'loopback', auth: { mode: 'token', token: 'a'.repeat(24) } },
    ...WITHOUT_HEARTBEAT,
    models: { providers: { acme } },
    agents: { defaults: { model: { primary: 'acme/m1' } } },
    channels: {
      telegram: {
        enabled: true,
        botToken: `123456789:${'A'.repeat(35)}`,
        apiRoot: telegram.url,
        dmPolicy: 'open',
        allowFrom: ['*'],
      },
    },
  }
  box.writeConfig(JSON.stringify(config, null, 2))
  const openclaw = (...args: string[]) =>
    execa(join(box.binDir, 'openclaw'), args, { env: box.env, extendEnv: false, reject: false, timeout: 300_000 })
  const expiring = 'sk-ant-oat01-'.padEnd(100, 'x')
  const saved = await execa(
    join(box.binDir, 'openclaw'),
    ['models', 'auth', 'paste-token', '--provider', 'anthropic', '--expires-in', '12h'],
    { env: box.env, extendEnv: false, reject: false, timeout: 300_000, input: expiring },
  )
  expect(saved.exitCode, saved.stderr).toBe(0)
  expect((await box.runScript('gateway-watchdog', [], MINUTES)).code).toBe(0)
  const [pid] = box.processes()
  expect(await toldAfter(box, 0)).toEqual([])

  // Its provider refuses it: one run is refused, the next ones are not even begun.
  for (let i = 0; i < 3; i++)
    expect((await openclaw('agent', '--session-key', `s${i}`, '--message', 'hi')).exitCode).toBe(1)
  const runs = expect.stringMatching(/\b3 runs of its agents failed\b.*`openclaw models auth login --provider acme`/)
  expect(await toldAfter(box, HOUR_MS / 6)).toEqual([runs])
  expect(await toldAfter(box, HOUR_MS / 6)).toEqual([])

  // The provider is well again. A chat is answered, and so is the probe, when OpenClaw tries its credential again.
  turn = { text: 'OK' }
  const answers = async () => (await openclaw('agent', '--session-key', 's', '--message', 'hi')).exitCode === 0
  await slowly(answers, 'an answer after the pause of its credential', 700_000)
  telegram.write('the words of a chat')
  await waitFor(() => telegram.sent.includes('OK'), 'the answer in the chat', 120_000)
  expect(await toldAfter(box, 3 * HOUR_MS)).toEqual([expect.stringMatching(/anthropic expires at \d{4}-/)])
  // The probe, six hours after the first look; and the channel has had no message for six hours.
  expect(await toldAfter(box, 3 * HOUR_MS)).toEqual([])
  expect(await toldAfter(box, 3 * HOUR_MS)).toEqual([expect.stringMatching(/channel telegram for 6 h/)])
  // Its provider is dead: nobody listens there any more. OpenClaw tries for a minute.
  model.close()
  const notice = expect.stringMatching(/asked for one word and gave none/)
  expect(await toldAfter(box, 6 * HOUR_MS)).toEqual([notice])

  // All of it is seen in the status, and nothing was done to the gateway.
  const { gateway } = JSON.parse((await box.runScript('status', ['--json'], MINUTES)).stdout)
  expect(gateway.warnings).toHaveLength(3)
  expect(box.processes()).toContain(pid)
  expect(readFileSync(box.configPath, 'utf8')).toContain('acme')
  expect(box.log('healthcheck')).not.toMatch(/the words of a chat|restart:|DOWN/)
}, 1_500_000)
