/** The watchers watch each other: whom the guardian misses, how it revives, when it calls a human; Levels 1 and 2 too. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseLine, parseMarker, TIERS, type TierName } from '../../lib/tier/contract.ts'
import { type Installed, installedOn } from '../support/installed.ts'
import { DOMAIN, WATCHDOG } from '../support/machine.ts'
import { waitFor } from '../support/sandbox.ts'

const KICKSTART = `launchctl kickstart -k ${DOMAIN}/${WATCHDOG}`
const USERS_LINES = '# mine\n0 4 * * * /usr/local/bin/backup\n'

/** One tick of cron's: five minutes later, the guardian runs; the tiers named and the monitor wrote meanwhile. */
async function tick(box: Installed, alive: TierName[] = [], args: string[] = []) {
  box.letTimePass(300)
  for (const tier of [...alive, 'monitor'] as const) box.writesLog(tier)
  return box.runScript('watchdog-guardian', args)
}

async function untilItActs(box: Installed, alive: TierName[]) {
  for (let n = 1; ; n++) {
    const { code } = await tick(box, alive)
    if (n === 6 || box.actions().length > 0) return code
  }
}

/** Ticks until the guardian has been on time once and all was well. */
async function settle(box: Installed): Promise<void> {
  expect(await box.runScript('watchdog-guardian')).toMatchObject({ code: 3 })
  expect(await tick(box, ['watchdog', 'healthcheck'])).toMatchObject({ code: 0, stderr: '' })
}

function calls(box: Installed): string[] {
  const lines = box.log('guardian').split('\n')
  const markers = lines.map((line) => parseMarker(parseLine(line)?.text ?? ''))
  return markers.flatMap((marker) => (marker?.kind === 'manual' ? [marker.why] : []))
}

describe.concurrent('the guardian', () => {
  test('misses nothing while all run, after nine hours of sleep, in a pause and after it, without a receipt', async (t) => {
    const box = await installedOn(t, 'mac')
    await settle(box)
    for (let i = 0; i < 4; i++) expect((await tick(box, ['watchdog', 'healthcheck'])).code).toBe(0)
    await box.loses('watchdog')
    box.letTimePass(9 * 3600)
    expect(await box.runScript('watchdog-guardian')).toMatchObject({ code: 3 })
    writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
    for (let i = 0; i < 2; i++) expect((await tick(box)).code).toBe(3)
    rmSync(join(box.stateDir, 'self-healing.paused'))
    expect((await tick(box)).code).toBe(3)
    rmSync(box.receipt)
    expect(await tick(box)).toMatchObject({ code: 0, stderr: '' })
    expect(box.actions()).toEqual([])
  })

  test('loads a watchdog that launchd has lost at once (a dry run only says so), and kickstarts one that is silent', async (t) => {
    const box = await installedOn(t, 'mac')
    await settle(box)
    await box.loses('watchdog')
    const files = () => [readFileSync(join(box.watchdogDir, 'peers-guardian.json'), 'utf8'), box.log()]
    const before = files()
    expect(await box.runScript('watchdog-guardian', ['--dry-run'])).toMatchObject({ code: 1, stderr: '' })
    expect([files(), box.actions()]).toEqual([before, []])
    expect(await tick(box, ['healthcheck'])).toMatchObject({ code: 0 })
    expect(box.actions()).toEqual([
      KICKSTART,
      `launchctl bootout ${DOMAIN}/${WATCHDOG}`,
      `launchctl enable ${DOMAIN}/${WATCHDOG}`,
      `launchctl bootstrap ${DOMAIN} ${box.agentsDir}/${WATCHDOG}.plist`,
      `launchctl kickstart ${DOMAIN}/${WATCHDOG}`,
    ])
    expect(box.log('guardian')).toContain('NOTICE watchers: revived watchdog')
    box.forgetActions()
    expect(await untilItActs(box, ['healthcheck'])).toBe(0)
    expect(box.actions()).toEqual([KICKSTART])
  })

  test('puts back once the lines with which cron starts all tiers', async (t) => {
    const box = await installedOn(t, 'bare')
    await settle(box)
    box.writeCrontab(USERS_LINES)
    expect(await untilItActs(box, [])).toBe(0)
    expect(box.actions()).toEqual(['crontab -'])
    expect(box.log('guardian')).not.toContain('not revived')
    for (const line of [...box.cronLines, USERS_LINES]) expect(box.crontab()).toContain(line)
  })

  test('calls a human once after three revivals in a row, and the watcher is dead until it runs by itself', async (t) => {
    const box = await installedOn(t, 'mac')
    await settle(box)
    await box.loses('watchdog')
    box.launchd!.plan('bootstrap', { code: 125, stderr: 'Domain does not support specified action\n' }, 4)
    for (const revival of [1, 2, 3, 4]) {
      expect((await tick(box, ['healthcheck'])).code).toBe(1)
      expect(calls(box)).toHaveLength(revival < 3 ? 0 : 1)
    }
    expect(calls(box)[0]).toMatch(/^watchers: watchdog .*Domain does not support/)
    expect(box.log('guardian').match(/NOTICE watchers: not revived watchdog/g)).toHaveLength(4)
    const codes: (number | null)[] = []
    while (codes.at(-1) !== 0 && codes.length < 10) codes.push((await tick(box, ['watchdog', 'healthcheck'])).code)
    expect(codes.slice(0, 2)).toEqual([1, 1])
    expect(codes.at(-1)).toBe(0)
    expect(calls(box)).toHaveLength(1)
  })

  test('ends a watchdog that hangs, and a Level 3, for which it calls the human; a stranger with an old pid is not touched', async (t) => {
    const box = await installedOn(t, 'mac', { settings: { OPENCLAW_STOP_GRACE: '5' } })
    await settle(box)
    const stranger = spawn('sleep', ['600'], { env: box.env, stdio: 'ignore' })
    holdsLock(box, 'healthcheck', stranger.pid!)
    const watchdog = await startHanging(box, 'watchdog', "process.on('SIGTERM', () => {});")
    const doctor = await startHanging(box, 'emergency-recovery')
    // The watchdog still writes: its own later runs stand down and say so. That is no sign that it works.
    expect((await tick(box, ['healthcheck', 'watchdog'])).code).toBe(0)
    expect(await watchdog.ended).toBe('SIGKILL')
    expect(await doctor.ended).toBe('SIGTERM')
    expect(box.actions()).toEqual([KICKSTART])
    expect(calls(box)).toEqual([expect.stringMatching(/^emergency-recovery has been in one run for/)])
    await tick(box, ['healthcheck', 'watchdog'])
    expect(calls(box)).toHaveLength(1)
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull()
    stranger.kill('SIGKILL')
  })
})

