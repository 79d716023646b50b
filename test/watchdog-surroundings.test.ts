/** Level 1 as a process, continued: locks, state, logs, settings, supervisors, and what a review found. */

import { spawn } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { launchctlCalls, standInLaunchctl } from './support/launchctl.ts'
import { createSandbox, type Sandbox, type SandboxOptions, waitFor } from './support/sandbox.ts'
import { startStranger } from './support/stranger.ts'

async function sandbox(options?: SandboxOptions): Promise<Sandbox> {
  const box = await createSandbox(options)
  onTestFinished(box.close)
  return box
}

const environmentOf = (pid: number) => readFileSync(`/proc/${pid}/environ`, 'utf8')
const kill = (pid: number, signal: NodeJS.Signals) => process.kill(pid, signal)
const restarts = (box: Sandbox) => box.log('watchdog').match(/\[INFO\] restart: /g)?.length ?? 0

test('two watchdogs at once: one works, the other stands down', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '5' } })
  await box.startGateway({ health: 'silent' })
  const first = box.startScript('gateway-watchdog')
  await waitFor(() => existsSync(join(box.stateDir, 'watchdog', 'watchdog.lock')), 'the lock')
  const second = await box.runScript('gateway-watchdog')
  expect(second.code).toBe(3)
  expect(second.stdout).toMatch(new RegExp(`another run is at work \\(pid ${first.pid}`))
  kill(first.pid, 'SIGTERM')
  expect((await first.finished).code).toBe(1)
  expect(existsSync(join(box.stateDir, 'watchdog', 'watchdog.lock'))).toBe(false)
})

test('a lock left by SIGKILL, or one whose pid is now somebody else, is taken over', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  const lock = join(box.stateDir, 'watchdog', 'watchdog.lock')
  mkdirSync(join(box.stateDir, 'watchdog'), { recursive: true })
  for (const content of [
    JSON.stringify({ pid: 4_000_000, tier: 'watchdog', since: 'x', atWork: true }),
    JSON.stringify({ pid, tier: 'watchdog', since: 'x', atWork: true }),
    '{"pid":',
    '',
  ]) {
    writeFileSync(lock, content)
    expect((await box.runScript('gateway-watchdog')).code, content).toBe(0)
  }
})

test('while Level 2 is at work Level 1 stands down', async () => {
  const box = await sandbox({ settings: { HEALTH_CHECK_RETRY_DELAY: '60' } })
  box.setFaults({ exitAtBoot: { code: 1, stderr: 'boom' } })
  const nurse = box.startScript('gateway-healthcheck')
  await waitFor(() => box.log('healthcheck').includes('retry 1/3'), 'Level 2 at work')
  const run = await box.runScript('gateway-watchdog')
  expect(run).toMatchObject({ code: 3, stdout: expect.stringContaining('level 2 is at work') })
  kill(nurse.pid, 'SIGTERM')
  await nurse.finished
})

test('--dry-run examines, says what it would do, and changes nothing', async () => {
  const box = await sandbox()
  const before = readdirSync(box.home, { recursive: true }).sort()
  const run = await box.runScript('gateway-watchdog', ['--dry-run'])
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/dry run: level 1 would now: start/)
  expect(readdirSync(box.home, { recursive: true }).sort()).toEqual(before)
  expect(box.openclawCalls()).toEqual([])
})

test.each(['gateway-watchdog', 'gateway-healthcheck'])(
  '%s --help says what it is and does; an unknown flag is exit 2',
  async (name) => {
    const box = await sandbox()
    const help = await box.runScript(name, ['--help'])
    expect(help.code).toBe(0)
    expect(help.stdout).toMatch(/--dry-run/)
    expect(help.stdout).toMatch(/Exit codes: 0/)
    expect((await box.runScript(name, ['--frobnicate'])).code).toBe(2)
  },
)

test('an unusable setting is exit 2 and one line that names it; nothing is touched', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_RETRY_DELAY: 'soon' } })
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(2)
  expect(run.stderr.trim().split('\n')).toHaveLength(1)
  expect(run.stderr).toContain('OPENCLAW_WATCHDOG_RETRY_DELAY="soon": expected seconds')
  expect(run.stderr).toContain(join(box.stateDir, '.env'))
  expect(existsSync(join(box.stateDir, 'watchdog'))).toBe(false)
  // Nobody reads the standard error of a job: it is in the log, too.
  expect(box.log('watchdog')).toMatch(/cannot start: OPENCLAW_WATCHDOG_RETRY_DELAY="soon": expected seconds/)
})

