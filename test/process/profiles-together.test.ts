/** Several gateways of one user, each with its own tiers: what happens to one does not concern the others. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { addProfile } from '../support/profiles.ts'
import { createSandbox, type Sandbox, waitFor } from '../support/sandbox.ts'

const stateIn = (stateDir: string, name: string) =>
  JSON.parse(readFileSync(join(stateDir, 'watchdog', `${name}.json`), 'utf8'))

describe.concurrent('three gateways side by side', () => {
  test('one is killed, has a broken config: its own tiers repair it, no others are touched', async (t) => {
    const box = await createSandbox()
    t.onTestFinished(box.close)
    const work = await addProfile(box, 'work')
    const rescue = await addProfile(box, 'rescue')
    const pids = [(await box.startGateway()).pid, await work.startGateway(), await rescue.startGateway()] as const
    const env = { CONFIG_KNOWN_GOOD_AFTER: '0', OPENCLAW_STOP_GRACE: '0.5' }
    const tick = () =>
      Promise.all([
        box.runScript('gateway-watchdog'),
        ...[work, rescue].map((one) => one.run('gateway-watchdog', [], { env })),
      ])
    for (const run of [...(await tick()), ...(await tick())]) expect(run, run.stdout).toMatchObject({ code: 0 })
    const pidsNow = () => [box, work, rescue].map(({ stateDir }) => stateIn(stateDir, 'gateway').pid)
    expect(pidsNow()).toEqual(pids)

    process.kill(pids[1], 'SIGKILL')
    expect((await tick()).map(({ stdout }) => /DOWN absent[\s\S]*RECOVERED by level 1/.test(stdout))).toEqual([
      false,
      true,
      false,
    ])
    expect(pidsNow()).toEqual([pids[0], work.gatewayPid(), pids[2]])
    expect(work.log('watchdog')).toContain('RECOVERED')
    expect([box, work, rescue].map(({ stateDir }) => stateIn(stateDir, 'watchdog').backoff.crashes)).toEqual([0, 1, 0])

    const good = readFileSync(work.configPath, 'utf8')
    process.kill(work.gatewayPid()!, 'SIGKILL')
    writeFileSync(work.configPath, good.slice(0, -20))
    expect((await work.run('gateway-healthcheck', [], { env })).stdout).toMatch(/RECOVERED by level 2/)
    expect(readFileSync(work.configPath, 'utf8')).toBe(good)
    expect(readdirSync(rescue.stateDir).filter((name) => name.includes('broken'))).toEqual([])
    expect(box.log('watchdog') + rescue.log('watchdog')).not.toMatch(/DOWN|RECOVERED/)
    expect(pidsNow()).toEqual([pids[0], work.gatewayPid(), pids[2]])
    for (const pid of [pids[0], pids[2]]) process.kill(pid, 0)

    // A pid that this one once had and another one has now is not taken for it.
    process.kill(pids[0], 'SIGKILL')
    const record = join(box.stateDir, 'watchdog', 'gateway.json')
    writeFileSync(record, readFileSync(record, 'utf8').replace(`"pid": ${pids[0]}`, `"pid": ${pids[2]}`))
    expect((await box.runScript('gateway-watchdog')).stdout).toMatch(/DOWN absent[\s\S]*RECOVERED by level 1/)
    process.kill(pids[2], 0)
  })

  test("another profile's gateway on this one's port is an impostor, and not ended", async (t) => {
    const box = await createSandbox()
    t.onTestFinished(box.close)
    const work = await addProfile(box, 'work')
    work.writeConfig(box.port)
    const pid = await work.startGateway()
    for (const script of ['gateway-watchdog', 'gateway-healthcheck'])
      expect(await box.runScript(script)).toMatchObject({ code: 1, stdout: expect.stringMatching(/DOWN impostor/) })
    expect(box.log('emergency-recovery')).toMatch(/MANUAL INTERVENTION REQUIRED: impostor/)
    // Hung, it would look like one's own that hangs.
    process.kill(pid, 'SIGSTOP')
    const env = { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1' }
    expect((await box.runScript('gateway-watchdog', [], { env })).stdout).toMatch(/DOWN impostor/)
    process.kill(pid, 'SIGCONT')
    expect((await work.run('gateway-watchdog')).code).toBe(0)
    expect(work.gatewayPid()).toBe(pid)
  })
})

/** Two gateways that cannot start because a file of the package that they share is missing. */
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
  const recover = (env = {}) => box.runScript('emergency-recovery', [], { env, timeoutMs: 110_000 })
  const recoverWork = (env = {}) => work.run('emergency-recovery', [], { env, timeoutMs: 110_000 })
  return { box, work, file, recover, recoverWork }
}
const doctors = (box: Sandbox) => box.events().filter(({ what }) => what === 'doctor started')
const started = (box: Sandbox, count: number) => waitFor(() => doctors(box).length >= count, `doctor ${count}`)
const REINSTALL = [{ call: 'reinstall_package' }, { call: 'start_gateway' }, { call: 'wait_until_healthy' }]
const report = (fix: string) => ({ symptom: 'It exits at once.', root_cause: 'A file is missing.', fix })
const lockPath = (box: Sandbox) => join(box.home, '.openclaw-doctor.lock')