describe.concurrent('Levels 1 and 2', () => {
  async function healthy(...args: Parameters<typeof installedOn>) {
    const box = await installedOn(...args)
    await box.startGateway()
    return box
  }

  /** Ticks of a level until `isDone`; the tiers named are alive and write meanwhile. */
  async function ticks(box: Installed, level: 'watchdog' | 'healthcheck', alive: TierName[], isDone: () => boolean) {
    for (let n = 1; n <= 25; n++) {
      box.letTimePass(TIERS[level].intervalSec)
      for (const tier of alive) box.runsByItself(tier)
      expect(await box.runScript(TIERS[level].script)).toMatchObject({ code: 0, stderr: '' })
      if (isDone()) return n
    }
    throw new Error(`it never came:\n${box.log()}`)
  }
  const after = (count: number) => () => --count === 0

  test('Level 1 has lost crontab lines put back when cron’s tiers fall silent, and ends a guardian that hangs', async (t) => {
    const box = await healthy(t, 'mac', { settings: { OPENCLAW_STOP_GRACE: '0.5' } })
    box.writeCrontab(USERS_LINES)
    const isBack = () => box.cronLines.every((line) => box.crontab()!.includes(`${line}\n`))
    expect(await ticks(box, 'watchdog', ['healthcheck'], isBack)).toBeGreaterThan(4)
    expect(box.crontab()).toContain(USERS_LINES)
    expect(box.log('guardian')).toContain('NOTICE watchers: revived guardian')
    box.forgetActions()
    const hanging = await startHanging(box, 'guardian', "process.on('SIGTERM', () => {});")
    box.runsByItself('guardian')
    holdsLock(box, 'guardian', hanging.pid, 'watchdog')
    await ticks(box, 'watchdog', ['healthcheck', 'monitor'], after(1))
    expect(await hanging.ended).toBe('SIGKILL')
    expect(box.actions()).toEqual([])
  })

  test('a dead cron is called for once and goes on being noticed, until it lives; Level 2 runs the monitor meanwhile', async (t) => {
    const box = await healthy(t, 'mac')
    const hasRun = () => box.log('monitor').includes('RUN started')
    await ticks(box, 'healthcheck', ['watchdog', 'monitor', 'guardian'], after(3))
    expect(hasRun()).toBe(false)
    expect(await ticks(box, 'healthcheck', ['watchdog'], hasRun)).toBe(3)
    const count = (text: string) => box.log('guardian').split(text).length - 1
    await ticks(box, 'watchdog', ['healthcheck'], () => count('NOTICE watchers: not revived') === 4)
    expect(calls(box)).toEqual([expect.stringMatching(/^watchers: guardian /)])
    expect(count(', exit 0')).toBe(0)
    const codes: (number | null)[] = []
    for (let n = 0; n < 4; n++) codes.push((await tick(box, ['watchdog', 'healthcheck'])).code)
    expect([codes[0], codes.at(-1)]).toEqual([3, 0])
  })

  test('cron’s tiers are not missed where there is no cron; a damaged memory, or one of 1.x, changes nothing', async (t) => {
    const box = await healthy(t, 'mac', { withoutCron: true })
    const memory = join(box.watchdogDir, 'peers-watchdog.json')
    writeFileSync(memory, '{"lastTickMs":1,"peers":{"healthcheck":{"heartbeatMs":1,"silentSec":0}}}')
    await ticks(box, 'watchdog', ['healthcheck'], after(7))
    expect(box.actions()).toEqual([])
    expect(box.log('guardian')).not.toContain('RUN started')
    expect(box.log('watchdog')).not.toContain('[WARN]')
    writeFileSync(memory, '{"lastTickMs": "soon"')
    expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0, stderr: '' })
    expect(box.log('watchdog')).toContain('[WARN]')
  })

  test('Level 1 has Level 2 revived, Level 2 has Level 1 revived', async (t) => {
    const box = await healthy(t, 'linux')
    for (const level of ['watchdog', 'healthcheck'] as const) {
      const peer = level === 'watchdog' ? 'healthcheck' : 'watchdog'
      await box.loses(peer)
      const words = `systemctl --user WHAT com.openclaw.${peer}`
      const start = `${words.replace('WHAT', 'restart --no-block')}.service`
      await ticks(box, level, ['monitor', 'guardian'], () => box.actions().includes(start))
      const timer = ['enable', 'restart'].map((verb) => `${words.replace('WHAT', verb)}.timer`)
      expect(box.actions()).toEqual(['systemctl --user daemon-reload', ...timer, start])
      expect(box.log('guardian')).toContain(`NOTICE watchers: revived ${peer}`)
    }
  })
})

