/** The stand-ins are held to what the real parts were seen to do, and the sandbox to what the tests rely on. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isRunning } from '../faults/scene.ts'
import { sandbox } from '../support/boxes.ts'
import { createSandbox } from '../support/sandbox.ts'

async function get(port: number, path: string) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(60_000) })
  return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
}

test('the gateway answers as the real one was recorded', async () => {
  const { port, startGateway } = await sandbox()
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

const NO_MODE = 'existing config is missing gateway.mode'
test.each([
  ['{ "gateway": { "mode": "local"', NO_MODE, 'JSON5 parse failed: SyntaxError'],
  ['{ /* fine */ "gateway": { "bind": "loopback" }, }', NO_MODE, '"valid":true'],
  ['{ "gateway": { "mode": "local" }, "nonsense": 1 }', 'Invalid config at ', 'Unrecognized key: '],
  ['{ "gateway": { "mode": "local", "bind": "lan" } }', 'Refusing to bind', '"valid":true'],
])('it refuses the config %s with 78', async (config, said, validation) => {
  const { writeConfig, startGateway, gatewayLog, binDir, env } = await sandbox()
  writeConfig(config)
  expect((await startGateway({}, 'exit')).exitCode).toBe(78)
  expect(readFileSync(gatewayLog, 'utf8')).toContain(said)
  const validate = ['config', 'validate', '--json']
  const { stdout, status } = spawnSync(join(binDir, 'openclaw'), validate, { env, encoding: 'utf8' })
  expect(stdout).toContain(validation)
  expect(status).toBe(validation === '"valid":true' ? 0 : 1)
})

test('the sandbox fails the test when openclaw is called in an unplanned way; it leaves no process behind, and has on its PATH only what it should', async () => {
  const box = await createSandbox({ absent: ['claude'] })
  const call = (name: string, ...args: string[]) => spawnSync(join(box.binDir, name), args, { env: box.env }).status
  await box.startGateway()
  call('sh', '-c', '(sleep 300 >/dev/null 2>&1 &) ; tmux -L left-behind new-session -d "sleep 300"')
  const which = (name: string) => call('sh', '-c', `command -v ${name}`)
  expect(which('openclaw')).toBe(0)
  expect(['claude', 'systemctl', 'launchctl', 'crontab'].map(which)).not.toContain(0)
  expect(call('openclaw', 'reset', '--yes')).toBe(64)
  const pids = box.processes()
  expect(pids.length).toBeGreaterThanOrEqual(3)
  await expect(box.close()).rejects.toThrow('unplanned: openclaw reset --yes')
  expect(pids.filter(isRunning)).toEqual([])
  expect(existsSync(box.root)).toBe(false)
})
