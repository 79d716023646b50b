/** Level 2 as a process, against the stand-in gateway. */
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { sandbox } from '../support/boxes.ts'
import type { Faults } from '../support/faults.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

const tick = async (box: Sandbox, env: Record<string, string> = {}) =>
  (await box.runScript('gateway-healthcheck', [], { env })).code
const watchdog = async (box: Sandbox) => (await box.runScript('gateway-watchdog')).code
const config = (box: Sandbox) => readFileSync(box.configPath, 'utf8')
const brokenCopies = (box: Sandbox) =>
  readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))
const starts = (box: Sandbox) => box.openclawCalls().filter((call) => call === 'gateway run').length
const untilDown = (box: Sandbox) => waitFor(() => /\bDOWN /.test(box.log('healthcheck')), 'Level 2 at work')

/** Level 3 set aside: without claude it ends at once, with its marker. */
const WITHOUT_DOCTOR = { absent: ['claude'] }
const PATIENT = { HEALTH_CHECK_ESCALATION_WAIT: '3600' }
const REFUSAL: Faults = { exitAtBoot: { code: 78, stderr: 'Gateway start blocked: a reason outside of the config' } }

/** A killed gateway, and no doctor; the config that it has been healthy on is known-good, and so are some before it. */
async function killedWithKnownGood(options: { settings?: Record<string, string>; configs?: number } = {}) {
  const box = await sandbox({ ...WITHOUT_DOCTOR, settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...options.settings } })
  const gateway = await box.startGateway()
  const { configs = 1 } = options
  for (let n = 1; n <= configs; n++) {
    if (n > 1) box.writeConfig({ agents: { n } })
    for (let i = 0; i < 2; i++) await watchdog(box)
  }
  expect(readdirSync(join(box.stateDir, 'watchdog', 'known-good'))).toHaveLength(configs)
  process.kill(gateway.pid, 'SIGKILL')
  return { box, good: config(box) }
}

test('a healthy gateway is left alone: exit 0, two lines, no command of OpenClaw is started', async () => {
  const box = await sandbox()
  await box.startGateway()
  expect(await box.runScript('gateway-healthcheck')).toMatchObject({ code: 0, stderr: '' })
  expect(box.log('healthcheck').trim().split('\n')).toHaveLength(2)
  expect(box.openclawCalls()).toEqual(['gateway run'])
})

test('a gateway that is down is brought back, and Level 2 says so', async () => {
  const box = await sandbox()
  expect(await tick(box)).toBe(0)
  expect(box.log('healthcheck')).toMatch(/DOWN absent: [\s\S]*RECOVERED by level 2 after \d+ s/)
  expect(box.restarts('healthcheck')).toBe(1)
})

test('one timeout is a busy moment: a gateway that answers when it is asked again is not restarted', async () => {
  const box = await sandbox({ settings: { HEALTH_CHECK_HTTP_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '3' } })
  const { pid } = await box.startGateway()
  await watchdog(box)
  box.setFaults({ health: 'silent' })
  const run = tick(box)
  await box.untilRemark('healthcheck')
  box.setFaults({})
  expect(await run).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/DOWN/)
  expect(box.restarts('healthcheck')).toBe(0)
  expect(box.processes()).toContain(pid)
})

test.each([
  ['is broken', '{ gateway: { mode: "local", // and then the power went'],
  // It is valid; the gateway refuses to boot with it (exit 78), which Level 1 sees when it has started it.
  ['has lost gateway.mode', '{ "gateway": { "port": PORT } }'],
])(
  'a config that %s: the known-good one is put back, the broken one is kept beside it, private',
  async (_what, text) => {
    const { box, good } = await killedWithKnownGood()
    box.writeConfig(text.replace('PORT', String(box.port)))
    const broken = config(box)
    expect(await watchdog(box)).toBe(1)
    expect(await tick(box)).toBe(0)
    expect(config(box)).toBe(good)
    expect(brokenCopies(box)).toHaveLength(1)
    const copy = join(box.stateDir, brokenCopies(box)[0]!)
    expect(readFileSync(copy, 'utf8')).toBe(broken)
    expect(statSync(copy).mode & 0o777).toBe(0o600)
    expect(box.log('healthcheck')).toMatch(/NOTICE needs attention: [\s\S]*RECOVERED by level 2/)
  },
)

