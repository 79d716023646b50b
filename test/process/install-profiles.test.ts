/** Setup for several gateways of one user: side by side, and removed separately. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import {
  createMachine,
  cronLinesOf,
  HEALTHCHECK,
  listingWithoutLogs,
  type MachineOptions,
  plistOf,
  runCronLine,
  WATCHDOG,
} from '../support/machine.ts'
import { freePort } from '../support/ports.ts'

const PROFILES = ['default', 'work', 'rescue']
const suffix = (profile: string, separator: string) => (profile === 'default' ? '' : separator + profile)
const jobs = (end = '') =>
  PROFILES.flatMap((one) => [WATCHDOG, HEALTHCHECK].map((name) => `${name}${suffix(one, '.')}${end}`)).sort()

async function machineWithProfiles(kind: 'mac' | 'linux', t: TestContext, options: MachineOptions = {}) {
  const machine = await createMachine(kind, options)
  t.onTestFinished(machine.close)
  machine.writeCrontab('MAILTO=me\n0 1 * * * echo hi\n')
  const stateDir = (profile: string) => join(machine.home, `.openclaw${suffix(profile, '-')}`)
  for (const profile of PROFILES) {
    mkdirSync(stateDir(profile), { recursive: true })
    // Paused: setup is what is tested.
    writeFileSync(join(stateDir(profile), 'self-healing.paused'), '')
  }
  const writeEnv = (profile: string, text: string) => writeFileSync(join(stateDir(profile), '.env'), text)
  const setup = (profile: string, ...args: string[]) =>
    machine.setup([...args, ...(profile === 'default' ? [] : ['--profile', profile])])
  /** All that is in HOME but the logs of all profiles, and the crontab. */
  const traces = () => [...Object.keys(listingWithoutLogs(machine)).sort(), machine.crontab()]
  return { ...machine, setup, setupWith: machine.setup, traces, writeEnv }
}

