/** What a look into the service manager and into the gateway's log tells beside the gateway's health. */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findElsewhere } from '../lib/gateway/elsewhere.ts'
import { restartedBy } from '../lib/incidents/history.ts'
import { DEED, formatLine, type TierName } from '../lib/tier/contract.ts'
import { logName } from '../lib/tier/journal.ts'
import { loadSettings } from '../lib/tier/settings.ts'
import { freePort } from './support/ports.ts'
import { createSandbox, type Sandbox, waitFor } from './support/sandbox.ts'

async function sandbox(settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings })
  onTestFinished(box.close)
  return box
}

test('a unit whose Node is gone (203/EXEC) is a broken install, also while systemd still tries: no restart', async () => {
  const box = await sandbox()
  const show = (...lines: string[]) =>
    box.addTool('systemctl', `printf '%s\\n' LoadState=loaded UnitFileState=enabled MainPID=0 ${lines.join(' ')}`)
  const code = ['ExecMainCode=1', 'ExecMainStatus=203', 'ExecMainStartTimestampMonotonic=1', 'Result=exit-code']
  for (const state of ['ActiveState=activating', 'ActiveState=failed']) {
    show(state, 'SubState=any', ...code)
    const run = await box.runScript('gateway-watchdog')
    expect(run.code).toBe(1)
    expect(run.stdout).toMatch(/DOWN broken-install: 203\/EXEC: openclaw-gateway\.service names a Node/)
    expect(run.stdout).not.toMatch(/\] restart:/)
  }
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
  const run = await box.runScript('gateway-watchdog', ['--dry-run'])
  expect(run.stdout).toMatch(/starting: connection refused; systemd: activating \(auto-restart\)/)
})

test('an in-process restart gets the time of a boot, however old its process is; then it is well, and that is said', async () => {
  const box = await sandbox({ OPENCLAW_STARTUP_GRACE: '15' })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  // Older than the grace of a fresh process, but for a few seconds.
  const begun = performance.now()
  await waitFor(() => performance.now() - begun > 13_000, 'the process to be old')
  box.setFaults({ startingMs: 60_000 })
  process.kill(pid, 'SIGUSR2')
  await waitFor(() => box.events().filter(({ what }) => what === 'listening').length === 2, 'the restart')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code, run.stdout).toBe(0)
  expect(run.stdout).toMatch(/starting: .*waiting up to 15 s/)
  expect(run.stdout).not.toMatch(/\] restart:|DOWN/)
  expect(box.processes()).toContain(pid)
  expect((await box.runScript('gateway-watchdog')).stdout).toMatch(/still says starting, for more than 15 s/)
})

test('clients of this machine that the gateway refuses are told once; strangers and slips of the hand are not', async () => {
  const box = await sandbox()
  await box.startGateway()
  const refuse = (remote: string, times: number) => {
    const words = `[ws] unauthorized conn=1 peer=x remote=${remote} client=cli cli v1 role=operator auth=token reason=token_mismatch guidance=x`
    for (let i = 0; i < times; i++) appendFileSync(box.gatewayLog, `${new Date().toISOString()} ${words}\n`)
  }
  const record = join(box.stateDir, 'watchdog', 'gateway.json')
  const lookAnHourLater = async () => {
    const { refusalsLookMs, ...rest } = existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {}
    if (existsSync(record)) writeFileSync(record, JSON.stringify(rest))
    return (await box.runScript('gateway-healthcheck')).stdout.match(/NOTICE .*/g) ?? []
  }
  refuse('192.0.2.7', 50)
  refuse('127.0.0.1', 2)
  expect(await lookAnHourLater()).toEqual([])
  refuse('::1', 1)
  expect(await lookAnHourLater()).toEqual([
    expect.stringMatching(/needs attention: .*refused 3 tries of this machine's own clients \(cli: token_mismatch\)/),
  ])
  expect(await lookAnHourLater()).toEqual([])
})

test('an old lack of memory in a log that is seldom written is not the reason of the next crash', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  const death = (whose: number) =>
    `[${whose}:0x16a15000]    30622 ms: Mark-Compact 380.9 (513.6) -> 380.1 (512.8) MB\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n`
  const errors = join(box.stateDir, 'logs', 'gateway.err.log')
  writeFileSync(errors, `${death(1)}${new Date(Date.now() + 1000).toISOString()} shutting down\n`)
  process.kill(pid, 'SIGKILL')
  const run = await box.runScript('gateway-watchdog')
  expect(run.stdout).toMatch(/RECOVERED by level 1/)
  expect(run.stdout).not.toMatch(/ran out of memory/)

  const next = JSON.parse(readFileSync(join(box.stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid
  appendFileSync(errors, death(next))
  process.kill(next, 'SIGKILL')
  expect((await box.runScript('gateway-watchdog')).stdout).toMatch(
    new RegExp(`process ${next} ran out of memory: FATAL`),
  )
})

test('a gateway that is well at another port than the settings say is not restarted; that is said, once', async () => {
  // Its process is at once older than a boot may take.
  const port = String(await freePort())
  const box = await sandbox({ OPENCLAW_GATEWAY_PORT: port, OPENCLAW_STARTUP_GRACE: '0' })
  const { pid } = await box.startGateway()
  const run = await box.runScript('gateway-watchdog')
  expect(run.code, run.stdout).toBe(0)
  const mismatch = `it answers at http://127.0.0.1:${box.port}/, but http://127.0.0.1:${port}/ is asked`
  expect(run.stdout).toContain(mismatch)
  for (const name of ['gateway-watchdog', 'gateway-healthcheck']) {
    const next = await box.runScript(name)
    expect(next.code, next.stdout).toBe(0)
    expect(next.stdout).not.toMatch(/DOWN|restart:|but http/)
  }
  expect(box.openclawCalls()).toEqual(['gateway run'])
  expect(box.processes()).toContain(pid)

  // There, too, silence is no health.
  box.setFaults({ health: 'silent' })
  expect((await box.runScript('gateway-watchdog', ['--dry-run'])).stdout).toMatch(/DOWN hung: connection refused/)
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

// As `gateway.bind` can be set. A Mac has one address 127.…
const ONE_ADDRESS = process.platform === 'darwin' ? '::1' : '127.0.0.2'

test('a gateway that listens at one address alone is found there, and a server of other words is none', async () => {
  const stranger = await listenAt(
    createServer((_request, response) => void response.end('{}')),
    ONE_ADDRESS,
  )
  expect(await foundElsewhere(stranger, 2000)).toBeUndefined()
  const port = await listenAt(createServer(live), ONE_ADDRESS)
  const host = ONE_ADDRESS === '::1' ? '[::1]' : ONE_ADDRESS
  expect(await foundElsewhere(port)).toBe(`http://${host}:${port}/`)
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
  mkdirSync(box.memoryDir, { recursive: true })
  const now = Date.now()
  const restarted = (tier: TierName, secondsAgo: number, writtenSecondsAgo: number) => {
    const path = join(box.memoryDir, logName(tier, new Date(now)))
    writeFileSync(path, `${formatLine(new Date(now - secondsAgo * 1000), tier, 'INFO', DEED.restart('x'))}\n`)
    const written = now / 1000 - writtenSecondsAgo
    utimesSync(path, written, written)
  }
  restarted('watchdog', 100, 0)
  restarted('healthcheck', 60, 60)
  const settings = loadSettings({ HOME: box.home })
  expect(restartedBy(settings, new Date(now - 200_000), now - 60_000)).toBe(2)
})
