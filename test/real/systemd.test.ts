/**
 * The whole system on a machine of its own: a real systemd, a real cron, and the real OpenClaw gateway as its own
 * `openclaw gateway install` sets it up. One story: each test goes on where the one before it ended.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listFiles, USER } from '../support/container.ts'
import { waitFor } from '../support/wait-for.ts'
import { bootPatientMachine, CHECKOUT, type PatientMachine, slowly } from './patient-machine.ts'

const BOOT_LIMIT_MS = 300_000
const CRONTAB = `var/spool/cron/crontabs/${USER.name}`

let machine: PatientMachine
let before: { files: string[]; crontab: string }

beforeAll(async () => {
  machine = await bootPatientMachine('systemd')
})
afterAll(() => machine?.stop())

const unit = async (name: string, property: string) =>
  (await machine.must('systemctl', '--user', 'show', name, `--property=${property}`, '--value')).trim()

/**
 * Every file of the machine, but for what the gateway itself writes: in its own folders, caches and (it calls npm) npm's
 * logs. The crontab as its user sees it: cron writes the date of its last change into the file.
 */
async function lookAround() {
  const ofTheGateway = /\/home\/otto\/(?:\.openclaw\/(?!watchdog|\.env|self-healing)|\.cache\/|\.npm(?:\s|\/|$))/
  const files = ['etc', 'home', 'var/lib/systemd', 'root'].flatMap((folder) => listFiles(machine.root, folder))
  return { files: files.filter((line) => !ofTheGateway.test(line)), crontab: await machine.must('crontab', '-l') }
}

const TIMERS = ['com.openclaw.watchdog.timer', 'com.openclaw.healthcheck.timer']
/** For a test whose ticks are its own: Level 2 coming in between would heal what Level 1 shall find. */
async function holdSchedules(): Promise<void> {
  // Cron first: the guardian would revive the timers.
  expect(await machine.runAsRoot(['systemctl', 'stop', 'cron'])).toMatchObject({ code: 0 })
  await machine.must('systemctl', '--user', 'stop', ...TIMERS)
  // What they had started before goes on: the timers start both levels at once when they are released.
  await machine.waitUntilQuiet()
}
async function releaseSchedules(): Promise<void> {
  await machine.must('systemctl', '--user', 'start', ...TIMERS)
  expect(await machine.runAsRoot(['systemctl', 'start', 'cron'])).toMatchObject({ code: 0 })
}

const startLevel1 = () => machine.tries('systemctl', '--user', 'start', 'com.openclaw.watchdog.service')

test('the real gateway runs as a user service', async () => {
  await machine.must('openclaw', 'gateway', 'install')
  await machine.waitUntilHealthy()
  expect(await unit('openclaw-gateway.service', 'ActiveState')).toBe('active')
  await machine.must('sh', '-c', "echo '17 4 * * * echo mine # of the user' | crontab -")
  before = await lookAround()
})

test('setup installs timers and crontab lines, and Level 1 and Level 2 run at once', async () => {
  expect(await machine.setup('--yes')).toMatchObject({ code: 0 })
  for (const timer of TIMERS) {
    expect(await unit(timer, 'ActiveState')).toBe('active')
    expect(await unit(timer, 'UnitFileState')).toBe('enabled')
  }
  await waitFor(() => /RUN ended: healthy, exit 0/.test(machine.log('watchdog')), 'Level 1', BOOT_LIMIT_MS)
  await waitFor(() => /RUN ended: healthy, exit 0/.test(machine.log('healthcheck')), 'Level 2', BOOT_LIMIT_MS)
  expect(readFileSync(join(machine.root, CRONTAB), 'utf8')).toContain('17 4 * * * echo mine # of the user\n')
  expect(await machine.setup('--yes')).toMatchObject({ code: 0, stdout: expect.stringContaining('unchanged') })
  await machine.hurryCron()
})