describe.concurrent('two gateways down at once', () => {
  test('the second doctor begins when the first has gone, for its own gateway alone', async (t) => {
    const { box, work, file, recover, recoverWork } = await twoWithoutPackage(t)
    const go = join(box.root, 'go')
    box.writeDoctorScript({ steps: [{ untilFile: go }], report: report('none') })
    const first = recover()
    await started(box, 1)
    const second = recoverWork()
    await waitFor(() => work.log('emergency-recovery-2').includes('waiting'), 'the second run to wait')
    const other = { call: 'restart_gateway', args: { profile: 'default' } }
    box.writeDoctorScript({ steps: [other, ...REINSTALL], report: report('Reinstalled it.') })
    // The first doctor has read its script long ago.
    writeFileSync(go, '')
    expect((await first).code).toBe(1)
    expect((await second).code, (await second).stdout).toBe(0)
    expect(existsSync(file)).toBe(true)
    expect(doctors(box)).toHaveLength(2)
    expect(box.prompts().map((prompt) => prompt.includes(`${box.stateDir}/`))).toEqual([true, false])
    expect(box.prompts()[1]).toContain(`${work.stateDir}/`)
    expect(work.log('recovery-learnings')).toContain('Reinstalled it.')
    expect(box.log('recovery-learnings')).not.toContain('Reinstalled it.')
    // Another gateway cannot be named, and stays down although it could start by now.
    expect(work.log('emergency-recovery-2')).toMatch(/INSTRUMENT refused restart_gateway/)
    process.kill(work.gatewayPid()!, 0)
    expect(existsSync(join(box.stateDir, 'tmp', `openclaw-${process.getuid!()}`, 'gateway.state.lock'))).toBe(false)
  })

  test('a doctor that takes too long, or a lock of a killed run, is not waited for', async (t) => {
    const { box, recoverWork } = await twoWithoutPackage(t)
    box.writeDoctorScript({ steps: [{ say: 'I think.', waitMs: 60_000 }] })
    const first = box.startScript('emergency-recovery')
    await started(box, 1)
    const second = await recoverWork({ EMERGENCY_RECOVERY_TIMEOUT: '1' })
    expect(second).toMatchObject({ code: 1, stdout: expect.stringMatching(/MANUAL INTERVENTION REQUIRED: no doctor/) })
    first.child.kill('SIGKILL')
    await first.finished
    expect(existsSync(lockPath(box))).toBe(true)
    box.writeDoctorScript({ steps: REINSTALL, report: report('Reinstalled it.') })
    expect(await recoverWork()).toMatchObject({ code: 0 })
    expect(existsSync(lockPath(box))).toBe(false)
  })
})
