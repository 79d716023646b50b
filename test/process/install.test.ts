/** Setup on a Mac, on Linux and with cron alone: installed, run, unchanged, uninstalled; and what can go wrong. */
import { execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { copyCheckout } from '../support/checkout.ts'
import { CRONTAB, DOMAIN, HEALTHCHECK, hostFor, runCronLine, WATCHDOG } from '../support/machine.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'

const { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } = fs
const JOBS = [HEALTHCHECK, WATCHDOG]
const TIMERS = JOBS.map((name) => `${name}.timer`)

/** How often each job is started: Level 1's pulse, and Level 2; and so by launchd's calendar. */
const JOB_SEC = { watchdog: 60, healthcheck: 300 }
const WORDS = { watchdog: ['gateway-watchdog', '--pulse'], healthcheck: ['gateway-healthcheck'] }
const minutesOf = (step: number) => Array.from({ length: 60 / step }, (_, i) => ({ Minute: i * step }))

describe.concurrent('setup', () => {
  test('on a Mac: planned, installed, run, unchanged, uninstalled', async (t) => {
    const machine = await hostFor(t, 'mac', { runsTiers: true })
    const untouched = machine.listing()
    const changes = () => machine.launchd.calls.filter((call) => !/^(?:print|managername)/.test(call))
    const plan = await machine.succeeds(['--dry-run'])
    for (const text of ['~/Library/LaunchAgents/com.openclaw.watchdog.plist', 'run-tier.sh'])
      expect(plan).toContain(text)
    expect(machine.listing()).toEqual(untouched)
    expect(changes()).toEqual([])

    const npm = join(projectDir, 'node_modules', '.bin')
    const env = { PATH: `${npm}:./here:${machine.binDir}`, SECRET_OF_THIS_SHELL: 'x' }
    expect(await machine.succeeds(['--yes'], { env })).toContain('The watchdog has written its first line.')
    await waitFor(() => JOBS.every((label) => !machine.launchd.job(label)!.child), 'the first runs')
    for (const label of JOBS) expect(machine.launchd.job(label)).toMatchObject({ runs: 1, lastExit: 3 })
    expect(machine.crontab()!.endsWith(CRONTAB)).toBe(true)
    expect(machine.cronLines()).toHaveLength(2)
    const escalations = join(machine.memoryDir, 'escalations.log')
    for (const tier of ['watchdog', 'healthcheck'] as const) {
      const { EnvironmentVariables, WatchPaths, ...plist } = machine.plist(`com.openclaw.${tier}`)
      expect(plist).toMatchObject({
        Label: `com.openclaw.${tier}`,
        ProgramArguments: ['/bin/sh', join(projectDir, 'scripts', 'run-tier.sh'), ...WORDS[tier]],
        StartCalendarInterval: minutesOf(JOB_SEC[tier] / 60),
        RunAtLoad: true,
        StandardErrorPath: join(machine.home, 'Library', 'Logs', `com.openclaw.${tier}.err.log`),
      })
      expect(WatchPaths).toEqual(tier === 'healthcheck' ? [escalations] : undefined)
      const { PATH, ...others } = EnvironmentVariables as Record<string, string>
      expect(others).toEqual({ HOME: machine.home })
      expect(PATH!.split(':')[0]).toBe(machine.binDir)
      expect(PATH).not.toMatch(/node_modules|here/)
      // Also by a parser that is not ours, where there is one; CI has it.
      const tool = ['/usr/bin/plutil', '/usr/bin/plistutil'].find((path) => existsSync(path))
      const args = tool?.endsWith('plutil') ? ['-lint'] : ['-f', 'json', '-i']
      if (tool) execFileSync(tool, [...args, join(machine.agentsDir, `com.openclaw.${tier}.plist`)], { stdio: 'pipe' })
    }

    const [listing, done] = [machine.withoutLogs(), changes()]
    expect(await machine.succeeds()).toMatch(/^unchanged\n/)
    expect([machine.withoutLogs(), changes()]).toEqual([listing, done])
    expect((await machine.setup(['--status'])).code).toBe(1)

    // What launchd watches for Level 2 is what Level 1 writes when it escalates.
    const pause = join(machine.stateDir, 'self-healing.paused')
    rmSync(pause)
    const config = readFileSync(machine.configPath)
    machine.writeConfig('{ this is broken')
    expect((await machine.launch(['gateway-watchdog'])).code).toBe(1)
    expect(readFileSync(escalations, 'utf8')).not.toBe('')
    writeFileSync(pause, '')
    writeFileSync(machine.configPath, config)

    await machine.succeeds(['--uninstall'])
    machine.expectGone()
    expect(machine.memoryFiles('watchdog-')).not.toEqual([])
    expect(await machine.succeeds(['--uninstall'])).toBe('not installed: nothing to do\n')
    // Its logs go afterwards, after a yes.
    const logs = machine.memoryFiles()
    expect((await machine.setup(['--purge'])).code).toBe(2)
    expect(await machine.succeeds(['--purge', '--dry-run'])).toContain('openclaw/memory/watchdog-')
    expect(machine.memoryFiles()).toEqual(logs)
    writeFileSync(join(machine.memoryDir, 'mine.md'), 'x')
    await machine.succeeds(['--purge', '--yes'])
    expect(machine.memoryFiles()).toEqual(['mine.md'])
    machine.expectGone()
  })

  test('on Linux: installed, run, unchanged, uninstalled; units as the tiers’ table and systemd want them', async (t) => {
    const machine = await hostFor(t, 'linux', { runsTiers: true })
    const run = { checkout: copyCheckout(join(machine.root, 'it\'s 100% $HOME sélf "healing"')).root }
    expect(await machine.succeeds(['--yes'], run)).toContain('The watchdog has written its first line.')
    expect(machine.jobs()).toEqual(TIMERS)
    expect(machine.schedulerCalls()).toContain('loginctl enable-linger')
    expect(await machine.succeeds(['--yes'], run)).toMatch(/^unchanged\n[\s\S]*lingering is off/)
    for (const tier of ['watchdog', 'healthcheck'] as const) {
      const read = (unit: string) => readFileSync(join(machine.unitsDir, `com.openclaw.${tier}.${unit}`), 'utf8')
      expect(read('timer')).toContain(`OnUnitActiveSec=${JOB_SEC[tier]}s\n`)
      for (const line of ['SuccessExitStatus=3', 'KillMode=process']) expect(read('service')).toContain(`\n${line}\n`)
      expect(read('service')).toMatch(new RegExp(`^ExecStart=.* ${WORDS[tier].join(' ')}$`, 'm'))
      expect(read('service').includes('\nOnFailure=com.openclaw.healthcheck.service\n')).toBe(tier === 'watchdog')
    }
    await machine.succeeds(['--uninstall'])
    expect(machine.schedulerCalls()).toContain('loginctl disable-linger')
    machine.expectGone()
  })

  test('with neither launchd nor systemd cron starts all four; without cron it is said what is missing', async (t) => {
    const bare = await hostFor(t, 'bare')
    await bare.succeeds()
    const lines = bare.cronLines()
    expect(lines.map((line) => line.slice(0, 11))).toEqual(['* * * * * H', '*/5 * * * *', '*/5 * * * *', '*/5 * * * *'])
    await runCronLine(lines[0]!)
    expect(bare.memoryFiles('watchdog-')).toHaveLength(1)
    // A unit of the user's own that is called like ours.
    mkdirSync(bare.unitsDir, { recursive: true })
    writeFileSync(join(bare.unitsDir, `${WATCHDOG}.service`), '[Service]\nExecStart=/usr/bin/mine\n')
    expect((await bare.setup(['--uninstall'])).code).toBe(0)
    expect(readdirSync(bare.unitsDir)).toEqual([`${WATCHDOG}.service`])
    rmSync(join(bare.home, '.config'), { recursive: true })
    bare.expectGone()

    const machine = await hostFor(t, 'linux', { withoutCron: true })
    machine.addTool('loginctl', 'echo "Could not enable linger: Access denied" >&2; exit 1')
    const said = await machine.succeeds()
    expect(said).toMatch(/^crontab +MISSING: no alerts, no guardian; `.*install cron`$/m)
    expect(machine.jobs()).toEqual(TIMERS)
    expect((await machine.setup(['--status'])).code).toBe(1)
    // Refused: said, once more at the end, with what helps; what was not switched on must not be switched off.
    expect(said).toMatch(/✗ switch lingering on[\s\S]*not done: switch lingering on[\s\S]*`sudo loginctl enable-linger/)
    expect(said).not.toContain('✓ switch lingering')
    expect(readFileSync(join(machine.watchdogDir, 'receipt.json'), 'utf8')).not.toContain('linger')
  })

  test('from a path with a blank, an é, a quote and a %, with HOME behind a symlink: launchd and cron run them', async (t) => {
    const machine = await hostFor(t, 'mac', { runsTiers: true })
    const link = join(machine.root, 'hôme of mine')
    symlinkSync(machine.home, link)
    const { root } = copyCheckout(join(machine.root, "it's 100% sélf <healing> & more"))
    const run = { checkout: root, env: { HOME: link } }
    expect(await machine.succeeds(['--yes'], run)).toContain('The watchdog has written its first line.')
    for (const line of machine.cronLines()) await runCronLine(line)
    for (const tier of ['monitor', 'guardian']) expect(machine.log(tier)).toMatch(/RUN ended: .*, exit 3 /)
    await machine.succeeds(['--uninstall'], run)
    machine.expectGone()
  })

  test('failed or interrupted, it names the step and rolls back; killed half-way, it can be uninstalled', async (t) => {
    const machine = await hostFor(t, 'mac')
    machine.refuseCrontab()
    const refused = await machine.setup(['--yes'])
    const stderr = expect.stringMatching(/crontab: .*operation not permitted/s)
    expect(refused).toMatchObject({ code: 1, stderr })
    machine.expectGone()

    const interrupted = machine.startSetup(['--yes'])
    interrupted.child.stdout.on('data', (text: string) => {
      if (text.includes(`✓ start ${WATCHDOG}`)) interrupted.child.kill('SIGINT')
    })
    expect((await interrupted.finished).code).toBe(1)
    machine.expectGone()

    rmSync(join(machine.controlDir, 'crontab.refuses'))
    const crontab = readFileSync(join(machine.binDir, 'crontab'), 'utf8').replace(/^#!.*\n/, '')
    machine.addTool('crontab', `[ "$1" = - ] && { touch '${machine.controlDir}/stuck'; sleep 60; }\n${crontab}`)
    const { child, finished } = machine.startSetup(['--yes'])
    await waitFor(() => existsSync(join(machine.controlDir, 'stuck')), 'the last step')
    child.kill('SIGKILL')
    await finished
    machine.addTool('crontab', crontab)
    expect(machine.jobs()).toHaveLength(2)
    await machine.succeeds(['--uninstall'])
    machine.expectGone()
  })

  test('two at the same time: one installs; a checkout that was moved is followed; when that fails, the old one stays', async (t) => {
    const machine = await hostFor(t, 'mac')
    const runs = await Promise.all([machine.setup(['--yes']), machine.setup(['--yes'])])
    for (const { code, stdout } of runs) if (code !== 3) expect(stdout).toMatch(/Installed\.|unchanged/)
    expect(runs.every(({ code }) => code === 0 || code === 3)).toBe(true)
    expect(machine.cronLines()).toHaveLength(2)
    expect(machine.launchd.calls.filter((call) => call.startsWith('bootstrap'))).toHaveLength(2)

    const before = machine.withoutLogs()
    const run = { checkout: copyCheckout(join(machine.root, 'elsewhere')).root }
    const bootstrap = (label: string) => `bootstrap ${DOMAIN} ${join(machine.agentsDir, label)}`
    // launchd has not let go of a job right after its bootout: bootstrap fails with 5, and is tried again.
    machine.launchd.plan(bootstrap(WATCHDOG), { code: 5, stderr: 'Bootstrap failed: 5: Input/output error\n' }, 2)
    machine.launchd.plan(bootstrap(HEALTHCHECK), { code: 125, stderr: 'Domain does not support specified action\n' })
    expect((await machine.setup(['--yes'], run)).code).toBe(1)
    expect(machine.withoutLogs()).toEqual(before)
    expect(machine.jobs()).toEqual(JOBS)

    await machine.succeeds(['--yes'], run)
    expect(machine.plist(WATCHDOG).ProgramArguments).toContain(join(run.checkout, 'scripts', 'run-tier.sh'))
    expect(machine.cronLines()).toHaveLength(2)
    expect(machine.cronLines().every((line) => line.includes(run.checkout))).toBe(true)
    expect(machine.jobs()).toEqual(JOBS)
  })

  test('an uninstallation that was cut short is finished or reversed; a lost receipt and an edited crontab do no harm', async (t) => {
    const machine = await hostFor(t, 'mac')
    await machine.succeeds()
    const receipt = join(machine.watchdogDir, 'receipt.json')
    // A job that launchctl says nothing about may be loaded.
    machine.launchd.plan(`print ${DOMAIN}/${WATCHDOG}`, { code: 1, stderr: 'Input/output error\n' })
    expect(await machine.setup(['--uninstall'])).toMatchObject({ code: 1, stderr: expect.stringContaining(WATCHDOG) })
    await machine.succeeds()
    const leave = () => fs.renameSync(receipt, join(machine.watchdogDir, 'receipt.leaving.json'))
    leave()
    await machine.succeeds()
    expect(existsSync(receipt)).toBe(true)
    leave()
    await machine.succeeds(['--uninstall'])
    machine.expectGone()

    await machine.succeeds()
    rmSync(machine.watchdogDir, { recursive: true })
    const end = '# END openclaw-self-healing\n'
    const edited = machine.crontab()!.replace(end, `5 5 * * * echo mine\n${end}0 0 * * * echo new\n`)
    machine.writeCrontab(edited.replace('@daily true\n', ''))
    await machine.succeeds(['--uninstall'])
    machine.expectGone(`5 5 * * * echo mine\n0 0 * * * echo new\n${CRONTAB.replace('@daily true\n', '')}`)
  })

  test('while Level 2 is at work an installation waits, and an uninstallation ends it; what was added to .env stays', async (t) => {
    const machine = await hostFor(t, 'mac', { withoutEnv: true })
    await machine.succeeds(['--port', '18790'])
    appendFileSync(join(machine.stateDir, '.env'), 'OPENAI_API_KEY=sk-x\n')
    // A process that calls itself Level 2 and treats the gateway.
    const script = ['-e', 'setInterval(() => {}, 1000)', 'gateway-healthcheck.ts']
    const level2 = spawn(process.execPath, script, { env: machine.env })
    const ended = new Promise((resolve) => level2.once('exit', (_, signal) => resolve(signal)))
    const holder = { pid: level2.pid, tier: 'healthcheck', since: new Date().toISOString(), atWork: true }
    writeFileSync(join(machine.watchdogDir, 'healthcheck.lock'), JSON.stringify(holder))
    appendFileSync(join(machine.agentsDir, `${WATCHDOG}.plist`), '\n')
    expect((await machine.setup(['--yes'])).code).toBe(3)
    await machine.succeeds(['--uninstall', '--purge'])
    expect(await ended).toBe('SIGTERM')
    expect(readFileSync(join(machine.stateDir, '.env'), 'utf8')).toContain('sk-x')
  })

  test('uninstalled while Level 1 is in a run: Level 2, which systemd starts for that, is ended too', async (t) => {
    const machine = await hostFor(t, 'linux')
    await machine.succeeds()
    await waitFor(() => machine.systemd.running().length === 0, 'the end of the first runs')
    const isAtWork = join(machine.root, 'level-1-is-at-work')
    const scripts = {
      // Told to stop, a tier says so and exits with 1.
      watchdog: `trap 'exit 1' TERM; : >'${isAtWork}'; while :; do sleep 0.1; done`,
      // Makes the folder again that it finds missing.
      healthcheck: `trap 'exit 1' TERM; while :; do mkdir -p '${machine.watchdogDir}'; sleep 0.1; done`,
    }
    for (const [name, script] of Object.entries(scripts)) {
      writeFileSync(join(machine.root, `${name}.sh`), script)
      const service = join(machine.unitsDir, `com.openclaw.${name}.service`)
      const start = `ExecStart=/bin/sh ${machine.root}/${name}.sh`
      writeFileSync(service, readFileSync(service, 'utf8').replace(/^ExecStart=.*$/m, start))
    }
    await machine.systemd.call('--user', 'daemon-reload')
    await machine.systemd.call('--user', 'start', 'com.openclaw.watchdog.service')
    await waitFor(() => existsSync(isAtWork), 'Level 1')
    await machine.succeeds(['--uninstall'])
    expect(machine.systemd.running()).toEqual([])
    expect(existsSync(machine.watchdogDir)).toBe(false)
  })

  test('purged, our logs, numbers and .env go, and no others; who had no crontab has none again', async (t) => {
    const machine = await hostFor(t, 'mac', { withoutEnv: true })
    rmSync(join(machine.controlDir, 'crontab'))
    const numbers = join(machine.home, 'numbers')
    // A log folder behind a link is emptied, and the link stays.
    const disk = join(machine.root, 'disk')
    for (const folder of [disk, join(machine.memoryDir, '..'), numbers]) mkdirSync(folder, { recursive: true })
    symlinkSync(disk, machine.memoryDir)
    const mine = [join(machine.memoryDir, '2026-11-22.md'), join(numbers, 'openclaw-self-healing-work-watchdog.prom')]
    for (const path of [...mine, join(numbers, 'openclaw-self-healing-default-watchdog.prom')]) writeFileSync(path, 'x')
    const env = { PROMETHEUS_TEXTFILE_DIR: numbers }
    await machine.succeeds(['--port', '18790'], { env })
    writeFileSync(join(machine.memoryDir, 'recovery-learnings.md'), 'learnt')
    await machine.succeeds(['--uninstall', '--purge'], { env })
    expect([machine.memoryDir, numbers].flatMap((one) => readdirSync(one).map((name) => join(one, name)))).toEqual(mine)
    expect(existsSync(join(machine.stateDir, '.env'))).toBe(false)
    expect(machine.crontab()).toBeUndefined()
  })
})
