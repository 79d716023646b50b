/** Setup for several gateways of one user: side by side, and taken away apart. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { cronLinesOf, HEALTHCHECK, listingWithoutLogs, plistOf, runCronLine, WATCHDOG } from './support/mac.ts'
import { createMachine, type Machine, type MachineOptions } from './support/machine.ts'

type OnFinished = (close: () => Promise<void>) => void

const CRONTAB = 'MAILTO=me\n0 1 * * * echo hi\n'
/** As `--profile` and the job names have it. */
const PROFILES = ['default', 'work', 'rescue']
const suffix = (profile: string, separator: string) => (profile === 'default' ? '' : separator + profile)

async function machineWithProfiles(kind: 'mac' | 'linux', onTestFinished: OnFinished, options: MachineOptions = {}) {
  const machine = await createMachine(kind, options)
  onTestFinished(machine.close)
  machine.writeCrontab(CRONTAB)
  for (const profile of PROFILES) {
    const stateDir = join(machine.home, `.openclaw${suffix(profile, '-')}`)
    mkdirSync(stateDir, { recursive: true })
    // Paused: setup is what is tested.
    writeFileSync(join(stateDir, 'self-healing.paused'), '')
  }
  const setup = (profile: string, args: string[]) =>
    machine.setup([...args, ...(profile === 'default' ? [] : ['--profile', profile])])
  return { ...machine, setup, setupWith: machine.setup }
}

/** All that is in HOME but the logs of all profiles, and the crontab. */
const traces = (machine: Pick<Machine, 'listing' | 'crontab'>) => ({
  files: Object.keys(listingWithoutLogs(machine)).sort(),
  crontab: machine.crontab(),
})

