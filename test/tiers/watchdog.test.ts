/** Level 1 as a process, against the stand-in gateway. */
import { once } from 'node:events'
import { appendFileSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { test } from '../support/boxes.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'
import { startStranger } from '../support/stranger.ts'
import { untilRemark } from '../support/tier-logs.ts'

const IMPATIENT = { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '1' }
const BAD_ANSWER = { status: 500, body: 'oops' }

const tick = async (box: Sandbox) => (await box.runScript('gateway-watchdog')).code
const pause = (box: Sandbox, text: string) => writeFileSync(join(box.stateDir, 'self-healing.paused'), text)

/** Level 1 meets wrong answers; once the gateway has got the signal it is well, and Level 1 is content. */
async function untilSignalled(box: Sandbox, version: string, signal: string, meanwhile: () => unknown = () => {}) {
  box.setFaults({ version, health: BAD_ANSWER })
  const signals = () => box.events().filter(({ what }) => what === `signal ${signal}`).length
  const before = signals()
  const run = tick(box)
  await waitFor(() => signals() > before, signal)
  await meanwhile()
  box.setFaults({ version })
  expect(await run).toBe(0)
  expect(box.events().filter(({ what }) => what === 'debugger opened')).toEqual([])
}

function expectLeftAlone(box: Sandbox, pid: number): void {
  expect(box.restarts()).toBe(0)
  expect(box.log('watchdog')).not.toMatch(/DOWN/)
  expect(box.processes()).toContain(pid)
}

test('what happens while a failure is confirmed is respected: a restart, a pause', async ({ known }) => {
  const { box, pid } = await known({ settings: { ...IMPATIENT, OPENCLAW_WATCHDOG_RETRY_DELAY: '3' } })
  /** The first probe of a tick has failed; it asks again in some seconds. */
  async function failing() {
    box.setFaults({ health: 'silent' })
    const remark = untilRemark(box, 'watchdog')
    const code = tick(box)
    await remark
    return { code }
  }
  const restarting = await failing()
  box.setFaults({ heldIn: 'drain' })
  const waits = untilRemark(box, 'watchdog', 2)
  process.kill(pid, 'SIGUSR2')
  await waits
  box.setFaults({})
  expect(await restarting.code).toBe(0)
  expectLeftAlone(box, pid)

  const paused = await failing()
  pause(box, '')
  expect(await paused.code).toBe(3)
  expect(box.restarts()).toBe(0)
  expect(box.processes()).toContain(pid)
})

test('healthy: exit 0, two lines, private files; paused: exit 3', async ({ sandbox }) => {
  const box = await sandbox()
  utimesSync(box.configPath, Date.now() / 1000 - 60, Date.now() / 1000 - 60)
  await box.startGateway()
  // The first keeps the config as known-good, and says so.
  for (let i = 0; i < 2; i++) expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0, stderr: '' })
  const lines = box.log('watchdog').trim().split('\n').slice(3)
  expect(lines).toHaveLength(2)
  expect(lines[0]).toMatch(/^\[\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d\d:\d\d\] \[watchdog\] \[INFO\] RUN started \(pid \d+\)$/)
  expect(lines[1]).toMatch(/\[watchdog\] \[INFO\] RUN ended: healthy, exit 0 after [\d.]+ s$/)
  expect(statSync(box.memoryDir).mode & 0o777).toBe(0o700)
  expect(statSync(join(box.memoryDir, box.memoryFiles()[0]!)).mode & 0o777).toBe(0o600)
  expect(box.openclawCalls()).toEqual(['gateway run'])
  const at = (ms: number) => new Date(Date.now() + ms).toISOString()
  for (const [text, code] of [
    ['', 3],
    [at(-1000), 0],
    ['upgrading openclaw, back at 5', 3],
  ] as const) {
    pause(box, text)
    expect(await tick(box), text).toBe(code)
  }
})

test('a gateway from before /health, whose own process answers 200 on /, is healthy', async ({ known }) => {
  const { box, pid } = await known({}, { version: '2026.2.1' })
  expectLeftAlone(box, pid)
})

test('the lock of a killed run, whose pid another program has by now, is taken over', async ({ known }) => {
  const { box, pid } = await known()
  const holder = { pid, tier: 'watchdog', since: new Date().toISOString(), atWork: false, profile: 'default' }
  writeFileSync(join(box.stateDir, 'watchdog', 'watchdog.lock'), JSON.stringify(holder))
  expect(await tick(box)).toBe(0)
  expectLeftAlone(box, pid)
})

