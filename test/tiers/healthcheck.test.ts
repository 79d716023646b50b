/** Level 2 as a process, against the stand-in gateway. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { configHash } from '../../lib/gateway/config.ts'
import { MARKER } from '../../lib/tier/contract.ts'
import { type MakeSandbox, test } from '../support/boxes.ts'
import type { Faults } from '../support/faults.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'
import { untilRemark, writeTierLog } from '../support/tier-logs.ts'

const tick = async (box: Sandbox, env: Record<string, string> = {}) =>
  (await box.runScript('gateway-healthcheck', [], { env })).code
const config = (box: Sandbox) => readFileSync(box.configPath, 'utf8')
const inState = (box: Sandbox, ...path: string[]) => join(box.stateDir, 'watchdog', ...path)
const notices = (box: Sandbox) => box.log('healthcheck').match(/\] NOTICE /g)?.length ?? 0
const brokenCopies = (box: Sandbox) =>
  readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-')).length
const starts = (box: Sandbox) => box.openclawCalls().filter((call) => call === 'gateway run').length

/** Level 3 set aside: without claude it ends at once, with its marker. */
const WITHOUT_DOCTOR = { absent: ['claude'] }
const PATIENT = { HEALTH_CHECK_ESCALATION_WAIT: '3600' }
const REFUSAL: Faults = { exitAtBoot: { code: 78, stderr: 'Gateway start blocked: a reason outside of the config' } }
const BROKEN = '{ broken'

/** A gateway that is down, and no doctor; known-good are its present config and these, each older than the one before. */
async function withKnownGood(sandbox: MakeSandbox, ...older: string[]) {
  const box = await sandbox(WITHOUT_DOCTOR)
  mkdirSync(inState(box, 'known-good'), { recursive: true })
  const good = config(box)
  const [copy] = [good, ...older].map((text, i) => {
    const name = `2026-11-2${2 - i}-020000-${configHash(text)}.json5`
    writeFileSync(inState(box, 'known-good', name), text)
    return name
  })
  return { box, good, copy: copy! }
}
const OLDER = '{ "gateway": { "mode": "local" } }'

test('healthy: exit 0, two lines; one timeout is no hang; to a restart "still starting" (exit 2) is no failure', async ({
  known,
}) => {
  const { box, pid } = await known({
    settings: { HEALTH_CHECK_HTTP_TIMEOUT: '1', OPENCLAW_WATCHDOG_RETRY_DELAY: '3', OPENCLAW_STOP_GRACE: '1' },
  })
  const healthy = await box.runScript('gateway-healthcheck', [], { env: { HEALTH_CHECK_HTTP_TIMEOUT: '20' } })
  expect(healthy).toMatchObject({ code: 0, stderr: '' })
  expect(box.log('healthcheck').trim().split('\n')).toHaveLength(2)
  expect(box.openclawCalls()).toEqual(['gateway run'])
  box.setFaults({ health: 'silent' })
  const run = tick(box, { HEALTH_CHECK_HTTP_TIMEOUT: '4' })
  await untilRemark(box, 'healthcheck')
  box.setFaults({})
  expect(await run).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/DOWN/)
  expect(box.restarts('healthcheck')).toBe(0)
  expect(box.processes()).toContain(pid)

  process.kill(pid, 'SIGSTOP')
  box.planCli({ 'gateway restart': { code: 2, stdout: 'still starting' } })
  expect(await tick(box, { OPENCLAW_WATCHDOG_RETRY_DELAY: '0.1' })).toBe(0)
  expect(box.log('healthcheck')).not.toMatch(/\[ERROR\]/)
})

test('a broken config that cannot be replaced is in the end as it was', async ({ sandbox }) => {
  const { box, copy } = await withKnownGood(sandbox)
  const invalid = { code: 1, stdout: '{"valid":false,"issues":[{"path":"x","message":"no"}]}' }
  const cases: [what: string, settings: Record<string, string>, noticed: number, prepare: () => void][] = [
    ['it is off', { CONFIG_ROLLBACK: 'off' }, 0, () => {}],
    ['the known-good one does not boot either', {}, 1, () => box.setFaults(REFUSAL)],
    ['the known-good one is no better', {}, 1, () => box.planCli({ 'config validate': invalid })],
    ['the known-good one is damaged', {}, 1, () => appendFileSync(inState(box, 'known-good', copy), 'half a sector')],
  ]
  for (const [what, settings, noticed, prepare] of cases) {
    prepare()
    box.writeConfig(BROKEN)
    expect(await tick(box, settings), what).toBe(1)
    expect(config(box), what).toBe(`${BROKEN}\n`)
    expect([notices(box), brokenCopies(box)], what).toEqual([noticed, noticed])
    // The next one is another incident.
    rmSync(inState(box, 'gateway.json'))
  }
  expect(box.log('healthcheck').match(/ESCALATE to level 3: /g)).toHaveLength(cases.length)
  expect(box.log('healthcheck')).toMatch(new RegExp(`\\[WARN\\] .*${copy}`))
})

