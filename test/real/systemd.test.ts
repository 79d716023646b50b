/**
 * The whole system on a machine of its own: a real systemd, a real cron, and two real OpenClaw gateways of one user as
 * their own `openclaw gateway install` sets them up, one of them of the profile work, each with its own tiers. One story:
 * each test goes on where the one before it ended.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listFiles, USER } from '../support/container.ts'
import { waitFor } from '../support/wait-for.ts'
import { bootPatientMachine, CHECKOUT, type PatientMachine, slowly } from './patient-machine.ts'

const UNIT = 'openclaw-gateway.service'
const WORK_UNIT = 'openclaw-gateway-work.service'
const WORK_PORT = 19789
const TIMERS = ['', '.work'].flatMap((profile) =>
  ['watchdog', 'healthcheck'].map((tier) => `com.openclaw.${tier}${profile}.timer`),
)
const OF_USER = '17 4 * * * echo mine # of the user\n'
const UNITS = '.config/systemd/user'

let machine: PatientMachine
let before: Awaited<ReturnType<typeof lookAround>>

beforeAll(async () => {
  machine = await bootPatientMachine('systemd')
  machine.addGateway('-work', WORK_PORT)
})
afterAll(() => machine?.stop())

const systemctl = (...args: string[]) => machine.must('systemctl', '--user', ...args)
const unit = async (name: string, property: string) =>
  (await systemctl('show', name, `--property=${property}`, '--value')).trim()
const until = (name: string, property: string, value: string) =>
  slowly(async () => (await unit(name, property)) === value, `${name}: ${property} ${value}`)
const crontab = () => machine.must('crontab', '-l')

/** Every file of the machine but for what the gateways themselves write: in their own folders, caches and (they call npm) npm's logs. */
async function lookAround() {
  const ofGateways =
    /\/home\/otto\/(?:\.openclaw(?:-work)?\/(?!watchdog|\.env|self-healing)|\.cache\/|\.npm(?:\s|\/|$))/
  // The crontab as its user sees it: cron writes the date of its last change into the file.
  const files = listFiles(machine.root, ['etc', 'home', 'var/lib/systemd', 'root'])
  return { files: files.filter((line) => !ofGateways.test(line)), crontab: await crontab() }
}

/** For a test whose ticks are its own: Level 2 coming in between would heal what Level 1 has to find. */
async function holdSchedules(): Promise<void> {
  // Cron first: the guardian would revive the timers.
  expect(await machine.runAsRoot(['systemctl', 'stop', 'cron'])).toMatchObject({ code: 0 })
  await systemctl('stop', ...TIMERS)
  // What they had started before goes on: the timers start both levels at once when they are released.
  await machine.waitUntilQuiet()
}
async function releaseSchedules(): Promise<void> {
  await systemctl('start', ...TIMERS)
  expect(await machine.runAsRoot(['systemctl', 'start', 'cron'])).toMatchObject({ code: 0 })
}

/** systemd counts the watchdog's exit codes 0 and 3 as success. */
function startLevel1(profile = '') {
  // The usual tick is due.
  rmSync(join(machine.home, `.openclaw${profile.replace('.', '-')}`, 'watchdog', 'pulse'), { force: true })
  return machine.tries('systemctl', '--user', 'start', `com.openclaw.watchdog${profile}.service`)
}

test('both real gateways run as user services', async () => {
  await machine.must('openclaw', 'gateway', 'install')
  await machine.must('openclaw', '--profile', 'work', 'gateway', 'install', '--port', String(WORK_PORT))
  for (const port of [undefined, WORK_PORT]) await machine.waitUntilHealthy(port)
  for (const name of [UNIT, WORK_UNIT]) expect(await unit(name, 'ActiveState')).toBe('active')
  await machine.must('sh', '-c', `printf '${OF_USER.replace('\n', '\\n')}' | crontab -`)
  before = await lookAround()
})

test('setup for each: timers, crontab lines and logs of its own, and both levels run at once and find it healthy', async () => {
  for (const profile of [[], ['--profile', 'work']])
    expect(await machine.setup(...profile, '--yes')).toMatchObject({ code: 0 })
  for (const timer of TIMERS)
    expect([await unit(timer, 'ActiveState'), await unit(timer, 'UnitFileState')]).toEqual(['active', 'enabled'])
  for (const suffix of ['', '-work'])
    for (const tier of ['watchdog', 'healthcheck']) await machine.waitUntilRun(tier, 'healthy', suffix)
  expect(await crontab()).toContain(OF_USER)
  for (const profile of [[], ['--profile', 'work']])
    expect(await machine.setup(...profile, '--yes')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('unchanged'),
    })
  await machine.hurryCron()
})