test('a config is put back also while restarts cool down', async () => {
  const { box, good } = await killedWithKnownGood({ settings: { OPENCLAW_WATCHDOG_BACKOFF: '600' } })
  const state = join(box.stateDir, 'watchdog', 'watchdog.json')
  const backoff = { crashes: 9, lastCrashMs: Date.now(), lastRestartMs: Date.now() }
  writeFileSync(state, JSON.stringify({ ...JSON.parse(readFileSync(state, 'utf8')), backoff }))
  box.writeConfig('{ broken')
  expect(await tick(box)).toBe(0)
  expect(config(box)).toBe(good)
})

test('CONFIG_ROLLBACK=off: the config is not touched, and Level 3 is called', async () => {
  const { box } = await killedWithKnownGood({ settings: { CONFIG_ROLLBACK: 'off' } })
  box.writeConfig('{ broken')
  expect(await tick(box)).toBe(1)
  expect(config(box)).toBe('{ broken\n')
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3: /)
})

test('a known-good config that does not boot either is put back once; then the file is again as its owner wrote it', async () => {
  const { box } = await killedWithKnownGood()
  box.setFaults(REFUSAL)
  box.writeConfig('{ broken')
  for (let i = 0; i < 2; i++) expect(await tick(box)).toBe(1)
  expect(box.log('healthcheck').match(/\] NOTICE /g)).toHaveLength(1)
  expect(brokenCopies(box)).toHaveLength(1)
  expect(config(box)).toBe('{ broken\n')
})

test.each([
  ['is damaged', (copy: string) => appendFileSync(copy, 'half a sector of something else')],
  ['is no better', undefined],
])('a known-good config that %s is not put in the place of what its owner wrote', async (_what, damage) => {
  const { box } = await killedWithKnownGood()
  const folder = join(box.stateDir, 'watchdog', 'known-good')
  const [copy] = readdirSync(folder) as [string]
  if (damage) damage(join(folder, copy))
  else box.planCli({ 'config validate': { code: 1, stdout: '{"valid":false,"issues":[{"path":"x","message":"no"}]}' } })
  box.writeConfig('{ broken')
  expect(await tick(box)).toBe(1)
  if (damage) expect(box.log('healthcheck')).toMatch(new RegExp(`\\[WARN\\] .*${copy}`))
  expect(config(box)).toBe('{ broken\n')
})

test('a refusal of the very config that it was healthy on is not the config’s fault: it stays, and gets one start', async () => {
  const { box, good } = await killedWithKnownGood({ configs: 2 })
  await box.startGateway(REFUSAL, 'exit')
  const before = starts(box)
  expect(await tick(box)).toBe(1)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3: .*a reason outside of the config/)
  expect(config(box)).toBe(good)
  expect(brokenCopies(box)).toEqual([])
  expect(starts(box) - before).toBe(1)
})

test('a config that its owner has edited since it was put back is not replaced by an older one', async () => {
  const { box, good } = await killedWithKnownGood({ configs: 2 })
  box.setFaults(REFUSAL)
  box.writeConfig('{ broken')
  const nurse = box.startScript('gateway-healthcheck', [], { env: PATIENT })
  await waitFor(() => /NOTICE [\s\S]*DOWN /.test(box.log('healthcheck')), 'the config put back in vain')
  expect(config(box)).toBe(good)
  process.kill(nurse.pid, 'SIGTERM')
  await nurse.finished
  box.writeConfig('{ broken in another way')
  expect(await tick(box)).toBe(1)
  expect(config(box)).toBe('{ broken in another way\n')
  expect(box.log('healthcheck').match(/\] NOTICE /g)).toHaveLength(1)
  expect(brokenCopies(box)).toHaveLength(1)
})

test('a gateway that crashes at every start gets three restarts and no more, then Level 3', async () => {
  const box = await sandbox(WITHOUT_DOCTOR)
  box.setFaults({ exitAtBoot: { code: 1, stderr: 'boom' } })
  expect(await tick(box)).toBe(1)
  expect(starts(box)).toBe(3)
  expect(box.restarts('healthcheck')).toBe(3)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3: /)
  expect(box.log('emergency-recovery')).toMatch(/MANUAL INTERVENTION REQUIRED: .*claude/)
  // The next run, five minutes later, finds the budget spent.
  expect(await tick(box, { OPENCLAW_WATCHDOG_BACKOFF: '10 30 60 600' })).toBe(1)
  expect(starts(box)).toBeLessThanOrEqual(4)
})

