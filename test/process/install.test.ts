/** Setup on a Mac, on Linux and with cron alone: installed, run, unchanged, uninstalled; and what can go wrong. */
import { execFileSync, spawn } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { TIERS } from '../../lib/tier/contract.ts'
import { copyCheckout } from '../support/checkout.ts'
import {
  CRONTAB,
  createMac,
  createMachine,
  cronLinesOf,
  DOMAIN,
  HEALTHCHECK,
  installed,
  listingWithoutLogs,
  type MachineOptions,
  plistOf,
  runCronLine,
  WATCHDOG,
} from '../support/machine.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'

const JOBS = [HEALTHCHECK, WATCHDOG]
const TIMERS = JOBS.map((name) => `${name}.timer`)

async function mac({ onTestFinished }: TestContext, options: MachineOptions = {}) {
  const machine = await createMac(options)
  onTestFinished(machine.close)
  return { ...machine, before: listingWithoutLogs(machine) }
}

async function linux({ onTestFinished }: TestContext, options: MachineOptions = {}, kind: 'linux' | 'bare' = 'linux') {
  const machine = await createMachine(kind, options)
  onTestFinished(machine.close)
  writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
  machine.writeCrontab(CRONTAB)
  return { ...machine, systemd: machine.systemd!, before: listingWithoutLogs(machine) }
}

type Host = Awaited<ReturnType<typeof mac>> | Awaited<ReturnType<typeof linux>>

/** Nothing is left but logs. */
function expectGone(machine: Host, crontab: string | undefined = CRONTAB): void {
  expect(machine.launchd?.labels() ?? []).toEqual([])
  expect(machine.systemd?.active() ?? []).toEqual([])
  expect(machine.crontab()).toBe(crontab)
  expect(listingWithoutLogs(machine)).toEqual(machine.before)
}

