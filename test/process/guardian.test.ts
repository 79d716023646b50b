/** The guardian as a process: whom it misses, how it revives, when it calls a human. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseLine, parseMarker, type TierName } from '../../lib/tier/contract.ts'
import { createInstalled, type Installed } from '../support/installed.ts'
import { waitFor } from '../support/sandbox.ts'

const UID = process.getuid!()
const TICK_SEC = 300

/** One tick of cron's: five minutes later, the guardian runs; the tiers named and the monitor wrote meanwhile. */
async function tick(box: Installed, alive: TierName[] = [], args: string[] = []) {
  box.letTimePass(TICK_SEC)
  for (const tier of [...alive, 'monitor'] as const) box.writesLog(tier)
  return box.runScript('watchdog-guardian', args)
}

/** Ticks until the guardian has something to do or has seen `limit` ticks without it; returns the last one's exit code. */
async function untilItActs(box: Installed, alive: TierName[], limit = 6) {
  const before = box.actions().length + calls(box).length
  for (let n = 1; ; n++) {
    const { code } = await tick(box, alive)
    if (n === limit || box.actions().length + calls(box).length > before) return code
  }
}

/** Ticks until the guardian has been on time once and all was well. */
async function settle(box: Installed): Promise<void> {
  expect(await box.runScript('watchdog-guardian')).toMatchObject({ code: 3 })
  expect(await tick(box, ['watchdog', 'healthcheck'])).toMatchObject({ code: 0, stderr: '' })
}

