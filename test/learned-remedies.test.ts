/** Learned remedies, as the user meets them: proposed after two healings, approved, applied by Level 2, dropped. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test, vi } from 'vitest'
import type { DoctorScript } from './support/doctor-script.ts'
import { createSandbox, type Sandbox, waitFor } from './support/sandbox.ts'

vi.setConfig({ testTimeout: 180_000 })

const REINSTALL: DoctorScript = {
  steps: [
    { call: 'reinstall_package' },
    { call: 'start_gateway' },
    { call: 'wait_until_healthy', args: { seconds: 30 } },
  ],
  report: { symptom: 'It exits at once.', root_cause: 'A file is missing.', fix: 'Reinstalled.' },
}

async function sandbox({ onTestFinished }: TestContext, settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings: { DOCTOR_SAME_FAILURE_HOURS: '0', ...settings } })
  onTestFinished(box.close)
  box.writeDoctorScript(REINSTALL)
  return box
}

/** A gateway that dies for want of a file. @param npm what npm does; by default it brings the file back */
async function breakPackage(box: Sandbox, npm?: string): Promise<void> {
  for (const { pid } of box.events().filter(({ what }) => what === 'ready')) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      continue
    }
    await waitFor(() => !box.processes().includes(pid), 'the end of the gateway')
  }
  const file = join(box.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(join(box.packageDir, 'dist'), { recursive: true })
  rmSync(file, { force: true })
  box.addTool('npm', npm ?? `[ "$*" = "install -g openclaw@2026.9.6" ] && touch '${file}'`)
  await box.startGateway({ missingModule: file }, 'exit')
}

const heal = async (box: Sandbox) => {
  await breakPackage(box)
  return box.runScript('emergency-recovery', [], { timeoutMs: 120_000 })
}
const learned = (box: Sandbox, ...args: string[]) => box.runScript('learned', args)
const remediesPath = (box: Sandbox) => join(box.stateDir, 'watchdog', 'learned-remedies.json')
const doctors = (box: Sandbox) => box.events().filter(({ what }) => what === 'doctor started').length
const remedies = (box: Sandbox) => JSON.parse(readFileSync(remediesPath(box), 'utf8'))

test('what healed twice is proposed; approved, Level 2 applies it without a doctor; after one failure it is dropped', async (t) => {
  const box = await sandbox(t)
  expect((await learned(box)).stdout).toMatch(/Nothing was learned yet/)
  expect((await heal(box)).stdout).not.toMatch(/NOTICE/)
  const second = await heal(box)
  const fingerprint = /NOTICE .*npm run learned approve ([0-9a-f]{12})/.exec(second.stdout)?.[1] ?? 'none'
  expect((await learned(box)).stdout).toMatch(
    new RegExp(`${fingerprint} {2}proposed, healed 2 times[\\s\\S]*reinstall_package, start_gateway`),
  )

  // Proposed is not approved.
  await breakPackage(box)
  expect((await box.runScript('gateway-healthcheck')).stdout).toMatch(/RECOVERED by level 3/)
  expect(doctors(box)).toBe(3)
  expect((await learned(box, 'dry-run', 'approve', fingerprint)).stdout).toMatch(/would be approved/)
  expect(remedies(box)[0].status).toBe('proposed')
  expect(await learned(box, 'approve', fingerprint)).toMatchObject({ code: 0 })

  await breakPackage(box)
  const healed = await box.runScript('gateway-healthcheck')
  expect(healed.code, healed.stdout).toBe(0)
  expect(box.log('healthcheck')).toMatch(/INSTRUMENT allowed reinstall_package[\s\S]*RECOVERED by level 2/)
  expect(doctors(box)).toBe(3)

  // npm fails this time: the remedy is dropped, and the doctor is called.
  await breakPackage(box, 'exit 1')
  const failed = await box.runScript('gateway-healthcheck')
  expect(failed.stdout).toMatch(/NOTICE .*did not help and is dropped[\s\S]*ESCALATE to level 3/)
  expect(remedies(box)[0].status).toBe('dropped')
  expect(doctors(box)).toBe(4)
  expect(existsSync(join(box.stateDir, 'watchdog', 'doctor', 'context.json'))).toBe(false)
})

test('LEARNED_REMEDIES=on approves by itself, off forgets', async (t) => {
  const box = await sandbox(t, { LEARNED_REMEDIES: 'on' })
  await heal(box)
  await heal(box)
  expect(remedies(box)[0].status).toBe('approved')
  await breakPackage(box)
  expect((await box.runScript('gateway-healthcheck')).stdout).toMatch(/RECOVERED by level 2/)
  expect(doctors(box)).toBe(2)

  await breakPackage(box)
  const off = await box.runScript('gateway-healthcheck', [], { env: { LEARNED_REMEDIES: 'off' } })
  expect(off.stdout).toMatch(/RECOVERED by level 3/)
  expect(existsSync(remediesPath(box))).toBe(false)
})

test('a remedy that the policy does not allow is refused and dropped; a damaged file is kept aside', async (t) => {
  const box = await sandbox(t)
  await heal(box)
  const config = readFileSync(box.configPath, 'utf8')
  const [one] = remedies(box)
  const calls = [{ name: 'set_config', args: { path: 'gateway.bind', value: 'lan' } }, ...one.calls]
  writeFileSync(remediesPath(box), JSON.stringify([{ ...one, status: 'approved', calls }]))
  await breakPackage(box)
  const run = await box.runScript('gateway-healthcheck')
  expect(run.stdout).toMatch(/is dropped[\s\S]*RECOVERED by level 3/)
  expect(box.log('healthcheck')).toMatch(/INSTRUMENT refused set_config/)
  expect(readFileSync(box.configPath, 'utf8')).toBe(config)
  expect(remedies(box)[0].status).toBe('dropped')

  writeFileSync(remediesPath(box), '{ half')
  await breakPackage(box)
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect((await learned(box)).code).toBe(0)
  expect((await learned(box, 'approve', 'ffffffffffff')).code).toBe(1)
  expect((await learned(box, 'approve')).code).toBe(2)
  expect((await learned(box, '--help')).stdout).toMatch(/npm run learned approve/)
})
