/** A HOME that the last 1.x left goes on: upgraded in place, its alert delivered, its week counted, uninstalled. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, type TestContext, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { createMachine, DOMAIN, HEALTHCHECK, WATCHDOG } from '../support/machine.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

const FIXTURE = join(import.meta.dirname, '..', 'fixtures', 'home-1.x')
const MADE_AT = Date.parse('2026-11-29T11:46:00Z')
const DAY_MS = 86_400_000

/** A machine with that HOME, its jobs loaded and its crontab; the last thing that happened there was in the last 24 hours. */
async function machineOf1x({ onTestFinished }: TestContext, kind: 'linux' | 'mac') {
  const machine = await createMachine(kind, { withoutEnv: true })
  onTestFinished(machine.close)
  const days = Math.floor((Date.now() - MADE_AT) / DAY_MS)
  const paths = { HOME: machine.home, CHECKOUT: join(machine.root, '1.x'), BIN: machine.binDir, ROOT: machine.root }
  const fill = (text: string) =>
    text
      .replace(/@([A-Z]+)@/g, (_, name: keyof typeof paths) => paths[name])
      .replace(/\b20\d\d-\d\d-\d\d(?!\d)/g, (date) =>
        new Date(Date.parse(date) + days * DAY_MS).toISOString().slice(0, 10),
      )
      .replace(/\b1[78]\d{11}\b/g, (ms) => String(Number(ms) + days * DAY_MS))
  const read = (path: string) => fill(readFileSync(join(FIXTURE, kind, path), 'latin1'))
  for (const name of readdirSync(join(FIXTURE, kind, 'home'), { recursive: true, encoding: 'utf8' })) {
    if (statSync(join(FIXTURE, kind, 'home', name)).isDirectory()) continue
    const path = join(machine.home, fill(name))
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, read(join('home', name)), { encoding: 'latin1', mode: 0o600 })
  }
  machine.writeCrontab(read('crontab'))
  for (const label of machine.launchd ? [WATCHDOG, HEALTHCHECK] : [])
    await machine.launchd!.call('bootstrap', DOMAIN, join(machine.agentsDir, `${label}.plist`))
  await machine.systemd?.call('--user', 'daemon-reload')
  await machine.systemd?.call('--user', 'enable', '--now', ...TIMERS)
  return machine
}

type Machine = Awaited<ReturnType<typeof machineOf1x>>

const TIMERS = [`${HEALTHCHECK}.timer`, `${WATCHDOG}.timer`]
const USERS_CRONTAB = { linux: 'MAILTO=me\n17 4 * * * echo mine\n', mac: 'MAILTO=me\n# caf\xe9\n' }
const BASH_LINE = '*/5 * * * * bash ~/openclaw/scripts/emergency-recovery-monitor.sh\n'

/** Upgrades it: nothing is doubled, nothing of the old checkout is left, and a second run finds all as it should be. */
async function upgrade(machine: Machine): Promise<void> {
  await machine.succeeds()
  const lines = machine.cronLines()
  expect(lines).toHaveLength(2)
  for (const line of lines) expect(line).toContain(`${projectDir}/scripts/run-tier.sh`)
  expect(machine.crontab()!.match(/BEGIN openclaw-self-healing/g)).toHaveLength(1)
  expect(await machine.succeeds()).toMatch(/^unchanged\n/)
}

