/** Level 2 as a process, against the stand-in gateway. */
import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createSandbox, type Sandbox, type SandboxOptions, waitFor } from './support/sandbox.ts'
import { startStranger } from './support/stranger.ts'

async function sandbox(options?: SandboxOptions): Promise<Sandbox> {
  const box = await createSandbox(options)
  onTestFinished(box.close)
  return box
}

/** A sandbox whose gateway has been healthy for long enough on its config for that to be kept, and runs. */
async function sandboxWithKnownGood(settings: Record<string, string> = {}) {
  const box = await sandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...settings } })
  const gateway = await box.startGateway()
  await box.runScript('gateway-watchdog')
  await box.runScript('gateway-watchdog')
  expect(readdirSync(join(box.stateDir, 'watchdog', 'known-good'))).toHaveLength(1)
  return { box, gateway, good: readFileSync(box.configPath, 'utf8') }
}

const brokenCopies = (box: Sandbox) =>
  readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))

/** Sets Level 3 aside: without claude it ends at once, with its marker. */
const WITHOUT_DOCTOR = { absent: ['claude'] }

test('a healthy gateway is left alone: exit 0, no command of OpenClaw is started', async () => {
  const box = await sandbox()
  await box.startGateway()
  expect(await box.runScript('gateway-healthcheck')).toMatchObject({ code: 0, stderr: '' })
  expect(box.log('healthcheck').trim().split('\n')).toHaveLength(2)
  expect(box.openclawCalls()).toEqual(['gateway run'])
})

test('a gateway that is down is brought back, and Level 2 says so', async () => {
  const box = await sandbox()
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(box.log('healthcheck')).toMatch(/DOWN absent/)
  expect(box.log('healthcheck')).toMatch(/retry 1\/3: restart/)
  expect(box.log('healthcheck')).toMatch(/RECOVERED by level 2 after \d+ s/)
})

test('one timeout is a busy moment: a gateway that answers again while that is confirmed is not restarted', async () => {
  const box = await sandbox({ settings: { HEALTH_CHECK_HTTP_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '3' } })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  box.setFaults({ health: 'silent' })
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('healthcheck').includes('probe 1/3'), 'the first probe')
  box.setFaults({})
  expect((await nurse.finished).code).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/DOWN|restart/)
  expect(box.processes()).toContain(pid)
})

test('a broken config: the known-good one is put back, the broken one is kept beside it, both private', async () => {
  const { box, gateway, good } = await sandboxWithKnownGood()
  process.kill(gateway.pid, 'SIGKILL')
  box.writeConfig('{ gateway: { mode: "local", // and then the power went')
  const broken = readFileSync(box.configPath, 'utf8')
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
  expect(brokenCopies(box)).toHaveLength(1)
  const copy = join(box.stateDir, brokenCopies(box)[0]!)
  expect(readFileSync(copy, 'utf8')).toBe(broken)
  expect(statSync(copy).mode & 0o777).toBe(0o600)
  expect(box.log('healthcheck')).toMatch(/NOTICE needs attention: config rolled back: /)
  expect(box.log('healthcheck')).toMatch(/RECOVERED by level 2/)
})

test('a config that lost gateway.mode is valid and does not boot (exit 78): the known-good one is put back', async () => {
  const { box, gateway, good } = await sandboxWithKnownGood()
  process.kill(gateway.pid, 'SIGKILL')
  box.writeConfig(`{ "gateway": { "port": ${box.port} } }`)
  // Level 1 cannot know it yet: it starts the gateway, which refuses.
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
})

test('CONFIG_ROLLBACK=off: the config is not touched, and Level 3 is called', async () => {
  const { box, gateway } = await sandboxWithKnownGood({ CONFIG_ROLLBACK: 'off' })
  process.kill(gateway.pid, 'SIGKILL')
  box.addTool('claude', 'exit 1')
  box.writeConfig('{ broken')
  const run = await box.runScript('gateway-healthcheck', [], { env: { CLAUDE_STARTUP_WAIT: '1' } })
  expect(run.code).toBe(1)
  expect(readFileSync(box.configPath, 'utf8')).toBe('{ broken\n')
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3: down for \d+ s, misconfigured/)
})

