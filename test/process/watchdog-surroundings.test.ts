/** Level 1 as a process: locks, state, logs, settings, clocks, and what supervises the gateway. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { test } from '../support/boxes.ts'
import { launchctlCalls, standInLaunchctl } from '../support/launchctl.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

const tick = async (box: Sandbox) => (await box.runScript('gateway-watchdog')).code
const inState = (box: Sandbox, ...path: string[]) => join(box.stateDir, 'watchdog', ...path)
const environmentOf = (pid: number) => readFileSync(`/proc/${pid}/environ`, 'utf8')
const filesOf = (box: Sandbox) => readdirSync(box.home, { recursive: true }).sort()

test('of two watchdogs one stands down; told to stop more than once, it ends in order', async ({ sandbox }) => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '20' } })
  await box.startGateway({ health: 'silent' })
  const first = box.startScript('gateway-watchdog')
  await waitFor(() => existsSync(inState(box, 'watchdog.lock')), 'the lock')
  const second = await box.runScript('gateway-watchdog')
  expect(second).toMatchObject({ code: 3, stdout: expect.stringContaining(`pid ${first.pid}`) })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGTERM'] as const) process.kill(first.pid, signal)
  expect(await first.finished).toMatchObject({ code: 1, signal: null })
  expect(box.log('watchdog')).toMatch(/RUN ended: stopped by SIG(?:INT|TERM), exit 1/)
  expect(existsSync(inState(box, 'watchdog.lock'))).toBe(false)
})

test('a lock that cannot be read is not taken over: nothing is started, a human is called', async ({ sandbox }) => {
  const box = await sandbox()
  mkdirSync(inState(box, 'watchdog.lock'), { recursive: true })
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/MANUAL INTERVENTION REQUIRED: .*watchdog/)
  expect(box.openclawCalls()).toEqual([])
})

test('a lock whose pid is gone or another process is taken over; half a line does not swallow the next one', async ({
  sandbox,
}) => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  mkdirSync(inState(box))
  const of = (owner: number) => JSON.stringify({ pid: owner, tier: 'watchdog', since: 'x', atWork: true })
  for (const content of [of(4_000_000), of(pid), '{"pid":']) {
    writeFileSync(inState(box, 'watchdog.lock'), content)
    expect(await tick(box), content).toBe(0)
  }
  appendFileSync(join(box.memoryDir, box.memoryFiles('watchdog')[0]!), '[2026-11-22T02:0')
  await tick(box)
  expect(box.log('watchdog')).toMatch(/\n\[2026-11-22T02:0\n\[\d{4}-/)
})

test.for(['gateway-watchdog', 'gateway-healthcheck'])(
  '%s: --dry-run changes nothing, --help explains, an unknown flag is exit 2',
  async (name, { sandbox }) => {
    const box = await sandbox()
    box.writeConfig('{ broken')
    const before = filesOf(box)
    const run = await box.runScript(name, ['--dry-run'])
    expect(run).toMatchObject({ code: 1, stdout: expect.stringMatching(/RUN ended: misconfigured, exit 1/) })
    expect(filesOf(box)).toEqual(before)
    expect(box.openclawCalls().filter((call) => !call.startsWith('config validate'))).toEqual([])
    const help = await box.runScript(name, ['--help'])
    expect(help).toMatchObject({ code: 0, stdout: expect.stringMatching(/--dry-run[\s\S]*\b3\b/) })
    expect((await box.runScript(name, ['--frobnicate'])).code).toBe(2)
  },
)

test('an unusable setting is exit 2 and named; nothing is touched', async ({ sandbox }) => {
  const box = await sandbox({ settings: { OPENCLAW_WATCHDOG_RETRY_DELAY: 'soon' } })
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(2)
  expect(run.stderr).toMatch(/^watchdog: OPENCLAW_WATCHDOG_RETRY_DELAY="soon".*\/\.openclaw\/\.env/)
  expect(existsSync(inState(box))).toBe(false)
  // The standard error of a job is read by no one: it is in the log, too.
  expect(box.log('watchdog')).toContain('OPENCLAW_WATCHDOG_RETRY_DELAY="soon"')
})

test('a log folder that cannot be made: the log goes to the state folder', async ({ sandbox }) => {
  const box = await sandbox()
  mkdirSync(join(box.home, 'openclaw'))
  writeFileSync(box.memoryDir, 'a file where the folder should be')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code).toBe(0)
  expect(run.stderr).toContain(box.memoryDir)
  const [log] = readdirSync(inState(box, 'logs')) as [string]
  expect(readFileSync(inState(box, 'logs', log), 'utf8')).toMatch(/RECOVERED by level 1/)
})

test('without a state folder nothing is started, a human is called', async ({ sandbox }) => {
  const box = await sandbox()
  writeFileSync(inState(box), 'a file in its place')
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/MANUAL INTERVENTION REQUIRED: .*watchdog/)
  expect(box.openclawCalls()).toEqual([])
})

test('logs and damaged state are kept for fourteen days, the rest for good', async ({ sandbox }) => {
  const box = await sandbox()
  await box.startGateway()
  for (const folder of [box.memoryDir, inState(box)]) mkdirSync(folder, { recursive: true })
  const age = (path: string, days: number) => {
    writeFileSync(path, 'x')
    utimesSync(path, Date.now() / 1000 - days * 86_400, Date.now() / 1000 - days * 86_400)
    return path
  }
  const logs = ['watchdog-2020-01-01.log', 'emergency-recovery-2020-01-01-010101.log']
  const leftovers = ['watch.json.corrupt-2020-01-01-010101', '.watch.json.4711.1577836800000.tmp']
  const inMemory = (name: string) => join(box.memoryDir, name)
  const gone = [...logs.map(inMemory), ...leftovers.map((name) => inState(box, name))].map((path) => age(path, 15))
  const others = [inMemory('recovery-learnings.md'), inMemory('my-own.log'), inState(box, 'mine.json')]
  const kept = [...others.map((path) => age(path, 15)), age(inState(box, 'w.json.corrupt-2026-01-01-010101'), 0)]
  await tick(box)
  expect([...gone, ...kept].filter((path) => existsSync(path))).toEqual(kept)
})

test('openclaw is not asked at every tick about a config that it does not pass', async ({ sandbox }) => {
  const box = await sandbox()
  box.planCli({ 'config validate': { code: 1, stdout: '{"valid":false,"issues":[]}' } })
  await box.startGateway()
  box.writeConfig({ changed: true })
  await tick(box)
  const record = JSON.parse(readFileSync(inState(box, 'gateway.json'), 'utf8'))
  writeFileSync(inState(box, 'gateway.json'), JSON.stringify({ ...record, configHealthySinceMs: 1 }))
  for (let i = 0; i < 3; i++) await tick(box)
  expect(box.openclawCalls().filter((call) => call.startsWith('config validate'))).toHaveLength(1)
})

test('an old complaint in the log does not outlive the repair of the config', async ({ sandbox }) => {
  const box = await sandbox()
  box.writeConfig(`{ "gateway": { "port": ${box.port} } }`)
  await box.startGateway({}, 'exit')
  expect(await tick(box)).toBe(1)
  const later = Date.now() / 1000 + 2
  box.writeConfig()
  utimesSync(box.configPath, later, later)
  expect(await tick(box)).toBe(0)
  expect(box.restarts()).toBe(1)
})

test('a job that was disabled by a stop, or unloaded by an update, is left alone; disabled alone, it is started', async ({
  sandbox,
  onTestFinished,
}) => {
  const box = await sandbox({ settings: { OPENCLAW_STARTUP_GRACE: '60' } })
  standInLaunchctl(box, '')
  writeFileSync(join(box.root, 'disabled'), '\t"ai.openclaw.gateway" => disabled\n')
  const lifecycle = join(box.stateDir, 'logs', 'gateway-restart.log')
  const stopped = 'openclaw gateway lifecycle source=cli action=stop mode=disable-bootout interactive=1'
  writeFileSync(lifecycle, `[${new Date().toISOString()}] ${stopped}\n`)
  expect(await tick(box)).toBe(3)
  expect(box.log('watchdog')).toMatch(/RUN ended: stopped-on-purpose/)
  rmSync(lifecycle)
  // It has that name from the moment in which it is there: spawn returns when the program runs.
  const updater = spawn('sleep', ['100'], { argv0: 'openclaw-update', stdio: 'ignore', env: box.env })
  onTestFinished(() => void updater.kill())
  expect(await tick(box)).toBe(3)
  expect(launchctlCalls(box)).not.toMatch(/enable|bootstrap|kickstart/)
  updater.kill()
  await once(updater, 'exit')
  expect(await tick(box)).toBe(0)
})

test('what another account starts under names of OpenClaw keeps no gateway from its start', {
  skip: process.getuid?.() !== 0,
}, async ({ sandbox, onTestFinished }) => {
  const box = await sandbox()
  const nobody = { uid: 65_534, gid: 65_534 }
  const titled = (argv0: string) => {
    const child = spawn('cat', [], { argv0, env: { LANG: 'C' }, ...nobody })
    onTestFinished(() => void child.kill())
    return child.pid!
  }
  titled('openclaw-update')
  titled(`npm ${'i '.repeat(60_000)}`)
  const folder = join(box.root, 'tmp', 'openclaw-0')
  mkdirSync(folder)
  const lock = { pid: titled('openclaw-gateway'), configPath: box.configPath, createdAt: new Date().toISOString() }
  writeFileSync(join(folder, 'gateway.0.lock'), JSON.stringify(lock))
  for (const path of [join(folder, 'gateway.0.lock'), folder]) chownSync(path, nobody.uid, nobody.gid)
  const begun = performance.now()
  const run = await box.runScript('gateway-watchdog', [], { env: { TMPDIR: join(box.root, 'tmp') } })
  expect(run.code, run.stdout).toBe(0)
  expect(box.restarts()).toBe(1)
  expect(performance.now() - begun).toBeLessThan(20_000)
})

test('a gateway that is started bare is not told that systemd or launchd supervises it', async ({ sandbox }) => {
  const box = await sandbox()
  const unit = { INVOCATION_ID: '0123', JOURNAL_STREAM: '8:1', SYSTEMD_EXEC_PID: '1' }
  const job = { OPENCLAW_LAUNCHD_LABEL: 'x', XPC_SERVICE_NAME: 'com.openclaw.watchdog' }
  expect((await box.runScript('gateway-watchdog', [], { env: { ...unit, ...job } })).code).toBe(0)
  const [gateway] = box.processes().filter((pid) => environmentOf(pid).includes('STAND_IN_CONTROL='))
  for (const name of Object.keys({ ...unit, ...job })) expect(environmentOf(gateway!)).not.toContain(name)
})

test('a gateway whose log cannot be written has not been started', async ({ sandbox }) => {
  const box = await sandbox({ settings: { OPENCLAW_STARTUP_GRACE: '1' } })
  mkdirSync(join(box.stateDir, 'logs', 'gateway.log'), { recursive: true })
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/\[ERROR\] openclaw gateway run .*FAILED: .*gateway\.log/)
})

test('a hung gateway is ended also when launchd does not let go', async ({ known }) => {
  const { box, pid } = await known({ settings: { HEALTH_CHECK_HTTP_TIMEOUT: '1', OPENCLAW_STOP_GRACE: '0.5' } })
  standInLaunchctl(box, `state = running\npid = ${pid}\n`)
  box.planCli({ 'gateway restart': { code: 1, stderr: 'launchctl kickstart failed' } })
  process.kill(pid, 'SIGSTOP')
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(launchctlCalls(box)).toContain('bootout gui/UID/ai.openclaw.gateway')
  expect(box.processes()).not.toContain(pid)
})

test('no bare gateway is started beside a systemd that gives no answer', async ({ sandbox }) => {
  const box = await sandbox()
  const units = join(box.home, '.config', 'systemd', 'user')
  mkdirSync(units, { recursive: true })
  writeFileSync(join(units, 'openclaw-gateway.service'), '[Service]\n')
  box.addTool('systemctl', 'echo "Failed to connect to bus: No medium found" >&2; exit 1')
  expect(await tick(box)).toBe(1)
  expect(box.log('watchdog')).toMatch(/systemd/)
  expect(box.openclawCalls()).not.toContain('gateway run')
})

test.for(['gateway-watchdog', 'gateway-healthcheck'])(
  'a hung gateway that comes to while the restart of %s fails was not healed by it',
  async (script, { known }) => {
    const { box, pid } = await known({
      settings: { HEALTH_CHECK_HTTP_TIMEOUT: '1', OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1' },
    })
    box.addTool(
      'systemctl',
      `[ "$2" = restart ] && { kill -CONT ${pid}; echo 'Access denied' >&2; exit 1; }
echo LoadState=loaded; echo UnitFileState=enabled; echo ActiveState=active; echo SubState=running; echo MainPID=${pid}`,
    )
    box.planCli({ 'gateway restart': { code: 1, stderr: 'Access denied' } })
    await box.runScript('gateway-watchdog')
    process.kill(pid, 'SIGSTOP')
    const run = await box.runScript(script)
    expect(run.code, run.stdout).toBe(0)
    expect(run.stdout).toMatch(/\[ERROR\] .*Access denied/)
    expect(run.stdout).toMatch(/RECOVERED by itself or from outside/)
  },
)
