/** Setup on Linux: systemd's user manager (a stand-in here; the real one in test/real), or neither that nor launchd. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TIERS } from '../lib/tier/contract.ts'
import { copyCheckout } from './support/checkout.ts'
import { cronLinesOf, listingWithoutLogs, runCronLine } from './support/mac.ts'
import { createMachine, type MachineOptions } from './support/machine.ts'
import { waitFor } from './support/wait-for.ts'

type OnFinished = (close: () => Promise<void>) => void

const TIMERS = ['com.openclaw.healthcheck.timer', 'com.openclaw.watchdog.timer']
const CRONTAB = '0 1 * * * echo hi\n'

async function linux(onTestFinished: OnFinished, options: MachineOptions = {}) {
  const machine = await createMachine('linux', options)
  onTestFinished(machine.close)
  writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
  machine.writeCrontab(CRONTAB)
  return { ...machine, systemd: machine.systemd! }
}

describe.concurrent('setup on Linux', () => {
  test('installed with systemd, run, unchanged, uninstalled: nothing is left but the logs', async ({
    onTestFinished,
  }) => {
    const machine = await linux(onTestFinished, { runsTiers: true })
    const before = listingWithoutLogs(machine)
    const first = await machine.setup(['--yes'])
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toContain('The watchdog has written its first line.')
    expect(machine.systemd.active()).toEqual(TIMERS)
    expect(machine.log('watchdog')).toContain('standing down: paused by')
    expect(machine.schedulerCalls()).toContain('loginctl enable-linger')
    expect((await machine.setup(['--yes'])).stdout).toMatch(/^unchanged\nnote: lingering is off/)
    expect((await machine.setup(['--status'])).stdout).toMatch(
      /watchdog +yes \(systemd timer: active \(waiting\)\) +(?:[\d-]{10} )?\d\d:\d\d:\d\d +3 \(stood down\)/,
    )

    expect(await machine.setup(['--uninstall'])).toMatchObject({ code: 0, stderr: '' })
    expect(machine.systemd.active()).toEqual([])
    expect(machine.schedulerCalls()).toContain('loginctl disable-linger')
    expect(machine.crontab()).toBe(CRONTAB)
    expect(listingWithoutLogs(machine)).toEqual(before)
  })

  test('the units say what the tiers’ table says, and systemd itself has nothing against them, odd paths included', async ({
    onTestFinished,
  }) => {
    const machine = await linux(onTestFinished)
    const { root } = copyCheckout(join(machine.root, 'it\'s 100% $HOME sélf "healing"'))
    expect((await machine.setup(['--yes'], { checkout: root })).code).toBe(0)
    for (const tier of ['watchdog', 'healthcheck'] as const) {
      const read = (unit: string) => readFileSync(join(machine.unitsDir, `com.openclaw.${tier}.${unit}`), 'utf8')
      expect(read('timer')).toContain(`OnUnitActiveSec=${TIERS[tier].intervalSec}s\n`)
      expect(read('service')).toContain('\nSuccessExitStatus=3\n')
      expect(read('service')).toContain('\nKillMode=process\n')
      expect(read('service')).toMatch(new RegExp(`^ExecStart=.* ${TIERS[tier].script}$`, 'm'))
      expect(read('service').includes('\nOnFailure=com.openclaw.healthcheck.service\n')).toBe(tier === 'watchdog')
    }
    if (!existsSync('/usr/bin/systemd-analyze')) return
    const units = readdirSync(machine.unitsDir).filter((name) => /\.(?:service|timer)$/.test(name))
    expect(units).toHaveLength(4)
    const output = execFileSync(
      '/bin/sh',
      ['-c', `systemd-analyze --user verify "$@" 2>&1`, 'sh', ...units.map((unit) => join(machine.unitsDir, unit))],
      { env: { PATH: '/usr/bin:/bin', HOME: machine.home, XDG_RUNTIME_DIR: machine.root }, encoding: 'utf8' },
    )
    expect(output).not.toContain('com.openclaw')
  })

  test('uninstalled while Level 1 is in a run: Level 2, which systemd starts for that, is ended too', async ({
    onTestFinished,
  }) => {
    const machine = await linux(onTestFinished)
    expect((await machine.setup(['--yes'])).code).toBe(0)
    const isAtWork = join(machine.root, 'level-1-is-at-work')
    const scripts = {
      // Told to stop, a tier says so and exits with 1.
      watchdog: `trap 'exit 1' TERM; : >'${isAtWork}'; while :; do sleep 0.1; done`,
      // Makes the folder anew that it finds missing.
      healthcheck: `trap 'exit 1' TERM; while :; do mkdir -p '${machine.watchdogDir}'; sleep 0.1; done`,
    }
    for (const [name, script] of Object.entries(scripts)) {
      const file = join(machine.root, `${name}.sh`)
      writeFileSync(file, script)
      const service = join(machine.unitsDir, `com.openclaw.${name}.service`)
      writeFileSync(service, readFileSync(service, 'utf8').replace(/^ExecStart=.*$/m, `ExecStart=/bin/sh ${file}`))
    }
    await waitFor(() => machine.systemd.running().length === 0, 'the end of the first runs')
    await machine.systemd.call('--user', 'daemon-reload')
    await machine.systemd.call('--user', 'start', 'com.openclaw.watchdog.service')
    await waitFor(() => existsSync(isAtWork), 'Level 1')
    expect(await machine.setup(['--uninstall'])).toMatchObject({ code: 0, stderr: '' })
    expect(machine.systemd.running()).toEqual([])
    expect(existsSync(machine.watchdogDir)).toBe(false)
  })

  test('when the timers cannot be switched on, everything is taken back', async ({ onTestFinished }) => {
    const machine = await linux(onTestFinished)
    const before = listingWithoutLogs(machine)
    machine.systemd.plan('--user enable', { code: 1, stderr: 'Failed to enable unit: Access denied\n' })
    const { code, stderr } = await machine.setup(['--yes'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/com.openclaw.watchdog.timer: FAILED: .*Access denied/)
    expect(machine.systemd.active()).toEqual([])
    expect(listingWithoutLogs(machine)).toEqual(before)
    expect(machine.crontab()).toBe(CRONTAB)
  })

  test('lingering that is refused is said, with what helps, and stops nothing', async ({ onTestFinished }) => {
    const machine = await linux(onTestFinished)
    machine.addTool('loginctl', 'echo "Could not enable linger: Access denied" >&2; exit 1')
    const { code, stdout } = await machine.setup(['--yes'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/NOT DONE: lingering could not be switched on .*sudo loginctl enable-linger/)
    const receipt = readFileSync(join(machine.watchdogDir, 'receipt.json'), 'utf8')
    // What was not switched on must not be switched off: the user may do it himself later.
    expect(receipt).not.toContain('linger')
  })

  test('the bash version’s timers and services are set aside with --replace, and come back', async ({
    onTestFinished,
  }) => {
    const machine = await linux(onTestFinished)
    mkdirSync(machine.unitsDir, { recursive: true })
    for (const name of ['watchdog', 'healthcheck']) {
      const script = `%h/.openclaw/skills/openclaw-self-healing/scripts/gateway-${name}.sh`
      writeFileSync(join(machine.unitsDir, `openclaw-${name}.service`), `[Service]\nExecStart=/bin/bash ${script}\n`)
      writeFileSync(join(machine.unitsDir, `openclaw-${name}.timer`), '[Timer]\nOnUnitActiveSec=3min\n')
    }
    const old = ['openclaw-healthcheck.timer', 'openclaw-watchdog.timer']
    await machine.systemd.call('--user', 'daemon-reload')
    await machine.systemd.call('--user', 'enable', '--now', ...old)
    const before = listingWithoutLogs(machine)
    expect((await machine.setup(['--yes'])).code).toBe(1)
    expect(machine.systemd.active()).toEqual(old)

    expect(await machine.setup(['--replace'])).toMatchObject({ code: 0, stderr: '' })
    expect(machine.systemd.active()).toEqual(TIMERS)
    expect(readdirSync(machine.unitsDir).filter((name) => name.startsWith('openclaw-'))).toEqual([])
    expect(await machine.setup(['--uninstall'])).toMatchObject({ code: 0, stderr: '' })
    expect(machine.systemd.active()).toEqual(old)
    expect(listingWithoutLogs(machine)).toEqual(before)

    // The receipt lost, they come back all the same, known to systemd; that they were at work is not known any more.
    const units = readdirSync(machine.unitsDir)
    expect(await machine.setup(['--replace'])).toMatchObject({ code: 0, stderr: '' })
    rmSync(join(machine.watchdogDir, 'receipt.json'))
    const { code, stdout, stderr } = await machine.setup(['--uninstall'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const timer of old) expect(stdout).toContain(`systemctl --user enable --now ${timer}`)
    expect(await machine.systemd.call('--user', 'enable', '--now', ...old)).toEqual({ code: 0 })
    expect(readdirSync(machine.unitsDir)).toEqual(units)
  })

  test('units of the bash version that are called like ours come back when a later step fails', async ({
    onTestFinished,
  }) => {
    const machine = await linux(onTestFinished)
    mkdirSync(machine.unitsDir, { recursive: true })
    for (const name of ['watchdog', 'healthcheck']) {
      const service = `[Service]\nExecStart=/bin/bash /x/openclaw/scripts/gateway-${name}.sh\n`
      writeFileSync(join(machine.unitsDir, `com.openclaw.${name}.service`), service)
      writeFileSync(join(machine.unitsDir, `com.openclaw.${name}.timer`), '[Timer]\nOnUnitActiveSec=3min\n')
    }
    await machine.systemd.call('--user', 'daemon-reload')
    await machine.systemd.call('--user', 'enable', '--now', ...TIMERS)
    const before = listingWithoutLogs(machine)
    machine.refuseCrontab()
    const { code, stderr } = await machine.setup(['--replace'])
    expect(code).toBe(1)
    expect(stderr).toContain('everything that this run had done was rolled back')
    expect(machine.systemd.active()).toEqual(TIMERS)
    expect(listingWithoutLogs(machine)).toEqual(before)
  })

  test('with neither launchd nor systemd, cron starts all four', async ({ onTestFinished }) => {
    const machine = await createMachine('bare')
    onTestFinished(machine.close)
    writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
    const before = listingWithoutLogs(machine)
    expect(await machine.setup(['--yes'])).toMatchObject({ code: 0, stderr: '' })
    const lines = cronLinesOf(machine)
    expect(lines).toHaveLength(4)
    expect(lines.map((line) => line.slice(0, 11))).toEqual(['*/3 * * * *', '*/5 * * * *', '*/5 * * * *', '*/5 * * * *'])
    runCronLine(lines[0]!)
    expect(machine.log('watchdog')).toContain('standing down: paused by')
    expect((await machine.setup(['--status'])).stdout).toMatch(/watchdog +yes \(cron: in the crontab\)/)
    expect((await machine.setup(['--uninstall'])).code).toBe(0)
    expect(machine.crontab()).toBeUndefined()
    expect(listingWithoutLogs(machine)).toEqual(before)
  })

  test('without cron Levels 1 and 2 are installed, and it is said what is missing', async ({ onTestFinished }) => {
    const machine = await linux(onTestFinished, { withoutCron: true })
    const { code, stdout } = await machine.setup(['--yes'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/crontab +MISSING: Level 4 and the guardian are not started; `.*install cron`/)
    expect(machine.systemd.active()).toEqual(TIMERS)
    const { code: statusCode, stdout: shown } = await machine.setup(['--status'])
    expect(shown).toMatch(/monitor +NO \(crontab is not on the PATH/)
    expect(statusCode).toBe(1)
  })
})