test('cron runs monitor and guardian in its own poor environment; the watchdog’s timer fires every 180 s', async () => {
  await machine.waitUntilRun('guardian', 'all alive')
  await waitFor(() => /RUN ended: .*, exit 0/.test(machine.log('monitor')), 'the monitor', 120_000)
  const count = machine.runs('watchdog').length
  await waitFor(() => machine.runs('watchdog').length > count, 'the next run', 240_000)
  const [previous, last] = machine.runs('watchdog').slice(-2) as [number, number]
  // As the last of the minute in which it is due.
  expect(last - previous).toBeGreaterThan(160)
  expect(await unit('com.openclaw.watchdog.service', 'Result')).toBe('success')
})

test('one that hangs is restarted by its own Level 2 with its own command; the other goes on undisturbed', async () => {
  await holdSchedules()
  const pids = async () => [await unit(UNIT, 'MainPID'), await unit(WORK_UNIT, 'MainPID')]
  const [other, own] = await pids()
  await machine.must('kill', '-STOP', own!)
  expect(await startLevel1()).toMatchObject({ code: 0 })
  // `openclaw gateway restart` in the environment of the profile's tiers has to find its unit.
  const level2 = ['sh', `${CHECKOUT}/scripts/run-tier.sh`, 'gateway-healthcheck']
  const run = await machine.tries('env', 'OPENCLAW_PROFILE=work', ...level2)
  expect(run, run.stdout).toMatchObject({ code: 0 })
  expect(run.stdout).toMatch(/DOWN hung[\s\S]*RECOVERED by level 2/)
  expect(await machine.isHealthy(WORK_PORT)).toBe(true)
  const [otherNow, ownNow] = await pids()
  expect(otherNow).toBe(other)
  expect(ownNow).not.toBe(own)
  expect(machine.log('watchdog')).not.toMatch(/DOWN|RECOVERED/)

  // Stopped by its user, it stays stopped, and the other one goes on.
  await machine.must('openclaw', '--profile', 'work', 'gateway', 'stop', '--force')
  expect(await startLevel1('.work')).toMatchObject({ code: 0 })
  expect(machine.log('watchdog', '-work')).toMatch(/RUN ended: stopped-on-purpose, exit 3/)
  expect(await unit(WORK_UNIT, 'ActiveState')).toBe('inactive')
  expect(await machine.isHealthy()).toBe(true)
})

/** Calls instruments in one session, as the doctor's CLI does; returns what each answered. */
async function callInstruments(...calls: [name: string, args?: Record<string, unknown>][]): Promise<string[]> {
  const requests = calls.map(([name, args = {}], id) =>
    JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } }),
  )
  const folder = `${USER.home}/instruments`
  const env = { HOME: USER.home, PATH: (await machine.must('sh', '-c', 'echo "$PATH"')).trim() }
  const paths = { folder, logPath: `${folder}/log`, reportPath: `${folder}/report.md` }
  const context = JSON.stringify({ ...paths, tier: 'emergency-recovery', tierPid: 'its pid', env })
  // Its input stays open until all is answered: what is asked when the doctor has gone is not done.
  const lock = `${USER.home}/.openclaw/watchdog/emergency-recovery.lock`
  // As Level 3 holds it.
  const script = `mkdir -p ${folder} '${dirname(lock)}' && cd ${folder} && : >answers || exit 1
    echo '{"pid":'$$',"tier":"emergency-recovery"}' >'${lock}'
    echo '${context.replace('"its pid"', () => "'$$'")}' >context.json
    { printf '%s\\n' "$@"; while [ "$(wc -l <answers)" -lt $# ]; do sleep 1; done; } |
      timeout 400 node ${CHECKOUT}/scripts/doctor-tools.ts ${folder}/context.json >answers
    cat answers; cd /; rm -r ${folder} '${lock}'`
  const stdout = await machine.must('sh', '-c', script, 'sh', ...requests)
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).result.content[0].text)
}

