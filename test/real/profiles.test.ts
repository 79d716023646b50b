/** Two real OpenClaw gateways of one user, one of them of a profile, each with its own tiers. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { addProfile } from '../support/profiles.ts'
import { createSandbox, waitFor } from '../support/sandbox.ts'
import { useRealOpenClaw } from './real-sandbox.ts'

const LONG = { timeoutMs: 400_000 }

test('started, killed and healed by its own watchdog, as the same gateway that `openclaw --profile` means', async ({
  onTestFinished,
}) => {
  const patient = { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '20', OPENCLAW_STARTUP_GRACE: '240' }
  const box = await createSandbox({ settings: { OPENCLAW_WATCHDOG_RETRY_DELAY: '1', ...patient } })
  onTestFinished(box.close)
  useRealOpenClaw(box)
  const work = await addProfile(box, 'work')
  const ticks = {
    default: () => box.runScript('gateway-watchdog', [], LONG),
    work: () => work.run('gateway-watchdog', [], LONG),
  }
  const pidIn = (stateDir: string) =>
    JSON.parse(readFileSync(join(stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid as number

  const kill = async (pid: number) => {
    process.kill(pid, 'SIGKILL')
    await waitFor(() => !box.processes().includes(pid), `the end of ${pid}`)
  }

  // From nothing: each watchdog starts its own.
  for (const tick of Object.values(ticks)) {
    const run = await tick()
    expect(run, run.stdout).toMatchObject({ code: 0 })
  }
  const [first, second] = [pidIn(box.stateDir), pidIn(work.stateDir)]
  expect(second).not.toBe(first)
  expect(work.gatewayPid()).toBe(second)

  // OpenClaw's own command means the same folders and the same port by that name.
  const openclaw = (...args: string[]) =>
    execFileSync(join(box.binDir, 'openclaw'), args, { env: box.env, cwd: '/', encoding: 'utf8', timeout: 120_000 })
  const status = JSON.parse(openclaw('--profile', 'work', 'gateway', 'status', '--json'))
  expect(status.config.cli.path).toBe(work.configPath)
  expect(status.gateway.port).toBe(work.port)
  expect(status.rpc).toMatchObject({ ok: true })

  await kill(second)
  const healed = await ticks.work()
  expect(healed.stdout).toMatch(/DOWN absent[\s\S]*RECOVERED by level 1/)
  expect((await ticks.default()).stdout).not.toMatch(/DOWN|restart/)
  expect(pidIn(box.stateDir)).toBe(first)
  expect(pidIn(work.stateDir)).toBe(work.gatewayPid())

  // The default gateway is gone, and the other one has taken its port: that one is a stranger here, and lives.
  await kill(first)
  await kill(pidIn(work.stateDir))
  work.writeConfig(box.port)
  const moved = await ticks.work()
  expect(moved, moved.stdout).toMatchObject({ code: 0 })
  const stranger = pidIn(work.stateDir)
  const run = await ticks.default()
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(new RegExp(`DOWN impostor: .*\\b${stranger}\\b`))
  process.kill(stranger, 0)
})

test('a port that stands nowhere is the one that OpenClaw derives from the name', async ({ onTestFinished }) => {
  const box = await createSandbox()
  onTestFinished(box.close)
  useRealOpenClaw(box)
  const work = await addProfile(box, 'derived_Port-7')
  writeFileSync(work.configPath, '{ "gateway": { "mode": "local" } }')
  const dryRun = await work.run('gateway-watchdog', ['--dry-run'], LONG)
  const status = execFileSync(join(box.binDir, 'openclaw'), ['--profile', work.name, 'gateway', 'status', '--json'], {
    env: box.env,
    cwd: '/',
    encoding: 'utf8',
    timeout: 120_000,
  })
  const { gateway, logFile } = JSON.parse(status)
  const { profilePort, rollingLogName } = await import('../../lib/tier/profile.ts')
  expect(gateway.port).toBe(profilePort(work.name, work.configPath))
  expect(logFile).toContain(`/${rollingLogName(work.name)}-2`)
  expect(dryRun.code).toBe(1)
})
