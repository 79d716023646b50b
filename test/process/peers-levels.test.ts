/** Levels 1 and 2 as processes: at the end of a healthy tick they look after the watchers. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { TierName } from '../../lib/tier/contract.ts'
import { createInstalled, type Installed } from '../support/installed.ts'

/** Ticks of a level until `isDone`; the tiers named are alive and write meanwhile. */
async function ticks(box: Installed, script: string, alive: TierName[], isDone: (n: number) => boolean) {
  const sec = script === 'gateway-watchdog' ? 180 : 300
  for (let n = 1; n <= 25; n++) {
    box.letTimePass(sec)
    for (const tier of alive) box.runsByItself(tier)
    expect(await box.runScript(script)).toMatchObject({ code: 0, stderr: '' })
    if (isDone(n)) return n
  }
  throw new Error(`it never came:\n${box.log()}`)
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

  test('Level 1 has lost crontab lines put back when cron’s tiers fall silent', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'launchd')
    const lines = ['# mine', '0 4 * * * /usr/local/bin/backup']
    box.writeCrontab(lines)
    const isBack = () => box.crontab() !== `${lines.join('\n')}\n`
    expect(await ticks(box, 'gateway-watchdog', ['healthcheck'], isBack)).toBeGreaterThan(4)
    for (const line of [...box.cronLines, ...lines]) expect(box.crontab()).toContain(`${line}\n`)
    expect(box.log('guardian')).toContain('NOTICE watchers: revived guardian')
  })

  test('a dead cron is called for once, goes on being noticed, and ends only when cron lives', async ({
    onTestFinished,
  }) => {
    const box = await healthy(onTestFinished, 'launchd')
    const count = (text: string) => box.log('guardian').split(text).length - 1
    await ticks(box, 'gateway-watchdog', ['healthcheck'], () => count('NOTICE watchers: not revived') === 5)
    expect(count('MANUAL INTERVENTION REQUIRED: watchers: guardian ')).toBe(1)
    expect(count('MANUAL INTERVENTION REQUIRED')).toBe(1)
    expect(count(', exit 0')).toBe(0)
    const codes: (number | null)[] = []
    for (let n = 0; n < 4; n++) {
      box.letTimePass(300)
      for (const tier of ['watchdog', 'healthcheck', 'monitor'] as const) box.writesLog(tier)
      codes.push((await box.runScript('watchdog-guardian')).code)
    }
    expect(codes[0]).toBe(3)
    expect(codes.at(-1)).toBe(0)
  })

  test('cron’s tiers are not missed where the installation could not use cron', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'launchd', { cron: false })
    await ticks(box, 'gateway-watchdog', ['healthcheck'], (n) => n === 7)
    expect(box.actions()).toEqual([])
    expect(box.log('guardian')).not.toContain('RUN started')
  })

  test('Level 1 has Level 2 revived, Level 2 has Level 1 revived', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'systemd')
    const isStarted = (tier: string) =>
      box.actions().includes(`systemctl --user restart --no-block com.openclaw.${tier}.service`)
    await ticks(box, 'gateway-watchdog', ['monitor', 'guardian'], () => isStarted('healthcheck'))
    expect(box.log('guardian')).toContain('NOTICE watchers: revived healthcheck')
    await ticks(box, 'gateway-healthcheck', ['monitor', 'guardian'], () => isStarted('watchdog'))
    expect(box.log('guardian')).toContain('NOTICE watchers: revived watchdog')
  })

  test('Level 2 runs the monitor itself while cron is dead, and not while it lives', async ({ onTestFinished }) => {
    const box = await healthy(onTestFinished, 'launchd')
    const hasRun = () => box.log('monitor').includes('RUN started')
    await ticks(box, 'gateway-healthcheck', ['watchdog', 'monitor', 'guardian'], (n) => n === 4)
    expect(hasRun()).toBe(false)
    expect(await ticks(box, 'gateway-healthcheck', ['watchdog'], hasRun)).toBe(3)
  })

  test.each([
    ['a damaged file', '{"lastTickMs": "soon"'],
    ['a file of version 1.x', '{"lastTickMs":1,"peers":{"healthcheck":{"heartbeatMs":1,"silentSec":0}}}'],
  ])('%s in the place of what it remembers changes nothing for the tick', async (_what, text) => {
    const box = await createInstalled('launchd')
    try {
      await box.startGateway()
      writeFileSync(join(box.stateDir, 'watchdog', 'peers-watchdog.json'), text)
      expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0, stderr: '' })
      expect(box.log('watchdog').includes('[WARN]')).toBe(!text.endsWith('}'))
    } finally {
      await box.close()
    }
  })
})