test('the doctor’s instruments on the real service: a unit whose Node is gone is written again, and the gateway comes', async () => {
  const path = join(machine.home, UNITS, UNIT)
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace(/^ExecStart=\S*node /m, 'ExecStart=/home/otto/.nvm/v24.0.0/bin/node '))
  await systemctl('daemon-reload')
  await systemctl('kill', '--signal=KILL', UNIT)
  await until(UNIT, 'ExecMainStatus', '203')
  const [status, journal, lint, refreshed, waited, healthy] = await callInstruments(
    ['gateway_status'],
    ['read_journal', { search: 'openclaw', lines: 50 }],
    ['openclaw_doctor_lint'],
    ['refresh_service_definition'],
    ['wait_until_healthy', { seconds: 300 }],
    ['restart_gateway'],
  )
  expect(status).toMatch(/\bbroken-install: .*203\/EXEC/)
  expect(journal).toMatch(/203\/EXEC/)
  // Every finding is there, to its end.
  expect(lint).toMatch(/"checksRun": \d+[\s\S]*"findings"[\s\S]*\| \}/)
  expect(refreshed, refreshed).toMatch(/^done; it said/)
  expect(waited).toMatch(/^healthy/)
  expect(healthy).toMatch(/^Refused: The gateway is healthy/)
  expect(readFileSync(path, 'utf8')).toMatch(/^ExecStart=\S*\/opt\/node24\//m)
  // OpenClaw keeps the definition that it replaced.
  await machine.must('rm', `${USER.home}/${UNITS}/${UNIT}.bak`)
})

test('Level 1’s exit code 1 starts Level 2 at once (OnFailure=), which puts the known-good config back', async () => {
  // Healthy twice on one config makes it known-good.
  for (let i = 0; i < 2; i++) expect(await startLevel1()).toMatchObject({ code: 0 })
  const good = readFileSync(machine.configPath, 'utf8')
  machine.writeConfig('{ gateway: { mode: "local", // and then the power went')
  await systemctl('kill', '--signal=KILL', UNIT)
  await until(UNIT, 'ExecMainStatus', '78')
  expect((await startLevel1()).code).not.toBe(0)
  await waitFor(() => /RECOVERED by level 2/.test(machine.log('healthcheck')), 'Level 2', 300_000)
  expect(await machine.isHealthy()).toBe(true)
  expect(readFileSync(machine.configPath, 'utf8')).toBe(good)
  expect(machine.log('watchdog')).toMatch(/DOWN misconfigured: .*ESCALATE to level 2: /s)
})

test('however somebody stops it, Level 1 takes it for stopped on purpose', async () => {
  const expectStopped = async () => {
    const { stdout } = await machine.level('gateway-watchdog', '--dry-run')
    expect(stdout).toMatch(/RUN ended: stopped-on-purpose,/)
  }
  const folder = `${USER.home}/${UNITS}`
  const dropIn = async (text: string) => {
    await machine.must(
      'sh',
      '-c',
      `mkdir -p ${folder}/${UNIT}.d; printf '[Service]\\n${text}' >${folder}/${UNIT}.d/test.conf`,
    )
    await systemctl('daemon-reload')
  }
  await machine.waitUntilQuiet()

  // While systemd waits to start it again after a crash (here for as long as it takes to look): systemd still says
  // `result signal`.
  await dropIn('RestartSec=300\\n')
  await systemctl('kill', '--signal=KILL', UNIT)
  await until(UNIT, 'SubState', 'auto-restart')
  await systemctl('stop', UNIT)
  await expectStopped()

  // One that does not stop in time is killed: systemd calls that failed.
  const deaf = 'trap : TERM; touch ~/is-deaf; while :; do sleep 1; done'
  await dropIn(`ExecStart=\\nExecStart=/bin/sh -c "${deaf}"\\nTimeoutStopSec=1\\n`)
  await systemctl('start', UNIT)
  await waitFor(() => existsSync(join(machine.home, 'is-deaf')), 'its deafness')
  await systemctl('stop', UNIT)
  expect(await unit(UNIT, 'ActiveState')).toBe('failed')
  await expectStopped()
  await machine.must('rm', '-r', `${USER.home}/is-deaf`, `${folder}/${UNIT}.d`)

  // Switched off for good: systemd forgets that it ever ran.
  await systemctl('daemon-reload')
  await systemctl('disable', '--now', UNIT)
  await systemctl('reset-failed', UNIT)
  await expectStopped()
  await machine.must('mv', `${folder}/${UNIT}`, `${USER.home}/kept`)
  await machine.must('ln', '-s', '/dev/null', `${folder}/${UNIT}`)
  await systemctl('daemon-reload')
  expect(await unit(UNIT, 'LoadState')).toBe('masked')
  await expectStopped()

  await machine.must('mv', `${USER.home}/kept`, `${folder}/${UNIT}`)
  await systemctl('daemon-reload')
  await systemctl('enable', '--now', UNIT)
  await machine.waitUntilHealthy()
})

