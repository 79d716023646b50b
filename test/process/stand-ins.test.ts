/** The stand-ins are held to what the real parts were seen to do, and the sandbox to what the tests rely on. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { claude } from '../../lib/agents/claude-code.ts'
import { isRunning } from '../faults/scene.ts'
import type { DoctorScript } from '../support/doctor-script.ts'
import { createSandbox, type SandboxOptions, waitFor } from '../support/sandbox.ts'
import { ANSWERS, startWebhookReceiver } from '../support/webhook-receiver.ts'

async function sandboxed(options?: SandboxOptions) {
  const sandbox = await createSandbox(options)
  onTestFinished(sandbox.close)
  const did = (name: string) => sandbox.events().filter(({ what }) => what === name).length
  const until = (name: string, times = 1) => waitFor(() => did(name) === times, name)
  const call = (name: string, ...args: string[]) =>
    spawnSync(join(sandbox.binDir, name), args, { env: sandbox.env, encoding: 'utf8' })
  return { ...sandbox, did, until, call }
}

async function get(port: number, path: string) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(60_000) })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

test('the gateway answers as the real one was recorded', async () => {
  const { port, startGateway } = await sandboxed()
  await startGateway()
  const type = 'application/json; charset=utf-8'
  for (const path of ['/health', '/healthz'])
    expect(await get(port, path)).toEqual({ status: 200, type, body: '{"ok":true,"status":"live"}' })
  const startup = {
    status: 200,
    body: expect.stringMatching(/^\{"ok":true,"status":"started","version":"2026\.9\.6","up/),
  }
  expect(await get(port, '/startupz')).toMatchObject(startup)
  expect((await get(port, '/readyz')).body).toMatch(/^\{"ready":true,"failing":\[\],"uptimeMs":\d+/)
  expect(await get(port, '/no-such-page')).toMatchObject({ status: 200, type: 'text/html; charset=utf-8' })
})

test('it is live before it is started, and says so', async () => {
  const { port, startGateway } = await sandboxed()
  await startGateway({ startingMs: 60_000 }, 'listening')
  expect((await get(port, '/health')).status).toBe(200)
  const { status, body } = await get(port, '/startupz')
  expect(status).toBe(503)
  expect(JSON.parse(body)).toMatchObject({ ok: false, status: 'starting', pendingReason: 'startup-sidecars' })
})

test('it calls itself openclaw-gateway, has a lock, gives that up on SIGTERM, takes it over from one that was killed', async () => {
  const { port, stateDir, configPath, startGateway, until, gatewayLog } = await sandboxed()
  const { pid } = await startGateway()
  const ps = spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
  expect(ps.stdout.trim()).toBe('openclaw-gateway')
  const lock = join(stateDir, 'tmp', `openclaw-${process.getuid?.()}`, 'gateway.state.lock')
  expect(JSON.parse(readFileSync(lock, 'utf8'))).toMatchObject({ pid, port, configPath, stateDir })
  process.kill(pid, 'SIGTERM')
  await until('exit 0')
  expect(existsSync(lock)).toBe(false)
  const second = await startGateway()
  process.kill(second.pid, 'SIGKILL')
  await waitFor(() => !isRunning(second.pid), 'its end')
  await startGateway()
  expect((await startGateway({}, 'exit')).exitCode).toBe(78)
  expect(readFileSync(gatewayLog, 'utf8')).toContain('another OpenClaw process owns gateway-lifecycle')
})

test('it ends with 1 when its port is taken', async () => {
  const { port, startGateway, gatewayLog } = await sandboxed()
  const stranger = createServer().listen(port, '127.0.0.1')
  onTestFinished(() => void stranger.close())
  expect((await startGateway({}, 'exit')).exitCode).toBe(1)
  expect(readFileSync(gatewayLog, 'utf8')).toMatch(/another gateway instance is already listening .* EADDRINUSE/)
})

const NO_MODE = 'existing config is missing gateway.mode'
test.each([
  ['{ "gateway": { "mode": "local"', NO_MODE, 'JSON5 parse failed: SyntaxError'],
  ['{ /* fine */ "gateway": { "bind": "loopback" }, }', NO_MODE, '"valid":true'],
  ['{ "gateway": { "mode": "local" }, "nonsense": 1 }', 'Invalid config at ', 'Unrecognized key: '],
  ['{ "gateway": { "mode": "local", "bind": "lan" } }', 'Refusing to bind', '"valid":true'],
])('it refuses the config %s with 78', async (config, said, validation) => {
  const { writeConfig, startGateway, gatewayLog, call } = await sandboxed()
  writeConfig(config)
  expect((await startGateway({}, 'exit')).exitCode).toBe(78)
  expect(readFileSync(gatewayLog, 'utf8')).toContain(said)
  const { stdout, status } = call('openclaw', 'config', 'validate', '--json')
  expect(stdout).toContain(validation)
  expect(status).toBe(validation === '"valid":true' ? 0 : 1)
})