describe.concurrent('setup for several profiles', () => {
  test('on a Mac: three side by side, each with jobs of its own; removed in any order, the others stay', async (t) => {
    const machine = await machineWithProfiles('mac', t)
    const before = machine.traces()
    const after: unknown[] = []
    for (const profile of PROFILES) {
      const run = await machine.setup(profile, '--yes')
      expect(run).toMatchObject({ code: 0, stderr: '' })
      expect(run.stdout).toContain(profile === 'default' ? 'setup -- --status' : `--profile ${profile} --status`)
      after.push(machine.traces())
    }
    expect(readdirSync(machine.agentsDir).sort()).toEqual(jobs('.plist'))
    for (const profile of PROFILES) {
      const plist = plistOf(machine as never, `${WATCHDOG}${suffix(profile, '.')}`)
      const environment = plist.EnvironmentVariables as Record<string, string>
      expect(environment.OPENCLAW_PROFILE).toBe(profile === 'default' ? undefined : profile)
      expect(await machine.setup(profile, '--yes')).toMatchObject({
        stderr: '',
        stdout: expect.stringMatching(/^unchanged\n/),
      })
    }
    const watched = `${machine.home}/openclaw-work/memory/escalations.log`
    expect(plistOf(machine as never, `${HEALTHCHECK}.work`).WatchPaths).toEqual([watched])
    for (const profile of ['rescue', 'work', 'default']) {
      expect(machine.traces()).toEqual(after.pop())
      expect(await machine.setup(profile, '--uninstall')).toMatchObject({ code: 0, stderr: '' })
    }
    expect(machine.traces()).toEqual(before)
    expect(machine.launchd!.labels()).toEqual([])
  })

  test('on Linux: timers, hand-off, cron lines and logs of each are its own; lingering ends with the last', async (t) => {
    const machine = await machineWithProfiles('linux', t, { runsTiers: true })
    const before = machine.traces()
    for (const profile of PROFILES) expect((await machine.setup(profile, '--yes')).code).toBe(0)
    expect(machine.systemd!.active()).toEqual(jobs('.timer'))
    const unit = (name: string) => readFileSync(join(machine.unitsDir, name), 'utf8')
    expect(unit('com.openclaw.watchdog.work.service')).toContain('\nOnFailure=com.openclaw.healthcheck.work.service\n')
    expect(unit('com.openclaw.watchdog.work.service')).toContain('\nEnvironment="OPENCLAW_PROFILE=work"\n')
    expect(unit('com.openclaw.watchdog.service')).not.toContain('OPENCLAW_PROFILE')

    // What the jobs really ran wrote into the profile's own log.
    for (const line of cronLinesOf(machine))
      await runCronLine(line.replace(/(\/bin\/sh )/, `HOME='${machine.home}' $1`))
    for (const profile of PROFILES) {
      const logs = join(machine.home, `openclaw${suffix(profile, '-')}`, 'memory')
      for (const tier of ['watchdog', 'monitor', 'guardian']) {
        const [name] = readdirSync(logs).filter((one) => one.startsWith(`${tier}-`))
        expect(readFileSync(join(logs, name!), 'utf8')).toContain(
          `/.openclaw${suffix(profile, '-')}/self-healing.paused`,
        )
      }
    }
    const status = (await machine.setup('work', '--status')).stdout
    for (const words of [/profile work/, /profile default, rescue/, /watchdog +yes .* 3 /])
      expect(status).toMatch(words)

    const lingering = () => machine.schedulerCalls().filter((call) => call.startsWith('loginctl'))
    await machine.setup('default', '--uninstall')
    expect(machine.systemd!.active()).toHaveLength(4)
    expect((await machine.setup('rescue', '--uninstall', '--purge')).code).toBe(0)
    expect(existsSync(join(machine.home, 'openclaw-rescue'))).toBe(false)
    expect(existsSync(join(machine.home, 'openclaw-work', 'memory'))).toBe(true)
    expect(lingering()).not.toContain('loginctl disable-linger')
    await machine.setup('work', '--uninstall')
    expect(lingering().at(-1)).toBe('loginctl disable-linger')
    expect(machine.traces()).toEqual(before)
  })

  test('a bad name, a shared port or a shared log folder is refused, and nothing is touched', async (t) => {
    const machine = await machineWithProfiles('linux', t)
    expect((await machine.setup('default', '--yes')).code).toBe(0)
    const before = machine.listing()
    const env = { OPENCLAW_PROFILE: '../up' }
    for (const run of [
      await machine.setupWith(['--yes', '--profile=../up']),
      await machine.setupWith(['--uninstall'], { env }),
      await machine.launch(['gateway-watchdog'], { env }),
      await machine.runScript('gateway-watchdog', [], { env }),
      await machine.setup('work', '--port', String(machine.port)),
    ])
      expect(run).toMatchObject({ code: 2, stdout: '' })
    expect(machine.listing()).toEqual(before)
    machine.writeEnv('work', `OPENCLAW_MEMORY_DIR=${machine.memoryDir}\n`)
    expect(await machine.setup('work', '--yes')).toMatchObject({ code: 2, stdout: '' })

    // The environment selects a profile as the flag does; a port that is given goes into its own .env.
    machine.writeEnv('work', '')
    expect((await machine.setupWith(['--yes'], { env: { OPENCLAW_PROFILE: 'work' } })).code).toBe(0)
    expect((await machine.setup('work', '--yes')).stdout).toMatch(/^unchanged\n/)
    const port = String(await freePort())
    machine.writeEnv('rescue', 'OPENCLAW_MEMORY_DIR=~/openclaw-work/memory\n')
    expect(await machine.setup('rescue', '--port', port)).toMatchObject({ code: 2, stdout: '' })
    expect((await machine.setup('fourth', '--port', port)).code).toBe(0)
    expect(readFileSync(join(machine.home, '.openclaw-fourth', '.env'), 'utf8')).toBe(
      `OPENCLAW_GATEWAY_PORT="${port}"\n`,
    )
  })

  test('an .env that cannot be used does not prevent the uninstallation: the receipt says what there is', async (t) => {
    const machine = await machineWithProfiles('linux', t)
    const before = machine.traces()
    expect((await machine.setup('default', '--yes')).code).toBe(0)
    machine.writeEnv('default', 'HEALTH_CHECK_MAX_RETRIES=many\nOPENCLAW_MEMORY_DIR=relative\n')
    expect(await machine.setup('default', '--yes')).toMatchObject({ code: 2 })
    // What a doctor's run that was killed has left.
    writeFileSync(join(machine.home, '.openclaw-doctor.lock'), '{"pid":4194999,"tier":"emergency-recovery"}')
    const run = await machine.setup('default', '--uninstall', '--purge')
    expect(run).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining('HEALTH_CHECK_MAX_RETRIES="many"'),
    })
    expect(existsSync(machine.memoryDir)).toBe(false)
    expect(machine.traces()).toEqual(before)
  })
})