test('Level 3 is called when the gateway has been down for the whole time, from the first DOWN in any log', async () => {
  const box = await sandbox({ ...WITHOUT_DOCTOR, settings: PATIENT })
  box.writeConfig('{ broken')
  await watchdog(box)
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => (box.log('healthcheck').match(/DOWN /g)?.length ?? 0) > 1, 'the watch')
  process.kill(nurse.pid, 'SIGTERM')
  expect((await nurse.finished).code).toBe(1)
  expect(box.log('emergency-recovery')).toBe('')
  expect(await tick(box, { HEALTH_CHECK_ESCALATION_WAIT: '0.1' })).toBe(1)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3/)
})

test('a pause stops a Level 2 that is at work: exit 3, and no Level 3', async () => {
  const box = await sandbox({ settings: PATIENT })
  box.writeConfig('{ broken')
  const run = tick(box)
  await untilDown(box)
  writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
  expect(await run).toBe(3)
  expect(box.log('emergency-recovery')).toBe('')
})

test('a gateway that comes back while Level 2 watches ends the watch: exit 0', async () => {
  const box = await sandbox({ settings: PATIENT })
  box.writeConfig('{ broken')
  const run = tick(box)
  await untilDown(box)
  box.writeConfig()
  await box.startGateway()
  expect(await run).toBe(0)
  expect(box.log('healthcheck')).toMatch(/RECOVERED by itself or from outside/)
  expect(box.log('emergency-recovery')).toBe('')
})

test('a gateway that is booting is waited for: no outage, no restart, no recovery', async () => {
  const box = await sandbox()
  await box.startGateway({ heldIn: 'boot' }, 'boot')
  const nurse = box.startScript('gateway-healthcheck')
  await box.untilRemark('healthcheck')
  box.setFaults({})
  const run = await nurse.finished
  expect(run.code).toBe(0)
  expect(run.stdout).not.toMatch(/DOWN|RECOVERED|restart:/)
})

test('a boot that Level 2 only waited for is the recovery of Level 1, which started it', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STARTUP_GRACE: '1' } })
  box.setFaults({ heldIn: 'boot' })
  expect(await watchdog(box)).toBe(1)
  expect(box.restarts()).toBe(1)
  const run = tick(box, { OPENCLAW_STARTUP_GRACE: '30' })
  await box.untilRemark('healthcheck')
  box.setFaults({})
  expect(await run).toBe(0)
  expect(box.log('healthcheck')).toMatch(/RECOVERED by level 1/)
})

test('`openclaw gateway restart` that says "still starting" (exit 2) is no failure', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STOP_GRACE: '1', HEALTH_CHECK_HTTP_TIMEOUT: '1' } })
  const { pid } = await box.startGateway()
  await watchdog(box)
  process.kill(pid, 'SIGSTOP')
  box.planCli({ 'gateway restart': { code: 2, stdout: 'still starting' } })
  expect(await tick(box)).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/\[ERROR\]/)
})

test('an `openclaw gateway restart` that fails is said, and the gateway is started by our own means', async () => {
  const box = await sandbox()
  box.planCli({ 'gateway restart': { code: 1, stderr: 'Gateway service disabled.' } })
  expect(await tick(box)).toBe(0)
  expect(box.log('healthcheck')).toMatch(/Gateway service disabled/)
  expect(starts(box)).toBe(1)
})

test('a Level 3 that is killed cannot leave the marker: Level 2 leaves it', async () => {
  const box = await sandbox()
  box.writeConfig('{ broken')
  const run = tick(box)
  const lock = join(box.stateDir, 'watchdog', 'emergency-recovery.lock')
  const doctor = await waitFor(() => {
    const text = existsSync(lock) ? readFileSync(lock, 'utf8') : ''
    return Number(/"pid":\s*(\d+)/.exec(text)?.[1])
  }, 'Level 3 at work')
  process.kill(doctor, 'SIGKILL')
  expect(await run).toBe(1)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: .*SIGKILL/)
})

test('a Level 3 that cannot begin (exit 2) leaves no marker either: Level 2 leaves it', async () => {
  const box = await sandbox({ settings: { HEALTH_CHECK_ESCALATION_WAIT: '2' } })
  box.writeConfig('{ broken')
  const run = tick(box)
  await waitFor(() => box.log('healthcheck').includes('RUN started'), 'Level 2, which has read its settings')
  appendFileSync(join(box.stateDir, '.env'), 'EMERGENCY_RECOVERY_TIMEOUT=for a while\n')
  expect(await run).toBe(1)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: .*\b2\b/)
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
