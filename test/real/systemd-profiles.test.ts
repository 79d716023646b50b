/**
 * Two gateways of one user on a machine of its own with a real systemd, set up by the real `openclaw gateway install`: one
 * without a profile and one called work, each with its own tiers. One story: each test goes on where the one before it
 * ended.
 */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listFiles, USER } from '../support/container.ts'
import { waitFor } from '../support/wait-for.ts'
import { bootPatientMachine, CHECKOUT, type PatientMachine, slowly } from './patient-machine.ts'

const PORT = 19789
const UNIT = 'openclaw-gateway-work.service'
const BOOT_LIMIT_MS = 300_000

let machine: PatientMachine
let before: string[]

beforeAll(async () => {
  machine = await bootPatientMachine('systemd')
  const stateDir = join(machine.home, '.openclaw-work')
  mkdirSync(stateDir, { mode: 0o700 })
  const gateway = { mode: 'local', port: PORT, bind: 'loopback', auth: { mode: 'token', token: 'of-work-alone' } }
  const env = readFileSync(join(machine.stateDir, '.env'), 'utf8')
  for (const [name, text] of [
    ['openclaw.json', JSON.stringify({ gateway })],
    ['.env', env],
  ] as const) {
    writeFileSync(join(stateDir, name), text, { mode: 0o600 })
    chownSync(join(stateDir, name), USER.uid, USER.uid)
  }
  chownSync(stateDir, USER.uid, USER.uid)
})
afterAll(() => machine?.stop())

const unit = async (name: string, property: string) =>
  (await machine.must('systemctl', '--user', 'show', name, `--property=${property}`, '--value')).trim()
const isWorkHealthy = async () =>
  (await machine.tries('curl', '-sm', '5', `http://127.0.0.1:${PORT}/health`)).stdout.includes('"status":"live"')
const work = (...command: string[]) => machine.tries('env', 'OPENCLAW_PROFILE=work', ...command)
const level1 = (profile: '' | '.work') =>
  machine.tries('systemctl', '--user', 'start', `com.openclaw.watchdog${profile}.service`)

function workLog(beginning: string): string {
  const folder = join(machine.home, 'openclaw-work', 'memory')
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(beginning)) : []
  return names.map((name) => readFileSync(join(folder, name), 'utf8')).join('')
}

/** Every file but for what the two gateways write themselves. */
function lookAround(): string[] {
  const ofGateways =
    /\/home\/otto\/(?:\.openclaw(?:-work)?\/(?!watchdog|\.env|self-healing)|\.cache\/|\.npm(?:\s|\/|$))/
  return ['etc', 'home', 'var/lib/systemd', 'root']
    .flatMap((folder) => listFiles(machine.root, folder))
    .filter((line) => !ofGateways.test(line))
}

test('both real gateways run as user services', async () => {
  await machine.must('openclaw', 'gateway', 'install')
  await machine.must('openclaw', '--profile', 'work', 'gateway', 'install', '--port', String(PORT))
  await machine.waitUntilHealthy()
  await slowly(isWorkHealthy, 'the gateway of work', BOOT_LIMIT_MS)
  expect(await unit(UNIT, 'ActiveState')).toBe('active')
  await machine.must('sh', '-c', "echo '17 4 * * * echo mine' | crontab -")
  before = lookAround()
})

test('setup for each: timers and logs of their own, both gateways found healthy', async () => {
  expect(await machine.setup('--yes')).toMatchObject({ code: 0 })
  expect(await machine.setup('--profile', 'work', '--yes')).toMatchObject({ code: 0 })
  for (const timer of [
    'com.openclaw.watchdog.timer',
    'com.openclaw.watchdog.work.timer',
    'com.openclaw.healthcheck.work.timer',
  ])
    expect(await unit(timer, 'ActiveState')).toBe('active')
  const isWell = (log: string) => /RUN ended: healthy, exit 0/.test(log)
  await waitFor(() => isWell(machine.log('watchdog')) && isWell(workLog('watchdog')), 'Level 1', BOOT_LIMIT_MS)
  await waitFor(() => isWell(machine.log('healthcheck')) && isWell(workLog('healthcheck')), 'Level 2', BOOT_LIMIT_MS)
  for (const args of [[], ['--profile', 'work']])
    expect(await machine.setup(...args, '--yes')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('unchanged'),
    })
})

test('one that hangs is restarted by its own Level 2 with its own command; the other goes on undisturbed', async () => {
  const pids = async () => [await unit('openclaw-gateway.service', 'MainPID'), await unit(UNIT, 'MainPID')]
  const [other, own] = await pids()
  // From here on the ticks are the tests' own: another one coming in between would heal what Level 2 shall find, and the
  // guardian would revive the timers.
  expect(await machine.runAsRoot(['systemctl', 'stop', 'cron'])).toMatchObject({ code: 0 })
  for (const name of ['watchdog.work', 'healthcheck.work'])
    await machine.must('systemctl', '--user', 'stop', `com.openclaw.${name}.timer`)
  await machine.waitUntilQuiet()
  await machine.must('kill', '-STOP', own!)
  expect(await level1('')).toMatchObject({ code: 0 })
  // `openclaw gateway restart` in the environment of the profile's tiers has to find its unit.
  const run = await work('sh', `${CHECKOUT}/scripts/run-tier.sh`, 'gateway-healthcheck')
  expect(run, run.stdout).toMatchObject({ code: 0 })
  expect(run.stdout).toMatch(/DOWN hung[\s\S]*RECOVERED by level 2/)
  expect(await isWorkHealthy()).toBe(true)
  const [otherNow, ownNow] = await pids()
  expect(otherNow).toBe(other)
  expect(ownNow).not.toBe(own)
  expect(machine.log('watchdog')).not.toMatch(/DOWN|RECOVERED/)
})

test('the one that somebody stopped stays stopped', async () => {
  await machine.must('openclaw', '--profile', 'work', 'gateway', 'stop', '--force')
  expect(await level1('.work')).toMatchObject({ code: 0 })
  expect(workLog('watchdog')).toMatch(/RUN ended: stopped-on-purpose, exit 3/)
  expect(await unit(UNIT, 'ActiveState')).toBe('inactive')
  expect(await machine.isHealthy()).toBe(true)
})

test('uninstalled apart: the other’s jobs stay, and in the end no file is left', async () => {
  expect(await machine.setup('--uninstall', '--purge')).toMatchObject({ code: 0 })
  expect(await unit('com.openclaw.healthcheck.work.timer', 'LoadState')).toBe('loaded')
  expect(await unit('com.openclaw.watchdog.timer', 'LoadState')).toBe('not-found')
  expect(await machine.must('crontab', '-l')).toMatch(/OPENCLAW_PROFILE='work' .*watchdog-guardian/)
  expect(await machine.setup('--profile', 'work', '--status')).toMatchObject({
    stdout: expect.stringContaining('profile work'),
  })
  expect(await machine.setup('--profile', 'work', '--uninstall', '--purge')).toMatchObject({ code: 0 })
  expect(lookAround()).toEqual(before)
  expect(await machine.must('crontab', '-l')).toBe('17 4 * * * echo mine\n')
})