test('it restarts in process on SIGUSR2 and notes that SIGUSR1 would open a debugger; an older one dies of SIGUSR2', async () => {
  const { port, startGateway, events, until } = await sandboxed()
  const { pid } = await startGateway()
  process.kill(pid, 'SIGUSR1')
  await until('debugger opened')
  process.kill(pid, 'SIGUSR2')
  await until('ready', 2)
  expect(new Set(events().map((event) => event.pid))).toEqual(new Set([pid]))
  expect((await get(port, '/health')).status).toBe(200)
  process.kill(pid, 'SIGKILL')
  await waitFor(() => !isRunning(pid), 'its end')

  const older = await startGateway({ version: '2026.9.5' })
  process.kill(older.pid, 'SIGUSR1')
  await until('ready', 4)
  process.kill(older.pid, 'SIGUSR2')
  await waitFor(() => !isRunning(older.pid), 'its end')
})

test('it runs on when its config is broken under it; with a blocked event loop only SIGKILL ends it', async () => {
  const { port, writeConfig, startGateway, gatewayLog, setFaults, until } = await sandboxed()
  const { pid } = await startGateway()
  writeConfig('{ broken')
  await waitFor(() => readFileSync(gatewayLog, 'utf8').includes('config reload skipped (invalid config)'), 'the line')
  setFaults({ health: 'blocked' })
  const unanswered = expect(get(port, '/health')).rejects.toThrow()
  await until('blocked')
  process.kill(pid, 'SIGTERM')
  await expect(fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(500) })).rejects.toThrow()
  expect(isRunning(pid)).toBe(true)
  process.kill(pid, 'SIGKILL')
  await unanswered
})

test('the sandbox fails the test when openclaw is called in an unplanned way', async () => {
  const sandbox = await createSandbox()
  const { status } = spawnSync(join(sandbox.binDir, 'openclaw'), ['reset', '--yes'], { env: sandbox.env })
  expect(status).toBe(64)
  await expect(sandbox.close()).rejects.toThrow('unplanned: openclaw reset --yes')
})

test('the sandbox leaves no process behind, and has on its PATH only what it should', async () => {
  const sandbox = await sandboxed({ absent: ['claude'] })
  await sandbox.startGateway()
  sandbox.call('sh', '-c', '(sleep 300 >/dev/null 2>&1 &) ; tmux -L left-behind new-session -d "sleep 300"')
  const which = (name: string) => sandbox.call('sh', '-c', `command -v ${name}`).status
  expect(which('openclaw')).toBe(0)
  expect(['claude', 'systemctl', 'launchctl', 'crontab'].map(which)).not.toContain(0)
  const pids = sandbox.processes()
  expect(pids.length).toBeGreaterThanOrEqual(3)
  await sandbox.close()
  expect(pids.filter(isRunning)).toEqual([])
  expect(existsSync(sandbox.root)).toBe(false)
})

