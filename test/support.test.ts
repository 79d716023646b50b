/** The stand-ins are held to what the real parts were seen to do. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { claude } from '../lib/agents/claude-code.ts'
import type { DoctorScript } from './support/doctor-script.ts'
import { createSandbox, type SandboxOptions, waitFor } from './support/sandbox.ts'
import { ANSWERS, startWebhookReceiver } from './support/webhook-receiver.ts'

async function sandboxed(options?: SandboxOptions) {
  const sandbox = await createSandbox(options)
  onTestFinished(sandbox.close)
  return sandbox
}

async function get(port: number, path: string) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(60_000) })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

describe('the stand-in gateway', () => {
  test('answers as the real one was recorded', async () => {
    const { port, startGateway } = await sandboxed()
    await startGateway()
    const json = 'application/json; charset=utf-8'
    expect(await get(port, '/health')).toEqual({ status: 200, type: json, body: '{"ok":true,"status":"live"}' })
    expect(await get(port, '/healthz')).toEqual({ status: 200, type: json, body: '{"ok":true,"status":"live"}' })
    const startup = await get(port, '/startupz')
    expect(startup.status).toBe(200)
    expect(startup.body).toMatch(/^\{"ok":true,"status":"started","version":"2026\.9\.6","uptimeMs":\d+\}$/)
    expect((await get(port, '/readyz')).body).toMatch(/^\{"ready":true,"failing":\[\],"uptimeMs":\d+/)
    expect(await get(port, '/no-such-page')).toMatchObject({ status: 200, type: 'text/html; charset=utf-8' })
  })

  test('is live before it is started, and says so', async () => {
    const { port, startGateway } = await sandboxed()
    await startGateway({ startingMs: 60_000 }, 'listening')
    expect((await get(port, '/health')).body).toBe('{"ok":true,"status":"live"}')
    const startup = await get(port, '/startupz')
    expect(startup.status).toBe(503)
    expect(JSON.parse(startup.body)).toMatchObject({ ok: false, status: 'starting', pendingReason: 'startup-sidecars' })
  })

  test('calls itself openclaw-gateway, keeps a lock in its state folder and takes both away when told to stop', async () => {
    const { port, stateDir, configPath, startGateway, events } = await sandboxed()
    const { pid } = await startGateway()
    expect(execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).trim()).toBe(
      'openclaw-gateway',
    )
    const lock = join(stateDir, 'tmp', `openclaw-${process.getuid?.()}`, 'gateway.state.lock')
    expect(JSON.parse(readFileSync(lock, 'utf8'))).toMatchObject({ pid, port, configPath, stateDir })
    process.kill(pid, 'SIGTERM')
    await waitFor(() => events().some(({ what }) => what === 'exit 0'), 'its end')
    expect(existsSync(lock)).toBe(false)
  })

  test('takes over the lock of one that was killed, and refuses with 78 beside one that lives', async () => {
    const { startGateway, events, gatewayLog } = await sandboxed()
    const first = await startGateway()
    process.kill(first.pid, 'SIGKILL')
    await waitFor(() => !isAlive(first.pid), 'its end')
    await startGateway()
    const third = await startGateway({}, 'exit')
    expect(third.exitCode).toBe(78)
    expect(readFileSync(gatewayLog, 'utf8')).toContain('another OpenClaw process owns gateway-lifecycle')
    expect(events().filter(({ what }) => what === 'ready')).toHaveLength(2)
  })

  test('names the owner of its port when somebody else has it, and ends with 1', async () => {
    const { port, startGateway, gatewayLog } = await sandboxed()
    const stranger = createServer().listen(port, '127.0.0.1')
    onTestFinished(() => void stranger.close())
    expect((await startGateway({}, 'exit')).exitCode).toBe(1)
    expect(readFileSync(gatewayLog, 'utf8')).toMatch(/another gateway instance is already listening .* EADDRINUSE/)
  })

  test.each([
    [
      '{ "gateway": { "mode": "local"',
      78,
      'existing config is missing gateway.mode',
      'JSON5 parse failed: SyntaxError',
    ],
    [
      '{ /* fine */ "gateway": { "bind": "loopback" }, }',
      78,
      'existing config is missing gateway.mode',
      '"valid":true',
    ],
    ['{ "gateway": { "mode": "local" }, "nonsense": 1 }', 78, 'Invalid config at ', 'Unrecognized key: '],
    ['{ "gateway": { "mode": "local", "bind": "lan" } }', 78, 'Refusing to bind', '"valid":true'],
  ])('refuses the config %s with %d', async (config, code, said, validation) => {
    const { writeConfig, startGateway, gatewayLog, binDir, env } = await sandboxed()
    writeConfig(config)
    expect((await startGateway({}, 'exit')).exitCode).toBe(code)
    expect(readFileSync(gatewayLog, 'utf8')).toContain(said)
    const checked = spawn(join(binDir, 'openclaw'), ['config', 'validate', '--json'], { env })
    let out = ''
    checked.stdout.on('data', (text) => (out += text))
    const exitCode = await new Promise((resolve) => checked.once('close', resolve))
    expect(out).toContain(validation)
    expect(exitCode).toBe(validation === '"valid":true' ? 0 : 1)
  })

  test('restarts in process on SIGUSR2, and only notes that SIGUSR1 would open a debugger', async () => {
    const { port, startGateway, events } = await sandboxed()
    const { pid } = await startGateway()
    process.kill(pid, 'SIGUSR1')
    await waitFor(() => events().some(({ what }) => what === 'debugger opened'), 'the debugger to be noted')
    process.kill(pid, 'SIGUSR2')
    await waitFor(() => events().filter(({ what }) => what === 'ready').length === 2, 'the restart')
    expect(new Set(events().map((event) => event.pid))).toEqual(new Set([pid]))
    expect((await get(port, '/health')).status).toBe(200)
  })

  test('restarts on SIGUSR1 and dies of SIGUSR2 when it is an older version', async () => {
    const { startGateway, events } = await sandboxed()
    const { pid } = await startGateway({ version: '2026.9.5' })
    process.kill(pid, 'SIGUSR1')
    await waitFor(() => events().filter(({ what }) => what === 'ready').length === 2, 'the restart')
    process.kill(pid, 'SIGUSR2')
    await waitFor(() => !isAlive(pid), 'its end')
  })

  test('runs on when its config is broken under it, and says so in its log', async () => {
    const { port, writeConfig, startGateway, gatewayLog } = await sandboxed()
    await startGateway()
    writeConfig('{ broken')
    await waitFor(() => readFileSync(gatewayLog, 'utf8').includes('config reload skipped (invalid config)'), 'the line')
    expect((await get(port, '/health')).status).toBe(200)
  })

  test('hangs with a blocked event loop: it takes connections, and no signal but SIGKILL ends it', async () => {
    const { port, startGateway, setFaults, processes, events } = await sandboxed()
    const { pid } = await startGateway()
    setFaults({ health: 'blocked' })
    const unanswered = expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow()
    await waitFor(() => events().some(({ what }) => what === 'blocked'), 'the block')
    process.kill(pid, 'SIGTERM')
    await expect(fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(500) })).rejects.toThrow()
    expect(processes()).toContain(pid)
    process.kill(pid, 'SIGKILL')
    await unanswered
  })
})

