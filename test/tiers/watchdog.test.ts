/** Level 1 as a process, against the stand-in gateway. */
import { once } from 'node:events'
import { appendFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { known, sandbox } from '../support/boxes.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

const IMPATIENT = { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '1' }
const BAD_ANSWER = { status: 500, body: 'oops' }

const tick = async (box: Sandbox, ...args: string[]) => (await box.runScript('gateway-watchdog', args)).code
const didEvent = (box: Sandbox, name: string) => waitFor(() => box.events().some(({ what }) => what === name), name)

/** Neither an outage nor a restart, and the process is the same. */
function expectLeftAlone(box: Sandbox, pid: number): void {
  expect(box.restarts()).toBe(0)
  expect(box.log('watchdog')).not.toMatch(/DOWN/)
  expect(box.processes()).toContain(pid)
}

test('a healthy gateway is left alone: exit 0, two lines, private files', async () => {
  const box = await sandbox()
  await box.startGateway()
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0, stderr: '' })
  const lines = box.log('watchdog').trim().split('\n')
  expect(lines).toHaveLength(2)
  expect(lines[0]).toMatch(/^\[\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d\d:\d\d\] \[watchdog\] \[INFO\] RUN started \(pid \d+\)$/)
  expect(lines[1]).toMatch(/\[watchdog\] \[INFO\] RUN ended: healthy, exit 0 after [\d.]+ s$/)
  expect(statSync(box.memoryDir).mode & 0o777).toBe(0o700)
  expect(statSync(join(box.memoryDir, box.memoryFiles()[0]!)).mode & 0o777).toBe(0o600)
  expect(box.openclawCalls()).toEqual(['gateway run'])
})

test('a gateway from before /health, whose own process answers 200 on /, is healthy', async () => {
  const { box, pid } = await known({}, { version: '2026.2.1' })
  expectLeftAlone(box, pid)
})

test('a stranger that listens and never speaks is an impostor too', async () => {
  const box = await sandbox({ settings: IMPATIENT })
  const server = createServer(() => {}).listen(box.port, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/DOWN impostor/)
})

test('a gateway that dies while it is asked is absent, not an impostor', async () => {
  const box = await sandbox()
  const dying = createServer((connection) => {
    dying.close()
    connection.resetAndDestroy()
  }).listen(box.port, '127.0.0.1')
  await once(dying, 'listening')
  expect(await tick(box)).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN absent/)
})

/** A gateway that has just failed the first probe of a tick, which asks again in some seconds. */
async function failing() {
  const { box, pid } = await known({ settings: { ...IMPATIENT, OPENCLAW_WATCHDOG_RETRY_DELAY: '3' } })
  box.setFaults({ health: 'silent' })
  const run = tick(box)
  await box.untilRemark('watchdog')
  return { box, pid, run }
}

test('a gateway that restarts itself while a failure is confirmed is left to it', async () => {
  const { box, pid, run } = await failing()
  box.setFaults({ heldIn: 'drain' })
  const waits = box.untilRemark('watchdog', 2)
  process.kill(pid, 'SIGUSR2')
  await waits
  box.setFaults({})
  expect(await run).toBe(0)
  expectLeftAlone(box, pid)
})

test('a pause that begins while a failure is confirmed is respected: exit 3, no restart', async () => {
  const { box, pid, run } = await failing()
  writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
  expect(await run).toBe(3)
  expect(box.restarts()).toBe(0)
  expect(box.processes()).toContain(pid)
})

// SIGUSR2 would kill the older one; SIGUSR1 opens a debugger in the newer one.
test.each([
  ['2026.9.6', 'SIGUSR2'],
  ['2026.8.2', 'SIGUSR1'],
])('a gateway %s that answers wrongly is asked by %s to restart itself, the process stays', async (version, signal) => {
  // Nothing that is run here may need bash.
  const { box, pid } = await known({ absent: ['bash'] }, { version })
  box.setFaults({ version, health: BAD_ANSWER })
  const run = tick(box)
  await didEvent(box, `signal ${signal}`)
  box.setFaults({ version })
  expect(await run).toBe(0)
  expect(box.events().filter(({ what }) => what === 'debugger opened')).toEqual([])
  expect(box.processes()).toContain(pid)
})

test('commands.restart false blocks the signal; then the process is restarted from outside', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STOP_GRACE: '1' } })
  box.writeConfig({ commands: { restart: false } })
  const { pid } = await box.startGateway()
  await tick(box)
  box.setFaults({ health: BAD_ANSWER })
  const run = tick(box)
  await didEvent(box, 'signal SIGUSR2')
  await waitFor(() => !box.processes().includes(pid), 'the end of the old process')
  box.setFaults({})
  expect(await run).toBe(0)
})

