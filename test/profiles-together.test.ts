/** Several gateways of one user, each with its own tiers: what happens to one is nobody else's affair. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { addProfile, type Profile } from './support/profiles.ts'
import { createSandbox, type Sandbox, waitFor } from './support/sandbox.ts'

async function threeGateways({ onTestFinished }: TestContext) {
  const box = await createSandbox()
  onTestFinished(box.close)
  const work = await addProfile(box, 'work')
  const rescue = await addProfile(box, 'rescue')
  const pids = [(await box.startGateway()).pid, await work.startGateway(), await rescue.startGateway()]
  return { box, work, rescue, pids }
}

const pidIn = (stateDir: string) => JSON.parse(readFileSync(join(stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid
const isAlive = (pid: number) => existsSync(`/proc/${pid}`) || !process.platform.startsWith('linux')
const doctors = (box: Sandbox) => box.events().filter(({ what }) => what === 'doctor started')

describe.concurrent('three gateways side by side', () => {
  test('one is killed: its own watchdog brings it back, and the two others are not touched', async (t) => {
    const { box, work, rescue, pids } = await threeGateways(t)
    const tick = async () => [
      await box.runScript('gateway-watchdog'),
      await work.run('gateway-watchdog'),
      await rescue.run('gateway-watchdog'),
    ]
    for (const run of await tick()) expect(run, run.stdout).toMatchObject({ code: 0 })
    expect([pidIn(box.stateDir), pidIn(work.stateDir), pidIn(rescue.stateDir)]).toEqual(pids)

    process.kill(pids[1]!, 'SIGKILL')
    const [first, second, third] = await tick()
    expect(second!.stdout).toMatch(/DOWN absent/)
    expect(second!.stdout).toMatch(/RECOVERED by level 1/)
    for (const run of [first!, third!]) expect(run.stdout).not.toMatch(/DOWN|restart/)
    expect(work.gatewayPid()).not.toBe(pids[1])
    expect(pidIn(work.stateDir)).toBe(work.gatewayPid())
    expect([pidIn(box.stateDir), pidIn(rescue.stateDir)]).toEqual([pids[0], pids[2]])
    expect([pids[0], pids[2]].map((pid) => isAlive(pid!))).toEqual([true, true])

    // Logs, restart budgets and state are apart; the logs of the others say nothing of it.
    expect(work.log('watchdog')).toContain('RECOVERED')
    expect(box.log('watchdog') + rescue.log('watchdog')).not.toMatch(/DOWN|RECOVERED/)
    const crashes = (stateDir: string) =>
      JSON.parse(readFileSync(join(stateDir, 'watchdog', 'watchdog.json'), 'utf8')).backoff.crashes
    expect([crashes(box.stateDir), crashes(work.stateDir), crashes(rescue.stateDir)]).toEqual([0, 1, 0])
    expect(existsSync(join(box.home, 'openclaw-work', 'memory'))).toBe(true)
  })

  test('one hangs: it alone is ended and started again', async (t) => {
    const { box, work, rescue, pids } = await threeGateways(t)
    await work.run('gateway-watchdog')
    process.kill(pids[1]!, 'SIGSTOP')
    const run = await work.run('gateway-watchdog', [], { env: { OPENCLAW_STOP_GRACE: '0.5' } })
    expect(run.stdout).toMatch(/DOWN hung/)
    expect(run, run.stdout).toMatchObject({ code: 0 })
    expect(isAlive(pids[0]!) && isAlive(pids[2]!)).toBe(true)
    expect(rescue.gatewayPid()).toBe(pids[2])
    expect(box.events().filter(({ what }) => what === 'boot')).toHaveLength(4)
  })

  test('the config of one is broken: its own known-good one is put back', async (t) => {
    const { work, rescue, pids } = await threeGateways(t)
    const env = { CONFIG_KNOWN_GOOD_AFTER: '0' }
    for (let i = 0; i < 2; i++)
      for (const one of [work, rescue]) expect((await one.run('gateway-watchdog', [], { env })).code).toBe(0)
    const good = readFileSync(work.configPath, 'utf8')
    process.kill(pids[1]!, 'SIGKILL')
    writeFileSync(work.configPath, good.slice(0, -20))
    expect((await work.run('gateway-healthcheck', [], { env })).stdout).toMatch(/RECOVERED by level 2/)
    expect(readFileSync(work.configPath, 'utf8')).toBe(good)
    expect(readdirSync(rescue.stateDir).filter((name) => name.includes('broken'))).toEqual([])
    expect(rescue.gatewayPid()).toBe(pids[2])
  })
})

describe.concurrent('another profile’s gateway', () => {
  test('on this one’s port is a stranger: it is neither taken for the own gateway nor ended', async (t) => {
    const box = await createSandbox()
    t.onTestFinished(box.close)
    const work = await addProfile(box, 'work')
    work.writeConfig(box.port)
    const pid = await work.startGateway(box.port)
    for (const script of ['gateway-watchdog', 'gateway-healthcheck']) {
      const run = await box.runScript(script)
      expect(run.stdout).toContain(
        `port ${box.port} belongs to the gateway of another profile (pid ${pid}), not to the gateway`,
      )
      expect(run.code).toBe(1)
    }
    expect(box.log('emergency-recovery')).toMatch(/MANUAL INTERVENTION REQUIRED: impostor/)
    // Hung, it would look like one's own that hangs.
    process.kill(pid, 'SIGSTOP')
    expect((await box.runScript('gateway-watchdog')).stdout).toMatch(/DOWN impostor/)
    expect(isAlive(pid)).toBe(true)
    process.kill(pid, 'SIGCONT')
    expect((await work.run('gateway-watchdog')).code).toBe(0)
    expect(work.gatewayPid()).toBe(pid)
  })

  test('whose pid this one once had is not taken for it', async (t) => {
    const { box, work, pids } = await threeGateways(t)
    await box.runScript('gateway-watchdog')
    process.kill(pids[0]!, 'SIGKILL')
    const record = join(box.stateDir, 'watchdog', 'gateway.json')
    writeFileSync(record, readFileSync(record, 'utf8').replace(`"pid": ${pids[0]}`, `"pid": ${pids[1]}`))
    const run = await box.runScript('gateway-watchdog')
    expect(run.stdout).toMatch(/DOWN absent[\s\S]*RECOVERED by level 1/)
    expect(work.gatewayPid()).toBe(pids[1])
    expect(isAlive(pids[1]!)).toBe(true)
  })
})

/** Two gateways that die for want of one file of the package that they share. */
async function twoWithoutPackage({ onTestFinished }: TestContext) {
  const box = await createSandbox()
  onTestFinished(box.close)
  const work = await addProfile(box, 'work')
  const file = join(box.packageDir, 'dist-file')
  box.addTool('npm', `[ "$*" = "install -g openclaw@2026.9.6" ] && touch '${file}'`)
  box.setFaults({ missingModule: file })
  // Each has tried to start, so that its log says why it cannot.
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect((await work.run('gateway-watchdog')).code).toBe(1)
  const recover = (one: Sandbox | Profile, env: Record<string, string> = {}) =>
    'run' in one
      ? one.run('emergency-recovery', [], { env, timeoutMs: 110_000 })
      : one.runScript('emergency-recovery', [], { env, timeoutMs: 110_000 })
  return { box, work, file, recover }
}
const started = (box: Sandbox, count: number) => waitFor(() => doctors(box).length >= count, `doctor ${count}`)
/** The second run has seen that the first one's doctor is at work. */
const waits = (one: Profile) =>
  waitFor(() => one.log('emergency-recovery-2').includes('at work; waiting, one at a time'), 'the second run to wait')
