/** An installed machine on which time passes: by making everything that the watchers remember older. */
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'vitest'
import { formatLine, type TierName } from '../../lib/tier/contract.ts'
import { logName } from '../../lib/tier/journal.ts'
import { createMachine, DOMAIN, type MachineOptions } from './machine.ts'
import { letTimePass } from './time-passing.ts'

export type Installed = Awaited<ReturnType<typeof installedOn>>

export async function installedOn(
  t: Pick<TestContext, 'onTestFinished'>,
  kind: 'mac' | 'linux' | 'bare',
  options: MachineOptions = {},
) {
  const machine = await createMachine(kind, options)
  t.onTestFinished(machine.close)
  const { launchd, systemd, watchdogDir, memoryDir } = machine
  await machine.succeeds()
  const receipt = join(watchdogDir, 'receipt.json')
  const { cronLines } = JSON.parse(readFileSync(receipt, 'utf8')) as { cronLines: string[] }
  const callsFile = join(machine.controlDir, 'scheduler-calls')
  for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const) writesLog(tier)
  forgetActions()

  function writesLog(tier: TierName): void {
    const now = new Date()
    appendFileSync(join(memoryDir, logName(tier, now)), `${formatLine(now, tier, 'INFO', 'I am alive')}\n`)
  }

  /** The tier ran when it was due: of the guardian, its own memory says so. */
  function runsByItself(tier: TierName): void {
    writesLog(tier)
    const book = { lastTickMs: Date.now(), onTimeSinceMs: Date.now(), revived: {} }
    if (tier === 'guardian') writeFileSync(join(watchdogDir, 'peers-guardian.json'), JSON.stringify(book))
  }

  function forgetActions(): void {
    for (const server of [launchd, systemd]) server?.calls.splice(0)
    rmSync(callsFile, { force: true })
  }

  return {
    ...machine,
    receipt,
    cronLines,
    writesLog,
    runsByItself,
    forgetActions,
    letTimePass: (sec: number) => letTimePass({ watchdogDir, memoryDir }, sec),
    /** launchd loses the job, or systemd's timer is stopped. */
    async loses(tier: TierName): Promise<void> {
      await launchd?.call('bootout', `${DOMAIN}/com.openclaw.${tier}`)
      await systemd?.call('--user', 'disable', '--now', `com.openclaw.${tier}.timer`)
      forgetActions()
    },
    /** How launchctl, systemctl and crontab were called, but for mere questions. */
    actions: () =>
      [
        ...(launchd?.calls ?? []).map((call) => `launchctl ${call}`),
        ...(systemd?.calls ?? []).map((call) => `systemctl ${call}`),
        ...machine.schedulerCalls(),
      ].filter((call) => !/^(?:launchctl (?:print|list|managername)|systemctl --user show|crontab -l)/.test(call)),
  }
}