test('comments and trailing commas are no broken config: openclaw.json is JSON5', async () => {
  const box = await sandbox()
  box.writeConfig(
    `// mine\n{ gateway: { mode: 'local', port: ${box.port}, bind: 'loopback', auth: { mode: 'token', token: 'abcdefghijkl', }, }, }`,
  )
  expect(await tick(box)).toBe(0)
})

test.each([
  [3, "[tools] exec failed: Error: Cannot find module 'left-pad'"],
  [0, '[agent/main] I found it: "database disk image is malformed"'],
  [7 * 24, '[reload] config reload skipped (invalid config): JSON5 parse failed'],
])(
  'what a gateway logged %i hours ago while it worked is no reason for its end: it is started',
  async (hours, line) => {
    const { box, pid } = await known()
    const at = (ms: number) => new Date(Date.now() - ms).toISOString()
    appendFileSync(box.gatewayLog, `${at(hours * 3_600_000)} ${line}\n${at(0)} [telegram] message received\n`)
    process.kill(pid, 'SIGKILL')
    expect(await tick(box)).toBe(0)
    expect(box.log('watchdog')).toMatch(/DOWN absent[\s\S]*RECOVERED by level 1/)
  },
)

test('a gateway that crashes again and again is restarted once, and then cools down: exit 3', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_BACKOFF: '10 30 60 600' } })
  box.setFaults({ exitAtBoot: { code: 1, stderr: 'boom' } })
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/ESCALATE to level 2: /)
  expect(await tick(box)).toBe(3)
  expect(box.restarts()).toBe(1)
  expect(box.openclawCalls().filter((call) => call === 'gateway run')).toHaveLength(1)
})

test.each([
  ['lower', '4000', 1, 0],
  ['upper', '1', 2, 1],
])(
  'memory over the %s threshold is logged once, no restart; after ten minutes a human hears of the upper',
  async (_which, criticalMb, warnings, notices) => {
    const settings = { OPENCLAW_WATCHDOG_MEMORY_WARN_MB: '1', OPENCLAW_WATCHDOG_MEMORY_CRITICAL_MB: criticalMb }
    const { box, pid } = await known({ settings })
    const path = join(box.stateDir, 'watchdog', 'watchdog.json')
    const older = (key: string, value: unknown) => (key === 'sinceMs' ? Number(value) - 660_000 : value)
    writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, 'utf8'), older)))
    expect(await tick(box)).toBe(0)
    expect(box.log('watchdog').match(/\[WARN\] (?!NOTICE).*\bMB\b/g)).toHaveLength(warnings)
    expect(box.log('watchdog').match(/\[WARN\] NOTICE needs attention: .*\bMB\b/g) ?? []).toHaveLength(notices)
    expectLeftAlone(box, pid)
  },
)

test('`openclaw gateway stop` is respected: exit 3, and nothing is started', async () => {
  const box = await sandbox()
  mkdirSync(join(box.stateDir, 'logs'), { recursive: true })
  const line = 'openclaw gateway lifecycle source=cli action=stop mode=sigterm pid=1 interactive=1'
  writeFileSync(join(box.stateDir, 'logs', 'gateway-restart.log'), `[${new Date().toISOString()}] ${line}\n`)
  for (const script of ['gateway-watchdog', 'gateway-healthcheck']) {
    const run = await box.runScript(script)
    expect(run.code).toBe(3)
    expect(run.stdout).toMatch(/RUN ended: stopped-on-purpose, exit 3/)
  }
  expect(box.openclawCalls()).toEqual([])
})

test('without openclaw on the PATH a start has failed and is not counted as one', async () => {
  const box = await sandbox({ absent: ['openclaw'] })
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/\[ERROR\] .*openclaw/)
  expect(box.log('watchdog')).not.toMatch(/RECOVERED/)
  expect(box.restarts()).toBe(0)
})

test('the pause switch pauses, an end time that has passed does not, and what is no time pauses', async () => {
  const box = await sandbox()
  await box.startGateway()
  const at = (ms: number) => new Date(Date.now() + ms).toISOString()
  for (const [text, code] of [
    ['', 3],
    [at(3_600_000), 3],
    [at(-1000), 0],
    ['upgrading openclaw, back at 5', 3],
  ] as const) {
    writeFileSync(join(box.stateDir, 'self-healing.paused'), text)
    expect(await tick(box), text).toBe(code)
  }
})
