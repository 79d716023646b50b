/** Level 1 as a process, against the stand-in gateway. */
import { appendFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createSandbox, type Sandbox, type SandboxOptions, waitFor } from './support/sandbox.ts'
import { startStranger } from './support/stranger.ts'

async function sandbox(options?: SandboxOptions): Promise<Sandbox> {
  const box = await createSandbox(options)
  onTestFinished(box.close)
  return box
}

const kill = (pid: number, signal: NodeJS.Signals) => process.kill(pid, signal)
const restarts = (box: Sandbox) => box.log('watchdog').match(/\[INFO\] restart: /g)?.length ?? 0

test('a healthy gateway is left alone: exit 0, two lines, private files', async () => {
  const box = await sandbox()
  await box.startGateway()
  const run = await box.runScript('gateway-watchdog')
  expect(run).toMatchObject({ code: 0, stderr: '' })
  const lines = box.log('watchdog').trim().split('\n')
  expect(lines[0]).toMatch(/^\[\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d\d:\d\d\] \[watchdog\] \[INFO\] RUN started \(pid \d+\)$/)
  expect(lines.at(-1)).toMatch(/\[watchdog\] \[INFO\] RUN ended: healthy, exit 0 after [\d.]+ s$/)
  expect(lines).toHaveLength(2)
  expect(statSync(box.memoryDir).mode & 0o777).toBe(0o700)
  expect(statSync(join(box.memoryDir, box.memoryFiles()[0]!)).mode & 0o777).toBe(0o600)
  expect(box.openclawCalls()).toEqual(['gateway run'])
})

test('a gateway that was killed is started again and seen healthy', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  kill(pid, 'SIGKILL')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN absent: connection refused/)
  expect(box.log('watchdog')).toMatch(/RECOVERED by level 1 after \d+ s/)
  expect(restarts(box)).toBe(1)
})

test('the control UI switched off (404 on /) does not make a healthy gateway unhealthy', async () => {
  const box = await sandbox()
  await box.startGateway({ controlUiOff: true })
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(restarts(box)).toBe(0)
})

test('a version from before /health is healthy when its own process answers 200 on /', async () => {
  const box = await sandbox()
  await box.startGateway({ version: '2026.2.1' })
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(restarts(box)).toBe(0)
})

test('a stranger that answers 200 on the port is not healthy, is not killed, and goes on to Level 2', async () => {
  const box = await sandbox()
  const other = await startStranger(box)
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(box.log('watchdog')).toMatch(new RegExp(`DOWN impostor: port ${box.port} belongs to node \\(pid ${other.pid}`))
  expect(box.log('watchdog')).toMatch(/ESCALATE to level 2: /)
  expect(readFileSync(join(box.memoryDir, 'escalations.log'), 'utf8')).toMatch(/ESCALATE to level 2/)
  expect(restarts(box)).toBe(0)
  expect(other.isAlive()).toBe(true)
})

test('a stranger that listens and never speaks is an impostor too', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1' } })
  const server = createServer(() => {}).listen(box.port, '127.0.0.1')
  onTestFinished(() => void server.close())
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(box.log('watchdog')).toMatch(/DOWN impostor/)
})

test('a gateway that dies under the very question is absent, not somebody else’s port', async () => {
  const box = await sandbox()
  const dying = createServer((connection) => {
    dying.close()
    connection.resetAndDestroy()
  }).listen(box.port, '127.0.0.1')
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN absent/)
  expect(box.log('watchdog')).not.toMatch(/impostor/)
})

test('a hung gateway (SIGSTOP) is confirmed by three probes, then ended and started: a probe has a time limit', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '1' } })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  kill(pid, 'SIGSTOP')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(0)
  expect(run.stdout.match(/probe \d\/3: hung/g)).toHaveLength(2)
  expect(box.log('watchdog')).toMatch(/evidence before the restart:\n {4}\s*PID/)
  expect(box.log('watchdog')).toMatch(/RECOVERED by level 1/)
})