test('a known-good config that does not boot either is put back once, and then its owner has his file again', async () => {
  const { box, gateway } = await sandboxWithKnownGood()
  process.kill(gateway.pid, 'SIGKILL')
  box.addTool('claude', 'exit 1')
  box.setFaults({ exitAtBoot: { code: 78, stderr: 'Gateway start blocked: whatever the config' } })
  box.writeConfig('{ broken')
  for (let i = 0; i < 2; i++) {
    expect((await box.runScript('gateway-healthcheck', [], { env: { CLAUDE_STARTUP_WAIT: '1' } })).code).toBe(1)
  }
  const log = box.log('healthcheck')
  expect(log.match(/NOTICE needs attention: config rolled back/g)).toHaveLength(1)
  expect(log).toMatch(/did not help: \S+openclaw\.json is again what it was before\n.* ESCALATE to level 3/)
  expect(brokenCopies(box)).toHaveLength(1)
  expect(readFileSync(box.configPath, 'utf8')).toBe('{ broken\n')
})

/** Two known-good configs, the newer one in place; the gateway is down, and there is no doctor. */
async function sandboxWithTwoKnownGoods() {
  const { box, gateway } = await sandboxWithKnownGood()
  box.addTool('claude', 'exit 1')
  box.writeConfig({ agents: { n: 2 } })
  for (let tick = 0; tick < 2; tick++) await box.runScript('gateway-watchdog')
  expect(readdirSync(join(box.stateDir, 'watchdog', 'known-good'))).toHaveLength(2)
  process.kill(gateway.pid, 'SIGKILL')
  return { box, newer: readFileSync(box.configPath, 'utf8') }
}

const REFUSAL = { exitAtBoot: { code: 78, stderr: 'Gateway start blocked: a reason outside of the config' } }

test('a refusal on the very config that it was healthy on is not the config’s fault: it stays, and gets one start', async () => {
  const { box, newer } = await sandboxWithTwoKnownGoods()
  await box.startGateway(REFUSAL, 'exit')
  const starts = () => box.openclawCalls().filter((call) => call === 'gateway run').length
  const before = starts()
  const run = await box.runScript('gateway-healthcheck', [], { env: { CLAUDE_STARTUP_WAIT: '1' } })
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/the config is not touched: the gateway was healthy on just this one/)
  expect(run.stdout).toMatch(/ESCALATE to level 3: .*a reason outside of the config/)
  expect(readFileSync(box.configPath, 'utf8')).toBe(newer)
  expect(brokenCopies(box)).toEqual([])
  expect(starts() - before).toBe(1)
})

test('a config that its owner has edited since it was put back is not replaced by the one from before', async () => {
  const { box, newer } = await sandboxWithTwoKnownGoods()
  box.setFaults(REFUSAL)
  box.writeConfig('{ broken')
  const nurse = box.startScript('gateway-healthcheck', [], { env: { HEALTH_CHECK_ESCALATION_WAIT: '3600' } })
  await waitFor(() => box.log('healthcheck').includes('level 3 follows'), 'the watch')
  expect(readFileSync(box.configPath, 'utf8')).toBe(newer)
  process.kill(nurse.pid, 'SIGTERM')
  await nurse.finished
  box.writeConfig('{ broken in another way')
  expect((await box.runScript('gateway-healthcheck', [], { env: { CLAUDE_STARTUP_WAIT: '1' } })).code).toBe(1)
  expect(readFileSync(box.configPath, 'utf8')).toBe('{ broken in another way\n')
  expect(box.log('healthcheck').match(/config rolled back/g)).toHaveLength(1)
  expect(brokenCopies(box)).toHaveLength(1)
})

test('a gateway that crashes at every start gets three restarts and no more, then Level 3', async () => {
  const box = await sandbox(WITHOUT_DOCTOR)
  box.setFaults({ exitAtBoot: { code: 1, stderr: 'boom' } })
  const run = await box.runScript('gateway-healthcheck', [], { timeoutMs: 120_000 })
  expect(run.code).toBe(1)
  expect(box.openclawCalls().filter((call) => call === 'gateway run')).toHaveLength(3)
  expect(box.log('healthcheck')).toMatch(/retry 3\/3/)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3/)
  expect(box.log('healthcheck')).toMatch(/level 3 ended with exit code 1/)
  expect(box.log('emergency-recovery')).toMatch(/MANUAL INTERVENTION REQUIRED: .*claude/)

  // The next runs, five minutes later, do not go on restarting it: the budget has to cool down.
  const again = await box.runScript('gateway-healthcheck', [], { env: { OPENCLAW_WATCHDOG_BACKOFF: '10 30 60 600' } })
  expect(again.code).toBe(1)
  expect(box.openclawCalls().filter((call) => call === 'gateway run').length).toBeLessThanOrEqual(4)
})