describe.concurrent('setup for several profiles', () => {
  test('on a Mac: three side by side, each with jobs of its own; taken away in any order, the others stay', async ({
    onTestFinished,
  }) => {
    const machine = await machineWithProfiles('mac', onTestFinished)
    const launchd = machine.launchd!
    const before = traces(machine)
    for (const profile of PROFILES) {
      expect(await machine.setup(profile, ['--yes'])).toMatchObject({ code: 0, stderr: '' })
    }
    expect(readdirSync(machine.agentsDir).sort()).toEqual(
      PROFILES.flatMap((profile) =>
        [WATCHDOG, HEALTHCHECK].map((label) => `${label}${suffix(profile, '.')}.plist`),
      ).sort(),
    )
    for (const profile of PROFILES) {
      const label = `${WATCHDOG}${suffix(profile, '.')}`
      expect(plistOf(machine, label).Label).toBe(label)
      const environment = plistOf(machine, label).EnvironmentVariables as Record<string, string>
      expect(environment.OPENCLAW_PROFILE).toBe(profile === 'default' ? undefined : profile)
      expect((await machine.setup(profile, ['--yes'])).stdout).toMatch(/^unchanged\n/)
    }
    const watched = `${machine.home}/openclaw-work/memory/escalations.log`
    expect(plistOf(machine, `${HEALTHCHECK}.work`).WatchPaths).toEqual([watched])

    // The first that was installed goes first: what is left is what the other two alone would have left.
    for (const profile of ['default', 'rescue', 'work'])
      expect(await machine.setup(profile, ['--uninstall'])).toMatchObject({ code: 0, stderr: '' })
    expect(traces(machine)).toEqual(before)

    expect(launchd.labels()).toEqual([])
  })

  test('on Linux: timers, hand-off, cron lines and logs of each are its own', async ({ onTestFinished }) => {
    const machine = await machineWithProfiles('linux', onTestFinished, { runsTiers: true })
    const before = traces(machine)
    for (const profile of PROFILES) expect((await machine.setup(profile, ['--yes'])).code).toBe(0)
    expect(machine.systemd!.active()).toEqual(
      PROFILES.flatMap((profile) =>
        [WATCHDOG, HEALTHCHECK].map((name) => `${name}${suffix(profile, '.')}.timer`),
      ).sort(),
    )
    const unit = (name: string) => readFileSync(join(machine.unitsDir, name), 'utf8')
    expect(unit('com.openclaw.watchdog.work.service')).toContain('\nOnFailure=com.openclaw.healthcheck.work.service\n')
    expect(unit('com.openclaw.watchdog.work.service')).toContain('\nEnvironment="OPENCLAW_PROFILE=work"\n')
    expect(unit('com.openclaw.watchdog.work.timer')).toContain('profile work')
    expect(unit('com.openclaw.watchdog.service')).not.toContain('OPENCLAW_PROFILE')

    // What the jobs really ran wrote into the profile's own log.
    for (const line of cronLinesOf(machine)) runCronLine(line.replace(/(\/bin\/sh )/, `HOME='${machine.home}' $1`))
    for (const profile of PROFILES) {
      const logs = join(machine.home, `openclaw${suffix(profile, '-')}`, 'memory')
      for (const tier of ['watchdog', 'monitor', 'guardian']) {
        const [name] = readdirSync(logs).filter((one) => one.startsWith(`${tier}-`))
        expect(readFileSync(join(logs, name!), 'utf8')).toMatch(/RUN ended: .*, exit 3 /)
      }
    }
    // Lingering is switched off by the last one only, whoever switched it on.
    const lingering = () => machine.schedulerCalls().filter((call) => call.startsWith('loginctl'))
    expect((await machine.setup('default', ['--uninstall'])).stdout).toContain(
      'leave lingering on, for the profile rescue',
    )
    expect(machine.systemd!.active()).toHaveLength(4)
    expect((await machine.setup('rescue', ['--uninstall', '--purge'])).code).toBe(0)
    expect(existsSync(join(machine.home, 'openclaw-rescue'))).toBe(false)
    expect(existsSync(join(machine.home, 'openclaw-work', 'memory'))).toBe(true)
    expect(lingering()).toEqual(['loginctl enable-linger'])
    await machine.setup('work', ['--uninstall'])
    expect(lingering().at(-1)).toBe('loginctl disable-linger')
    expect(traces(machine)).toEqual(before)
  })

  test('two profiles that would share a port or a log folder are refused, and nothing is touched', async ({
    onTestFinished,
  }) => {
    const machine = await machineWithProfiles('linux', onTestFinished)
    expect((await machine.setup('default', ['--yes'])).code).toBe(0)
    const before = traces(machine)
    const same = await machine.setup('work', ['--port', String(machine.port)])
    expect(same).toMatchObject({ code: 2, stdout: '' })
    expect(same.stderr).toMatch(new RegExp(`port ${machine.port} is that of the profile default's gateway`))
    writeFileSync(join(machine.home, '.openclaw-work', '.env'), `OPENCLAW_MEMORY_DIR=${machine.memoryDir}\n`)
    expect(await machine.setup('work', ['--yes'])).toMatchObject({ code: 2, stdout: '' })
    writeFileSync(join(machine.home, '.openclaw-work', '.env'), '')
    expect((await machine.setup('work', ['--yes'])).code).toBe(0)
    writeFileSync(join(machine.home, '.openclaw-rescue', '.env'), 'OPENCLAW_MEMORY_DIR=~/openclaw-work/memory\n')
    const shared = await machine.setup('rescue', ['--yes'])
    expect(shared).toMatchObject({ code: 2, stderr: expect.stringContaining('is where the profile work has its logs') })
    await machine.setup('work', ['--uninstall', '--purge'])
    expect(traces(machine).crontab).toBe(before.crontab)
  })

  test.each(['../up', 'über'])('a profile called %j is refused', async (name) => {
    const machine = await createMachine('linux')
    const before = machine.listing()
    for (const run of [
      await machine.setup(['--yes', `--profile=${name}`]),
      await machine.setup(['--uninstall'], { env: { OPENCLAW_PROFILE: name } }),
      await machine.launch(['gateway-watchdog'], { env: { OPENCLAW_PROFILE: name } }),
      await machine.runScript('gateway-watchdog', [], { env: { OPENCLAW_PROFILE: name } }),
    ]) {
      expect(run).toMatchObject({ code: 2, stdout: '' })
      expect(run.stderr).toMatch(/OPENCLAW_PROFILE.*expected .*letters/)
    }
    expect(machine.listing()).toEqual(before)
    await machine.close()
  })

  test('an .env that cannot be used keeps nobody from uninstalling: the receipt says what there is', async ({
    onTestFinished,
  }) => {
    const machine = await machineWithProfiles('linux', onTestFinished)
    const before = traces(machine)
    expect((await machine.setup('default', ['--yes'])).code).toBe(0)
    writeFileSync(join(machine.stateDir, '.env'), 'HEALTH_CHECK_MAX_RETRIES=many\nOPENCLAW_MEMORY_DIR=relative\n')
    expect(await machine.setup('default', ['--yes'])).toMatchObject({ code: 2 })
    // What a doctor's run that was killed has left.
    writeFileSync(join(machine.home, '.openclaw-doctor.lock'), '{"pid":4194999,"tier":"emergency-recovery"}')
    const run = await machine.setup('default', ['--uninstall', '--purge'])
    expect(run).toMatchObject({ code: 0, stderr: '' })
    expect(run.stdout).toMatch(/note: .*HEALTH_CHECK_MAX_RETRIES="many".*; going by the receipt/)
    expect(existsSync(machine.memoryDir)).toBe(false)
    expect(traces(machine)).toEqual(before)
  })
})