test.each([
  ['hours ago', 3 * 3600_000, "[tools] exec failed: Error: Cannot find module 'left-pad'"],
  ['a moment ago', 0, "[tools] exec failed: Error: Cannot find module 'left-pad'"],
  ['a moment ago', 0, '[agent/main] I found it: "database disk image is malformed"'],
])(
  'what a gateway logged in the midst of its work (%s) is no reason for its end: it is started',
  async (_, ageMs, line) => {
    const box = await sandbox()
    const { pid } = await box.startGateway()
    await box.runScript('gateway-watchdog')
    appendFileSync(box.gatewayLog, `${new Date(Date.now() - ageMs).toISOString()} ${line}\n`)
    appendFileSync(box.gatewayLog, `${new Date().toISOString()} [telegram] message received\n`)
    kill(pid, 'SIGKILL')
    expect((await box.runScript('gateway-watchdog')).code).toBe(0)
    expect(box.log('watchdog')).toMatch(/DOWN absent[\s\S]*RECOVERED by level 1/)
  },
)

test('a gateway that is found restarting itself while a failure is confirmed is left to it', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '3' } })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ health: 'silent' })
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => box.log('watchdog').includes('probe 1/3'), 'the first probe')
  box.setFaults({ heldIn: 'drain' })
  kill(pid, 'SIGUSR2')
  await waitFor(() => /draining: .*waiting up to/.test(box.log('watchdog')), 'the watchdog to wait for it')
  box.setFaults({})
  expect((await watchdog.finished).code).toBe(0)
  expect(restarts(box)).toBe(0)
  expect(box.processes()).toContain(pid)
})

test('a pause that comes while a failure is confirmed is heeded: exit 3, no restart', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '3' } })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  kill(pid, 'SIGSTOP')
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => box.log('watchdog').includes('probe 1/3'), 'the first probe')
  writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
  expect((await watchdog.finished).code).toBe(3)
  expect(restarts(box)).toBe(0)
  expect(box.processes()).toContain(pid)
})

test('a gateway whose event loop is blocked is killed at last, not signalled for ever', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '0.5' } })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ health: 'blocked' })
  const asking = fetch(`http://127.0.0.1:${box.port}/health`).catch(() => undefined)
  await waitFor(() => box.events().some(({ what }) => what === 'blocked'), 'the block')
  // Once it is killed, its successor boots well.
  box.setFaults({})
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  await asking
  expect(box.log('watchdog')).toContain('DOWN hung')
  expect(box.processes()).not.toContain(pid)
  expect(box.events().filter(({ what }) => what === 'signal SIGUSR2')).toEqual([])
})

test('one late answer is no outage: a gateway that answers at the second probe is not restarted', async () => {
  const box = await sandbox({
    settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '2' },
  })
  await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ health: 'silent' })
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => box.log('watchdog').includes('probe 1/3'), 'the first probe')
  box.setFaults({})
  expect((await watchdog.finished).code).toBe(0)
  expect(restarts(box)).toBe(0)
  expect(box.log('watchdog')).not.toMatch(/DOWN/)
})

test('a gateway that answers wrongly is asked by SIGUSR2 to restart itself, the process stays', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ health: { status: 500, body: 'oops' } })
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => box.events().some(({ what }) => what === 'signal SIGUSR2'), 'the signal')
  box.setFaults({})
  expect((await watchdog.finished).code).toBe(0)
  expect(box.events().filter(({ what }) => what === 'debugger opened')).toEqual([])
  expect(box.processes()).toContain(pid)
})

test('a gateway of before 2026.9.6 gets SIGUSR1, and never SIGUSR2, which would kill it', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway({ version: '2026.8.2' })
  await box.runScript('gateway-watchdog')
  box.setFaults({ version: '2026.8.2', health: { status: 500, body: 'oops' } })
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => box.events().some(({ what }) => what === 'signal SIGUSR1'), 'the signal')
  box.setFaults({ version: '2026.8.2' })
  expect((await watchdog.finished).code).toBe(0)
  expect(box.processes()).toContain(pid)
})