test('on Linux: upgraded in place, the waiting alert is delivered, the old week is counted, all of it is uninstalled', async (t) => {
  const machine = await machineOf1x(t, 'linux')
  const receiver = await startWebhookReceiver()
  t.onTestFinished(receiver.close)
  await upgrade(machine)
  expect(machine.jobs()).toEqual(TIMERS)
  const units = readdirSync(machine.unitsDir).filter((name) => name.endsWith('.service'))
  expect(units).toHaveLength(2)
  for (const name of units)
    expect(readFileSync(join(machine.unitsDir, name), 'utf8')).toContain(`${projectDir}/scripts/`)
  expect(machine.crontab()!.endsWith(USERS_CRONTAB.linux)).toBe(true)

  const report = await machine.runScript('incident-report', ['--days', '9', '--json'])
  expect(JSON.parse(report.stdout).incidents).toHaveLength(6)

  const env = { DISCORD_WEBHOOK_URL: receiver.url, OPENCLAW_GATEWAY_PORT: String(machine.port) }
  // 1.x wrote its ledger two minutes ago, and had read the logs until then.
  const told = Date.now() / 1000 - 120
  utimesSync(join(machine.watchdogDir, 'alerts.json'), told, told)
  for (const [why, minutesAgo] of Object.entries({ 'the doctor gave up': 3, 'it is hopeless': 1 }))
    writeTierLog(machine.memoryDir, 'healthcheck', { text: MARKER.manual(why), minutesAgo })
  for (let i = 0; i < 2; i++)
    expect(await machine.runScript('emergency-recovery-monitor', [], { env })).toMatchObject({ code: 0 })
  const sent = receiver.delivered().map((message) => JSON.stringify(message))
  expect(sent).toEqual([expect.stringMatching(/quota is used up[\s\S]*it is hopeless/)])
  expect(sent[0]).not.toContain('`the doctor gave up')
  expect(receiver.requests.every(({ problems }) => problems.length === 0)).toBe(true)

  const memory = machine.memoryFiles()
  await machine.succeeds(['--uninstall'])
  expect(machine.jobs()).toEqual([])
  expect(machine.crontab()).toBe(USERS_CRONTAB.linux)
  expect(machine.schedulerCalls()).toContain('loginctl disable-linger')
  expect(existsSync(machine.watchdogDir)).toBe(false)
  // 1.x had made it.
  expect(existsSync(join(machine.home, '.config'))).toBe(false)
  expect(existsSync(join(machine.stateDir, '.env'))).toBe(true)
  expect(machine.memoryFiles()).toEqual(memory)
  expect(memory).toContain('recovery-learnings.md')
  await machine.succeeds(['--purge', '--yes'])
  expect(machine.memoryFiles()).toEqual([])
  expect(existsSync(join(machine.stateDir, '.env'))).toBe(true)
  expect(existsSync(machine.configPath)).toBe(true)
})

test('on a Mac: upgraded in place; uninstalled, the bash version that 1.x had set aside is at work again', async (t) => {
  const machine = await machineOf1x(t, 'mac')
  const read = (folder: string) => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')])
  const bash = read(join(machine.watchdogDir, 'set-aside'))
  expect(bash).toHaveLength(2)
  // Its jobs come by StartInterval, which waits while launchd starts only what is asked for.
  const launchd = machine.launchd!
  const isIdle = () => [WATCHDOG, HEALTHCHECK].every((label) => !launchd.job(label)!.child)
  await waitFor(isIdle, 'its first runs')
  launchd.mode.onDemandOnly = true
  launchd.passMinutes(30)
  expect(launchd.job(WATCHDOG)).toMatchObject({ runs: 1, pended: 'interval' })
  await upgrade(machine)
  expect(machine.jobs()).toEqual([HEALTHCHECK, WATCHDOG])
  for (const label of [HEALTHCHECK, WATCHDOG]) {
    expect(machine.plist(label).ProgramArguments).toContain(`${projectDir}/scripts/run-tier.sh`)
    expect(machine.plist(label)).not.toHaveProperty('StartInterval')
  }
  await waitFor(isIdle, 'the kickstart after the bootstrap')
  expect(launchd.job(WATCHDOG)!.runs).toBe(1)
  launchd.passMinutes(15)
  await waitFor(
    () => launchd.job(WATCHDOG)!.runs > 1 && launchd.job(HEALTHCHECK)!.runs > 1,
    'the slots of the calendar',
  )
  expect(machine.launchd!.calls.filter((call) => call.startsWith('bootout'))).toHaveLength(2)

  await machine.succeeds(['--uninstall', '--purge'])
  expect(machine.jobs()).toEqual(['ai.openclaw.watchdog', HEALTHCHECK])
  expect(read(machine.agentsDir).sort()).toEqual(bash.sort())
  expect(machine.crontab()).toBe(`${USERS_CRONTAB.mac}${BASH_LINE}@daily true\n`)
  // Unchanged since 1.x wrote it.
  expect(existsSync(join(machine.stateDir, '.env'))).toBe(false)
})

test('what 1.x had begun to uninstall is uninstalled', async (t) => {
  const machine = await machineOf1x(t, 'mac')
  renameSync(join(machine.watchdogDir, 'receipt.json'), join(machine.watchdogDir, 'receipt.leaving.json'))
  await machine.succeeds(['--uninstall'])
  expect(machine.jobs()).toEqual(['ai.openclaw.watchdog', HEALTHCHECK])
  expect(machine.crontab()).toBe(`${USERS_CRONTAB.mac}${BASH_LINE}@daily true\n`)
  expect(existsSync(machine.watchdogDir)).toBe(false)
})
