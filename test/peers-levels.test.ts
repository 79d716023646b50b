/** Levels 1 and 2 as processes, looking after their peers at the end of a healthy tick. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { TierName } from '../lib/tier/contract.ts'
import { createInstalled, type Installed } from './support/installed.ts'

/** A tick of the level in question: so much later it runs; the tiers named are alive and wrote meanwhile. */
async function tick(box: Installed, script: string, sec: number, alive: TierName[]) {
  box.letTimePass(sec)
  for (const tier of alive) box.writesLog(tier)
  const run = await box.runScript(script)
  expect(run).toMatchObject({ code: 0, stderr: '' })
  return run
}

describe.concurrent('Levels 1 and 2', () => {
  const healthy = async (
    onTestFinished: (close: () => Promise<void>) => void,
    ...args: Parameters<typeof createInstalled>
  ) => {
    const box = await createInstalled(...args)
    onTestFinished(box.close)
    await box.startGateway()
    return box
  }

  test('Level 1 puts our crontab lines back when cron’s tiers fall silent and the lines are gone', async ({
    onTestFinished,
  }) => {
    const box = await healthy(onTestFinished, 'launchd')
    await box.runScript('gateway-watchdog')
    const lines = ['# mine', '0 4 * * * /usr/local/bin/backup']
    box.writeCrontab(lines)
    for (let i = 0; i < 4; i++) await tick(box, 'gateway-watchdog', 180, ['healthcheck'])
    expect(box.crontab()).toBe(`${lines.join('\n')}\n`)
    await tick(box, 'gateway-watchdog', 180, ['healthcheck'])
    for (const line of [...box.cronLines, ...lines]) expect(box.crontab()).toContain(`${line}\n`)
    expect(box.log('watchdog')).toMatch(/monitor has written no log for 15 min .*; guardian has written no log/)
  })

  test('Level 1 calls a human for a dead cron once, and says from then on that it goes on', async ({
    onTestFinished,
  }) => {
    const box = await healthy(onTestFinished, 'launchd', { settings: { GUARDIAN_MAX_REVIVALS: '1' } })
    for (let i = 0; i < 8; i++) await tick(box, 'gateway-watchdog', 180, ['healthcheck'])
    const log = box.log('watchdog')
    expect(log.match(/MANUAL INTERVENTION REQUIRED: watchers: monitor has written no log/g)).toHaveLength(1)
    const [before, after] = log.split('MANUAL INTERVENTION') as [string, string]
    expect(before).toContain('[ERROR] monitor and guardian not revived: its crontab line is in place')
    expect(after).toContain('NOTICE watchers: monitor and guardian not revived: its crontab line is in place')
  })

  test('Level 1 does not miss cron’s tiers where the installation could not use cron', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'launchd', { cron: false })
    for (let i = 0; i < 6; i++) await tick(box, 'gateway-watchdog', 180, ['healthcheck'])
    expect(box.actions()).toEqual([])
    expect(box.log('watchdog')).not.toMatch(/WARN|ERROR/)
  })

  test('Level 1 revives Level 2, Level 2 revives Level 1', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'systemd')
    for (let i = 0; i < 7; i++) await tick(box, 'gateway-watchdog', 180, ['monitor', 'guardian'])
    expect(box.actions()).toContain('systemctl --user start --no-block com.openclaw.healthcheck.service')
    expect(box.log('watchdog')).toContain('NOTICE watchers: revived healthcheck')
    for (let i = 0; i < 4; i++) await tick(box, 'gateway-healthcheck', 300, ['monitor', 'guardian'])
    expect(box.actions()).toContain('systemctl --user start --no-block com.openclaw.watchdog.service')
  })

  test('Level 2 runs the monitor itself while cron is dead, and not while it lives', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'launchd')
    await tick(box, 'gateway-healthcheck', 300, ['watchdog'])
    expect(box.log('monitor')).not.toContain('RUN started')
    await tick(box, 'gateway-healthcheck', 600, ['watchdog'])
    expect(box.log('monitor')).toContain('RUN started')
    expect(box.log('healthcheck')).toMatch(
      /cron has not run monitor and guardian since .*running the monitor in its place/,
    )
  })

  test('a damaged memory of the peers harms nobody: the tick is what it was', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'launchd')
    writeFileSync(join(box.stateDir, 'watchdog', 'peers-watchdog.json'), '{"lastTickMs": "soon"')
    expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0, stderr: '' })
    expect(box.log('watchdog')).toMatch(/peers-watchdog\.json was damaged; kept as /)
  })
})
