/** launchd as public reports show it: what it does with our jobs and the gateway's, and what the tiers make of that. */
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Installed, installedOn } from '../support/installed.ts'
import { GATEWAY, gatewayOfLaunchd } from '../support/launchd-gateway.ts'
import { createMachine, DOMAIN, HEALTHCHECK, hostFor, WATCHDOG } from '../support/machine.ts'
import { waitFor } from '../support/sandbox.ts'

/** Minutes pass; each run ends before the next slot. Returns how often both levels were started in them. */
async function pass({ launchd }: Pick<Installed, 'launchd'>, minutes: number) {
  const labels = [WATCHDOG, HEALTHCHECK]
  const runs = () => labels.map((label) => launchd!.job(label)!.runs)
  const isIdle = () => labels.every((label) => !launchd!.job(label)!.child && !launchd!.job(label)!.isScheduled)
  await waitFor(isIdle, 'the runs before')
  const before = runs()
  for (let i = 0; i < minutes; i++) {
    launchd!.passMinutes(1)
    await waitFor(isIdle, 'the runs of this minute')
  }
  return runs().map((count, i) => count - before[i]!)
}

const lifecycle = (stateDir: string, action: string) =>
  writeFileSync(
    join(stateDir, 'logs', 'gateway-restart.log'),
    `[${new Date().toISOString()}] openclaw gateway lifecycle source=cli action=${action} mode=disable-stop interactive=1\n`,
  )