test('a silent stranger that mentions openclaw-gateway is an impostor, not ended', async ({ sandbox }) => {
  const box = await sandbox({ settings: IMPATIENT })
  const other = await startStranger(box, ['-L', `${box.port}:localhost:18789`, 'openclaw-gateway'], true)
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(new RegExp(`DOWN impostor: .*pid ${other.pid}`))
  expect(other.isAlive()).toBe(true)
})

test('one that dies while it is asked is absent; its config may have comments', async ({ sandbox }) => {
  const box = await sandbox()
  box.writeConfig(
    `// mine\n{ gateway: { mode: 'local', port: ${box.port}, bind: 'loopback', auth: { mode: 'token', token: 'abcdefghijkl', }, }, }`,
  )
  const dying = createServer((connection) => {
    dying.close()
    connection.resetAndDestroy()
  }).listen(box.port, '127.0.0.1')
  await once(dying, 'listening')
  expect(await tick(box)).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN absent/)
})

// SIGUSR2 would kill the older one; SIGUSR1 opens a debugger in the newer one.
test('one that answers wrongly is asked by its signal to restart itself', async ({ known }) => {
  const version = '2026.8.2'
  // Nothing that is run here may need bash.
  const { box, pid } = await known({ absent: ['bash'] }, { version })
  await untilSignalled(box, version, 'SIGUSR1')
  expect(box.processes()).toContain(pid)
})

test('also the newer one; with commands.restart false it is restarted from outside', async ({ known }) => {
  const version = '2026.9.6'
  const { box, pid } = await known({ settings: { OPENCLAW_STOP_GRACE: '5' } })
  // It reads that when it starts again.
  box.writeConfig({ commands: { restart: false } })
  await untilSignalled(box, version, 'SIGUSR2')
  expect(box.processes()).toContain(pid)
  const isGone = () => !box.processes().includes(pid)
  await untilSignalled(box, version, 'SIGUSR2', () => waitFor(isGone, 'the end of the old process'))
})

test('what a gateway logged while it worked is no reason for its end: it is started', async ({ known }) => {
  const { box, pid } = await known()
  const at = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()
  for (const line of [
    `${at(7 * 24)} [reload] config reload skipped (invalid config): JSON5 parse failed`,
    `${at(3)} [tools] exec failed: Error: Cannot find module 'left-pad'`,
    `${at(0)} [agent/main] I found it: "database disk image is malformed"`,
    `${at(0)} [telegram] message received`,
  ])
    appendFileSync(box.gatewayLog, `${line}\n`)
  process.kill(pid, 'SIGKILL')
  expect(await tick(box)).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN absent[\s\S]*RECOVERED by level 1/)
})

test('one that crashes again and again is restarted once, then cools down', async ({ sandbox }) => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_BACKOFF: '600' } })
  box.setFaults({ exitAtBoot: { code: 1, stderr: 'boom' } })
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/ESCALATE to level 2: /)
  expect(await tick(box)).toBe(3)
  expect(box.restarts()).toBe(1)
  expect(box.openclawCalls().filter((call) => call === 'gateway run')).toHaveLength(1)
})

test('too much memory is logged, no restart; a human hears of the upper limit', async ({ known }) => {
  const settings = { OPENCLAW_WATCHDOG_MEMORY_WARN_MB: '1', OPENCLAW_WATCHDOG_MEMORY_CRITICAL_MB: '1' }
  const { box, pid } = await known({ settings })
  const path = join(box.stateDir, 'watchdog', 'watchdog.json')
  const older = (key: string, value: unknown) => (key === 'sinceMs' ? Number(value) - 660_000 : value)
  writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, 'utf8'), older)))
  expect(await tick(box)).toBe(0)
  expect(box.log('watchdog').match(/\[WARN\] (?!NOTICE).*\bMB\b/g)).toHaveLength(2)
  expect(box.log('watchdog').match(/\[WARN\] NOTICE needs attention: .*\bMB\b/g)).toHaveLength(1)
  expectLeftAlone(box, pid)
})

test('without openclaw on the PATH a start has failed', async ({ sandbox }) => {
  const box = await sandbox({ absent: ['openclaw'] })
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/\[ERROR\] .*openclaw/)
  expect(box.log('watchdog')).not.toMatch(/RECOVERED/)
  expect(box.restarts()).toBe(0)
})