function calls(box: Installed): string[] {
  const markers = box
    .log('guardian')
    .split('\n')
    .map((line) => parseMarker(parseLine(line)?.text ?? ''))
  return markers.flatMap((marker) => (marker?.kind === 'manual' ? [marker.why] : []))
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

  test('without a receipt nothing is missed', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    rmSync(box.receipt)
    box.setRegistered('watchdog', false)
    for (let i = 0; i < 2; i++) expect(await tick(box)).toMatchObject({ code: 0, stderr: '' })
    expect(box.actions()).toEqual([])
  })

  test('no peer is accused while all run, after nine hours of sleep, in a pause and after it', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    for (let i = 0; i < 4; i++) expect((await tick(box, ['watchdog', 'healthcheck'])).code).toBe(0)
    expect(box.log('guardian')).toContain('RUN ended: all alive, exit 0')
    box.setRegistered('watchdog', false)
    box.letTimePass(9 * 3600)
    expect(await box.runScript('watchdog-guardian')).toMatchObject({ code: 3 })
    writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
    for (let i = 0; i < 2; i++) expect((await tick(box)).code).toBe(3)
    rmSync(join(box.stateDir, 'self-healing.paused'))
    expect((await tick(box)).code).toBe(3)
    expect(box.actions()).toEqual([])
  })

  test('a watchdog that launchd has lost is loaded again at once; a dry run only says so', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    box.setRegistered('watchdog', false)
    const files = () => [readFileSync(join(box.stateDir, 'watchdog', 'peers-guardian.json'), 'utf8'), box.log()]
    const before = files()
    expect(await box.runScript('watchdog-guardian', ['--dry-run'])).toMatchObject({ code: 1, stderr: '' })
    expect([files(), box.actions()]).toEqual([before, []])
    expect(await tick(box, ['healthcheck'])).toMatchObject({ code: 0 })
    expect(box.actions()).toEqual([
      `launchctl enable gui/${UID}/com.openclaw.watchdog`,
      `launchctl bootstrap gui/${UID} ${box.home}/Library/LaunchAgents/com.openclaw.watchdog.plist`,
    ])
    expect(box.log('guardian')).toContain('NOTICE watchers: revived watchdog')
  })

  test('a watchdog that is loaded and has stopped logging is kickstarted', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    expect(await untilItActs(box, ['healthcheck'])).toBe(0)
    expect(box.actions()).toEqual([`launchctl kickstart -k gui/${UID}/com.openclaw.watchdog`])
  })

  test('a stopped systemd timer is enabled and started, and its service without waiting for the end', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'systemd')
    await settle(box)
    box.setRegistered('healthcheck', false)
    expect((await tick(box, ['watchdog'])).code).toBe(0)
    expect(box.actions()).toEqual([
      'systemctl --user daemon-reload',
      'systemctl --user enable com.openclaw.healthcheck.timer',
      'systemctl --user restart com.openclaw.healthcheck.timer',
      'systemctl --user restart --no-block com.openclaw.healthcheck.service',
    ])
  })

  test('where cron starts all tiers, lost crontab lines are put back once and the rest stays', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'cron')
    await settle(box)
    box.writeCrontab(['# mine', '0 4 * * * /usr/local/bin/backup'])
    expect(await untilItActs(box, [])).toBe(0)
    expect(box.actions()).toEqual(['crontab -'])
    for (const line of box.cronLines) expect(box.crontab()).toContain(line)
    expect(box.crontab()).toContain('# mine\n0 4 * * * /usr/local/bin/backup\n')
    expect(box.log('guardian')).not.toContain('not revived')
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
    expect(calls(box)[0]).toMatch(/^watchers: watchdog .*Domain does not support/)
    expect(box.log('guardian').match(/NOTICE watchers: not revived watchdog/g)).toHaveLength(4)
  })

  test('a watcher for which the human was called is dead until it runs by itself again', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd', { settings: { GUARDIAN_MAX_REVIVALS: '1' } })
    await settle(box)
    // It can be started, and falls silent each time.
    while (calls(box).length === 0) await untilItActs(box, ['healthcheck'])
    for (let i = 0; i < 4; i++) expect(await tick(box, ['healthcheck'])).toMatchObject({ code: 1 })
    let code: number | null = 1
    for (let ticks = 0; code !== 0 && ticks < 10; ticks++) code = (await tick(box, ['watchdog', 'healthcheck'])).code
    expect(code).toBe(0)
    expect(calls(box)).toHaveLength(1)
  })

  test('a hanging watchdog is ended by its pid and started again', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd', { settings: { OPENCLAW_STOP_GRACE: '0.5' } })
    await settle(box)
    const hanging = await startHanging(box, 'watchdog', "process.on('SIGTERM', () => {});")
    // It still writes: its own later runs stand down and say so. That is no sign that it works.
    expect((await tick(box, ['healthcheck', 'watchdog'])).code).toBe(0)
    expect(await hanging.ended).toBe('SIGKILL')
    expect(box.actions()).toEqual([`launchctl kickstart -k gui/${UID}/com.openclaw.watchdog`])
  })

  test('a hung guardian is ended by Level 1, for it holds the lock that the next one needs', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd', { settings: { OPENCLAW_STOP_GRACE: '0.5' } })
    await box.startGateway()
    expect((await box.runScript('gateway-watchdog')).code).toBe(0)
    const hanging = await startHanging(box, 'guardian', "process.on('SIGTERM', () => {});")
    box.letTimePass(180)
    holdsLock(box, 'guardian', hanging.pid, 'watchdog')
    expect((await box.runScript('gateway-watchdog')).code).toBe(0)
    expect(await hanging.ended).toBe('SIGKILL')
    expect(box.actions()).toEqual([])
    await box.runScript('watchdog-guardian')
    expect(box.log('guardian')).toContain('RUN ended: not on time')
  })

  test('a pid in an old lock that belongs to another program by now is not touched', async ({ onTestFinished }) => {
    const box = await installed(onTestFinished, 'launchd')
    await settle(box)
    const stranger = spawn('sleep', ['600'], { env: box.env, stdio: 'ignore' })
    holdsLock(box, 'watchdog', stranger.pid!)
    expect((await tick(box, ['healthcheck', 'watchdog'])).code).toBe(0)
    expect(box.actions()).toEqual([])
    await untilItActs(box, ['healthcheck'])
    expect(box.actions()).toEqual([`launchctl kickstart -k gui/${UID}/com.openclaw.watchdog`])
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
    stranger.kill('SIGKILL')
  })

  test('a hung Level 3 is ended, and the human is called because it could not do so itself', async ({
    onTestFinished,
  }) => {
    const box = await installed(onTestFinished, 'launchd', { settings: { OPENCLAW_STOP_GRACE: '5' } })
    await settle(box)
    const hanging = await startHanging(box, 'emergency-recovery')
    await tick(box, ['healthcheck', 'watchdog'])
    expect(await hanging.ended).toBe('SIGTERM')
    expect(calls(box)).toEqual([expect.stringMatching(/^emergency-recovery has been in one run for/)])
    await tick(box, ['healthcheck', 'watchdog'])
    expect(calls(box)).toHaveLength(1)
  })
})

const SCRIPTS = {
  watchdog: 'gateway-watchdog.ts',
  'emergency-recovery': 'emergency-recovery.ts',
  guardian: 'watchdog-guardian.ts',
}

/** A run of the tier's script that holds the lock, and has hung for longer than any may. */
async function startHanging(box: Installed, tier: keyof typeof SCRIPTS, code = '') {
  const script = join(box.root, 'scripts', SCRIPTS[tier])
  mkdirSync(join(box.root, 'scripts'))
  writeFileSync(script, `${code} setInterval(() => {}, 1000); require('node:fs').writeFileSync(__filename + '.up', '')`)
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script], {
    env: box.env,
    stdio: 'ignore',
  })
  const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)))
  await waitFor(() => existsSync(`${script}.up`), 'the run')
  holdsLock(box, tier, child.pid!)
  return { ended, pid: child.pid! }
}

/** It took the lock a day ago, and the watcher has been on time since. */
function holdsLock(box: Installed, tier: TierName, pid: number, watcher = 'guardian'): void {
  const dayAgoMs = Date.now() - 86_400_000
  const holder = { pid, tier, since: new Date(dayAgoMs).toISOString(), atWork: true }
  writeFileSync(join(box.stateDir, 'watchdog', `${tier}.lock`), JSON.stringify(holder))
  const path = join(box.stateDir, 'watchdog', `peers-${watcher}.json`)
  if (existsSync(path))
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), onTimeSinceMs: dayAgoMs }))
}
