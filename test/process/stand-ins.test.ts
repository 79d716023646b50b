/** The stand-ins are held to what the real parts were seen to do, and the sandbox to what the tests rely on. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { isRunning } from '../faults/scene.ts'
import { createSandbox, type SandboxOptions, waitFor } from '../support/sandbox.ts'

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
