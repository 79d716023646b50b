/** The guardian as a process: whom it misses, how it revives, when it calls a human. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Marker, parseLine, parseMarker, type TierName } from '../lib/tier/contract.ts'
import { createInstalled, type Installed } from './support/installed.ts'
import { waitFor } from './support/sandbox.ts'

const TICK_SEC = 300

/** One tick of cron's: five minutes later, the guardian runs; the tiers named are alive and wrote meanwhile. */
async function tick(box: Installed, alive: TierName[] = [], args: string[] = []) {
  box.letTimePass(TICK_SEC)
  for (const tier of alive) box.writesLog(tier)
  return box.runScript('watchdog-guardian', args)
}

/** Ticks until the guardian has been on time once and all was well. */
async function settle(box: Installed): Promise<void> {
  expect(await box.runScript('watchdog-guardian')).toMatchObject({ code: 3 })
  expect(await tick(box, ['watchdog', 'healthcheck'])).toMatchObject({ code: 0, stderr: '' })
}

function calls(box: Installed): Marker[] {
  const markers = box
    .log('guardian')
    .split('\n')
    .flatMap((line) => parseMarker(parseLine(line)?.text ?? '') ?? [])
  return markers.filter(({ kind }) => kind === 'manual')
}

describe.concurrent('guardian', () => {
  const installed = async (
    onTestFinished: (close: () => Promise<void>) => void,
    ...args: Parameters<typeof createInstalled>
  ) => {
    const box = await createInstalled(...args)
    onTestFinished(box.close)
    return box
  }

  test('without an installation nobody is missed', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    rmSync(box.receipt)
    box.setRegistered('watchdog', false)
    for (let i = 0; i < 2; i++) expect(await tick(box)).toMatchObject({ code: 0, stderr: '' })
    expect(box.actions()).toEqual([])
    expect(box.log('guardian')).toContain('nothing is installed')
  })

  test('while both watchers live it does nothing, and launchd’s missing pid between runs is no reason', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    for (let i = 0; i < 2; i++) expect((await tick(box, ['watchdog', 'healthcheck'])).code).toBe(0)
    expect(box.actions()).toEqual([])
    expect(box.log('guardian')).toContain('RUN ended: all alive, exit 0')
  })

  test('after nine hours of sleep it accuses nobody, although everybody is silent and unloaded', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    box.letTimePass(9 * 3600)
    box.setRegistered('watchdog', false)
    expect(await box.runScript('watchdog-guardian')).toMatchObject({ code: 3 })
    expect(box.actions()).toEqual([])
  })

  test('a watchdog that launchd has lost is loaded again, and the log says so', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    box.setRegistered('watchdog', false)
    expect(await tick(box, ['healthcheck'])).toMatchObject({ code: 0 })
    const uid = process.getuid!()
    expect(box.actions()).toEqual([
      `launchctl enable gui/${uid}/com.openclaw.watchdog`,
      `launchctl bootstrap gui/${uid} ${box.home}/Library/LaunchAgents/com.openclaw.watchdog.plist`,
    ])
    expect(box.log('guardian')).toContain('watchdog is not registered (launchd: not loaded)')
    expect(box.log('guardian')).toMatch(/NOTICE watchers: revived watchdog: launchctl bootstrap/)
    expect(box.log('guardian')).toContain('RUN ended: revived: watchdog, exit 0')
  })

  test('a watchdog that is loaded and has stopped logging is kickstarted', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    expect((await tick(box, ['healthcheck'])).code).toBe(0)
    expect(box.actions()).toEqual([])
    expect((await tick(box, ['healthcheck'])).code).toBe(0)
    expect(box.actions()).toEqual([`launchctl kickstart gui/${process.getuid!()}/com.openclaw.watchdog`])
    expect(box.log('guardian')).toContain('watchdog has written no log for 10 min (it is due every 3 min)')
  })

  test('a stopped systemd timer is enabled and started, and its service run without waiting for the end', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'systemd')
    await settle(box)
    box.setRegistered('healthcheck', false)
    expect((await tick(box, ['watchdog'])).code).toBe(0)
    expect(box.actions()).toEqual([
      'systemctl --user daemon-reload',
      'systemctl --user reset-failed com.openclaw.healthcheck.timer com.openclaw.healthcheck.service',
      'systemctl --user enable com.openclaw.healthcheck.timer',
      'systemctl --user restart com.openclaw.healthcheck.timer',
      'systemctl --user start --no-block com.openclaw.healthcheck.service',
    ])
    expect(box.log('guardian')).toContain('healthcheck is not registered (systemd timer: inactive (dead))')
  })

  test('where cron starts all tiers, a lost crontab line is put back and the rest stays', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'cron')
    await settle(box)
    box.writeCrontab(['# mine', '0 4 * * * /usr/local/bin/backup'])
    await tick(box, ['healthcheck'])
    expect((await tick(box, ['healthcheck'])).code).toBe(1)
    expect(box.crontab()).toContain(box.cronLines[1])
    expect(box.crontab()).toContain('# mine\n0 4 * * * /usr/local/bin/backup\n')
  })

  test('three revivals in a row that fail call a human, once', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    box.setRegistered('watchdog', false)
    box.breakStarting()
    for (const revival of [1, 2, 3, 4]) {
      expect((await tick(box, ['healthcheck'])).code).toBe(1)
      expect(calls(box)).toHaveLength(revival < 3 ? 0 : 1)
    }
    expect(calls(box)[0]).toMatchObject({
      why: expect.stringMatching(/^watchers: watchdog is not registered .*3 times in a row.*Domain does not support/),
    })
  })

  test('a watcher for which the human was called is dead until it runs by itself again', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    // It can be started, and falls silent each time.
    for (let ticks = 0; calls(box).length === 0 && ticks < 30; ticks++) await tick(box, ['healthcheck'])
    expect(calls(box)).toHaveLength(1)
    for (let i = 0; i < 4; i++) expect(await tick(box, ['healthcheck'])).toMatchObject({ code: 1 })
    let code: number | null = 1
    for (let ticks = 0; code !== 0 && ticks < 10; ticks++) code = (await tick(box, ['watchdog', 'healthcheck'])).code
    expect(code).toBe(0)
    expect(calls(box)).toHaveLength(1)
  })

  test('a hanging watchdog is ended by its pid and started again', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd', { settings: { OPENCLAW_STOP_GRACE: '0.5' } })
    await settle(box)
    // A run of the script that hears no SIGTERM, with the lock in its name, seen for two hours.
    const folder = join(box.root, 'scripts')
    mkdirSync(folder)
    const script =
      "process.on('SIGTERM', () => {})\nsetInterval(() => {}, 1000)\nrequire('node:fs').writeFileSync(__filename + '.deaf', '')\n"
    writeFileSync(join(folder, 'gateway-watchdog.ts'), script)
    const hanging = spawn(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), join(folder, 'gateway-watchdog.ts')],
      {
        env: box.env,
        stdio: 'ignore',
      },
    )
    const ended = new Promise((resolve) => hanging.once('exit', (_code, signal) => resolve(signal)))
    await waitFor(() => existsSync(join(folder, 'gateway-watchdog.ts.deaf')), 'the run to be deaf')
    takesLock(box, 'watchdog', hanging.pid!)
    await tick(box, ['healthcheck', 'watchdog'])
    remembersRunOf(box, 'watchdog', 7200)
    // It still writes: its own later runs stand down and say so. That is no sign that it works.
    expect((await tick(box, ['healthcheck', 'watchdog'])).code).toBe(0)
    expect(await ended).toBe('SIGKILL')
    expect(box.log('guardian')).toMatch(/watchdog has been in one run for 125 min/)
    expect(box.log('guardian')).toContain(`ended the hanging watchdog (pid ${hanging.pid})`)
    expect(box.actions()).toEqual([`launchctl kickstart gui/${process.getuid!()}/com.openclaw.watchdog`])
  })

  test('a pid in an old lock that belongs to somebody else by now is left alone', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    const stranger = spawn('sleep', ['600'], { env: box.env, stdio: 'ignore' })
    takesLock(box, 'watchdog', stranger.pid!)
    await tick(box, ['healthcheck', 'watchdog'])
    remembersRunOf(box, 'watchdog', 7200)
    expect((await tick(box, ['healthcheck', 'watchdog'])).code).toBe(0)
    expect(box.actions()).toEqual([])

    // Even where launchd itself names that pid.
    box.setRunning('watchdog', stranger.pid!)
    for (let i = 0; i < 2; i++) expect((await tick(box, ['healthcheck'])).code).toBe(0)
    expect(box.actions()).toEqual([`launchctl kickstart gui/${process.getuid!()}/com.openclaw.watchdog`])
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
    stranger.kill('SIGKILL')
  })

  test('a watchdog that hangs before it takes its lock is found by its job and ended', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'systemd', { settings: { OPENCLAW_STOP_GRACE: '5' } })
    await settle(box)
    const hanging = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'scripts/gateway-watchdog.ts'], {
      env: box.env,
      stdio: 'ignore',
    })
    const ended = new Promise((resolve) => hanging.once('exit', (_code, signal) => resolve(signal)))
    box.setRunning('watchdog', hanging.pid!)
    await tick(box, ['healthcheck'])
    expect((await tick(box, ['healthcheck'])).code).toBe(0)
    expect(await ended).toBe('SIGTERM')
  })

  test('while it is paused it touches nothing, and the first tick after the pause accuses nobody', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    box.setRegistered('watchdog', false)
    writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
    for (let i = 0; i < 2; i++) expect((await tick(box)).code).toBe(3)
    rmSync(join(box.stateDir, 'self-healing.paused'))
    expect((await tick(box)).code).toBe(3)
    expect(box.actions()).toEqual([])
  })

  test('a dry run says whom it would revive and changes nothing', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    box.setRegistered('watchdog', false)
    box.letTimePass(TICK_SEC)
    box.writesLog('healthcheck')
    const book = () => readFileSync(join(box.stateDir, 'watchdog', 'peers-guardian.json'), 'utf8')
    const before = [book(), box.log()]
    const run = await box.runScript('watchdog-guardian', ['--dry-run'])
    expect(run).toMatchObject({ code: 1, stderr: '' })
    expect(run.stdout).toContain('dry run: would revive: watchdog is not registered')
    expect([book(), box.log()]).toEqual(before)
    expect(box.actions()).toEqual([])
  })

  test('without launchctl or systemctl it says that it cannot tell, and accuses nobody who logs', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd')
    rmSync(join(box.binDir, 'launchctl'))
    await settle(box)
    expect(box.log('guardian')).toContain('whether watchdog is registered is unknown: launchctl: launchctl is not on')
  })

  test('a hung Level 3 is ended, and the human is called because it could not do so itself', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd', { settings: { OPENCLAW_STOP_GRACE: '5' } })
    await settle(box)
    const hanging = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'scripts/emergency-recovery.ts'], {
      env: box.env,
      stdio: 'ignore',
    })
    const ended = new Promise((resolve) => hanging.once('exit', (_code, signal) => resolve(signal)))
    await waitFor(() => existsSync(`/proc/${hanging.pid}`) || process.platform !== 'linux', 'the process')
    takesLock(box, 'emergency-recovery', hanging.pid!)
    await tick(box, ['healthcheck', 'watchdog'])
    remembersRunOf(box, 'emergency-recovery', 10_000)
    await tick(box, ['healthcheck', 'watchdog'])
    expect(await ended).toBe('SIGTERM')
    expect(calls(box)).toMatchObject([{ why: expect.stringMatching(/^emergency-recovery has been in one run for/) }])
    await tick(box, ['healthcheck', 'watchdog'])
    expect(calls(box)).toHaveLength(1)
  })
})

function takesLock(box: Installed, tier: TierName, pid: number): void {
  const holder = { pid, tier, since: new Date().toISOString(), atWork: true }
  writeFileSync(join(box.stateDir, 'watchdog', `${tier}.lock`), JSON.stringify(holder))
}

/** The guardian has seen the run that holds the lock for this long. */
function remembersRunOf(box: Installed, tier: TierName, observedSec: number): void {
  const path = join(box.stateDir, 'watchdog', 'peers-guardian.json')
  const book = JSON.parse(readFileSync(path, 'utf8'))
  book.peers[tier].run.observedSec = observedSec
  writeFileSync(path, JSON.stringify(book))
}
