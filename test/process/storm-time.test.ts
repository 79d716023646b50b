/** Time that passes otherwise than a clock says, tiers that stand still, and hands that are at work already. */
import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, readdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { test } from '../support/boxes.ts'
import { breakPackage } from '../support/doctor-script.ts'
import { startInstruments } from '../support/doctor-world.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'
import { untilRemark } from '../support/tier-logs.ts'

const HOUR_SEC = 3600
const BROKEN = '{ broken'
const WITHOUT_DOCTOR = ['claude']
// No known-good config that would end the incident: Level 1 keeps one at its first healthy tick.
const PATIENT = { HEALTH_CHECK_ESCALATION_WAIT: '3600', CONFIG_ROLLBACK: 'off' }

/** A clock for all tiers of a sandbox, which can be set while they run. */
function clockOf(box: Sandbox, more: Record<string, string> = {}) {
  const file = join(box.root, 'clock')
  const set = (sec: number) => {
    writeFileSync(`${file}.new`, String(sec))
    renameSync(`${file}.new`, file)
  }
  set(0)
  const preload = new URL('../support/set-clock.mjs', import.meta.url).href
  return { set, env: { NODE_OPTIONS: `--import=${preload}`, CLOCK_FILE: file, ...more } }
}
type Clock = ReturnType<typeof clockOf>

const run = async (box: Sandbox, script: string, env = {}) =>
  (await box.runScript(script, [], { env, timeoutMs: 500_000 })).code

/** Level 2, watching a gateway whose config is broken until it has been down for long enough. */
async function watching(box: Sandbox, env: Record<string, string>) {
  box.writeConfig(BROKEN)
  const run = box.startScript('gateway-healthcheck', [], { env })
  const downs = () => box.log('healthcheck').split('] DOWN ').length - 1
  await waitFor(() => downs() >= 2, 'its last retry')
  await untilRemark(box, 'healthcheck')
  return run
}

async function repairByHand(box: Sandbox) {
  // The logs have seconds: of two lines of one second the order is not known.
  const sec = Math.floor(Date.now() / 1000)
  await waitFor(() => Math.floor(Date.now() / 1000) > sec, 'the next second')
  box.writeConfig()
  return box.startGateway()
}

/** What the report of today has of incidents: how long they were, and whether they are over. */
async function incidents(box: Sandbox, { env }: Clock) {
  const { stdout } = await box.runScript('incident-report', ['--json', '--days', '1'], { env })
  return (JSON.parse(stdout).incidents as { end: string | null; downSec: number; healedBy: unknown }[]).map(
    ({ end, downSec, healedBy }) => ({ isOver: end !== null, isShort: downSec < 600, healedBy }),
  )
}
const ONE_BY_HAND = [{ isOver: true, isShort: true, healedBy: 'outside' }]

const recoveries = (box: Sandbox) =>
  [...box.log().matchAll(/\] RECOVERED by .* after (\d+) s/g)].map((m) => Number(m[1]))
const starts = (box: Sandbox) => box.openclawCalls().filter((call) => call === 'gateway run').length

test('Level 2 that slept through its wait calls Level 3 when it has watched for long enough, not at once', async ({
  sandbox,
}) => {
  const box = await sandbox({ absent: WITHOUT_DOCTOR })
  const clock = clockOf(box)
  const nurse = await watching(box, { ...clock.env, HEALTH_CHECK_ESCALATION_WAIT: '20' })
  process.kill(nurse.pid, 'SIGSTOP')
  clock.set(8 * HOUR_SEC)
  process.kill(nurse.pid, 'SIGCONT')
  const awoke = performance.now()
  await waitFor(() => box.log('healthcheck').includes('ESCALATE to level 3'), 'Level 3')
  expect(performance.now() - awoke).toBeGreaterThan(8000)
  expect((await nurse.finished).code).toBe(1)
  await repairByHand(box)
  expect(await run(box, 'gateway-watchdog', clock.env)).toBe(0)
  expect(recoveries(box).map((sec) => sec < 600)).toEqual([true])
  expect(await incidents(box, clock)).toEqual(ONE_BY_HAND)
})

