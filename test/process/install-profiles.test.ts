/** Setup for several gateways of one user: side by side, and removed separately. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { HEALTHCHECK, hostFor, runCronLine, WATCHDOG } from '../support/machine.ts'
import { freePort } from '../support/ports.ts'

const PROFILES = ['default', 'work', 'rescue']
const suffix = (profile: string, separator: string) => (profile === 'default' ? '' : separator + profile)
const jobs = (end = '') =>
  PROFILES.flatMap((one) => [WATCHDOG, HEALTHCHECK].map((name) => `${name}${suffix(one, '.')}${end}`)).sort()
const of = (profile: string) => (profile === 'default' ? [] : ['--profile', profile])

async function hostWithProfiles(t: TestContext, kind: 'mac' | 'linux', runsTiers = false) {
  const machine = await hostFor(t, kind, { runsTiers })
  const stateDir = (profile: string) => join(machine.home, `.openclaw${suffix(profile, '-')}`)
  for (const profile of PROFILES) {
    mkdirSync(stateDir(profile), { recursive: true })
    writeFileSync(join(stateDir(profile), 'self-healing.paused'), '')
  }
  const writeEnv = (profile: string, text: string) => writeFileSync(join(stateDir(profile), '.env'), text)
  /** All that is in HOME but the logs of all profiles, the crontab, and the jobs. */
  const traces = () => [...Object.keys(machine.withoutLogs()).sort(), machine.crontab(), machine.jobs()]
  return { ...machine, traces, writeEnv }
}

