/** Setup where the bash version of this system is at work: what it sets aside is never lost. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { CRONTAB, DOMAIN, HEALTHCHECK, hostFor, WATCHDOG } from '../support/machine.ts'

const CRON_LINE = '*/5 * * * * bash ~/openclaw/scripts/emergency-recovery-monitor.sh\n'
const OLD_WATCHDOG = 'ai.openclaw.watchdog'

/** A Mac on which the bash version is at work; one of its jobs is called like one of ours. */
async function macWithBashVersion(t: TestContext, crontab = `${CRONTAB}${CRON_LINE}`) {
  const machine = await hostFor(t, 'mac')
  machine.writeCrontab(crontab)
  mkdirSync(machine.agentsDir, { recursive: true })
  for (const [label, script] of [
    [OLD_WATCHDOG, 'gateway-watchdog.sh'],
    [HEALTHCHECK, 'gateway-healthcheck.sh'],
  ] as const) {
    const path = join(machine.agentsDir, `${label}.plist`)
    writeFileSync(path, bashPlist(label, script))
    await machine.launchd.call('bootstrap', DOMAIN, path)
  }
  const before = machine.withoutLogs()
  const isUntouched = () => {
    expect(machine.withoutLogs()).toEqual(before)
    expect(machine.jobs()).toEqual([OLD_WATCHDOG, HEALTHCHECK])
    expect(machine.launchd.job(HEALTHCHECK)!.dict.ProgramArguments[0]).toBe('/bin/bash')
    expect(machine.crontab()).toBe(crontab)
  }
  return { machine, isUntouched }
}

describe.concurrent('setup on a Mac with the bash version', () => {
  test('it is found, and left alone without a yes; with --replace it is set aside, and comes back', async (t) => {
    const { machine, isUntouched } = await macWithBashVersion(t)
    const refused = await machine.setup(['--yes'])
    expect(refused.code).toBe(2)
    for (const name of [`${OLD_WATCHDOG}.plist`, 'com.openclaw.healthcheck.plist', 'recovery-monitor.sh'])
      expect(refused.stdout).toContain(name)
    expect(refused.stderr).toContain('--replace')
    isUntouched()
    // Its com.openclaw.healthcheck is not taken for ours.
    expect((await machine.setup(['--uninstall'])).stdout).toBe('not installed: nothing to do\n')
    isUntouched()

    // A new job that cannot be loaded: the old ones are at work again.
    machine.launchd.plan(`bootstrap ${DOMAIN} ${join(machine.agentsDir, WATCHDOG)}`, { code: 125, stderr: 'no\n' })
    expect((await machine.setup(['--replace'])).code).toBe(1)
    isUntouched()

    await machine.succeeds(['--replace'])
    expect(machine.jobs()).toEqual([HEALTHCHECK, WATCHDOG])
    expect(machine.plist(HEALTHCHECK).ProgramArguments).toContain('gateway-healthcheck')
    expect(readdirSync(machine.agentsDir).sort()).toEqual([`${HEALTHCHECK}.plist`, `${WATCHDOG}.plist`])
    expect(machine.crontab()).toContain(`# set aside by openclaw-self-healing: ${CRON_LINE}`)

    await machine.succeeds(['--uninstall'])
    isUntouched()
  })

  test('one job of ours that cannot be stopped does not stay beside the old plist; one that never can is named', async (t) => {
    const { machine, isUntouched } = await macWithBashVersion(t)
    machine.refuseCrontab()
    const replaceWhileRefused = (times: number) => {
      const { child, finished } = machine.startSetup(['--replace'])
      child.stdout.on('data', (text: string) => {
        if (!text.includes(`✓ start ${HEALTHCHECK}`)) return
        const answer = { code: 1, stderr: 'Boot-out failed: 1: Operation not permitted\n' }
        machine.launchd.plan(`bootout ${DOMAIN}/${HEALTHCHECK}`, answer, times)
      })
      return finished
    }
    expect(await replaceWhileRefused(1)).toMatchObject({ code: 1, stderr: expect.stringContaining('everything') })
    isUntouched()

    const { code, stderr } = await replaceWhileRefused(2)
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /rolled back, but for: .*com\.openclaw\.healthcheck\s+loaded\s.*Operation\s+not\s+permitted/s,
    )
    // Nothing of it is lost, and an uninstallation leaves it in place.
    const plist = machine.plist(HEALTHCHECK)
    expect(plist.ProgramArguments).toContain('/bin/bash')
    await machine.succeeds(['--uninstall'])
    expect(machine.plist(HEALTHCHECK)).toEqual(plist)
    expect(machine.jobs()).toEqual([OLD_WATCHDOG, HEALTHCHECK])
    expect(existsSync(machine.watchdogDir)).toBe(false)
  })

  test('a receipt that was lost: what was set aside comes back all the same, and replaces nothing', async (t) => {
    const { machine, isUntouched } = await macWithBashVersion(t)
    await machine.succeeds(['--replace'])
    writeFileSync(join(machine.watchdogDir, 'receipt.json'), '{ damaged')
    expect(await machine.succeeds()).toContain('write the receipt, which was lost')
    // A file that is in the way is not written over, and nothing is done.
    const inTheWay = join(machine.agentsDir, `${OLD_WATCHDOG}.plist`)
    writeFileSync(inTheWay, 'another')
    expect((await machine.setup(['--uninstall'])).code).toBe(1)
    expect(machine.jobs()).toEqual([HEALTHCHECK, WATCHDOG])
    rmSync(inTheWay)
    await machine.succeeds(['--uninstall'])
    isUntouched()
    expect(existsSync(machine.watchdogDir)).toBe(false)
  })

  test('its systemd timers and services are set aside and come back, also where they are called like ours', async (t) => {
    const machine = await hostFor(t, 'linux')
    mkdirSync(machine.unitsDir, { recursive: true })
    for (const name of ['openclaw-watchdog', 'com.openclaw.healthcheck']) {
      const script = `%h/.openclaw/skills/openclaw-self-healing/scripts/gateway-${name.split(/\W/).at(-1)}.sh`
      writeFileSync(join(machine.unitsDir, `${name}.service`), `[Service]\nExecStart=/bin/bash ${script}\n`)
      writeFileSync(join(machine.unitsDir, `${name}.timer`), '[Timer]\nOnUnitActiveSec=3min\n')
    }
    const old = ['com.openclaw.healthcheck.timer', 'openclaw-watchdog.timer']
    await machine.systemd.call('--user', 'daemon-reload')
    await machine.systemd.call('--user', 'enable', '--now', ...old)
    const before = machine.withoutLogs()
    const isUntouched = () => {
      expect(machine.jobs()).toEqual(old)
      expect(machine.withoutLogs()).toEqual(before)
    }
    expect((await machine.setup(['--yes'])).code).toBe(2)
    isUntouched()
    machine.refuseCrontab()
    expect((await machine.setup(['--replace'])).code).toBe(1)
    isUntouched()
    rmSync(join(machine.controlDir, 'crontab.refuses'))
    await machine.succeeds(['--replace'])
    expect(machine.jobs()).toEqual(['com.openclaw.healthcheck.timer', 'com.openclaw.watchdog.timer'])
    await machine.succeeds(['--uninstall'])
    isUntouched()
  })
})

const bashPlist = (label: string, script: string) => `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>Label</key><string>${label}</string>
<key>ProgramArguments</key><array><string>/bin/bash</string><string>/x/openclaw/scripts/${script}</string></array>
<key>StartInterval</key><integer>180</integer></dict></plist>
`