describe('the sandbox', () => {
  test('fails the test when openclaw is called in a way that nobody planned', async () => {
    const sandbox = await createSandbox()
    const child = spawn(join(sandbox.binDir, 'openclaw'), ['reset', '--yes'], { env: sandbox.env })
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(64)
    await expect(sandbox.close()).rejects.toThrow('unplanned: openclaw reset --yes')
  })

  test('leaves no process behind, whoever started it', async () => {
    const sandbox = await sandboxed()
    await sandbox.startGateway()
    const script = '(sleep 300 &) ; exec tmux -L left-behind new-session -d "sleep 300"'
    const child = spawn(join(sandbox.binDir, 'sh'), ['-c', script], {
      env: sandbox.env,
      detached: true,
      stdio: 'ignore',
    })
    await new Promise((resolve) => child.once('close', resolve))
    const pids = sandbox.processes()
    expect(pids.length).toBeGreaterThanOrEqual(3)
    await sandbox.close()
    expect(pids.filter(isAlive)).toEqual([])
    expect(existsSync(sandbox.root)).toBe(false)
  })

  test('has on its PATH only what it is meant to have', async () => {
    const { binDir, env } = await sandboxed({ absent: ['tmux', 'claude'] })
    const which = (name: string) => {
      const child = spawn(join(binDir, 'sh'), ['-c', `command -v ${name}`], { env })
      return new Promise((resolve) => child.once('close', resolve))
    }
    expect(await which('openclaw')).toBe(0)
    expect(await Promise.all(['tmux', 'claude', 'systemctl', 'launchctl', 'crontab'].map(which))).not.toContain(0)
  })
})

