/** What a look into the service manager and into the gateway's log tells beside the gateway's health. */
import { spawnSync } from 'node:child_process'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { expect } from 'vitest'
import { findElsewhere } from '../../lib/gateway/trouble.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { test } from '../support/boxes.ts'
import { freePort } from '../support/ports.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

const tick = (box: Sandbox, ...args: string[]) => box.runScript('gateway-watchdog', args)
const recordOf = (box: Sandbox) => join(box.stateDir, 'watchdog', 'gateway.json')

test.for(['activating', 'failed'])(
  'a unit whose Node is gone (203/EXEC), %s, is a broken install: no restart',
  async (state, { sandbox }) => {
    const box = await sandbox()
    const loaded = `LoadState=loaded UnitFileState=enabled MainPID=0 ActiveState=${state} SubState=any Result=exit-code`
    box.addTool(
      'systemctl',
      `printf '%s\\n' ${loaded} ExecMainCode=1 ExecMainStatus=203 ExecMainStartTimestampMonotonic=1`,
    )
    expect(await tick(box)).toMatchObject({ code: 1, stdout: expect.stringMatching(/DOWN broken-install: 203\/EXEC/) })
    expect(box.restarts()).toBe(0)
  },
)

test('the supervisor of a process that died meanwhile is asked once more', async ({ sandbox }) => {
  const box = await sandbox()
  const seen = join(box.root, 'seen')
  box.addTool(
    'systemctl',
    `printf '%s\\n' LoadState=loaded UnitFileState=enabled ExecMainStartTimestampMonotonic=1
if [ -e '${seen}' ]; then printf '%s\\n' ActiveState=activating SubState=auto-restart MainPID=0
else touch '${seen}'; printf '%s\\n' ActiveState=active SubState=running MainPID=4194303; fi`,
  )
  expect((await tick(box, '--dry-run')).stdout).toMatch(/RUN ended: starting, /)
})

test('an in-process restart gets the time of a boot, then a warning', async ({ known }) => {
  const { box, pid } = await known({ settings: { OPENCLAW_STARTUP_GRACE: '3' } })
  const begun = performance.now()
  await waitFor(() => performance.now() - begun > 4000, 'a process that is older than a boot may take')
  box.setFaults({ startingMs: 60_000 })
  process.kill(pid, 'SIGUSR2')
  await waitFor(() => box.events().filter(({ what }) => what === 'listening').length === 2, 'the restart')
  const run = await tick(box)
  expect(run.code, run.stdout).toBe(0)
  expect(run.stdout).not.toMatch(/restart:|DOWN/)
  expect(box.processes()).toContain(pid)
  expect(run.stdout + (await tick(box)).stdout).toMatch(/\[WARN\] .*\b3 s/)
})

test('an old lack of memory is not the reason of the next crash', async ({ known }) => {
  const { box, pid } = await known()
  const death = (whose: number) =>
    `[${whose}:0x16a15000]    30622 ms: Mark-Compact 380.9 (513.6) -> 380.1 (512.8) MB\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n`
  const errors = join(box.stateDir, 'logs', 'gateway.err.log')
  writeFileSync(errors, `${death(1)}${new Date(Date.now() + 1000).toISOString()} shutting down\n`)
  process.kill(pid, 'SIGKILL')
  const run = await tick(box)
  expect(run.stdout).toMatch(/RECOVERED by level 1/)
  expect(run.stdout).not.toMatch(new RegExp(`\\b${pid}\\b.*FATAL`))

  const next = JSON.parse(readFileSync(recordOf(box), 'utf8')).pid
  appendFileSync(errors, death(next))
  process.kill(next, 'SIGKILL')
  expect((await tick(box)).stdout).toMatch(new RegExp(`\\b${next}\\b.*FATAL`))
})

test('a gateway that is well at another port is not restarted, with one warning', async ({ sandbox }) => {
  // Its process is at once older than a boot may take.
  const port = String(await freePort())
  const box = await sandbox({ settings: { OPENCLAW_GATEWAY_PORT: port, OPENCLAW_STARTUP_GRACE: '0' } })
  const { pid } = await box.startGateway()
  for (const name of ['gateway-watchdog', 'gateway-watchdog', 'gateway-healthcheck'])
    expect(await box.runScript(name)).toMatchObject({ code: 0, stdout: expect.not.stringMatching(/DOWN|restart:/) })
  const warnings = box.log().match(/\[WARN\] .*/g)
  expect(warnings).toEqual([expect.stringMatching(new RegExp(`\\b${box.port}\\b.*\\b${port}\\b`))])
  expect(box.openclawCalls()).toEqual(['gateway run'])
  expect(box.processes()).toContain(pid)
  // There, too, silence is no health.
  box.setFaults({ health: 'silent' })
  box.env.OPENCLAW_WATCHDOG_HEALTH_TIMEOUT = '1'
  expect((await tick(box, '--dry-run')).stdout).toMatch(/DOWN hung/)
})

// As `gateway.bind` can be set. A Mac has one address 127.…
const HOST = process.platform === 'darwin' ? '::1' : '127.0.0.2'
const LIVE = '{"ok":true,"status":"live"}'
test('a gateway at one address alone, or one that speaks TLS, is found by its words', async ({ sandbox }) => {
  const box = await sandbox()
  const [key, cert] = [join(box.root, 'key.pem'), join(box.root, 'cert.pem')]
  const self = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost'.split(' ')
  const hasOpenssl = spawnSync('openssl', [...self, '-keyout', key, '-out', cert]).status === 0
  const tls = hasOpenssl ? { key: readFileSync(key), cert: readFileSync(cert) } : {}

  /** Where this process is found when it is a server that says this. */
  async function found(server: Server, host: string, body: string) {
    server.on('request', (request, response) => response.writeHead(request.url === '/health' ? 200 : 404).end(body))
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, host, resolve))
    const settings = loadSettings({ HOME: '/nonexistent', PATH: process.env.PATH, OPENCLAW_GATEWAY_PORT: String(port) })
    const own = { pid: process.pid, parentPid: 1, memoryMb: 1, ageSec: 1, command: 'openclaw-gateway' }
    const there = await findElsewhere(settings, own, body === LIVE ? 60_000 : 2000)
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    return there?.there.gatewayUrl.replace(`:${port}/`, '')
  }
  expect(await found(createServer(), HOST, LIVE)).toBe(`http://${HOST.replace(/.*:.*/, '[$&]')}`)
  if (hasOpenssl) expect(await found(createTlsServer(tls), '127.0.0.1', LIVE)).toBe('https://127.0.0.1')
  expect(await found(createServer(), HOST, '{}')).toBeUndefined()
})