test('a log folder that cannot be made is said, the log goes to the state folder, the gateway is healed', async () => {
  const box = await sandbox()
  mkdirSync(join(box.home, 'openclaw'), { recursive: true })
  writeFileSync(box.memoryDir, 'a file where the folder should be')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(0)
  expect(run.stderr).toMatch(/cannot write to .*memory.* \(ENOTDIR|EEXIST\)/)
  const fallback = join(box.stateDir, 'watchdog', 'logs')
  expect(readFileSync(join(fallback, readdirSync(fallback)[0]!), 'utf8')).toMatch(/RECOVERED by level 1/)
})

test('a state folder that cannot be written: nothing is restarted, a human is called', async () => {
  const box = await sandbox()
  writeFileSync(join(box.stateDir, 'watchdog'), 'a file where the folder should be')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(box.log('watchdog')).toMatch(/MANUAL INTERVENTION REQUIRED: .*watchdog.* cannot be written/)
  expect(box.openclawCalls()).toEqual([])
})

test.each([
  ['empty', ''],
  ['half written', '{'],
  ['of another shape', '[]'],
  ['with a nonsensical number', '{"backoff":{"crashes":"many"}}'],
  ['binary', '\u0000\u0000'],
  ['huge', 'x'.repeat(100_000)],
])('a damaged state file (%s) is kept aside, said, and begun anew', async (_name, content) => {
  const box = await sandbox()
  await box.startGateway()
  const folder = join(box.stateDir, 'watchdog')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'watchdog.json'), content)
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(0)
  expect(run.stdout).toMatch(/state file .*watchdog\.json was damaged; kept as watchdog\.json\.corrupt-/)
  expect(readdirSync(folder).some((name) => name.startsWith('watchdog.json.corrupt-'))).toBe(true)
  expect(JSON.parse(readFileSync(join(folder, 'watchdog.json'), 'utf8')).backoff.crashes).toBe(0)
})

test('a secret in the evidence does not reach the log', async () => {
  const box = await sandbox()
  await box.startGateway(
    {
      exitAtBoot: {
        code: 78,
        stderr:
          'required secrets are unavailable: token=stand-in-token-0123456789 sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789',
      },
    },
    'exit',
  )
  await box.runScript('gateway-watchdog')
  expect(box.log('watchdog')).toContain('DOWN blocked')
  expect(box.log('watchdog')).not.toContain('abcdefghijklmnopqrstuvwxyz0123456789')
})

test('logs and what is left of damaged state are kept for fourteen days, learnings for ever', async () => {
  const box = await sandbox()
  await box.startGateway()
  const watchdogDir = join(box.stateDir, 'watchdog')
  mkdirSync(box.memoryDir, { recursive: true })
  mkdirSync(watchdogDir, { recursive: true })
  const old = new Date(Date.now() - 15 * 86_400_000)
  for (const name of [
    'watchdog-2020-01-01.log',
    'emergency-recovery-2020-01-01-010101.log',
    'recovery-learnings.md',
    'my-own.log',
  ]) {
    writeFileSync(join(box.memoryDir, name), 'x')
    utimesSync(join(box.memoryDir, name), old, old)
  }
  const [oldDamage, newDamage] = [
    'watch.json.corrupt-2020-01-01-010101',
    'watch.json.corrupt-2026-01-01-010101',
  ] as const
  const halfWritten = '.watch.json.4711.1577836800000.tmp'
  for (const name of [oldDamage, newDamage, halfWritten, 'mine.json']) writeFileSync(join(watchdogDir, name), 'x')
  for (const name of [oldDamage, halfWritten, 'mine.json']) utimesSync(join(watchdogDir, name), old, old)
  await box.runScript('gateway-watchdog')
  const state = readdirSync(watchdogDir)
  expect(state).toEqual(expect.arrayContaining([newDamage, 'mine.json']))
  expect(state).not.toContain(oldDamage)
  expect(state).not.toContain(halfWritten)
  const left = box.memoryFiles()
  expect(left).toContain('recovery-learnings.md')
  expect(left).toContain('my-own.log')
  expect(left).not.toContain('watchdog-2020-01-01.log')
  expect(left).not.toContain('emergency-recovery-2020-01-01-010101.log')
})