const REINSTALL = [{ call: 'reinstall_package' }, { call: 'start_gateway' }, { call: 'wait_until_healthy' }]
const report = (fix: string) => ({ symptom: 'It exits at once.', root_cause: 'A file is missing.', fix })
const lockPath = (box: Sandbox) => join(box.home, '.openclaw-doctor.lock')

describe.concurrent('two gateways down at once', () => {
  test('the second doctor begins when the first has gone, with the briefing and the instruments of its own gateway', async (t) => {
    const { box, work, file, recover } = await twoWithoutPackage(t)
    const go = join(box.root, 'go')
    box.writeDoctorScript({ steps: [{ untilFile: go }], report: report('none') })
    const first = recover(box)
    await started(box, 1)
    const second = recover(work)
    await waits(work)
    const other = { call: 'restart_gateway', args: { profile: 'default' } }
    box.writeDoctorScript({ steps: [other, ...REINSTALL], report: report('Reinstalled it.') })
    // The first doctor has read its script long ago.
    writeFileSync(go, '')
    expect((await first).code).toBe(1)
    const { code, stdout } = await second
    expect(code, stdout).toBe(0)
    expect(existsSync(file)).toBe(true)
    expect(doctors(box)).toHaveLength(2)
    expect(box.prompts()[0]).toContain(`${box.stateDir}/logs/gateway.log`)
    expect(box.prompts()[1]).toContain(`${work.stateDir}/`)
    expect(box.prompts()[1]).not.toContain(`${box.stateDir}/`)
    expect(work.log('recovery-learnings')).toContain('Reinstalled it.')
    expect(box.log('recovery-learnings')).not.toContain('Reinstalled it.')
    expect(work.log('emergency-recovery-2')).toMatch(/INSTRUMENT allowed reinstall_package/)
    // It treats its own gateway; another one cannot be named, and stays down although it could come up by now.
    expect(work.log('emergency-recovery-2')).toMatch(/INSTRUMENT refused restart_gateway .*no argument profile/)
    expect(isAlive(work.gatewayPid()!)).toBe(true)
    expect(existsSync(join(box.stateDir, 'tmp', `openclaw-${process.getuid!()}`, 'gateway.state.lock'))).toBe(false)
  })

  test('a doctor that stays too long is not waited for: the human is called; and a lock that a killed run left is nobody’s', async (t) => {
    const { box, work, recover } = await twoWithoutPackage(t)
    box.writeDoctorScript({ steps: [{ say: 'I think.', waitMs: 60_000 }] })
    const first = box.startScript('emergency-recovery')
    await started(box, 1)
    const second = await recover(work, { EMERGENCY_RECOVERY_TIMEOUT: '1' })
    expect(second.code).toBe(1)
    expect(second.stdout).toMatch(
      /MANUAL INTERVENTION REQUIRED: no doctor was called: the doctor of the profile default \(pid \d+\) has been at work for longer than 1 s/,
    )
    first.child.kill('SIGKILL')
    await first.finished
    expect(existsSync(lockPath(box))).toBe(true)
    box.writeDoctorScript({ steps: REINSTALL, report: report('Reinstalled it.') })
    expect(await recover(work)).toMatchObject({ code: 0 })
    expect(existsSync(lockPath(box))).toBe(false)
  })
})