test('a wait of more than half an hour ends, too', async ({ sandbox }) => {
  const box = await sandbox({ absent: WITHOUT_DOCTOR })
  // Every look of 0.3 s takes 18 s. The clock of Level 3 is the machine's.
  const clock = clockOf(box, { CLOCK_SPEED: 'gateway-healthcheck 60' })
  box.writeConfig(BROKEN)
  const code = await run(box, 'gateway-healthcheck', { ...clock.env, HEALTH_CHECK_ESCALATION_WAIT: '2000' })
  expect(code, box.log().slice(-2000)).toBe(1)
  const [, sec] = /ESCALATE to level 3: \D*(\d+) s/.exec(box.log('healthcheck'))!
  expect(Number(sec)).toBeGreaterThanOrEqual(2000)
})

test.for<[string, number]>([
  ['back by an hour', -HOUR_SEC],
  ['forward by eight hours', 8 * HOUR_SEC],
])('the clock is set %s in mid-incident: a repair by hand ends it, and it is one', async ([, sec], { sandbox }) => {
  const box = await sandbox()
  const clock = clockOf(box)
  expect(await run(box, 'gateway-watchdog', { ...clock.env, OPENCLAW_STARTUP_GRACE: '60' })).toBe(0)
  await box.endProcesses()
  box.writeConfig(BROKEN)
  expect(await run(box, 'gateway-watchdog', clock.env)).toBe(1)
  const nurse = await watching(box, { ...clock.env, ...PATIENT })
  clock.set(sec)
  await untilRemark(box, 'healthcheck', 2)
  await repairByHand(box)
  expect((await nurse.finished).code).toBe(0)
  expect(await run(box, 'gateway-watchdog', clock.env)).toBe(0)
  expect(recoveries(box).map((after) => after < 600)).toEqual([true, true].slice(0, recoveries(box).length))
  expect(recoveries(box)).not.toEqual([])
  expect(box.log('emergency-recovery')).toBe('')
  // Level 1's own start aside: whether it stands before or after what the clock's jump made earlier is not known.
  const others = async () => (await incidents(box, clock)).filter(({ healedBy }) => healedBy !== 1)
  const past = await others()
  // What was logged within the same seconds may look like two.
  expect([ONE_BY_HAND, [...ONE_BY_HAND, ...ONE_BY_HAND]]).toContainEqual(past)
  // An hour later the clock has reached what it showed before.
  if (sec > 0) return
  clock.set(0)
  expect(await others()).toEqual(past)
})

test('Level 1 saw it down, eight hours pass, Level 2 is not at once at its end', async ({ sandbox }) => {
  const box = await sandbox({ absent: WITHOUT_DOCTOR })
  const clock = clockOf(box)
  box.writeConfig(BROKEN)
  expect(await run(box, 'gateway-watchdog', clock.env)).toBe(1)
  clock.set(8 * HOUR_SEC)
  const nurse = await watching(box, { ...clock.env, HEALTH_CHECK_ESCALATION_WAIT: '600' })
  await untilRemark(box, 'healthcheck', 2)
  expect(box.log('healthcheck')).not.toContain('ESCALATE')
  await repairByHand(box)
  expect((await nurse.finished).code).toBe(0)
  expect(recoveries(box).map((sec) => sec < 600)).toEqual([true])
})

const lockOf = (box: Sandbox, tier: string) => join(box.stateDir, 'watchdog', `${tier}.lock`)

/** It has been stopped for three minutes. */
function stop(box: Sandbox, pid: number): void {
  process.kill(pid, 'SIGSTOP')
  const before = new Date(Date.now() - 180_000)
  utimesSync(lockOf(box, 'healthcheck'), before, before)
}

test('a Level 2 that is stopped silences nobody, and does nothing more when it goes on', async ({ sandbox }) => {
  const box = await sandbox({ settings: PATIENT })
  const stopped = await watching(box, {})
  stop(box, stopped.pid)
  box.writeConfig()
  expect(await run(box, 'gateway-watchdog')).toBe(0)
  expect(recoveries(box)).toHaveLength(1)
  const before = starts(box)
  process.kill(box.events().findLast(({ what }) => what === 'ready')!.pid, 'SIGKILL')
  process.kill(stopped.pid, 'SIGCONT')
  expect((await stopped.finished).code).toBe(3)
  expect(starts(box)).toBe(before)

  const second = await watching(box, {})
  stop(box, second.pid)
  const third = box.startScript('gateway-healthcheck')
  // For a moment nobody has it.
  const holder = () => existsSync(lockOf(box, 'healthcheck')) && readFileSync(lockOf(box, 'healthcheck'), 'utf8')
  await waitFor(() => String(holder()).includes(`"pid":${third.pid}`), 'its lock')
  process.kill(second.pid, 'SIGCONT')
  expect((await second.finished).code).toBe(3)
  await repairByHand(box)
  expect((await third.finished).code).toBe(0)
})