describe.concurrent('our jobs', () => {
  test('come by the calendar, also while launchd starts only what is asked for; a slot slept through comes once', async (t) => {
    const box = await installedOn(t, 'mac')
    expect(await pass(box, 15)).toEqual([15, 3])
    box.launchd!.mode.onDemandOnly = true
    expect(await pass(box, 15)).toEqual([15, 3])
    const before = box.launchd!.job(WATCHDOG)!.runs
    box.launchd!.passMinutes(480, true)
    expect(await pass(box, 1)).toEqual([1, expect.any(Number)])
    expect(box.launchd!.job(WATCHDOG)!.runs).toBe(before + 2)
    // Level 2 comes when Level 1 escalates.
    const level2 = box.launchd!.job(HEALTHCHECK)!.runs
    writeFileSync(join(box.memoryDir, 'escalations.log'), 'ESCALATE\n')
    await waitFor(() => box.launchd!.job(HEALTHCHECK)!.runs > level2, 'Level 2')
  })

  test('installed in such a domain from ssh they run at once, and setup says what is wrong', async (t) => {
    const machine = await hostFor(t, 'mac')
    Object.assign(machine.launchd.mode, { onDemandOnly: true, manager: 'Background' })
    machine.addTool('security', 'echo "User interaction is not allowed." >&2; exit 36')
    const env = { CLAUDE_CONFIG_DIR: join(machine.home, 'claude-work') }
    const said = await machine.succeeds(['--yes'], { env })
    expect(said).toContain('The watchdog has written its first line.')
    for (const label of [WATCHDOG, HEALTHCHECK]) expect(machine.launchd.job(label)!.runs).toBe(1)
    for (const words of ['on-demand', 'Background', 'claude setup-token', 'another login', 'CLAUDE_CONFIG_DIR'])
      expect(said).toContain(words)
    // Before macOS announces it.
    expect(said.indexOf('Login Items')).toBeLessThan(said.indexOf('✓ write'))
    expect((await machine.runScript('status')).stdout).toContain('on-demand')
    machine.launchd.leaveOnDemandOnly()
    expect((await machine.runScript('status')).stdout).not.toContain('on-demand')
    machine.addTool('security', '')
    machine.launchd.mode.manager = 'Aqua'
    expect(await machine.succeeds()).toMatch(/^unchanged\n/)
  })

  test('that launchd pends are kicked by the guardian without a word to anybody, and by each other when late', async (t) => {
    const box = await installedOn(t, 'mac')
    await box.startGateway()
    box.launchd!.mode.onDemandOnly = true
    /** As after a login in that mode. */
    const pend = async (label: string) => {
      await box.launchd!.call('bootout', `${DOMAIN}/${label}`)
      await waitFor(() => !box.launchd!.job(label), 'its end')
      await box.launchd!.call('bootstrap', DOMAIN, join(box.agentsDir, `${label}.plist`))
      expect(box.launchd!.job(label)).toMatchObject({ runs: 0, pended: 'speculative' })
      box.forgetActions()
    }
    const isKicked = (label: string) => expect(box.launchd!.job(label)!.runs).toBe(1)
    await box.runScript('watchdog-guardian')
    box.letTimePass(300)
    for (const tier of ['watchdog', 'healthcheck', 'monitor'] as const) box.writesLog(tier)
    await pend(WATCHDOG)
    expect(await box.runScript('watchdog-guardian')).toMatchObject({ code: 0 })
    expect(box.actions()).toEqual([`launchctl kickstart ${DOMAIN}/${WATCHDOG}`])
    isKicked(WATCHDOG)
    expect(box.log('guardian')).not.toContain('NOTICE')
    for (const [script, label, tier] of [
      ['gateway-healthcheck', WATCHDOG, 'watchdog'],
      ['gateway-watchdog', HEALTHCHECK, 'healthcheck'],
    ] as const) {
      await pend(label)
      for (const alive of ['watchdog', 'healthcheck', 'guardian'] as const) box.runsByItself(alive)
      await box.runScript(script)
      expect(box.actions()).toEqual([])
      // Ten minutes ago, it wrote its last line.
      const then = Date.now() / 1000 - 600
      for (const name of box.memoryFiles(tier)) utimesSync(join(box.memoryDir, name), then, then)
      await box.runScript(script)
      expect(box.actions()).toEqual([`launchctl kickstart ${DOMAIN}/${label}`])
      isKicked(label)
    }
  })

  test('in the penalty box are loaded anew by the guardian, with the folder that was gone', async (t) => {
    const box = await installedOn(t, 'mac')
    await box.runScript('watchdog-guardian')
    box.letTimePass(300)
    for (const tier of ['watchdog', 'healthcheck', 'monitor'] as const) box.writesLog(tier)
    const logs = join(box.home, 'Library', 'Logs')
    rmSync(logs, { recursive: true })
    await pass(box, 3)
    expect(box.launchd!.job(WATCHDOG)).toMatchObject({ isBoxed: true, lastExit: 78 })
    expect((await box.runScript('status')).stdout).toMatch(
      /watchdog is not registered[\s\S]*cannot[\s\S]*Library\/Logs/,
    )
    box.forgetActions()
    expect((await box.runScript('watchdog-guardian')).code).toBe(0)
    expect(box.actions().filter((call) => call.includes(WATCHDOG))).toEqual([
      `launchctl kickstart -k ${DOMAIN}/${WATCHDOG}`,
      `launchctl bootout ${DOMAIN}/${WATCHDOG}`,
      `launchctl enable ${DOMAIN}/${WATCHDOG}`,
      `launchctl bootstrap ${DOMAIN} ${box.agentsDir}/${WATCHDOG}.plist`,
      `launchctl kickstart ${DOMAIN}/${WATCHDOG}`,
    ])
    expect(existsSync(logs)).toBe(true)
    expect(box.launchd!.job(WATCHDOG)).toMatchObject({ isBoxed: false, lastExit: 3 })
    // As does setup, which a person runs again.
    rmSync(logs, { recursive: true })
    await pass(box, 3)
    await box.succeeds()
    expect(box.launchd!.job(WATCHDOG)).toMatchObject({ isBoxed: false })
    expect(await box.succeeds()).toMatch(/^unchanged\n/)
  })

  test('a job that launchd cannot set up is no installation: rolled back, with the reason', async (t) => {
    const machine = await hostFor(t, 'mac')
    machine.launchd.mode.protects = 'gateway-watchdog'
    const stderr = expect.stringMatching(/start com\.openclaw\.watchdog: FAILED: launchd: cannot be started/)
    expect(await machine.setup(['--yes'])).toMatchObject({ code: 1, stderr })
    machine.expectGone()
  })

  test.for([
    [5, 'Input/output error', /Login Items/],
    [119, 'Service is disabled', /launchctl enable/],
    [122, 'Path had bad ownership/permissions', /another volume/],
    [125, 'Domain does not support specified action', /logged in[\s\S]*Login Items/],
  ] as const)('bootstrap answers %i: setup says what that means', async ([code, words, expected], t) => {
    const machine = await hostFor(t, 'mac')
    const answer = { code, stderr: `Bootstrap failed: ${code}: ${words}\n` }
    machine.launchd.plan(`bootstrap ${DOMAIN} ${join(machine.agentsDir, WATCHDOG)}`, answer, 11)
    expect(await machine.setup(['--yes'])).toMatchObject({ code: 1, stderr: expect.stringMatching(expected) })
    machine.expectGone()
  })
})