test('cron runs monitor and guardian in its own poor environment; the guardian finds all alive', async () => {
  await waitFor(() => /RUN ended: all alive, exit 0/.test(machine.log('guardian')), 'the guardian', 300_000)
  await waitFor(() => /RUN ended: .*, exit 0/.test(machine.log('monitor')), 'the monitor', 120_000)
})

test('the watchdog’s timer fires every 180 s', async () => {
  const first = machine.runs('watchdog').length
  await waitFor(() => machine.runs('watchdog').length > first, 'the next run', 240_000)
  const [previous, last] = machine.runs('watchdog').slice(-2) as [number, number]
  expect(last - previous).toBeGreaterThan(170)
  expect(await unit('com.openclaw.watchdog.service', 'Result')).toBe('success')
})

/** Calls instruments in one session, as the doctor's CLI does; returns what each answered. */
async function callInstruments(...calls: [name: string, args?: Record<string, unknown>][]): Promise<string[]> {
  const requests = calls.map(([name, args = {}], id) =>
    JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } }),
  )
  const folder = `${USER.home}/instruments`
  const env = { HOME: USER.home, PATH: (await machine.must('sh', '-c', 'echo "$PATH"')).trim() }
  const context = {
    folder,
    tier: 'emergency-recovery',
    tierPid: '$$',
    logPath: `${folder}/log`,
    reportPath: `${folder}/report.md`,
    env,
  }
  const text = JSON.stringify(context).replace('"$$"', "'$$$$'")
  // Its input stays open until all is answered: what is asked when the doctor has gone is not done.
  const script = `mkdir -p ${folder} && cd ${folder} && echo '${text}' >context.json && : >answers || exit 1
    { printf '%s\\n' "$@"; while [ "$(wc -l <answers)" -lt $# ]; do sleep 1; done; } |
      timeout 400 node ${CHECKOUT}/scripts/doctor-tools.ts ${folder}/context.json >answers
    cat answers; cd /; rm -r ${folder}`
  const stdout = await machine.must('sh', '-c', script, 'sh', ...requests)
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).result.content[0].text as string)
}

test('the doctor’s instruments on the real service: a unit whose Node is gone is written anew, and the gateway comes', async () => {
  await holdSchedules()
  const path = join(machine.home, '.config/systemd/user/openclaw-gateway.service')
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace(/^ExecStart=\S*node /m, 'ExecStart=/home/otto/.nvm/v24.0.0/bin/node '))
  await machine.must('systemctl', '--user', 'daemon-reload')
  await machine.must('systemctl', '--user', 'kill', '--signal=KILL', 'openclaw-gateway.service')
  await waitFor(
    async () => (await unit('openclaw-gateway.service', 'ExecMainStatus')) === '203',
    'the failed start',
    120_000,
  )
  const [status, journal, lint, refreshed, waited, healthy] = await callInstruments(
    ['gateway_status'],
    ['read_journal', { search: 'openclaw', lines: 50 }],
    ['openclaw_doctor_lint'],
    ['refresh_service_definition'],
    ['wait_until_healthy', { seconds: 300 }],
    ['restart_gateway'],
  )
  expect(status).toMatch(/^broken-install: 203\/EXEC/)
  expect(journal).toMatch(/203\/EXEC/)
  // Every finding is there, to its end.
  expect(lint).toMatch(/"checksRun": \d+[\s\S]*"findings"[\s\S]*\| \}/)
  expect(refreshed, refreshed).toMatch(/^done; it said/)
  expect(waited).toMatch(/^healthy/)
  expect(healthy).toMatch(/^Refused: The gateway is healthy/)
  expect(readFileSync(path, 'utf8')).toMatch(/^ExecStart=\S*\/opt\/node24\//m)
  // OpenClaw keeps the definition that it replaced.
  await machine.must('rm', `${USER.home}/.config/systemd/user/openclaw-gateway.service.bak`)
  await releaseSchedules()
})