test('the webhook receiver refuses what Discord refuses, and gives planned answers once', async () => {
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  const post = (body: unknown, type = 'application/json') => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    return fetch(receiver.url, { method: 'POST', headers: { 'Content-Type': type }, body: text })
  }
  expect((await post({ content: 'x'.repeat(2000) })).status).toBe(204)
  for (const bad of [
    { content: 'x'.repeat(2001) },
    { content: '  ' },
    { embeds: [{ title: 'x'.repeat(257) }] },
    { embeds: Array.from({ length: 2 }, () => ({ description: 'x'.repeat(3500) })) },
    '{"content": "raw\nnewline"}',
  ])
    expect((await post(bad)).status).toBe(400)
  expect((await post({ content: 'x' }, 'text/plain')).status).toBe(400)
  expect(receiver.delivered()).toHaveLength(1)
  receiver.answerNext(ANSWERS.rateLimited(0.5), ANSWERS.badGateway, 'reset')
  const limited = await post({ content: 'x' })
  expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '0.5'])
  expect((await post({ content: 'x' })).status).toBe(502)
  await expect(post({ content: 'x' })).rejects.toThrow()
  expect((await post({ content: 'x' })).status).toBe(204)
})

async function callDoctor(script: DoctorScript) {
  const sandbox = await sandboxed()
  sandbox.writeDoctorScript(script)
  // One instrument, which says what it was called with.
  const server = join(sandbox.root, 'server.mjs')
  writeFileSync(
    server,
    `import { createInterface } from 'node:readline'
      for await (const line of createInterface({ input: process.stdin })) {
        const { id, method, params } = JSON.parse(line)
        const content = [{ type: 'text', text: 'called with ' + JSON.stringify(params?.arguments) }]
        const isError = params?.name !== 'known'
        const result = method === 'tools/call' ? { content, isError } : {}
        if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result }))
      }`,
  )
  const servers = { mcpServers: { doctor: { type: 'stdio', command: process.execPath, args: [server] } } }
  writeFileSync(join(sandbox.root, 'mcp.json'), JSON.stringify(servers))
  const { stdout, status } = spawnSync('claude', ['-p', '--mcp-config', join(sandbox.root, 'mcp.json')], {
    ...{ env: sandbox.env, cwd: '/', encoding: 'utf8', input: 'Look at it.', timeout: 60_000 },
  })
  const did = sandbox.events().map(({ what }) => what)
  return { prompts: sandbox.prompts(), status, did, events: stdout.trim().split('\n').flatMap(claude.read) }
}

test('the scripted doctor takes its prompt from standard input and calls what its script says, as the real one', async () => {
  const steps = [{ say: 'I look.', call: 'known', args: { lines: 5 } }, { call: 'bash' }]
  const { status, prompts, events, did } = await callDoctor({ steps, report: { fix: 'none' } })
  expect(status).toBe(0)
  expect(prompts).toEqual(['Look at it.'])
  expect(events.map((event) => [event.kind, 'text' in event ? event.text : ''])).toEqual([
    ['connected', ''],
    ['said', 'I look.'],
    ['called', 'known {"lines":5}'],
    ['answered', 'called with {"lines":5}'],
    ['called', 'bash {}'],
    ['answered', 'called with {}'],
    ['called', 'write_report {"fix":"none"}'],
    ['answered', 'called with {"fix":"none"}'],
    ['said', 'I am done.'],
    ['finished', ''],
  ])
  expect(did.slice(2)).toEqual([
    'doctor called known: called with {"lines":5}',
    'doctor was refused bash: called with {}',
    'doctor was refused write_report: called with {"fix":"none"}',
  ])
})

test('a scripted doctor that is not signed in says so, and ends', async () => {
  const { status, events } = await callDoctor({ mode: 'login', steps: [{ call: 'known' }] })
  expect(status).toBe(1)
  expect(events).toContainEqual(expect.objectContaining({ kind: 'trouble', trouble: 'login' }))
  expect(events).not.toContainEqual(expect.objectContaining({ kind: 'called' }))
})