test('a line that a crash cut in half does not swallow the next one', async () => {
  const box = await sandbox()
  await box.startGateway()
  await box.runScript('gateway-watchdog')
  const log = join(box.memoryDir, box.memoryFiles('watchdog')[0]!)
  writeFileSync(log, `${readFileSync(log, 'utf8')}[2026-11-22T02:0`)
  await box.runScript('gateway-watchdog')
  expect(box.log('watchdog')).toMatch(/\n\[2026-11-22T02:0\n\[\d{4}-/)
})

test('an incident that nobody of us ended is closed as ended from outside', async () => {
  const box = await sandbox()
  box.writeConfig('{ broken')
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  box.writeConfig()
  await box.startGateway()
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog')).toMatch(/RECOVERED by itself or from outside after \d+ s/)
})

test('a config that the gateway is healthy on is kept as known-good, privately, and at most five', async () => {
  const box = await sandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0' } })
  const folder = join(box.stateDir, 'watchdog', 'known-good')
  for (let i = 0; i < 7; i++) {
    box.writeConfig(
      `// ${i}\n{ gateway: { mode: 'local', port: ${box.port}, bind: 'loopback', auth: { mode: 'token', token: 'abcdefghijkl' } } }`,
    )
    if (i === 0) await box.startGateway()
    await box.runScript('gateway-watchdog')
    await box.runScript('gateway-watchdog')
  }
  const kept = readdirSync(folder)
  expect(kept).toHaveLength(5)
  expect(statSync(join(folder, kept[0]!)).mode & 0o777).toBe(0o600)
  expect(readFileSync(join(folder, kept.sort().at(-1)!), 'utf8')).toBe(readFileSync(box.configPath, 'utf8'))
  rmSync(folder, { recursive: true })
  chmodSync(box.home, 0o755)
})

test('a clock that ran ahead for a while does not keep a config from being kept for as long again', async () => {
  const box = await sandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0' } })
  const record = join(box.stateDir, 'watchdog', 'gateway.json')
  await box.startGateway()
  await box.runScript('gateway-watchdog')
  expect(box.log('watchdog')).toMatch(/config kept as known-good/)
  rmSync(join(box.stateDir, 'watchdog', 'known-good'), { recursive: true })
  const ahead = { ...JSON.parse(readFileSync(record, 'utf8')), configHealthySinceMs: Date.now() + 86_400_000 }
  writeFileSync(record, JSON.stringify(ahead))
  await box.runScript('gateway-watchdog')
  await box.runScript('gateway-watchdog')
  expect(box.log('watchdog').match(/config kept as known-good/g)).toHaveLength(2)
})

test('openclaw, which takes seconds to answer, is not asked at every tick about a config that it does not pass', async () => {
  const box = await sandbox()
  box.planCli({ 'config validate': { code: 1, stdout: '{"valid":false,"issues":[]}' } })
  await box.startGateway()
  box.writeConfig({ changed: true })
  await box.runScript('gateway-watchdog')
  const record = join(box.stateDir, 'watchdog', 'gateway.json')
  writeFileSync(record, JSON.stringify({ ...JSON.parse(readFileSync(record, 'utf8')), configHealthySinceMs: 1 }))
  for (let i = 0; i < 3; i++) await box.runScript('gateway-watchdog')
  expect(box.openclawCalls().filter((call) => call.startsWith('config validate'))).toHaveLength(1)
})

test('an old complaint in the log does not outlive the repair of the config', async () => {
  const box = await sandbox()
  box.writeConfig(`{ "gateway": { "port": ${box.port} } }`)
  await box.startGateway({}, 'exit')
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  const later = new Date(Date.now() + 2000)
  box.writeConfig()
  utimesSync(box.configPath, later, later)
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(restarts(box)).toBe(1)
})

test('a job that launchd does not have is enabled and bootstrapped, again after "5: Input/output error"', async () => {
  const box = await sandbox()
  standInLaunchctl(box, '')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN unloaded: .*launchd: job not loaded/)
  expect(launchctlCalls(box)).toMatch(
    /enable gui\/UID\/ai\.openclaw\.gateway\n[\s\S]*bootstrap gui\/UID [\s\S]*bootstrap gui\/UID /,
  )
  expect(launchctlCalls(box)).not.toMatch(/kickstart -k/)
})

test('a job that somebody disabled is left alone, and so is one that `openclaw update` has unloaded', async () => {
  const box = await sandbox({ settings: { OPENCLAW_STARTUP_GRACE: '60' } })
  standInLaunchctl(box, '')
  writeFileSync(join(box.root, 'disabled'), '\t"ai.openclaw.gateway" => disabled\n')
  expect((await box.runScript('gateway-watchdog')).code).toBe(3)
  expect(box.log('watchdog')).toMatch(/left alone: somebody stopped it \(launchd: job disabled\)/)
  rmSync(join(box.root, 'disabled'))
  // It has that name from the moment in which it is there: spawn returns when the program runs.
  const updater = spawn('sleep', ['100'], { argv0: 'openclaw-update', stdio: 'ignore' })
  onTestFinished(() => void updater.kill())
  const watchdog = box.startScript('gateway-watchdog')
  await waitFor(() => /starting: .*`openclaw update` works \(pid/.test(box.log('watchdog')), 'the watchdog to wait')
  expect(launchctlCalls(box)).not.toMatch(/enable|bootstrap|kickstart/)
  updater.kill()
  expect((await watchdog.finished).code).toBe(0)
})

test('a gateway that is started bare is not told that systemd supervises it', async () => {
  const box = await sandbox()
  const unit = { INVOCATION_ID: '0123', JOURNAL_STREAM: '8:1', SYSTEMD_EXEC_PID: '1' }
  expect((await box.runScript('gateway-watchdog', [], { env: unit })).code).toBe(0)
  const [gateway] = box.processes().filter((pid) => environmentOf(pid).includes('STAND_IN_CONTROL='))
  expect(environmentOf(gateway!)).not.toMatch(/INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_EXEC_PID/)
})

test('a job that launchd stopped respawning is kickstarted once', async () => {
  const box = await sandbox()
  standInLaunchctl(box, 'state = not running\nruns = 12\nlast exit code = 1\n')
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN parked: .*last exit code 1/)
  expect(launchctlCalls(box).match(/kickstart/g)).toHaveLength(1)
})

test('a parked job whose last exit code is 78 is not started again: it says that it would refuse', async () => {
  const box = await sandbox()
  standInLaunchctl(box, 'state = not running\nruns = 3\nlast exit code = 78\n')
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect(box.log('watchdog')).toMatch(/DOWN misconfigured: exit 78/)
  expect(launchctlCalls(box)).not.toMatch(/kickstart|bootstrap/)
})

test('a gateway beside its supervisor (orphan) is up: reported once, not restarted', async () => {
  const box = await sandbox()
  standInLaunchctl(box, 'state = not running\nruns = 3\nlast exit code = 1\n')
  const { pid } = await box.startGateway()
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(
    box.log('watchdog').match(/the gateway answers, but as .*which is not what ai\.openclaw\.gateway supervises/g),
  ).toHaveLength(1)
  expect(launchctlCalls(box)).not.toMatch(/kickstart|bootstrap/)
  expect(box.processes()).toContain(pid)
})

test.each(['upgrading openclaw, back at 5', 'maintenance 2', 'ticket OPS-12', '60'])(
  'the note "%s" in the pause switch is no end time: it pauses',
  async (note) => {
    const box = await sandbox()
    writeFileSync(join(box.stateDir, 'self-healing.paused'), note)
    expect((await box.runScript('gateway-watchdog')).code).toBe(3)
    expect(box.openclawCalls()).toEqual([])
  },
)

test('a lock that cannot be read (a folder in its place) is said at once; nothing is treated', async () => {
  const box = await sandbox()
  mkdirSync(join(box.stateDir, 'watchdog', 'watchdog.lock'), { recursive: true })
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/MANUAL INTERVENTION REQUIRED: .*EISDIR/)
  expect(box.openclawCalls()).toEqual([])
})