describe.concurrent('setup', () => {
  test('on a Mac: planned, installed, run, unchanged, uninstalled', async (t) => {
    const machine = await mac(t, { runsTiers: true })
    const untouched = machine.listing()
    const plan = await installed(machine, ['--dry-run'])
    for (const text of ['~/Library/LaunchAgents/com.openclaw.watchdog.plist', 'run-tier.sh'])
      expect(plan).toContain(text)
    expect(machine.listing()).toEqual(untouched)
    expect(machine.launchd.calls.filter((call) => !call.startsWith('print'))).toEqual([])

    const npm = join(projectDir, 'node_modules', '.bin')
    const env = { PATH: `${npm}:./here:${machine.binDir}`, SECRET_OF_THIS_SHELL: 'x' }
    expect(await installed(machine, ['--yes'], { env })).toContain('The watchdog has written its first line.')
    const areIdle = () => JOBS.every((label) => !machine.launchd.job(label)!.child)
    await waitFor(areIdle, 'the first runs')
    for (const label of JOBS) expect(machine.launchd.job(label)).toMatchObject({ runs: 1, lastExit: 3 })
    expect(machine.crontab()!.endsWith(CRONTAB)).toBe(true)
    expect(cronLinesOf(machine)).toHaveLength(2)
    for (const tier of ['watchdog', 'healthcheck'] as const) {
      const { EnvironmentVariables, ...plist } = plistOf(machine, `com.openclaw.${tier}`)
      expect(plist).toMatchObject({
        Label: `com.openclaw.${tier}`,
        ProgramArguments: ['/bin/sh', join(projectDir, 'scripts', 'run-tier.sh'), TIERS[tier].script],
        StartInterval: TIERS[tier].intervalSec,
        RunAtLoad: true,
        StandardErrorPath: join(machine.home, 'Library', 'Logs', `com.openclaw.${tier}.err.log`),
      })
      expect(plist.WatchPaths).toEqual(
        tier === 'healthcheck' ? [join(machine.memoryDir, 'escalations.log')] : undefined,
      )
      const { PATH, ...others } = EnvironmentVariables as Record<string, string>
      expect(others).toEqual({ HOME: machine.home })
      expect(PATH!.split(':')[0]).toBe(machine.binDir)
      expect(PATH).not.toMatch(/node_modules|here/)
      // Also by a parser that is not ours, where there is one; CI has it.
      const tool = ['/usr/bin/plutil', '/usr/bin/plistutil'].find((path) => existsSync(path))
      const args = tool?.endsWith('plutil') ? ['-lint'] : ['-f', 'json', '-i']
      if (tool) execFileSync(tool, [...args, join(machine.agentsDir, `com.openclaw.${tier}.plist`)], { stdio: 'pipe' })
    }

    const listing = listingWithoutLogs(machine)
    const calls = machine.launchd.calls.length
    expect(await installed(machine)).toBe('unchanged\n')
    expect(machine.launchd.calls.slice(calls).filter((call) => !call.startsWith('print'))).toEqual([])
    expect(listingWithoutLogs(machine)).toEqual(listing)
    expect((await machine.setup(['--status'])).code).toBe(1)

    // Level 1 escalates, and launchd starts Level 2 at once, which is paused again by then.
    const level2 = machine.launchd.job(HEALTHCHECK)!
    const pause = join(machine.stateDir, 'self-healing.paused')
    rmSync(pause)
    machine.writeConfig('{ this is broken')
    level2.isAsleep = true
    expect((await machine.launch(['gateway-watchdog'])).code).toBe(1)
    writeFileSync(pause, '')
    level2.isAsleep = false
    await waitFor(() => level2.runs > 1 && areIdle(), 'the run of Level 2')
    machine.writeConfig()

    await installed(machine, ['--uninstall'])
    expectGone(machine)
    expect(machine.memoryFiles('watchdog-')).not.toEqual([])
    expect(await installed(machine, ['--uninstall'])).toBe('not installed: nothing to do\n')
  })

  test('on Linux: installed, run, unchanged, uninstalled; units as the tiers’ table and systemd want them', async (t) => {
    const machine = await linux(t, { runsTiers: true })
    const { root } = copyCheckout(join(machine.root, 'it\'s 100% $HOME sélf "healing"'))
    const first = await machine.setup(['--yes'], { checkout: root })
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toContain('The watchdog has written its first line.')
    expect(machine.systemd.active()).toEqual(TIMERS)
    expect(machine.schedulerCalls()).toContain('loginctl enable-linger')
    expect((await machine.setup(['--yes'], { checkout: root })).stdout).toMatch(/^unchanged\nnote: lingering is off/)
    for (const tier of ['watchdog', 'healthcheck'] as const) {
      const read = (unit: string) => readFileSync(join(machine.unitsDir, `com.openclaw.${tier}.${unit}`), 'utf8')
      expect(read('timer')).toContain(`OnUnitActiveSec=${TIERS[tier].intervalSec}s\n`)
      for (const line of ['SuccessExitStatus=3', 'KillMode=process']) expect(read('service')).toContain(`\n${line}\n`)
      expect(read('service')).toMatch(new RegExp(`^ExecStart=.* ${TIERS[tier].script}$`, 'm'))
      expect(read('service').includes('\nOnFailure=com.openclaw.healthcheck.service\n')).toBe(tier === 'watchdog')
    }
    const units = readdirSync(machine.unitsDir).filter((name) => /\.(?:service|timer)$/.test(name))
    expect(units).toHaveLength(4)
    if (existsSync('/usr/bin/systemd-analyze')) {
      const paths = units.map((unit) => join(machine.unitsDir, unit))
      const env = { PATH: '/usr/bin:/bin', HOME: machine.home, XDG_RUNTIME_DIR: machine.root }
      const verify = ['-c', 'systemd-analyze --user verify "$@" 2>&1', 'sh', ...paths]
      expect(execFileSync('/bin/sh', verify, { env, encoding: 'utf8' })).not.toContain('com.openclaw')
    }
    expect(await machine.setup(['--uninstall'])).toMatchObject({ code: 0, stderr: '' })
    expect(machine.schedulerCalls()).toContain('loginctl disable-linger')
    expectGone(machine)
  })

  test('with neither launchd nor systemd cron starts all four; without cron it is said what is missing', async (t) => {
    const bare = await linux(t, {}, 'bare')
    expect(await bare.setup(['--yes'])).toMatchObject({ code: 0, stderr: '' })
    const lines = cronLinesOf(bare)
    expect(lines.map((line) => line.slice(0, 11))).toEqual(['*/3 * * * *', '*/5 * * * *', '*/5 * * * *', '*/5 * * * *'])
    await runCronLine(lines[0]!)
    expect(bare.memoryFiles('watchdog-')).toHaveLength(1)
    // A unit of the user's own that is called like ours.
    mkdirSync(bare.unitsDir, { recursive: true })
    writeFileSync(join(bare.unitsDir, `${WATCHDOG}.service`), '[Service]\nExecStart=/usr/bin/mine\n')
    expect((await bare.setup(['--uninstall'])).code).toBe(0)
    expect(readdirSync(bare.unitsDir)).toEqual([`${WATCHDOG}.service`])
    rmSync(join(bare.home, '.config'), { recursive: true })
    expectGone(bare)

    const machine = await linux(t, { withoutCron: true })
    machine.addTool('loginctl', 'echo "Could not enable linger: Access denied" >&2; exit 1')
    const { code, stdout } = await machine.setup(['--yes'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/crontab +MISSING: Level 4 and the guardian are not started; `.*install cron`/)
    expect(machine.systemd.active()).toEqual(TIMERS)
    expect((await machine.setup(['--status'])).code).toBe(1)
    // Refused: said, with what helps; what was not switched on must not be switched off.
    expect(stdout).toMatch(/NOT DONE: lingering .*sudo loginctl enable-linger/)
    expect(readFileSync(join(machine.watchdogDir, 'receipt.json'), 'utf8')).not.toContain('linger')
  })

  test('from a path with a blank, an é, a quote and a %, with HOME behind a symlink: launchd and cron run them', async (t) => {
    const machine = await mac(t, { runsTiers: true })
    const link = join(machine.root, 'hôme of mine')
    symlinkSync(machine.home, link)
    const { root } = copyCheckout(join(machine.root, "it's 100% sélf <healing> & more"))
    const run = { checkout: root, env: { HOME: link } }
    expect(await installed(machine, ['--yes'], run)).toContain('The watchdog has written its first line.')
    for (const line of cronLinesOf(machine)) await runCronLine(line)
    for (const tier of ['monitor', 'guardian']) expect(machine.log(tier)).toMatch(/RUN ended: .*, exit 3 /)
    await installed(machine, ['--uninstall'], run)
    expectGone(machine)
  })

  test('a failing step is named, and all that this run had done is rolled back', async (t) => {
    const [one, other] = [await mac(t), await linux(t)]
    one.refuseCrontab()
    const refused = await one.setup(['--yes'])
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/crontab.*FAILED: .*operation not permitted/),
    })
    expectGone(one)
    other.systemd.plan('--user enable', { code: 1, stderr: 'Failed to enable unit: Access denied\n' })
    const failed = await other.setup(['--yes'])
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/watchdog\.timer: FAILED: .*Access denied/) })
    expectGone(other)
  })

  test('interrupted, it rolls back; killed half-way, it can be uninstalled', async (t) => {
    const machine = await mac(t)
    const interrupted = machine.startSetup(['--yes'])
    interrupted.child.stdout.on('data', (text: string) => {
      if (text.includes(`✓ start ${WATCHDOG}`)) interrupted.child.kill('SIGINT')
    })
    expect((await interrupted.finished).code).toBe(1)
    expectGone(machine)

    const crontab = readFileSync(join(machine.binDir, 'crontab'), 'utf8').replace(/^#!.*\n/, '')
    machine.addTool('crontab', `[ "$1" = - ] && { touch '${machine.controlDir}/stuck'; sleep 60; }\n${crontab}`)
    const { child, finished } = machine.startSetup(['--yes'])
    await waitFor(() => existsSync(join(machine.controlDir, 'stuck')), 'the last step')
    child.kill('SIGKILL')
    await finished
    machine.addTool('crontab', crontab)
    expect(machine.launchd.labels()).toHaveLength(2)
    await installed(machine, ['--uninstall'])
    expectGone(machine)
  })

  test('a checkout that was moved is followed by running setup there; when that fails, the old one stays', async (t) => {
    // launchd has not let go of a job right after its bootout: bootstrap fails with 5, and is tried again.
    const machine = await mac(t, { launchdHoldsOnFor: 2 })
    await installed(machine)
    const before = listingWithoutLogs(machine)
    const { root } = copyCheckout(join(machine.root, 'elsewhere'))
    const answer = { code: 125, stderr: 'Bootstrap failed: 125: Domain does not support specified action\n' }
    machine.launchd.plan(`bootstrap ${DOMAIN} ${join(machine.agentsDir, HEALTHCHECK)}`, answer)
    expect((await machine.setup(['--yes'], { checkout: root })).code).toBe(1)
    expect(listingWithoutLogs(machine)).toEqual(before)
    expect(machine.launchd.labels()).toEqual(JOBS)

    await installed(machine, ['--yes'], { checkout: root })
    expect(plistOf(machine, WATCHDOG).ProgramArguments).toContain(join(root, 'scripts', 'run-tier.sh'))
    expect(cronLinesOf(machine)).toHaveLength(2)
    expect(cronLinesOf(machine).every((line) => line.includes(root))).toBe(true)
    expect(machine.launchd.labels()).toEqual(JOBS)
  })

  test('two at the same time: one installs, the other stands down or finds it done', async (t) => {
    const machine = await mac(t)
    const runs = await Promise.all([machine.setup(['--yes']), machine.setup(['--yes'])])
    for (const { code, stdout } of runs) if (code !== 3) expect(stdout).toMatch(/Installed\.|unchanged/)
    expect(runs.every(({ code }) => code === 0 || code === 3)).toBe(true)
    expect(cronLinesOf(machine)).toHaveLength(2)
    expect(machine.launchd.calls.filter((call) => call.startsWith('bootstrap'))).toHaveLength(2)
  })

  test('the receipt lost, the crontab edited: ours is found and taken out, the edits stay', async (t) => {
    const machine = await mac(t)
    await installed(machine)
    rmSync(machine.watchdogDir, { recursive: true })
    const end = '# END openclaw-self-healing\n'
    const edited = machine.crontab()!.replace(end, `5 5 * * * echo mine\n${end}0 0 * * * echo new\n`)
    machine.writeCrontab(edited.replace('@daily true\n', ''))
    await installed(machine, ['--uninstall'])
    expectGone(machine, `5 5 * * * echo mine\n0 0 * * * echo new\n${CRONTAB.replace('@daily true\n', '')}`)
  })

  test('an uninstallation that was cut short can be finished, or reversed by installing', async (t) => {
    const machine = await mac(t)
    await installed(machine, ['--yes'])
    const receipt = join(machine.watchdogDir, 'receipt.json')
    const leave = () => renameSync(receipt, join(machine.watchdogDir, 'receipt.leaving.json'))
    leave()
    await installed(machine)
    expect(existsSync(receipt)).toBe(true)
    leave()
    await installed(machine, ['--uninstall'])
    expectGone(machine)
  })

  test('while Level 2 is at work an installation waits, and an uninstallation ends it; what was added to .env stays', async (t) => {
    const machine = await mac(t, { withoutEnv: true })
    await installed(machine, ['--port', '18790'])
    appendFileSync(join(machine.stateDir, '.env'), 'OPENAI_API_KEY=sk-x\n')
    // A process that calls itself Level 2 and treats the gateway.
    const script = ['-e', 'setInterval(() => {}, 1000)', 'gateway-healthcheck.ts']
    const level2 = spawn(process.execPath, script, { env: machine.env })
    const ended = new Promise((resolve) => level2.once('exit', (_, signal) => resolve(signal)))
    const holder = { pid: level2.pid, tier: 'healthcheck', since: new Date().toISOString(), atWork: true }
    writeFileSync(join(machine.watchdogDir, 'healthcheck.lock'), JSON.stringify(holder))
    appendFileSync(join(machine.agentsDir, `${WATCHDOG}.plist`), '\n')
    expect((await machine.setup(['--yes'])).code).toBe(3)
    await installed(machine, ['--uninstall', '--purge'])
    expect(await ended).toBe('SIGTERM')
    expect(readFileSync(join(machine.stateDir, '.env'), 'utf8')).toContain('sk-x')
  })

  test('uninstalled while Level 1 is in a run: Level 2, which systemd starts for that, is ended too', async (t) => {
    const machine = await linux(t)
    expect((await machine.setup(['--yes'])).code).toBe(0)
    const isAtWork = join(machine.root, 'level-1-is-at-work')
    const scripts = {
      // Told to stop, a tier says so and exits with 1.
      watchdog: `trap 'exit 1' TERM; : >'${isAtWork}'; while :; do sleep 0.1; done`,
      // Makes the folder again that it finds missing.
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

  test('purged, our logs, numbers and .env go, and no others; who had no crontab has none again', async (t) => {
    const machine = await mac(t, { withoutEnv: true })
    rmSync(join(machine.controlDir, 'crontab'))
    const numbers = join(machine.home, 'numbers')
    // A log folder behind a link is emptied, and the link stays.
    const disk = join(machine.root, 'disk')
    for (const folder of [disk, join(machine.memoryDir, '..'), numbers]) mkdirSync(folder, { recursive: true })
    symlinkSync(disk, machine.memoryDir)
    const mine = [join(machine.memoryDir, '2026-11-22.md'), join(numbers, 'openclaw-self-healing-work-watchdog.prom')]
    for (const path of [...mine, join(numbers, 'openclaw-self-healing-default-watchdog.prom')]) writeFileSync(path, 'x')
    const env = { PROMETHEUS_TEXTFILE_DIR: numbers }
    await installed(machine, ['--port', '18790'], { env })
    expect(readFileSync(join(machine.stateDir, '.env'), 'utf8')).toBe('OPENCLAW_GATEWAY_PORT="18790"\n')
    writeFileSync(join(machine.memoryDir, 'recovery-learnings.md'), 'learnt')
    await installed(machine, ['--uninstall', '--purge'], { env })
    expect([machine.memoryDir, numbers].flatMap((one) => readdirSync(one).map((name) => join(one, name)))).toEqual(mine)
    expect(existsSync(join(machine.stateDir, '.env'))).toBe(false)
    expect(machine.crontab()).toBeUndefined()
  })
})