describe('the webhook receiver', () => {
  const post = (url: string, body: unknown, type = 'application/json') =>
    fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': type },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })

  test('takes what Discord takes and refuses what Discord refuses', async () => {
    const receiver = await startWebhookReceiver()
    onTestFinished(receiver.close)
    expect((await post(receiver.url, { content: 'x'.repeat(2000) })).status).toBe(204)
    for (const bad of [
      { content: 'x'.repeat(2001) },
      { content: '  ' },
      { embeds: [{ title: 'x'.repeat(257) }] },
      { embeds: Array.from({ length: 2 }, () => ({ description: 'x'.repeat(3500) })) },
      '{"content": "raw\nnewline"}',
    ])
      expect((await post(receiver.url, bad)).status).toBe(400)
    expect((await post(receiver.url, { content: 'x' }, 'text/plain')).status).toBe(400)
    expect(receiver.delivered()).toHaveLength(1)
  })

  test('gives the answers it is told to give, once each', async () => {
    const receiver = await startWebhookReceiver()
    onTestFinished(receiver.close)
    receiver.answerNext(ANSWERS.rateLimited(0.5), ANSWERS.badGateway, 'reset')
    const limited = await post(receiver.url, { content: 'x' })
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '0.5'])
    expect((await post(receiver.url, { content: 'x' })).status).toBe(502)
    await expect(post(receiver.url, { content: 'x' })).rejects.toThrow()
    expect((await post(receiver.url, { content: 'x' })).status).toBe(204)
  })
})

describe('the scripted doctor', () => {
  async function visit(script: DoctorScript) {
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
    return { ...sandbox, status, events: claudeEvents(stdout), did: sandbox.events().map(({ what }) => what) }
  }
  const claudeEvents = (stdout: string) => stdout.trim().split('\n').flatMap(claude.read)

  test('takes its prompt from standard input, calls what its script says, and says so as the real one does', async () => {
    const steps = [{ say: 'I look.', call: 'known', args: { lines: 5 } }, { call: 'bash' }]
    const { status, prompts, events, did } = await visit({ steps, report: { fix: 'none' } })
    expect(status).toBe(0)
    expect(prompts()).toEqual(['Look at it.'])
    expect(events).toEqual([
      { kind: 'connected' },
      { kind: 'said', text: 'I look.' },
      { kind: 'called', text: 'known {"lines":5}' },
      { kind: 'answered', text: 'called with {"lines":5}' },
      { kind: 'called', text: 'bash {}' },
      { kind: 'answered', text: 'called with {}' },
      { kind: 'called', text: 'write_report {"fix":"none"}' },
      { kind: 'answered', text: 'called with {"fix":"none"}' },
      { kind: 'said', text: 'I am done.' },
      { kind: 'finished', costUsd: 0.12 },
    ])
    expect(did).toEqual([
      'doctor started',
      'doctor was prompted',
      'doctor called known: called with {"lines":5}',
      'doctor was refused bash: called with {}',
      'doctor was refused write_report: called with {"fix":"none"}',
    ])
  })

  test('that is not signed in says so, and ends', async () => {
    const { status, events } = await visit({ mode: 'login', steps: [{ call: 'known' }] })
    expect(status).toBe(1)
    expect(events).toContainEqual(expect.objectContaining({ kind: 'trouble', trouble: 'login' }))
    expect(events).not.toContainEqual(expect.objectContaining({ kind: 'called' }))
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  // One that nobody reaps is dead all the same.
  const state = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim()
  return state !== '' && !state.startsWith('Z')
}