describe.concurrent('setup for several profiles', () => {
  test('on a Mac: three side by side, each with jobs of its own; removed in any order, the others stay', async (t) => {
    const machine = await hostWithProfiles(t, 'mac')
    const before = [machine.traces()]
    for (const profile of PROFILES) {
      const cure = profile === 'default' ? '`npm run status`' : `npm run status -- --profile ${profile}`
      expect(await machine.succeeds(['--yes', ...of(profile)])).toContain(cure)
      before.push(machine.traces())
    }
    expect(machine.jobs()).toEqual(jobs())
    for (const profile of PROFILES) {
      const { EnvironmentVariables } = machine.plist(`${WATCHDOG}${suffix(profile, '.')}`)
      const { OPENCLAW_PROFILE } = EnvironmentVariables as Record<string, string>
      expect(OPENCLAW_PROFILE).toBe(profile === 'default' ? undefined : profile)
      expect(await machine.succeeds(['--yes', ...of(profile)])).toMatch(/^unchanged\n/)
    }
    const watched = `${machine.home}/openclaw-work/memory/escalations.log`
    expect(machine.plist(`${HEALTHCHECK}.work`).WatchPaths).toEqual([watched])
    for (const profile of ['rescue', 'work', 'default']) {
      expect(machine.traces()).toEqual(before.pop())
      await machine.succeeds(['--uninstall', ...of(profile)])
    }
    expect([machine.traces()]).toEqual(before)
  })

  test('on Linux: timers, hand-off, cron lines and logs of each are its own; lingering ends with the last', async (t) => {
    const machine = await hostWithProfiles(t, 'linux', true)
    const before = machine.traces()
    for (const profile of PROFILES) await machine.succeeds(['--yes', ...of(profile)])
    expect(machine.jobs()).toEqual(jobs('.timer'))
    const work = readFileSync(join(machine.unitsDir, 'com.openclaw.watchdog.work.service'), 'utf8')
    expect(work).toContain('\nOnFailure=com.openclaw.healthcheck.work.service\n')

    // What the jobs really ran wrote into the profile's own log.
    for (const line of machine.cronLines()) await runCronLine(line.replace(/(\/bin\/sh )/, `HOME='${machine.home}' $1`))
    for (const profile of PROFILES) {
      const logs = join(machine.home, `openclaw${suffix(profile, '-')}`, 'memory')
      for (const tier of ['watchdog', 'monitor', 'guardian']) {
        const [name] = readdirSync(logs).filter((one) => one.startsWith(`${tier}-`))
        const pause = `/.openclaw${suffix(profile, '-')}/self-healing.paused`
        expect(readFileSync(join(logs, name!), 'utf8')).toContain(pause)
      }
    }
    const { stdout } = await machine.setup(['--status', ...of('work')])
    for (const words of [/profile work/, /profile default\b[\s\S]*profile rescue\b/, /watchdog +yes .* 3 /])
      expect(stdout).toMatch(words)

    await machine.succeeds(['--uninstall'])
    expect(machine.jobs()).toHaveLength(4)
    await machine.succeeds(['--uninstall', '--purge', ...of('rescue')])
    expect(existsSync(join(machine.home, 'openclaw-rescue'))).toBe(false)
    expect(existsSync(join(machine.home, 'openclaw-work', 'memory'))).toBe(true)
    expect(machine.schedulerCalls()).not.toContain('loginctl disable-linger')
    await machine.succeeds(['--uninstall', ...of('work')])
    expect(machine.schedulerCalls()).toContain('loginctl disable-linger')
    expect(machine.traces()).toEqual(before)
  })

  test('a bad name, a shared port or log folder is refused, and nothing is touched; an .env that cannot be used does not prevent an uninstallation', async (t) => {
    const machine = await hostWithProfiles(t, 'linux')
    const clean = machine.traces()
    await machine.succeeds()
    const before = machine.listing()
    const env = { OPENCLAW_PROFILE: '../up' }
    for (const run of [
      await machine.setup(['--yes', '--profile=../up']),
      await machine.setup(['--uninstall'], { env }),
      await machine.launch(['gateway-watchdog'], { env }),
      await machine.runScript('gateway-watchdog', [], { env }),
      await machine.setup(['--port', String(machine.port), ...of('work')]),
    ])
      expect(run.code).toBe(2)
    expect(machine.listing()).toEqual(before)
    machine.writeEnv('work', `OPENCLAW_MEMORY_DIR=${machine.memoryDir}\n`)
    expect(await machine.setup(['--yes', ...of('work')])).toMatchObject({ code: 2 })

    // The environment selects a profile as the flag does; a port that is given goes into its own .env.
    machine.writeEnv('work', '')
    await machine.succeeds(['--yes'], { env: { OPENCLAW_PROFILE: 'work' } })
    const port = String(await freePort())
    machine.writeEnv('rescue', 'OPENCLAW_MEMORY_DIR=~/openclaw-work/memory\n')
    expect(await machine.setup(['--port', port, ...of('rescue')])).toMatchObject({ code: 2 })
    await machine.succeeds(['--port', port, ...of('fourth')])
    const text = readFileSync(join(machine.home, '.openclaw-fourth', '.env'), 'utf8')
    expect(text).toBe(`OPENCLAW_GATEWAY_PORT="${port}"\n`)
    await machine.succeeds(['--uninstall', '--purge', ...of('fourth')])
    await machine.succeeds(['--uninstall', '--purge', ...of('work')])

    // The receipt says what there is.
    machine.writeEnv('default', 'HEALTH_CHECK_MAX_RETRIES=many\nOPENCLAW_MEMORY_DIR=relative\n')
    expect(await machine.setup(['--yes'])).toMatchObject({ code: 2 })
    // What a doctor's run that was killed has left.
    writeFileSync(join(machine.home, '.openclaw-doctor.lock'), '{"pid":4194999,"tier":"emergency-recovery"}')
    expect(await machine.succeeds(['--uninstall', '--purge'])).toContain('HEALTH_CHECK_MAX_RETRIES="many"')
    expect(existsSync(machine.memoryDir)).toBe(false)
    const ours = (path: unknown) => !/^\.openclaw-(?:work|rescue|fourth)(?:\/\.env)?$/.test(String(path))
    expect(machine.traces().filter(ours)).toEqual(clean.filter(ours))
  })
})