test('a dead cron whose lines somebody deleted: Level 1 puts them back and calls, Level 2 replaces it until it lives again', async () => {
  const deleteOurs = "crontab -l | sed '/run-tier/{/OPENCLAW_PROFILE/!d}'; echo '5 5 * * * echo new'"
  await machine.must('sh', '-c', `{ ${deleteOurs}; } >~/crontab; crontab ~/crontab; rm ~/crontab`)
  const calls = () => machine.log('guardian').match(/MANUAL INTERVENTION REQUIRED: .*/g) ?? []
  for (let tick = 0; tick < 25 && calls().length === 0; tick++) {
    expect(await startLevel1()).toMatchObject({ code: 0 })
    machine.letTimePass(180)
  }
  expect(calls()).toEqual([expect.stringMatching(/REQUIRED: watchers: guardian /)])
  for (const script of ['emergency-recovery-monitor', 'watchdog-guardian'])
    expect(await crontab()).toMatch(new RegExp(`^(?!.*OPENCLAW_PROFILE).*run-tier\\.sh'? ${script}`, 'm'))
  for (const line of [OF_USER, '5 5 * * * echo new\n']) expect(await crontab()).toContain(line)
  await machine.must('sh', '-c', "crontab -l | grep -v 'echo new' | crontab -")
  const monitors = machine.runs('monitor').length
  await machine.tries('systemctl', '--user', 'start', 'com.openclaw.healthcheck.service')
  expect(machine.runs('monitor')).toHaveLength(monitors + 1)

  await releaseSchedules()
  await machine.hurryCron()
  await waitFor(() => machine.runs('monitor').length > monitors + 1, 'cron', 120_000)
})

test('a stopped and disabled timer is revived by the guardian from cron', async () => {
  const timer = TIMERS[0]!
  await systemctl('disable', '--now', timer)
  expect(await unit(timer, 'ActiveState')).toBe('inactive')
  await until(timer, 'ActiveState', 'active')
  await waitFor(() => /NOTICE watchers: .*watchdog/.test(machine.log('guardian')), "the guardian's word", 60_000)
  expect(await unit(timer, 'UnitFileState')).toBe('enabled')
})

test('uninstalled apart: the other’s jobs stay, and in the end every file of the machine is as it was before', async () => {
  expect(await machine.setup('--uninstall', '--purge')).toMatchObject({ code: 0 })
  expect(await unit('com.openclaw.healthcheck.work.timer', 'LoadState')).toBe('loaded')
  expect(await unit('com.openclaw.watchdog.timer', 'LoadState')).toBe('not-found')
  expect(await crontab()).toMatch(/OPENCLAW_PROFILE='work' .*watchdog-guardian/)
  const work = ['--profile', 'work']
  expect(await machine.setup(...work, '--status')).toMatchObject({ stdout: expect.stringContaining('profile work') })
  expect(await machine.setup(...work, '--uninstall', '--purge')).toMatchObject({ code: 0 })
  expect(await lookAround()).toEqual(before)
  for (const suffix of ['', '-work']) expect(existsSync(join(`${machine.stateDir}${suffix}`, 'watchdog'))).toBe(false)
  // systemd forgets a unit whose file is gone when it gets round to it.
  const units = () => systemctl('list-units', '--all', '--no-legend', 'com.openclaw.*')
  await waitFor(async () => (await units()) === '', 'systemd to have forgotten the jobs')
  expect(await machine.must('ps', '-eo', 'args')).not.toMatch(/run-tier|\/scripts\/[a-z-]+\.ts/)
  expect(await machine.isHealthy()).toBe(true)
})