test('three restarts at most, then Level 3', async ({ sandbox }) => {
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

test('where `openclaw gateway restart` fails it is started by our own means', async ({ sandbox }) => {
  const box = await sandbox()
  box.planCli({ 'gateway restart': { code: 1, stderr: 'Gateway service disabled, with stand-in-token-0123456789.' } })
  expect(await tick(box)).toBe(0)
  expect(box.log(), 'a secret of the config').not.toContain('stand-in-token')
  expect(box.log('healthcheck')).toMatch(
    /DOWN absent: [\s\S]*Gateway service disabled[\s\S]*RECOVERED by level 2 after \d+ s/,
  )
  expect(box.restarts('healthcheck')).toBe(1)
  expect(starts(box)).toBe(1)
})

test('a config is put back also while restarts cool down', async ({ sandbox }) => {
  const { box, good } = await withKnownGood(sandbox)
  const backoff = { crashes: 9, lastRestartMs: Date.now() }
  writeFileSync(inState(box, 'watchdog.json'), JSON.stringify({ backoff, warnings: [], lastTickMs: 0 }))
  box.writeConfig(BROKEN)
  expect(await tick(box, { OPENCLAW_WATCHDOG_BACKOFF: '600' })).toBe(0)
  expect(config(box)).toBe(good)
  expect(box.log('healthcheck')).toMatch(/NOTICE needs attention: [\s\S]*RECOVERED by level 2/)
})

test('a refused config that is known-good stays, and gets one start', async ({ sandbox }) => {
  const { box, good } = await withKnownGood(sandbox, OLDER)
  await box.startGateway(REFUSAL, 'exit')
  const before = starts(box)
  expect(await tick(box)).toBe(1)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3: .*a reason outside of the config/)
  expect([config(box), brokenCopies(box)]).toEqual([good, 0])
  expect(starts(box) - before).toBe(1)
})

test('a config that was edited since it was put back is not replaced', async ({ sandbox }) => {
  const { box, good } = await withKnownGood(sandbox, OLDER)
  box.setFaults(REFUSAL)
  box.writeConfig(BROKEN)
  const nurse = box.startScript('gateway-healthcheck', [], { env: PATIENT })
  await waitFor(() => /NOTICE [\s\S]*DOWN /.test(box.log('healthcheck')), 'the config put back in vain')
  expect(config(box)).toBe(good)
  process.kill(nurse.pid, 'SIGTERM')
  expect((await nurse.finished).code).toBe(1)
  box.writeConfig('{ broken in another way')
  expect(await tick(box)).toBe(1)
  expect(config(box)).toBe('{ broken in another way\n')
  expect([notices(box), brokenCopies(box)]).toEqual([1, 1])
})

test('Level 3 is called when it was down from the first DOWN in any log', async ({ sandbox }) => {
  const box = await sandbox(WITHOUT_DOCTOR)
  box.writeConfig(BROKEN)
  writeTierLog(box.memoryDir, 'watchdog', { text: MARKER.down('absent', 'x'), minutesAgo: 6 })
  expect(await tick(box, { HEALTH_CHECK_ESCALATION_WAIT: '300' })).toBe(1)
  expect(box.log('healthcheck')).toMatch(/ESCALATE to level 3/)
})

test('Level 1 stands down for Level 2; a gateway that comes back, or a pause, ends its watch', async ({ sandbox }) => {
  const box = await sandbox({ settings: PATIENT })
  async function whileDown(happens: () => unknown) {
    box.writeConfig(BROKEN)
    const before = box.log('healthcheck').length
    const code = tick(box)
    await waitFor(() => box.log('healthcheck').slice(before).includes('] DOWN '), 'Level 2 at work')
    await happens()
    return code
  }
  let pid = 0
  const comesBack = async () => {
    expect((await box.runScript('gateway-watchdog')).code).toBe(3)
    box.writeConfig()
    pid = (await box.startGateway()).pid
  }
  expect(await whileDown(comesBack)).toBe(0)
  expect(box.log('healthcheck')).toMatch(/RECOVERED by itself or from outside/)
  process.kill(pid, 'SIGKILL')
  expect(await whileDown(() => writeFileSync(join(box.stateDir, 'self-healing.paused'), ''))).toBe(3)
  expect(box.log('emergency-recovery')).toBe('')
})

test('a boot is waited for; if Level 1 started it, it is its recovery', async ({ sandbox }) => {
  const box = await sandbox()
  async function wait() {
    const nurse = box.startScript('gateway-healthcheck')
    await untilRemark(box, 'healthcheck')
    box.setFaults({})
    const run = await nurse.finished
    expect(run.code).toBe(0)
    expect(run.stdout).not.toMatch(/DOWN|restart:/)
    return run.stdout
  }
  const { pid } = await box.startGateway({ heldIn: 'boot' }, 'boot')
  expect(await wait()).not.toMatch(/RECOVERED/)
  process.kill(pid, 'SIGKILL')
  box.setFaults({ heldIn: 'boot' })
  expect((await box.runScript('gateway-watchdog', [], { env: { OPENCLAW_STARTUP_GRACE: '1' } })).code).toBe(1)
  expect(box.restarts()).toBe(1)
  expect(await wait()).toMatch(/RECOVERED by level 1/)
})

test('a Level 3 that is killed cannot leave the marker: Level 2 leaves it', async ({ sandbox }) => {
  const box = await sandbox()
  box.writeConfig(BROKEN)
  const run = tick(box)
  const lock = inState(box, 'emergency-recovery.lock')
  const doctor = await waitFor(() => {
    const text = existsSync(lock) ? readFileSync(lock, 'utf8') : ''
    return Number(/"pid":\s*(\d+)/.exec(text)?.[1])
  }, 'Level 3 at work')
  process.kill(doctor, 'SIGKILL')
  expect(await run).toBe(1)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: .*SIGKILL/)
})