test('a stranger on the port: no retries, no restart, the stranger lives, Level 3 calls for a human', async () => {
  const box = await sandbox()
  const other = await startStranger(box)
  const run = await box.runScript('gateway-healthcheck')
  expect(run.code).toBe(1)
  expect(box.log('healthcheck')).toMatch(/no retries/)
  expect(box.openclawCalls()).not.toContain('gateway restart')
  expect(box.openclawCalls()).not.toContain('gateway run')
  expect(other.isAlive()).toBe(true)
  expect(box.log('emergency-recovery')).toMatch(new RegExp(`MANUAL INTERVENTION REQUIRED: .*pid ${other.pid}`))
})

test('it watches until the gateway has been down for the whole time, counted from the first DOWN in any log', async () => {
  const box = await sandbox({ ...WITHOUT_DOCTOR, settings: { HEALTH_CHECK_ESCALATION_WAIT: '3600' } })
  box.writeConfig('{ broken')
  await box.runScript('gateway-watchdog')
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('healthcheck').includes('level 3 follows at 3600 s'), 'the watch')
  expect(box.log('emergency-recovery')).toBe('')
  process.kill(nurse.pid, 'SIGTERM')
  expect((await nurse.finished).code).toBe(1)

  // Down for longer than that already, says Level 1's log: then Level 3 is started at once.
  const run = await box.runScript('gateway-healthcheck', [], { env: { HEALTH_CHECK_ESCALATION_WAIT: '0.1' } })
  expect(run.code).toBe(1)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3/)
})

test('a pause takes the hands off a Level 2 that is at work: exit 3, and no Level 3', async () => {
  const box = await sandbox({ settings: { HEALTH_CHECK_ESCALATION_WAIT: '3600' } })
  box.writeConfig('{ broken')
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('healthcheck').includes('level 3 follows'), 'the watch')
  writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
  expect((await nurse.finished).code).toBe(3)
  expect(box.log('healthcheck')).toMatch(/standing down: paused by/)
  expect(box.log('emergency-recovery')).toBe('')
})

test('a gateway that comes back while Level 2 watches ends the watch: exit 0', async () => {
  const box = await sandbox({ settings: { HEALTH_CHECK_ESCALATION_WAIT: '3600' } })
  box.writeConfig('{ broken')
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('healthcheck').includes('level 3 follows'), 'the watch')
  box.writeConfig()
  await box.startGateway()
  expect((await nurse.finished).code).toBe(0)
  expect(box.log('healthcheck')).toMatch(/RECOVERED by itself or from outside/)
  expect(box.log('emergency-recovery')).toBe('')
})

test('a gateway that is booting is waited for: no outage, no restart, and nobody’s recovery', async () => {
  const box = await sandbox()
  await box.startGateway({ heldIn: 'boot' }, 'boot')
  const nurse = box.startScript('gateway-healthcheck')
  const isWaiting = () => /starting: connection refused.*; waiting up to/.test(box.log('healthcheck'))
  await waitFor(isWaiting, 'Level 2 to wait for the boot')
  box.setFaults({})
  const run = await nurse.finished
  expect(run.code).toBe(0)
  expect(run.stdout).not.toMatch(/DOWN|RECOVERED|restart:/)
})

test('a boot that Level 2 only waited for is the recovery of Level 1, which started it', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STARTUP_GRACE: '1' } })
  box.setFaults({ heldIn: 'boot' })
  expect((await box.runScript('gateway-watchdog')).stdout).toMatch(/restart: [\s\S]*ESCALATE to level 2/)
  const nurse = box.startScript('gateway-healthcheck', [], { env: { OPENCLAW_STARTUP_GRACE: '30' } })
  await waitFor(() => box.log('healthcheck').includes('waiting up to'), 'Level 2 to wait for the boot')
  box.setFaults({})
  expect((await nurse.finished).stdout).toMatch(/RECOVERED by level 1/)
})

test('a deliberate stop is left alone: exit 3', async () => {
  const box = await sandbox()
  writeFileSync(
    join(box.stateDir, 'logs', 'gateway-restart.log'),
    `[${new Date().toISOString()}] openclaw gateway lifecycle source=cli action=stop mode=sigterm pid=1 interactive=1\n`,
  )
  expect((await box.runScript('gateway-healthcheck')).code).toBe(3)
  expect(box.openclawCalls()).toEqual([])
})

test('`openclaw gateway restart` that says "still starting" (exit 2) is no failure', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STOP_GRACE: '1', HEALTH_CHECK_HTTP_TIMEOUT: '1' } })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  process.kill(pid, 'SIGSTOP')
  box.planCli({ 'gateway restart': { code: 2, stdout: 'still starting' } })
  const run = await box.runScript('gateway-healthcheck')
  expect(run.code).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/FAILED/)
})