test('commands.restart false blocks the signal; then the process is restarted from outside', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STOP_GRACE: '1' } })
  box.writeConfig({ commands: { restart: false } })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ health: { status: 500, body: 'oops' } })
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => box.log('watchdog').includes('sent SIGUSR2'), 'the signal')
  await waitFor(() => !box.processes().includes(pid), 'the end of the old process')
  box.setFaults({})
  expect((await watchdog.finished).code).toBe(0)
})

test('a gateway that is still starting is left alone', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway({ bootDelayMs: 2000 }, 'boot')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(0)
  expect(restarts(box)).toBe(0)
  expect(box.processes()).toContain(pid)
  expect(box.log('watchdog')).not.toMatch(/DOWN/)
})

test('a planned restart (SIGUSR2: the port is refused for some seconds) is left alone', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ restartMs: 1500 })
  kill(pid, 'SIGUSR2')
  await waitFor(() => box.events().some(({ what }) => what === 'restart'), 'the restart')
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(restarts(box)).toBe(0)
  expect(box.processes()).toContain(pid)
})

test('a draining gateway is left alone', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ heldIn: 'drain' })
  kill(pid, 'SIGUSR2')
  await waitFor(() => box.events().some(({ what }) => what === 'draining'), 'the drain')
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => box.log('watchdog').includes('draining'), 'the watchdog to wait for it')
  box.setFaults({})
  expect((await watchdog.finished).code).toBe(0)
  expect(restarts(box)).toBe(0)
})

test('a broken config goes on to Level 2 at once, without a restart', async () => {
  const box = await sandbox()
  box.writeConfig('{ gateway: { mode: "local", ')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(box.log('watchdog')).toMatch(/DOWN misconfigured: .*openclaw\.json is not JSON5/)
  expect(box.openclawCalls()).toEqual([])
})

test('comments and trailing commas are no broken config: openclaw.json is JSON5', async () => {
  const box = await sandbox()
  box.writeConfig(
    `// mine\n{ gateway: { mode: 'local', port: ${box.port}, bind: 'loopback', auth: { mode: 'token', token: 'abcdefghijkl', }, }, }`,
  )
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
})

test('a config broken while the gateway runs is a warning, said once, and no restart', async () => {
  const box = await sandbox()
  await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.writeConfig('{ broken')
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog').match(/the config was broken while the gateway runs/g)).toHaveLength(1)
  expect(restarts(box)).toBe(0)
})

test('a gateway that refuses its valid config (exit 78) is not restarted for ever', async () => {
  const box = await sandbox()
  box.writeConfig(`{ "gateway": { "port": ${box.port} } }`)
  await box.startGateway({}, 'exit')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(box.log('watchdog')).toMatch(/DOWN misconfigured: its log says: .*Gateway start blocked/)
  expect(restarts(box)).toBe(0)
})

test.each([
  ['a missing secret', 'required secrets are unavailable: OPENAI_API_KEY', 'blocked'],
  ['a newer database', 'database uses newer schema version 42', 'unusable-state'],
  ['a damaged database', 'database disk image is malformed', 'unusable-state'],
  ['a damaged package', 'Error [ERR_MODULE_NOT_FOUND]: Cannot find package', 'broken-install'],
])('%s is told from a crash, and no restart is spent on it', async (_name, stderr, verdict) => {
  const box = await sandbox()
  await box.startGateway({ exitAtBoot: { code: 78, stderr } }, 'exit')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(box.log('watchdog')).toContain(`DOWN ${verdict}: `)
  expect(restarts(box)).toBe(0)
})

test('a channel that is down or suppressed is a warning, never a restart', async () => {
  const box = await sandbox()
  await box.startGateway({ failing: ['telegram'], suppressed: ['discord'] })
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog')).toMatch(/not ready: telegram/)
  expect(box.log('watchdog')).toMatch(/safe mode: channels suppressed.*discord/)
  expect(restarts(box)).toBe(0)
})