test('a Level 2 that is awake keeps its place, whatever is done to the clock', async ({ sandbox }) => {
  const box = await sandbox({ settings: PATIENT })
  const clock = clockOf(box)
  const nurse = await watching(box, clock.env)
  for (const sec of [8 * HOUR_SEC, -HOUR_SEC]) {
    clock.set(sec)
    expect(await run(box, 'gateway-watchdog', clock.env)).toBe(3)
  }
  await repairByHand(box)
  expect((await nurse.finished).code).toBe(0)
})

/** A process of this user whose command line is that. */
function processCalled(box: Sandbox, title: string) {
  const code = `process.title = ${JSON.stringify(title)}; console.log(); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['-e', code], { env: box.env, stdio: ['ignore', 'pipe', 'ignore'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const isThere = new Promise<void>((resolve) => child.stdout.once('data', () => resolve()))
  return { isThere, end: () => void child.kill('SIGKILL') }
}

test.for(['openclaw-update', 'npm install -g openclaw@2026.9.7'])(
  'while %s is at work no level acts; what is whole afterwards is started',
  async (title, { known }) => {
    const { box, pid } = await known()
    const updater = processCalled(box, title)
    await updater.isThere
    process.kill(pid, 'SIGKILL')
    await waitFor(() => !box.processes().includes(pid), 'its end')
    const npm = join(box.root, 'npm-was-called')
    breakPackage(box, `touch '${npm}'`)
    const before = starts(box)
    expect([1, 3]).toContain(await run(box, 'gateway-watchdog'))
    expect(await run(box, 'gateway-healthcheck')).toBe(3)
    const doctor = box.startScript('emergency-recovery')
    await waitFor(() => box.log('emergency-recovery').includes('] DOWN '), 'Level 3')
    await untilRemark(box, 'emergency-recovery', 0)
    const instruments = startInstruments(box, { folder: join(box.stateDir, 'watchdog', 'doctor', 'other') })
    onTestFinished(() => void instruments.child.kill())
    const answer = await instruments.call('reinstall_package')
    expect(answer).toMatchObject({ isError: true, text: expect.stringMatching(/^Refused: /) })

    // npm's last deed.
    box.setFaults({})
    updater.end()
    expect((await doctor.finished).code).toBe(3)
    expect([starts(box), box.prompts(), readdirSync(box.root).includes('npm-was-called')]).toEqual([before, [], false])
    expect(await run(box, 'gateway-watchdog')).toBe(0)
    expect(starts(box)).toBe(before + 1)
    expect(recoveries(box)).toHaveLength(1)
  },
)

test('a broken buffer that is saved once more does not use up the known-good config', async ({ sandbox }) => {
  const box = await sandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', HEALTH_CHECK_ESCALATION_WAIT: '60' } })
  const good = readFileSync(box.configPath, 'utf8')
  const { pid } = await box.startGateway()
  for (let i = 0; i < 2; i++) expect(await run(box, 'gateway-watchdog')).toBe(0)
  process.kill(pid, 'SIGKILL')
  box.writeConfig(BROKEN)
  const buffer = join(box.root, 'buffer')
  copyFileSync(box.configPath, buffer)
  // It is saved again before the gateway has read what was put back.
  const openclaw = join(box.packageDir, 'openclaw.mjs')
  box.addTool(
    'openclaw',
    `[ "$*" != "gateway run" ] || mv '${buffer}' '${box.configPath}' 2>/dev/null\nexec '${openclaw}' "$@"`,
  )
  expect(await run(box, 'gateway-healthcheck')).toBe(0)
  expect(recoveries(box)).toHaveLength(1)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
  expect(readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))).toHaveLength(2)
})