/** A run of the tier's script that holds the lock, and has hung for longer than any may. */
async function startHanging(box: Installed, tier: TierName, code = '') {
  const script = join(box.root, 'scripts', `${TIERS[tier].script}.ts`)
  mkdirSync(join(script, '..'), { recursive: true })
  writeFileSync(script, `${code} setInterval(() => {}, 1000); require('node:fs').writeFileSync(__filename + '.up', '')`)
  const loader = ['--import', import.meta.resolve('tsx')]
  const child = spawn(process.execPath, [...loader, script], { env: box.env, stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)))
  await waitFor(() => existsSync(`${script}.up`), 'the run')
  holdsLock(box, tier, child.pid!)
  return { ended, pid: child.pid! }
}

/** It took the lock a day ago, and the watcher has been on time since. */
function holdsLock(box: Installed, tier: TierName, pid: number, watcher = 'guardian'): void {
  const onTimeSinceMs = Date.now() - 86_400_000
  const holder = { pid, tier, since: new Date(onTimeSinceMs).toISOString(), atWork: true }
  writeFileSync(join(box.stateDir, 'watchdog', `${tier}.lock`), JSON.stringify(holder))
  const path = join(box.stateDir, 'watchdog', `peers-${watcher}.json`)
  const book = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { lastTickMs: Date.now(), revived: {} }
  writeFileSync(path, JSON.stringify({ ...book, onTimeSinceMs }))
}
