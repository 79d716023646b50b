/** Level 2 as a process, against the stand-in gateway. */
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { known, sandbox } from '../support/boxes.ts'
import type { Faults } from '../support/faults.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

const tick = async (box: Sandbox, env: Record<string, string> = {}) =>
  (await box.runScript('gateway-healthcheck', [], { env })).code
const watchdog = async (box: Sandbox) => (await box.runScript('gateway-watchdog')).code
const config = (box: Sandbox) => readFileSync(box.configPath, 'utf8')
const brokenCopies = (box: Sandbox) =>
  readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))
const starts = (box: Sandbox) => box.openclawCalls().filter((call) => call === 'gateway run').length
const untilDown = (box: Sandbox, times = 1) =>
  waitFor(() => (box.log('healthcheck').match(/\] DOWN /g)?.length ?? 0) >= times, 'Level 2 at work')

/** Level 3 set aside: without claude it ends at once, with its marker. */
const WITHOUT_DOCTOR = { absent: ['claude'] }
const PATIENT = { HEALTH_CHECK_ESCALATION_WAIT: '3600' }
const REFUSAL: Faults = { exitAtBoot: { code: 78, stderr: 'Gateway start blocked: a reason outside of the config' } }
const BROKEN = '{ broken'

/** A killed gateway, and no doctor; the config that it has been healthy on is known-good, and so are some before it. */
async function killedWithKnownGood(settings: Record<string, string> = {}, configs = 1) {
  const box = await sandbox({ ...WITHOUT_DOCTOR, settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...settings } })
  const gateway = await box.startGateway()
  for (let n = 1; n <= configs; n++) {
    if (n > 1) box.writeConfig({ agents: { n } })
    for (let i = 0; i < 2; i++) await watchdog(box)
  }
  expect(readdirSync(join(box.stateDir, 'watchdog', 'known-good'))).toHaveLength(configs)
  process.kill(gateway.pid, 'SIGKILL')
  return { box, good: config(box) }
}

/** A sandbox whose gateway is down, and its config broken. */
async function broken(settings: Record<string, string> = {}, options = {}) {
  const box = await sandbox({ settings, ...options })
  box.writeConfig(BROKEN)
  return box
}

test('a healthy gateway is left alone: exit 0, two lines, no command of OpenClaw is started', async () => {
  const box = await sandbox()
  await box.startGateway()
  expect(await box.runScript('gateway-healthcheck')).toMatchObject({ code: 0, stderr: '' })
  expect(box.log('healthcheck').trim().split('\n')).toHaveLength(2)
  expect(box.openclawCalls()).toEqual(['gateway run'])
})

test('a gateway that is down is started by our own means, and an `openclaw gateway restart` that fails is said', async () => {
  const box = await sandbox()
  box.planCli({ 'gateway restart': { code: 1, stderr: 'Gateway service disabled.' } })
  expect(await tick(box)).toBe(0)
  expect(box.log('healthcheck')).toMatch(
    /DOWN absent: [\s\S]*Gateway service disabled[\s\S]*RECOVERED by level 2 after \d+ s/,
  )
  expect(box.restarts('healthcheck')).toBe(1)
  expect(starts(box)).toBe(1)
})

test('one timeout is a busy moment: a gateway that answers when it is asked again is not restarted', async () => {
  const settings = { HEALTH_CHECK_HTTP_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '3' }
  const { box, pid } = await known({ settings })
  box.setFaults({ health: 'silent' })
  const run = tick(box)
  await box.untilRemark('healthcheck')
  box.setFaults({})
  expect(await run).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/DOWN/)
  expect(box.restarts('healthcheck')).toBe(0)
  expect(box.processes()).toContain(pid)
})

test('a config is put back also while restarts cool down', async () => {
  const { box, good } = await killedWithKnownGood({ OPENCLAW_WATCHDOG_BACKOFF: '600' })
  const state = join(box.stateDir, 'watchdog', 'watchdog.json')
  const backoff = { crashes: 9, lastRestartMs: Date.now() }
  writeFileSync(state, JSON.stringify({ ...JSON.parse(readFileSync(state, 'utf8')), backoff }))
  box.writeConfig(BROKEN)
  expect(await tick(box)).toBe(0)
  expect(config(box)).toBe(good)
  expect(box.log('healthcheck')).toMatch(/NOTICE needs attention: [\s\S]*RECOVERED by level 2/)
})

const INVALID = { code: 1, stdout: '{"valid":false,"issues":[{"path":"x","message":"no"}]}' }

test.each<
  [what: string, settings: Record<string, string>, notices: number, prepare: (box: Sandbox, copy: string) => void]
