/** Setup where the bash version of this system is at work: what it sets aside is never lost. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import {
  CRONTAB,
  createMac,
  createMachine,
  DOMAIN,
  HEALTHCHECK,
  installed,
  listingWithoutLogs,
  plistOf,
  WATCHDOG,
} from '../support/machine.ts'

const CRON_LINE = '*/5 * * * * bash ~/openclaw/scripts/emergency-recovery-monitor.sh\n'
const OLD_WATCHDOG = 'ai.openclaw.watchdog'

/** A Mac on which the bash version is at work; one of its jobs is called like one of ours. */
async function macWithBashVersion({ onTestFinished }: TestContext, crontab = `${CRONTAB}${CRON_LINE}`) {
  const machine = await createMac()
  onTestFinished(machine.close)
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
  const before = listingWithoutLogs(machine)
  const isUntouched = () => {
    expect(listingWithoutLogs(machine)).toEqual(before)
    expect(machine.launchd.labels()).toEqual([OLD_WATCHDOG, HEALTHCHECK])
    expect(machine.crontab()).toBe(crontab)
  }
  return { machine, isUntouched }
}

describe.concurrent('setup on a Mac with the bash version', () => {
  test('it is found, and left alone without a yes; with --replace it is set aside, and comes back', async (t) => {
    const { machine, isUntouched } = await macWithBashVersion(t)
    const refused = await machine.setup(['--yes'])
    expect(refused.code).toBe(1)
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

    await installed(machine, ['--replace'])
    expect(machine.launchd.labels()).toEqual([HEALTHCHECK, WATCHDOG])
    expect(plistOf(machine, HEALTHCHECK).ProgramArguments).toContain('gateway-healthcheck')
    expect(readdirSync(machine.agentsDir).sort()).toEqual([`${HEALTHCHECK}.plist`, `${WATCHDOG}.plist`])
    expect(machine.crontab()).toContain(`# set aside by openclaw-self-healing: ${CRON_LINE}`)

    await installed(machine, ['--uninstall'])
    isUntouched()
  })

  test('when taking back fails as well, nothing of it is lost, and an uninstallation leaves it in place', async (t) => {
    const { machine } = await macWithBashVersion(t, CRONTAB)
    const plist = readFileSync(join(machine.agentsDir, `${HEALTHCHECK}.plist`), 'utf8')
    machine.refuseCrontab()
    const { child, finished } = machine.startSetup(['--replace'])
    child.stdout.on('data', (text: string) => {
      if (!text.includes(`✓ start ${HEALTHCHECK}`)) return
      const answer = { code: 1, stderr: 'Boot-out failed: 1: Operation not permitted\n' }
      machine.launchd.plan(`bootout ${DOMAIN}/${HEALTHCHECK}`, answer)
    })
    const { code, stderr } = await finished
    expect(code).toBe(1)
    expect(stderr).toMatch(/rolled back, but for: .*Operation not permitted/)
    expect(readFileSync(join(machine.agentsDir, `${HEALTHCHECK}.plist`), 'utf8')).toBe(plist)
    expect(machine.launchd.labels()).toEqual([OLD_WATCHDOG, HEALTHCHECK])

    await installed(machine, ['--uninstall'])
    expect(readFileSync(join(machine.agentsDir, `${HEALTHCHECK}.plist`), 'utf8')).toBe(plist)
    expect(machine.launchd.labels()).toEqual([OLD_WATCHDOG, HEALTHCHECK])
    expect(machine.crontab()).toBe(CRONTAB)
    expect(existsSync(machine.watchdogDir)).toBe(false)
  })

  test('a receipt that was lost: what was set aside comes back all the same, and replaces nothing', async (t) => {
    const { machine, isUntouched } = await macWithBashVersion(t)
    await installed(machine, ['--replace'])
    writeFileSync(join(machine.watchdogDir, 'receipt.json'), '{ damaged')
    expect(await installed(machine)).toContain('write the receipt, which was lost')
    // A file that is in the way is not written over, and nothing is done.
    const inTheWay = join(machine.agentsDir, `${OLD_WATCHDOG}.plist`)
    writeFileSync(inTheWay, 'another')
    expect((await machine.setup(['--uninstall'])).code).toBe(1)
    expect(machine.launchd.labels()).toEqual([HEALTHCHECK, WATCHDOG])
    rmSync(inTheWay)
    await installed(machine, ['--uninstall'])
    isUntouched()
    expect(existsSync(machine.watchdogDir)).toBe(false)
  })

  test('its systemd timers and services are set aside and come back, also where they are called like ours', async (t) => {
    const machine = await createMachine('linux')
    t.onTestFinished(machine.close)
    const systemd = machine.systemd!
    writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
    mkdirSync(machine.unitsDir, { recursive: true })
    for (const name of ['openclaw-watchdog', 'com.openclaw.healthcheck']) {
      const script = `%h/.openclaw/skills/openclaw-self-healing/scripts/gateway-${name.split(/\W/).at(-1)}.sh`
      writeFileSync(join(machine.unitsDir, `${name}.service`), `[Service]\nExecStart=/bin/bash ${script}\n`)
      writeFileSync(join(machine.unitsDir, `${name}.timer`), '[Timer]\nOnUnitActiveSec=3min\n')
    }
    const old = ['com.openclaw.healthcheck.timer', 'openclaw-watchdog.timer']
    await systemd.call('--user', 'daemon-reload')
    await systemd.call('--user', 'enable', '--now', ...old)
    const before = listingWithoutLogs(machine)
    const isUntouched = () => {
      expect(systemd.active()).toEqual(old)
      expect(listingWithoutLogs(machine)).toEqual(before)
    }
    expect((await machine.setup(['--yes'])).code).toBe(1)
    isUntouched()
    machine.refuseCrontab()
    expect((await machine.setup(['--replace'])).code).toBe(1)
    isUntouched()
    rmSync(join(machine.controlDir, 'crontab.refuses'))
    expect(await machine.setup(['--replace'])).toMatchObject({ code: 0, stderr: '' })
    expect(systemd.active()).toEqual(['com.openclaw.healthcheck.timer', 'com.openclaw.watchdog.timer'])
    expect(await machine.setup(['--uninstall'])).toMatchObject({ code: 0, stderr: '' })
    isUntouched()
  })
})

const bashPlist = (label: string, script: string) => `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>Label</key><string>${label}</string>
<key>ProgramArguments</key><array><string>/bin/bash</string><string>/x/openclaw/scripts/${script}</string></array>
<key>StartInterval</key><integer>180</integer></dict></plist>
`