test('a foreign process that only mentions openclaw-gateway in its arguments is an impostor, and is not killed', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '0.5' } })
  const other = await startStranger(box, ['-L', `${box.port}:localhost:18789`, 'openclaw-gateway'])
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect(box.log('watchdog')).toMatch(/DOWN impostor/)
  expect(other.isAlive()).toBe(true)
})

test('a config that was broken and repaired while the gateway ran is no reason for a later crash', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  appendFileSync(
    box.gatewayLog,
    '2026-11-22T05:00:00.000+00:00 [reload] config reload skipped (invalid config): JSON5 parse failed\n',
  )
  kill(pid, 'SIGKILL')
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  expect(box.log('watchdog')).toMatch(/DOWN absent/)
})

test('a systemd that has the unit but gives no answer: no bare gateway is started beside it', async () => {
  const box = await sandbox()
  mkdirSync(join(box.home, '.config', 'systemd', 'user'), { recursive: true })
  writeFileSync(join(box.home, '.config', 'systemd', 'user', 'openclaw-gateway.service'), '[Service]\n')
  box.addTool('systemctl', 'echo "Failed to connect to bus: No medium found" >&2; exit 1')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/systemd has a job for the gateway, but gives no answer/)
  expect(box.openclawCalls()).not.toContain('gateway run')
})