test('Level 1’s exit code 1 starts Level 2 at once (OnFailure=), which puts the known-good config back', async () => {
  await holdSchedules()
  // Healthy twice on one config makes it known-good.
  for (let i = 0; i < 2; i++) expect(await startLevel1()).toMatchObject({ code: 0 })
  const good = readFileSync(machine.configPath, 'utf8')
  const kept = readdirSync(join(machine.watchdogDir, 'known-good'))
  expect(kept.map((name) => readFileSync(join(machine.watchdogDir, 'known-good', name), 'utf8'))).toContain(good)
  machine.writeConfig('{ gateway: { mode: "local", // and then the power went')
  await machine.must('systemctl', '--user', 'kill', '--signal=KILL', 'openclaw-gateway.service')
  await slowly(async () => (await unit('openclaw-gateway.service', 'ExecMainStatus')) === '78', 'exit 78', 120_000)
  const earlier = machine.runs('healthcheck').length
  expect((await startLevel1()).code).not.toBe(0)
  await waitFor(() => machine.runs('healthcheck').length > earlier, 'Level 2', BOOT_LIMIT_MS)
  await machine.waitUntilHealthy()
  expect(readFileSync(machine.configPath, 'utf8')).toBe(good)
  expect(machine.log('watchdog')).toMatch(/DOWN misconfigured: .*ESCALATE to level 2: /s)
  await waitFor(() => /RECOVERED by level 2/.test(machine.log('healthcheck')), "Level 2's end", BOOT_LIMIT_MS)
  await releaseSchedules()
})

test('a gateway that somebody stopped stays stopped', async () => {
  await machine.must('openclaw', 'gateway', 'stop', '--force')
  // systemd counts the watchdog's exit code 3 as success: no hand-off.
  expect(await startLevel1()).toMatchObject({ code: 0 })
  expect(machine.log('watchdog')).toMatch(/RUN ended: stopped-on-purpose, exit 3/)
  expect(await unit('openclaw-gateway.service', 'ActiveState')).toBe('inactive')
  // Its own patience with its boot may end too early on a busy machine.
  await machine.tries('openclaw', 'gateway', 'start')
  await machine.waitUntilHealthy()
})

test('however somebody stops it, Level 1 takes it for stopped on purpose', async () => {
  await holdSchedules()
  const systemctl = (...args: string[]) => machine.must('systemctl', '--user', ...args)
  const gateway = 'openclaw-gateway.service'
  const verdict = async () => {
    const { stdout } = await machine.level('gateway-watchdog', '--dry-run')
    return /RUN ended: ([a-z-]+),/.exec(stdout)?.[1] ?? stdout
  }

  const folder = `${USER.home}/.config/systemd/user`
  await machine.must('mkdir', `${folder}/${gateway}.d`)

  // While systemd waits to start it again after a crash (here for as long as it takes to look): systemd still says
  // `result signal`.
  await machine.must('sh', '-c', `printf '[Service]\\nRestartSec=300\\n' >${folder}/${gateway}.d/patient.conf`)
  await systemctl('daemon-reload')
  await systemctl('kill', '--signal=KILL', gateway)
  await slowly(async () => (await unit(gateway, 'SubState')) === 'auto-restart', 'the crash', 60_000)
  await systemctl('stop', gateway)
  expect(await verdict()).toBe('stopped-on-purpose')

  // One that does not stop in time is killed: systemd calls that failed.
  const deaf =
    'ExecStart=\\nExecStart=/bin/sh -c "trap : TERM; touch ~/is-deaf; while :; do sleep 1; done"\\nTimeoutStopSec=1\\n'
  await machine.must('sh', '-c', `printf '[Service]\\n${deaf}' >${folder}/${gateway}.d/deaf.conf`)
  await systemctl('daemon-reload')
  await systemctl('start', gateway)
  await waitFor(() => existsSync(join(machine.home, 'is-deaf')), 'its deafness')
  await systemctl('stop', gateway)
  expect(await unit(gateway, 'ActiveState')).toBe('failed')
  await machine.must('rm', `${USER.home}/is-deaf`)
  expect(await verdict()).toBe('stopped-on-purpose')
  await machine.must('rm', '-r', `${folder}/${gateway}.d`)

  // Switched off for good: systemd forgets that it ever ran.
  await systemctl('daemon-reload')
  await systemctl('disable', '--now', gateway)
  await systemctl('reset-failed', gateway)
  expect(await verdict()).toBe('stopped-on-purpose')
  await machine.must('mv', `${folder}/${gateway}`, `${USER.home}/kept`)
  await machine.must('ln', '-s', '/dev/null', `${folder}/${gateway}`)
  await systemctl('daemon-reload')
  expect(await unit(gateway, 'LoadState')).toBe('masked')
  expect(await verdict()).toBe('stopped-on-purpose')

  await machine.must('mv', `${USER.home}/kept`, `${folder}/${gateway}`)
  await systemctl('daemon-reload')
  await systemctl('enable', '--now', gateway)
  await machine.waitUntilHealthy()
  await releaseSchedules()
})

