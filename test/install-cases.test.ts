/** What can go wrong with an installation, and what must not be lost: on a Mac whose launchd runs no real tiers. */
import { spawn } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { copyCheckout } from './support/checkout.ts'
import {
  CRONTAB,
  createMac,
  cronLinesOf,
  DOMAIN,
  HEALTHCHECK,
  installed,
  listingWithoutLogs,
  plistOf,
  WATCHDOG,
} from './support/mac.ts'
import { waitFor } from './support/sandbox.ts'

type OnFinished = (close: () => Promise<void>) => void

async function mac(onTestFinished: OnFinished, options: Parameters<typeof createMac>[0] = {}) {
  const machine = await createMac(options)
  onTestFinished(machine.close)
  return machine
}

describe.concurrent('setup', () => {
  test('bootstrap right after a bootout fails with 5, and is tried again', async ({ onTestFinished }) => {
    const machine = await mac(onTestFinished, { launchd: { holdsOnFor: 2 } })
    await installed(machine)
    appendFileSync(join(machine.agentsDir, `${WATCHDOG}.plist`), '\n')
    await installed(machine)
    expect(machine.launchd.labels()).toEqual([HEALTHCHECK, WATCHDOG])
    const bootstraps = machine.launchd.calls.filter((call) => call.startsWith('bootstrap'))
    expect(bootstraps.filter((call) => call.includes(WATCHDOG))).toHaveLength(4)
  })

  test('a failing step is named, and all that this run had done is taken back', async ({ onTestFinished }) => {
    const machine = await mac(onTestFinished)
    const before = listingWithoutLogs(machine)
    machine.refuseCrontab()
    const { code, stderr } = await machine.setup(['--yes'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/crontab: .*FAILED: .*operation not permitted/)
    expect(stderr).toContain('everything that this run had done was rolled back')
    expect(machine.launchd.labels()).toEqual([])
    expect(machine.crontab()).toBe(CRONTAB)
    expect(listingWithoutLogs(machine)).toEqual(before)
  })

  test('a checkout that was moved is followed by running setup there; when that fails, the old one stays', async ({
    onTestFinished,
  }) => {
    const machine = await mac(onTestFinished)
    await installed(machine)
    const before = listingWithoutLogs(machine)
    const { root } = copyCheckout(join(machine.root, 'elsewhere'))
    const answer = { code: 125, stderr: 'Bootstrap failed: 125: Domain does not support specified action\n' }
    machine.launchd.plan(`bootstrap ${DOMAIN} ${join(machine.agentsDir, HEALTHCHECK)}`, answer)
    expect((await machine.setup(['--yes'], { checkout: root })).code).toBe(1)
    expect(listingWithoutLogs(machine)).toEqual(before)
    expect(machine.launchd.labels()).toEqual([HEALTHCHECK, WATCHDOG])

    await installed(machine, ['--yes'], { checkout: root })
    expect(plistOf(machine, WATCHDOG).ProgramArguments).toContain(join(root, 'scripts', 'run-tier.sh'))
    expect(cronLinesOf(machine)).toHaveLength(2)
    expect(cronLinesOf(machine).every((line) => line.includes(root))).toBe(true)
  })

  test('two at the same time: one installs, the other stands down or finds it done', async ({ onTestFinished }) => {
    const machine = await mac(onTestFinished)
    const runs = await Promise.all([machine.setup(['--yes']), machine.setup(['--yes'])])
    for (const { code, stdout, stderr } of runs) {
      expect([0, 3]).toContain(code)
      if (code === 3) expect(stderr).toContain('another setup is running')
      else expect(stdout).toMatch(/Installed\.|unchanged/)
    }
    expect(runs.filter(({ stdout }) => stdout.includes('Installed.'))).toHaveLength(1)
    expect(cronLinesOf(machine)).toHaveLength(2)
    expect(machine.launchd.calls.filter((call) => call.startsWith('bootstrap'))).toHaveLength(2)
  })

  test('killed half-way, it can be uninstalled', async ({ onTestFinished }) => {
    const machine = await mac(onTestFinished)
    const before = listingWithoutLogs(machine)
    const crontab = readFileSync(join(machine.binDir, 'crontab'), 'utf8').replace(/^#!.*\n/, '')
    machine.addTool('crontab', `[ "$1" = - ] && { touch '${machine.controlDir}/stuck'; sleep 60; }\n${crontab}`)
    const { child, finished } = machine.startSetup(['--yes'])
    await waitFor(() => existsSync(join(machine.controlDir, 'stuck')), 'the last step')
    child.kill('SIGKILL')
    expect((await finished).signal).toBe('SIGKILL')
    machine.addTool('crontab', crontab)
    expect(machine.launchd.labels()).toHaveLength(2)
    await installed(machine, ['--uninstall'])
    expect(machine.launchd.labels()).toEqual([])
    expect(machine.crontab()).toBe(CRONTAB)
    expect(listingWithoutLogs(machine)).toEqual(before)
  })

  test('interrupted, it takes back what it had done', async ({ onTestFinished }) => {
    const machine = await mac(onTestFinished)
    const before = listingWithoutLogs(machine)
    const { child, finished } = machine.startSetup(['--yes'])
    child.stdout.on('data', (text: string) => {
      if (text.includes('start com.openclaw.watchdog')) child.kill('SIGINT')
    })
    const { code, stderr } = await finished
    expect(code).toBe(1)
    expect(stderr).toContain('interrupted')
    expect(machine.launchd.labels()).toEqual([])
    expect(machine.crontab()).toBe(CRONTAB)
    expect(listingWithoutLogs(machine)).toEqual(before)
  })

  test('the receipt lost, the crontab edited: ours is found and taken out, the edits stay', async ({
    onTestFinished,
  }) => {
    const machine = await mac(onTestFinished)
    await installed(machine)
    rmSync(machine.watchdogDir, { recursive: true })
    const edited = machine
      .crontab()!
      .replace(
        '# END openclaw-self-healing\n',
        '5 5 * * * echo mine\n# END openclaw-self-healing\n0 0 * * * echo new\n',
      )
      .replace('@daily true\n', '')
    machine.writeCrontab(edited)
    await installed(machine, ['--uninstall'])
    expect(machine.crontab()).toBe(`5 5 * * * echo mine\n0 0 * * * echo new\n${CRONTAB.replace('@daily true\n', '')}`)
    expect(machine.launchd.labels()).toEqual([])
    expect(existsSync(machine.agentsDir)).toBe(false)
  })

  test('an uninstallation that was cut short can be finished, or taken back by installing', async ({
    onTestFinished,
  }) => {
    const machine = await mac(onTestFinished)
    const before = listingWithoutLogs(machine)
    await installed(machine, ['--yes'])
    const receipt = join(machine.watchdogDir, 'receipt.json')
    // The first thing that an uninstallation does.
    renameSync(receipt, join(machine.watchdogDir, 'receipt.leaving.json'))
    expect(await installed(machine)).toContain('✓ write the receipt, which was lost')
    renameSync(receipt, join(machine.watchdogDir, 'receipt.leaving.json'))
    await installed(machine, ['--uninstall'])
    expect(machine.launchd.labels()).toEqual([])
    expect(listingWithoutLogs(machine)).toEqual(before)
  })

  test('while Level 2 is at work an installation waits, and an uninstallation ends it; what was added to .env stays', async ({
    onTestFinished,
  }) => {
    const machine = await mac(onTestFinished, { withoutEnv: true })
    await installed(machine, ['--port', '18790'])
    appendFileSync(join(machine.stateDir, '.env'), 'OPENAI_API_KEY=sk-x\n')
    // A process that calls itself Level 2 and treats the gateway.
    const level2 = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'gateway-healthcheck.ts'], {
      env: machine.env,
    })
    const ended = new Promise((resolve) => level2.once('exit', (_, signal) => resolve(signal)))
    const holder = { pid: level2.pid, tier: 'healthcheck', since: new Date().toISOString(), atWork: true }
    writeFileSync(join(machine.watchdogDir, 'healthcheck.lock'), JSON.stringify(holder))
    appendFileSync(join(machine.agentsDir, `${WATCHDOG}.plist`), '\n')
    const second = await machine.setup(['--yes'])
    expect(second.code).toBe(3)
    expect(second.stderr).toContain('healthcheck is at work')

    const stdout = await installed(machine, ['--uninstall', '--purge'])
    expect(await ended).toBe('SIGTERM')
    expect(stdout).toContain('keep ~/.openclaw/.env: it was changed')
    expect(readFileSync(join(machine.stateDir, '.env'), 'utf8')).toContain('sk-x')
  })

  test('purged, our logs and our .env go, and nobody else’s; who had no crontab has none again', async ({
    onTestFinished,
  }) => {
    const machine = await mac(onTestFinished, { withoutEnv: true })
    rmSync(join(machine.controlDir, 'crontab'))
    mkdirSync(machine.memoryDir, { recursive: true })
    writeFileSync(join(machine.memoryDir, '2026-11-22.md'), 'what the assistant remembers')
    await installed(machine, ['--port', '18790'])
    expect(readFileSync(join(machine.stateDir, '.env'), 'utf8')).toBe('OPENCLAW_GATEWAY_PORT="18790"\n')
    writeFileSync(join(machine.memoryDir, 'recovery-learnings.md'), 'learnt')
    await installed(machine, ['--uninstall', '--purge'])
    expect(readdirSync(machine.memoryDir)).toEqual(['2026-11-22.md'])
    expect(existsSync(join(machine.stateDir, '.env'))).toBe(false)
    expect(machine.crontab()).toBeUndefined()
  })
})
