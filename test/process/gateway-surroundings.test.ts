/** What a look into the service manager and into the gateway's log tells beside the gateway's health. */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findElsewhere } from '../../lib/gateway/examine-trouble.ts'
import { DEED } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { sandbox } from '../support/boxes.ts'
import { freePort } from '../support/ports.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'

const tick = (box: Sandbox, ...args: string[]) => box.runScript('gateway-watchdog', args)
const recordOf = (box: Sandbox) => join(box.stateDir, 'watchdog', 'gateway.json')

test('a unit whose Node is gone (203/EXEC) is a broken install, also while systemd still tries: no restart', async () => {
  const box = await sandbox()
  const code = 'ExecMainCode=1 ExecMainStatus=203 ExecMainStartTimestampMonotonic=1 Result=exit-code SubState=any'
  for (const state of ['activating', 'failed']) {
    const loaded = `LoadState=loaded UnitFileState=enabled MainPID=0 ActiveState=${state}`
    box.addTool('systemctl', `printf '%s\\n' ${loaded} ${code}`)
    const run = await tick(box)
    expect(run.code).toBe(1)
    expect(run.stdout).toMatch(/DOWN broken-install: 203\/EXEC/)
  }
  expect(box.restarts()).toBe(0)
})

test('a process that died while it was looked at: its supervisor, which starts it again, is asked once more', async () => {
  const box = await sandbox()
  const seen = join(box.root, 'seen')
  box.addTool(
    'systemctl',
    `echo LoadState=loaded; echo UnitFileState=enabled; echo ExecMainStartTimestampMonotonic=1
if [ -e '${seen}' ]; then echo ActiveState=activating; echo SubState=auto-restart; echo MainPID=0
else touch '${seen}'; echo ActiveState=active; echo SubState=running; echo MainPID=4194303; fi`,
  )
  expect((await tick(box, '--dry-run')).stdout).toMatch(/RUN ended: starting, /)
})

test('an in-process restart gets the time of a boot, however old its process is; then it is healthy, with a warning', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STARTUP_GRACE: '15' } })
  const { pid } = await box.startGateway()
  await tick(box)
  // Older than the grace of a fresh process, but for a few seconds.
  const begun = performance.now()
  await waitFor(() => performance.now() - begun > 13_000, 'the process to be old')
  box.setFaults({ startingMs: 60_000 })
  process.kill(pid, 'SIGUSR2')
  await waitFor(() => box.events().filter(({ what }) => what === 'listening').length === 2, 'the restart')
  const run = await tick(box)
  expect(run.code, run.stdout).toBe(0)
  expect(run.stdout).not.toMatch(/restart:|DOWN/)
  expect(box.processes()).toContain(pid)
  expect((await tick(box)).stdout).toMatch(/\[WARN\] .*\b15 s/)
})

test('clients of this machine that the gateway refuses are noticed once; strangers and single slips are not', async () => {
  const box = await sandbox()
  await box.startGateway()
  const refuse = (remote: string, times: number) => {
    const words = `[ws] unauthorized conn=1 peer=x remote=${remote} client=cli cli v1 role=operator auth=token reason=token_mismatch guidance=x`
    for (let i = 0; i < times; i++) appendFileSync(box.gatewayLog, `${new Date().toISOString()} ${words}\n`)
  }
  const lookAnHourLater = async () => {
    const path = recordOf(box)
    if (existsSync(path))
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), refusalsLookMs: undefined }))
    return (await box.runScript('gateway-healthcheck')).stdout.match(/NOTICE .*/g) ?? []
  }
  refuse('192.0.2.7', 50)
  refuse('127.0.0.1', 2)
  expect(await lookAnHourLater()).toEqual([])
  refuse('::1', 1)
  expect(await lookAnHourLater()).toEqual([expect.stringMatching(/needs attention: .*\b3\b.*cli: token_mismatch/)])
  expect(await lookAnHourLater()).toEqual([])
})

test('an old lack of memory in a log that is seldom written is not the reason of the next crash', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await tick(box)
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

test('a gateway that is well at another port than the settings say is not restarted; there is one warning', async () => {
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
  expect((await tick(box, '--dry-run')).stdout).toMatch(/DOWN hung/)
})

const live: RequestListener = (request, response) =>
  void response.writeHead(request.url === '/health' ? 200 : 404).end('{"ok":true,"status":"live"}')

async function listenAt(server: Server, host: string): Promise<number> {
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  onTestFinished(() => void server.close())
  return port
}

async function foundElsewhere(port: number, timeoutMs = 60_000): Promise<string | undefined> {
  const settings = loadSettings({ HOME: '/nonexistent', PATH: process.env.PATH, OPENCLAW_GATEWAY_PORT: String(port) })
  const self = { pid: process.pid, parentPid: 1, memoryMb: 1, ageSec: 1, command: 'openclaw-gateway' }
  return (await findElsewhere(settings, self, timeoutMs))?.there.gatewayUrl
}

test('a gateway that listens at one address alone is found there, and a server of other words is none', async () => {
  // As `gateway.bind` can be set. A Mac has one address 127.…
  const host = process.platform === 'darwin' ? '::1' : '127.0.0.2'
  const other = createServer((_request, response) => void response.end('{}'))
  expect(await foundElsewhere(await listenAt(other, host), 2000)).toBeUndefined()
  const port = await listenAt(createServer(live), host)
  expect(await foundElsewhere(port)).toBe(`http://${host.replace(/.*:.*/, '[$&]')}:${port}/`)
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

test.runIf(hasOpenssl)('a gateway that speaks TLS is found by that', async () => {
  const box = await sandbox()
  const [key, cert] = [join(box.root, 'key.pem'), join(box.root, 'cert.pem')]
  const self = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost'.split(' ')
  expect(spawnSync('openssl', [...self, '-keyout', key, '-out', cert]).status).toBe(0)
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, live)
  const port = await listenAt(server, '127.0.0.1')
  expect(await foundElsewhere(port)).toBe(`https://127.0.0.1:${port}/`)
})

test('a recovery is credited to the level that restarted last, whichever log was written last', async () => {
  const box = await sandbox()
  box.writeConfig('{ broken')
  await tick(box)
  const restart = { text: DEED.restart('x') }
  // The logs count whole seconds.
  const seconds = [1, 2].map((n) => new Date(Date.now() + n * 1000))
  await waitFor(() => new Date() > seconds[0]!, 'the next second')
  writeTierLog(box.memoryDir, 'watchdog', restart)
  await waitFor(() => new Date() > seconds[1]!, 'the next second')
  writeTierLog(box.memoryDir, 'healthcheck', restart)
  box.writeConfig()
  await box.startGateway()
  expect((await tick(box)).stdout).toMatch(/RECOVERED by level 2/)
})