test('a stopped and disabled timer is revived by the guardian from cron', async () => {
  await machine.must('systemctl', '--user', 'disable', '--now', 'com.openclaw.watchdog.timer')
  const isActive = async () => (await unit('com.openclaw.watchdog.timer', 'ActiveState')) === 'active'
  expect(await isActive()).toBe(false)
  await slowly(isActive, 'the guardian', 240_000)
  await waitFor(() => /NOTICE watchers: .*watchdog/.test(machine.log('guardian')), "the guardian's word", 60_000)
  expect(await unit('com.openclaw.watchdog.timer', 'UnitFileState')).toBe('enabled')
})

test('a dead cron is noticed by Level 1, called for, and replaced by Level 2, until it lives again', async () => {
  await holdSchedules()
  const calls = () => machine.log('guardian').match(/MANUAL INTERVENTION REQUIRED: .*/g) ?? []
  for (let tick = 0; tick < 25 && calls().length === 0; tick++) {
    expect(await startLevel1()).toMatchObject({ code: 0 })
    machine.letTimePass(180)
  }
  expect(calls()).toEqual([expect.stringMatching(/REQUIRED: watchers: guardian /)])
  const monitors = machine.runs('monitor').length
  await machine.tries('systemctl', '--user', 'start', 'com.openclaw.healthcheck.service')
  expect(machine.runs('monitor')).toHaveLength(monitors + 1)

  await releaseSchedules()
  await waitFor(() => machine.runs('monitor').length > monitors + 1, 'cron', 120_000)
})

test('crontab lines that somebody deleted are put back by Level 1, and the rest of the crontab stays', async () => {
  await holdSchedules()
  await machine.must('sh', '-c', "printf '17 4 * * * echo mine # of the user\\n5 5 * * * echo new\\n' | crontab -")
  const crontab = () => readFileSync(join(machine.root, CRONTAB), 'utf8')
  for (let tick = 0; tick < 12 && !crontab().includes('watchdog-guardian'); tick++) {
    expect(await startLevel1()).toMatchObject({ code: 0 })
    machine.letTimePass(180)
  }
  expect(crontab()).toMatch(/run-tier\.sh'? emergency-recovery-monitor/)
  expect(crontab()).toMatch(/run-tier\.sh'? watchdog-guardian/)
  expect(crontab()).toContain('17 4 * * * echo mine # of the user\n5 5 * * * echo new\n')
  await machine.must('sh', '-c', "crontab -l | grep -v 'echo new' | crontab -")
})

test('uninstall leaves nothing: every file of the machine is as it was before', async () => {
  expect(await machine.setup('--uninstall', '--purge')).toMatchObject({ code: 0 })
  expect(await lookAround()).toEqual(before)
  expect(existsSync(machine.watchdogDir)).toBe(false)
  // systemd forgets a unit whose file is gone when it gets round to it.
  const units = () => machine.must('systemctl', '--user', 'list-units', '--all', '--no-legend', 'com.openclaw.*')
  await waitFor(async () => (await units()) === '', 'systemd to have forgotten the jobs')
  expect(await machine.must('ps', '-eo', 'args')).not.toMatch(/run-tier|\/scripts\/[a-z-]+\.ts/)
  expect(await machine.isHealthy()).toBe(true)
})