test.each(['gateway-watchdog', 'gateway-healthcheck'])(
  'a hung gateway that comes to while the restart of %s fails was not healed by it',
  async (script) => {
    const box = await sandbox({ settings: { HEALTH_CHECK_HTTP_TIMEOUT: '1', OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1' } })
    const { pid } = await box.startGateway()
    box.addTool(
      'systemctl',
      `[ "$2" = restart ] && { kill -CONT ${pid}; echo 'Access denied' >&2; exit 1; }
echo LoadState=loaded; echo UnitFileState=enabled; echo ActiveState=active; echo SubState=running; echo MainPID=${pid}`,
    )
    box.planCli({ 'gateway restart': { code: 1, stderr: 'Access denied' } })
    await box.runScript('gateway-watchdog')
    kill(pid, 'SIGSTOP')
    const run = await box.runScript(script)
    expect(run.code, run.stdout).toBe(0)
    expect(run.stdout).toMatch(/systemctl --user restart \S+: FAILED: .*Access denied/)
    expect(run.stdout).toMatch(/RECOVERED by itself or from outside/)
  },
)

test('told to stop twice it still ends in order: last line, exit 1, no lock', async () => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '20' } })
  await box.startGateway({ health: 'silent' })
  const run = box.startScript('gateway-watchdog')
  await waitFor(() => existsSync(join(box.stateDir, 'watchdog', 'watchdog.lock')), 'the lock')
  kill(run.pid, 'SIGINT')
  kill(run.pid, 'SIGTERM')
  kill(run.pid, 'SIGTERM')
  expect(await run.finished).toMatchObject({ code: 1, signal: null })
  expect(box.log('watchdog')).toMatch(/RUN ended: stopped by SIGINT|RUN ended: stopped by SIGTERM/)
  expect(existsSync(join(box.stateDir, 'watchdog', 'watchdog.lock'))).toBe(false)
})

test.each([
  ['back', 3_600_000],
  ['forward', -3_600_000],
])(
  'the clock set %s by an hour: a killed gateway is started all the same, and the next tick is quiet',
  async (_way, shiftMs) => {
    const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_BACKOFF: '10 30 60 600' } })
    const { pid } = await box.startGateway()
    await box.runScript('gateway-watchdog')
    // What is remembered lies an hour in the future (or in the past), as after the clock was set.
    for (const name of ['watchdog.json', 'gateway.json']) {
      const path = join(box.stateDir, 'watchdog', name)
      const shifted = readFileSync(path, 'utf8').replace(/\b1[0-9]{12}\b/g, (ms) => String(Number(ms) + shiftMs))
      writeFileSync(path, shifted)
    }
    const state = join(box.stateDir, 'watchdog', 'watchdog.json')
    const at = Date.now() + shiftMs
    const backoff = { crashes: 4, lastCrashMs: at, lastRestartMs: shiftMs > 0 ? at : at - 600_000 }
    writeFileSync(state, JSON.stringify({ ...JSON.parse(readFileSync(state, 'utf8')), backoff }))
    kill(pid, 'SIGKILL')
    expect((await box.runScript('gateway-watchdog')).code).toBe(0)
    expect(box.log('watchdog')).toMatch(/RECOVERED by level 1/)
    expect((await box.runScript('gateway-watchdog')).stdout).not.toMatch(/DOWN|restart:/)
  },
)