test('so it does for a Level 3 that cannot begin (exit 2)', async ({ sandbox }) => {
  const box = await sandbox()
  // Level 2, which has read its settings, asks OpenClaw for a restart.
  box.addTool('openclaw', `echo 'EMERGENCY_RECOVERY_TIMEOUT=for a while' >>'${join(box.stateDir, '.env')}'; exit 1`)
  expect(await tick(box)).toBe(1)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: .*\b2\b/)
})

const locks = (box: Sandbox) => readdirSync(inState(box)).filter((name) => name.endsWith('.lock'))

test('told to stop while Level 3 is killed, Level 2 calls the human once, and ends once', async ({ sandbox }) => {
  const box = await sandbox()
  box.writeConfig(BROKEN)
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('emergency-recovery').includes('RUN started'), 'Level 3')
  const [, doctor] = /RUN started \(pid (\d+)\)/.exec(box.log('emergency-recovery'))!
  process.kill(Number(doctor), 'SIGKILL')
  process.kill(nurse.pid, 'SIGTERM')
  expect(await nurse.finished).toMatchObject({ code: 1, signal: null })
  for (const marker of [/MANUAL INTERVENTION REQUIRED/g, /RUN ended/g])
    expect(box.log('healthcheck').match(marker), box.log('')).toHaveLength(1)
  expect(box.log('monitor').match(/RUN started/g)).toHaveLength(1)
  expect(locks(box).filter((name) => name !== 'emergency-recovery.lock')).toEqual([])
})

test('Ctrl-C ends Levels 2 and 3 in order, with the marker, without a lock', async ({ sandbox }) => {
  const box = await sandbox()
  box.writeConfig(BROKEN)
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('emergency-recovery').includes('RUN started'), 'Level 3')
  process.kill(-nurse.pid, 'SIGINT')
  expect(await nurse.finished).toMatchObject({ code: 1, signal: null })
  expect(box.log('healthcheck')).toMatch(/RUN ended: stopped by SIGINT/)
  expect(box.log('emergency-recovery')).toMatch(/MANUAL INTERVENTION REQUIRED/)
  expect(box.log('healthcheck').match(/RUN ended/g)).toHaveLength(1)
  expect(locks(box)).toEqual([])
})
