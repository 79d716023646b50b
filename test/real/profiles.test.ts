/** Two real OpenClaw gateways of one user, one of them of a profile, each with its own tiers. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { profilePort, rollingLogName } from '../../lib/tier/profile.ts'
import { test } from '../support/boxes.ts'
import { addProfile } from '../support/profiles.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'
import { useRealOpenClaw } from './real-sandbox.ts'

const LONG = { timeoutMs: 400_000 }

function statusOf({ binDir, env }: Sandbox, profile: string) {
  const args = ['--profile', profile, 'gateway', 'status', '--json']
  const options = { env, cwd: '/', encoding: 'utf8', timeout: 120_000 } as const
  return JSON.parse(execFileSync(join(binDir, 'openclaw'), args, options))
}

test('started, killed and healed by its own watchdog, as the same gateway that `openclaw --profile` means', async ({
  sandbox,
}) => {
  const patient = { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '20', OPENCLAW_STARTUP_GRACE: '240' }
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_RETRY_DELAY: '1', ...patient } })
  useRealOpenClaw(box)
  const work = await addProfile(box, 'work')
  const tick = () => box.runScript('gateway-watchdog', [], LONG)
  const tickOfWork = () => work.run('gateway-watchdog', [], LONG)
  const pidIn = (stateDir: string): number =>
    JSON.parse(readFileSync(join(stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid
  const kill = async (pid: number) => {
    process.kill(pid, 'SIGKILL')
    await waitFor(() => !box.processes().includes(pid), `the end of ${pid}`)
  }

  // From nothing: each watchdog starts its own.
  for (const run of [await tick(), await tickOfWork()]) expect(run, run.stdout).toMatchObject({ code: 0 })
  const [first, second] = [pidIn(box.stateDir), pidIn(work.stateDir)]
  expect(second).not.toBe(first)
  expect(work.gatewayPid()).toBe(second)
  // OpenClaw's own command means the same folders and the same port by that name.
  expect(statusOf(box, 'work')).toMatchObject({
    config: { cli: { path: work.configPath } },
    gateway: { port: work.port },
    rpc: { ok: true },
  })

  await kill(second)
  expect((await tickOfWork()).stdout).toMatch(/DOWN absent[\s\S]*RECOVERED by level 1/)
  expect((await tick()).stdout).not.toMatch(/DOWN|restart/)
  expect(pidIn(box.stateDir)).toBe(first)
  expect(pidIn(work.stateDir)).toBe(work.gatewayPid())

  // The default gateway is gone, and the other one has taken its port: that one is a stranger here, and lives.
  await kill(first)
  await kill(pidIn(work.stateDir))
  work.writeConfig(box.port)
  expect(await tickOfWork()).toMatchObject({ code: 0 })
  const stranger = pidIn(work.stateDir)
  const run = await tick()
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(new RegExp(`DOWN impostor: .*\\b${stranger}\\b`))
  process.kill(stranger, 0)
})

test('a port that stands nowhere is the one that OpenClaw derives from the name', async ({ sandbox }) => {
  const box = await sandbox()
  useRealOpenClaw(box)
  const work = await addProfile(box, 'derived_Port-7')
  writeFileSync(work.configPath, '{ "gateway": { "mode": "local" } }')
  const { gateway, logFile } = statusOf(box, work.name)
  expect(gateway.port).toBe(profilePort(work.name, work.configPath))
  expect(logFile).toContain(`/${rollingLogName(work.name)}-2`)
  expect((await work.run('gateway-watchdog', ['--dry-run'], LONG)).code).toBe(1)
})