>([
  ['CONFIG_ROLLBACK is off', { CONFIG_ROLLBACK: 'off' }, 0, () => {}],
  ['the known-good one is damaged', {}, 0, (_box, copy) => appendFileSync(copy, 'half a sector of something else')],
  ['the known-good one is no better', {}, 1, (box) => box.planCli({ 'config validate': INVALID })],
  ['the known-good one does not boot either', {}, 1, (box) => box.setFaults(REFUSAL)],
])(
  'a broken config when %s: the file is in the end as its owner wrote it, and Level 3 is called',
  async (what, settings, notices, prepare) => {
    const { box } = await killedWithKnownGood(settings)
    const folder = join(box.stateDir, 'watchdog', 'known-good')
    const [copy] = readdirSync(folder) as [string]
    prepare(box, join(folder, copy))
    box.writeConfig(BROKEN)
    // Once in an incident.
    for (let i = 0; i <= notices; i++) expect(await tick(box)).toBe(1)
    expect(config(box)).toBe(`${BROKEN}\n`)
    expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3: /)
    expect(box.log('healthcheck').match(/\] NOTICE /g) ?? []).toHaveLength(notices)
    expect(brokenCopies(box)).toHaveLength(notices)
    if (what.endsWith('damaged')) expect(box.log('healthcheck')).toMatch(new RegExp(`\\[WARN\\] .*${copy}`))
  },
)

test('a refusal of the very config that it was healthy on is not the config’s fault: it stays, and gets one start', async () => {
  const { box, good } = await killedWithKnownGood({}, 2)
  await box.startGateway(REFUSAL, 'exit')
  const before = starts(box)
  expect(await tick(box)).toBe(1)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3: .*a reason outside of the config/)
  expect(config(box)).toBe(good)
  expect(brokenCopies(box)).toEqual([])
  expect(starts(box) - before).toBe(1)
})

test('a config that its owner has edited since it was put back is not replaced by an older one', async () => {
  const { box, good } = await killedWithKnownGood({}, 2)
  box.setFaults(REFUSAL)
  box.writeConfig(BROKEN)
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
  const box = await broken(PATIENT, WITHOUT_DOCTOR)
  await watchdog(box)
  const nurse = box.startScript('gateway-healthcheck')
  await untilDown(box, 2)
  process.kill(nurse.pid, 'SIGTERM')
  expect((await nurse.finished).code).toBe(1)
  expect(box.log('emergency-recovery')).toBe('')
  expect(await tick(box, { HEALTH_CHECK_ESCALATION_WAIT: '0.1' })).toBe(1)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3/)
})

test.each<[what: string, code: number, happens: (box: Sandbox) => unknown, said: RegExp]>([
  ['a pause', 3, (box) => writeFileSync(join(box.stateDir, 'self-healing.paused'), ''), /RUN ended: [a-z-]+, exit 3/],
  ['a gateway that comes back', 0, (box) => box.startGateway(), /RECOVERED by itself or from outside/],
])('%s ends the watch of a Level 2 that is at work, without Level 3: exit %i', async (_what, code, happens, said) => {
  const box = await broken(PATIENT)
  const run = tick(box)
  await untilDown(box)
  box.writeConfig()
  await happens(box)
  expect(await run).toBe(code)
  expect(box.log('healthcheck')).toMatch(said)
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
  const { box, pid } = await known({ settings: { OPENCLAW_STOP_GRACE: '1', HEALTH_CHECK_HTTP_TIMEOUT: '1' } })
  process.kill(pid, 'SIGSTOP')
  box.planCli({ 'gateway restart': { code: 2, stdout: 'still starting' } })
  expect(await tick(box)).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/\[ERROR\]/)
})

test('a Level 3 that is killed cannot leave the marker: Level 2 leaves it', async () => {
  const box = await broken()
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
  const box = await broken({ HEALTH_CHECK_ESCALATION_WAIT: '2' })
  const run = tick(box)
  await waitFor(() => box.log('healthcheck').includes('RUN started'), 'Level 2, which has read its settings')
  appendFileSync(join(box.stateDir, '.env'), 'EMERGENCY_RECOVERY_TIMEOUT=for a while\n')
  expect(await run).toBe(1)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: .*\b2\b/)
})

test('Ctrl-C reaches Level 2 and Level 3 alike: both end in order, with the marker and without a lock', async () => {
  const box = await broken()
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('emergency-recovery').includes('RUN started'), 'Level 3')
  process.kill(-nurse.pid, 'SIGINT')
  expect(await nurse.finished).toMatchObject({ code: 1, signal: null })
  expect(box.log('healthcheck')).toMatch(/RUN ended: stopped by SIGINT/)
  expect(box.log('emergency-recovery')).toMatch(/MANUAL INTERVENTION REQUIRED/)
  expect(readdirSync(join(box.stateDir, 'watchdog')).filter((name) => name.endsWith('.lock'))).toEqual([])
})