test('an `openclaw gateway restart` that fails is said, and the gateway is started by our own means', async () => {
  const box = await sandbox()
  box.planCli({ 'gateway restart': { code: 1, stderr: 'Gateway service disabled.' } })
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(box.log('healthcheck')).toMatch(/did not bring it back: .*Gateway service disabled/)
})

test('--dry-run examines, says what it would do, and changes nothing', async () => {
  const box = await sandbox()
  box.writeConfig('{ broken')
  const before = readdirSync(box.home, { recursive: true }).sort()
  const run = await box.runScript('gateway-healthcheck', ['--dry-run'])
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/dry run: level 2 would now: put back known-good config/)
  expect(readdirSync(box.home, { recursive: true }).sort()).toEqual(before)
})

test('a Level 3 that is killed cannot leave the marker: Level 2 leaves it', async () => {
  const box = await sandbox()
  box.writeConfig('{ broken')
  const nurse = box.startScript('gateway-healthcheck')
  const doctor = await waitFor(() => {
    try {
      return JSON.parse(readFileSync(join(box.stateDir, 'watchdog', 'emergency-recovery.lock'), 'utf8')).pid as number
    } catch {
      return undefined
    }
  }, 'Level 3 at work')
  process.kill(doctor, 'SIGKILL')
  expect((await nurse.finished).code).toBe(1)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: level 3 ended by SIGKILL/)
})

test('a Level 3 that cannot begin (exit 2) leaves no marker either: Level 2 leaves it', async () => {
  const box = await sandbox({ settings: { HEALTH_CHECK_ESCALATION_WAIT: '2' } })
  box.writeConfig('{ broken')
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('healthcheck').includes('RUN started'), 'Level 2, which has read its settings')
  appendFileSync(join(box.stateDir, '.env'), 'EMERGENCY_RECOVERY_TIMEOUT=for a while\n')
  expect((await nurse.finished).code).toBe(1)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: level 3 ended by exit code 2/)
})

test('a config is put back also while restarts cool down', async () => {
  const { box, gateway, good } = await sandboxWithKnownGood({ OPENCLAW_WATCHDOG_BACKOFF: '600' })
  process.kill(gateway.pid, 'SIGKILL')
  const state = join(box.stateDir, 'watchdog', 'watchdog.json')
  const saved = JSON.parse(readFileSync(state, 'utf8'))
  const backoff = { crashes: 9, lastCrashMs: Date.now(), lastRestartMs: Date.now() }
  writeFileSync(state, JSON.stringify({ ...saved, backoff }))
  box.writeConfig('{ broken')
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
})

test('a damaged known-good copy is named and passed over', async () => {
  const { box, gateway } = await sandboxWithKnownGood()
  const folder = join(box.stateDir, 'watchdog', 'known-good')
  const [copy] = readdirSync(folder) as [string]
  appendFileSync(join(folder, copy), 'half a sector of something else')
  process.kill(gateway.pid, 'SIGKILL')
  box.addTool('claude', 'exit 1')
  box.writeConfig('{ broken')
  expect((await box.runScript('gateway-healthcheck')).code).toBe(1)
  expect(box.log('healthcheck')).toMatch(new RegExp(`known-good config .*${copy} is damaged; passed over`))
  expect(readFileSync(box.configPath, 'utf8')).toBe('{ broken\n')
})

test('when no known-good config is any better, the file that its owner wrote is in its place again', async () => {
  const { box, gateway } = await sandboxWithKnownGood()
  process.kill(gateway.pid, 'SIGKILL')
  box.addTool('claude', 'exit 1')
  box.planCli({ 'config validate': { code: 1, stdout: '{"valid":false,"issues":[{"path":"x","message":"no"}]}' } })
  box.writeConfig('{ broken')
  expect((await box.runScript('gateway-healthcheck')).code).toBe(1)
  expect(readFileSync(box.configPath, 'utf8')).toBe('{ broken\n')
})

test('Ctrl-C reaches Level 2 and Level 3 alike: both end in order, with the marker and without a lock', async () => {
  const box = await sandbox()
  box.writeConfig('{ broken')
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('emergency-recovery').includes('RUN started'), 'Level 3')
  process.kill(-nurse.pid, 'SIGINT')
  expect(await nurse.finished).toMatchObject({ code: 1, signal: null })
  expect(box.log('healthcheck')).toMatch(/RUN ended: stopped by SIGINT/)
  expect(box.log('emergency-recovery')).toMatch(/MANUAL INTERVENTION REQUIRED/)
  expect(readdirSync(join(box.stateDir, 'watchdog')).filter((name) => name.endsWith('.lock'))).toEqual([])
})