describe.concurrent('the gateway’s job', () => {
  test('is told by `launchctl list`; ended, it comes back by KeepAlive and nobody touches it', async (t) => {
    const box = await gatewayOfLaunchd(t)
    expect(JSON.parse(box.supervision())).toMatchObject({ kind: 'launchd', name: GATEWAY })
    await box.dies(() => box.job()!.runs === 2)
    expect(await box.tick()).toBe(0)
    expect(box.deeds()).toEqual([])
  })

  test('pended in an on-demand-only domain is kicked by Level 1 at once', async (t) => {
    const box = await gatewayOfLaunchd(t)
    box.launchd.mode.onDemandOnly = true
    await box.dies(() => box.job()!.pended)
    expect(await box.tick()).toBe(0)
    expect(box.deeds()).toEqual([`kickstart ${DOMAIN}/${GATEWAY}`])
    expect(box.log('watchdog')).toMatch(/DOWN parked: .*pended[\s\S]*RECOVERED by level 1/)
  })

  test('in the penalty box, its log folder gone: Level 1 makes the folder and loads it anew', async (t) => {
    const box = await gatewayOfLaunchd(t)
    box.launchd.mode.kickstartHangs = true
    rmSync(box.logs, { recursive: true })
    await box.dies(() => box.job()!.isBoxed)
    expect(await box.tick()).toBe(0)
    expect(box.deeds().map((call) => call.split(' ')[0])).toEqual(['bootout', 'enable', 'bootstrap', 'kickstart'])
    expect(box.log('watchdog')).toMatch(/DOWN parked: .*Library\/Logs\/openclaw[\s\S]*RECOVERED by level 1/)
  })

  test('in the penalty box, its program gone: named, not restarted, no config is touched; there again, it is healed', async (t) => {
    const box = await gatewayOfLaunchd(t)
    box.removeProgram()
    await box.dies(() => box.job()!.isBoxed)
    expect(await box.tick()).toBe(1)
    expect(box.deeds()).toEqual([])
    expect(box.log('watchdog')).toMatch(new RegExp(`DOWN broken-install: .*${box.program}`))
    writeFileSync(box.program, `#!/bin/sh\nexec '${join(box.packageDir, 'openclaw.mjs')}' "$@"\n`, { mode: 0o755 })
    expect(await box.tick()).toBe(0)
    expect(box.log('watchdog')).toMatch(/RECOVERED by level 1/)
  })

  test('that hangs while it is being stopped is waited for, and then is stopped on purpose', async (t) => {
    const more = '<key>ExitTimeOut</key><integer>2000</integer>\n'
    const box = await gatewayOfLaunchd(t, { more, settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '1' } })
    lifecycle(box.stateDir, 'stop')
    const pid = box.job()!.child!.pid!
    process.kill(pid, 'SIGSTOP')
    await box.launchd.call('bootout', `${DOMAIN}/${GATEWAY}`)
    const { finished } = box.startScript('gateway-watchdog')
    await waitFor(() => /(?:draining|hung): /.test(box.log('watchdog')), 'Level 1')
    expect(box.processes()).toContain(pid)
    // As launchd does when ExitTimeOut is over.
    process.kill(pid, 'SIGKILL')
    expect((await finished).code).toBe(3)
    expect(box.log('watchdog')).toMatch(/RUN ended: stopped-on-purpose, exit 3/)
    expect(box.log('watchdog')).not.toContain('hung')
    expect(box.deeds()).toEqual([`bootout ${DOMAIN}/${GATEWAY}`])
  })

  test.for([
    ['a stop in the lifecycle log', 'stop', 3],
    ['a stop there, and print-disabled fails', 'stop', 3],
    // OpenClaw of April to July 2026 had no such log.
    ['no lifecycle log', undefined, 3],
    ['no lifecycle log, killed', undefined, 0],
    // OpenClaw 2026.9.6 disables what it has just started.
    ['another deed in the lifecycle log', 'restart', 0],
  ] as const)('loaded, idle and disabled, with %s', async ([what, action, code], t) => {
    const box = await gatewayOfLaunchd(t)
    const target = `${DOMAIN}/${GATEWAY}`
    await box.launchd.call('disable', target)
    if (action) lifecycle(box.stateDir, action)
    if (what.includes('fails')) box.launchd.plan('print-disabled', { code: 1 }, 99)
    if (what.includes('killed')) await box.dies(() => !box.job()!.child)
    else await box.launchd.call('stop', target)
    await waitFor(() => !box.job()!.child, 'its end')
    box.launchd.calls.splice(0)
    expect(await box.tick()).toBe(code)
    // Else KeepAlive would do nothing for it from now on.
    expect(box.deeds()).toEqual(code === 3 ? [] : [`enable ${target}`, `kickstart ${target}`])
    if (what !== 'a stop in the lifecycle log') return
    // Nor does anybody else undo it, hours later and when the lifecycle log is gone.
    for (const script of ['gateway-healthcheck', 'emergency-recovery', 'watchdog-guardian'])
      expect((await box.runScript(script)).code, script).toBe(script === 'watchdog-guardian' ? 0 : 3)
    rmSync(join(box.stateDir, 'logs', 'gateway-restart.log'))
    const record = join(box.watchdogDir, 'gateway.json')
    const hourAgo = { stoppedSinceMs: Date.now() - 3_600_000 }
    writeFileSync(record, JSON.stringify({ ...JSON.parse(readFileSync(record, 'utf8')), ...hourAgo }))
    for (const script of ['gateway-watchdog', 'gateway-healthcheck'])
      expect((await box.runScript(script)).code, script).toBe(3)
    expect(box.deeds()).toEqual([])
  })

  test('ended by macOS for its memory: the log says so', async (t) => {
    const box = await gatewayOfLaunchd(t)
    box.launchd.mode.onDemandOnly = true
    box.launchd.jetsam(GATEWAY)
    await waitFor(() => Boolean(box.job()!.pended), 'its end')
    expect(await box.tick()).toBe(0)
    expect(box.log('watchdog')).toMatch(/DOWN parked: .*SIGKILL \(9\), JETSAM_REASON_MEMORY_PERPROCESSLIMIT/)
  })

  test('has the name that OPENCLAW_LAUNCHD_LABEL gives it; a tier says in words why launchd refuses', async (t) => {
    const label = 'org.example.claw'
    const box = await gatewayOfLaunchd(t, { label, settings: { OPENCLAW_LAUNCHD_LABEL: label } })
    rmSync(join(box.watchdogDir, 'supervision.json'))
    await box.launchd.call('bootout', `${DOMAIN}/${label}`)
    await waitFor(() => !box.job(), 'its end')
    box.launchd.plan('bootstrap', { code: 125, stderr: 'Bootstrap failed: 125: Domain does not support it\n' })
    expect(await box.tick()).toBe(1)
    expect(box.log('watchdog')).toMatch(/launchctl bootstrap .*org\.example\.claw\.plist: FAILED: .*Login Items/)
    expect(await box.tick()).toBe(0)
  })
})

test('what a tier starts has USER and LOGNAME of the system’s user record', async (t) => {
  const machine = await createMachine('bare')
  t.onTestFinished(machine.close)
  const noted = join(machine.root, 'names')
  machine.addTool('openclaw', `echo "$USER $LOGNAME" >>'${noted}'; exit 1`)
  await machine.runScript('gateway-watchdog', [], { env: { USER: 'somebody else' } })
  const { username } = userInfo()
  expect(new Set(readFileSync(noted, 'utf8').trim().split('\n'))).toEqual(new Set([`${username} ${username}`]))
})