test('memory over a threshold is noticed once per crossing', async () => {
  const box = await sandbox({
    settings: { OPENCLAW_WATCHDOG_MEMORY_WARN_MB: '1', OPENCLAW_WATCHDOG_MEMORY_CRITICAL_MB: '100000' },
  })
  await box.startGateway()
  for (let i = 0; i < 3; i++) expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog').match(/memory warning/g)).toHaveLength(1)
})

test('a gateway that crashes again and again is restarted once, and then cools down: exit 3', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_BACKOFF: '10 30 60 600' } })
  box.setFaults({ exitAtBoot: { code: 1, stderr: 'boom' } })
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect(box.log('watchdog')).toMatch(/ESCALATE to level 2: absent after a restart/)
  const second = await box.runScript('gateway-watchdog')
  expect(second.code).toBe(3)
  expect(second.stdout).toMatch(/no restart for another \d+ s/)
  expect(restarts(box)).toBe(1)
  expect(box.openclawCalls().filter((call) => call === 'gateway run')).toHaveLength(1)
})

test('the crash counter is kept across runs and decays by one per healthy tick', async () => {
  const box = await sandbox()
  await box.startGateway()
  const state = join(box.stateDir, 'watchdog', 'watchdog.json')
  await box.runScript('gateway-watchdog')
  const saved = JSON.parse(readFileSync(state, 'utf8'))
  writeFileSync(state, JSON.stringify({ ...saved, backoff: { crashes: 3, lastCrashMs: Date.now(), lastRestartMs: 1 } }))
  await box.runScript('gateway-watchdog')
  expect(JSON.parse(readFileSync(state, 'utf8')).backoff.crashes).toBe(2)
})

test('`openclaw gateway stop` is respected: left alone, said, exit 3', async () => {
  const box = await sandbox()
  mkdirSync(join(box.stateDir, 'logs'), { recursive: true })
  writeFileSync(
    join(box.stateDir, 'logs', 'gateway-restart.log'),
    `[${new Date().toISOString()}] openclaw gateway lifecycle source=cli action=stop mode=sigterm pid=1 interactive=1\n`,
  )
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(3)
  expect(run.stdout).toMatch(/left alone: somebody ran `openclaw gateway stop`/)
  expect(box.openclawCalls()).toEqual([])
})

test('without openclaw on the PATH the failed start is said, not claimed', async () => {
  const box = await sandbox({ absent: ['openclaw'] })
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(box.log('watchdog')).toMatch(/\[ERROR\] .*FAILED: openclaw is not on the PATH/)
  expect(box.log('watchdog')).not.toMatch(/RECOVERED/)
})

test('without bash on the PATH it works all the same', async () => {
  const box = await sandbox({
    absent: ['bash'],
    settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '1' },
  })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  kill(pid, 'SIGSTOP')
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog')).toMatch(/RECOVERED by level 1/)
  expect(box.log('watchdog')).toMatch(/evidence before the restart:\n {4}\s*PID/)
})

test('the pause switch pauses, an end time that has passed does not, and nonsense pauses', async () => {
  const box = await sandbox()
  const switchPath = join(box.stateDir, 'self-healing.paused')
  await box.startGateway()
  writeFileSync(switchPath, '')
  expect((await box.runScript('gateway-watchdog')).code).toBe(3)
  writeFileSync(switchPath, new Date(Date.now() + 3_600_000).toISOString())
  expect(await box.runScript('gateway-watchdog')).toMatchObject({
    code: 3,
    stdout: expect.stringMatching(/paused by .* until /),
  })
  writeFileSync(switchPath, new Date(Date.now() - 1000).toISOString())
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  writeFileSync(switchPath, 'till tea time')
  expect(await box.runScript('gateway-watchdog')).toMatchObject({
    code: 3,
    stdout: expect.stringContaining('no time that can be read'),
  })
})
