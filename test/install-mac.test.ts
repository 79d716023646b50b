/** Setup on a Mac: a launchd that reads the property lists and runs the real tiers (a stand-in), and a crontab. */
import { execFileSync } from 'node:child_process'
import { existsSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TIERS } from '../lib/tier/contract.ts'
import { copyCheckout } from './support/checkout.ts'
import {
  CRONTAB,
  createMac,
  cronLinesOf,
  DOMAIN,
  HEALTHCHECK,
  installed,
  listingWithoutLogs,
  type Mac,
  plistOf,
  runCronLine,
  WATCHDOG,
} from './support/mac.ts'
import { projectDir, waitFor } from './support/sandbox.ts'

const JOBS = [HEALTHCHECK, WATCHDOG]
const areIdle = (machine: Mac) => machine.launchd.labels().every((label) => !machine.launchd.job(label)!.child)

describe('installed on a Mac', () => {
  let machine: Mac
  let before: Record<string, string>
  beforeAll(async () => {
    // launchd does not start a job twice within 10 of its seconds.
    machine = await createMac({ runsTiers: true, launchd: { speed: 5, withoutIntervals: true } })
    before = listingWithoutLogs(machine)
  })
  afterAll(() => machine.close())

  test('a dry run prints the plan and changes nothing', async () => {
    const untouched = machine.listing()
    const { code, stdout } = await machine.setup(['--dry-run'])
    expect(code).toBe(0)
    for (const text of ['Would do:', '~/Library/LaunchAgents/com.openclaw.watchdog.plist', 'crontab: write our block'])
      expect(stdout).toContain(text)
    expect(machine.listing()).toEqual(untouched)
    expect(machine.crontab()).toBe(CRONTAB)
    expect(machine.launchd.calls.filter((call) => !call.startsWith('print'))).toEqual([])
  })

  test('both levels are registered and run at once; the rest of the crontab keeps every byte', async () => {
    const npm = join(projectDir, 'node_modules', '.bin')
    const env = { PATH: `${npm}:./here:${machine.binDir}`, SECRET_OF_THIS_SHELL: 'x' }
    expect(await installed(machine, ['--yes'], { env })).toContain('The watchdog has written its first line.')
    expect(machine.launchd.labels()).toEqual(JOBS)
    await waitFor(() => areIdle(machine), 'the first runs')
    for (const label of JOBS) expect(machine.launchd.job(label)).toMatchObject({ runs: 1, lastExit: 3 })
    expect(machine.log('healthcheck')).toContain('standing down: paused by')
    expect(machine.crontab()!.endsWith(CRONTAB)).toBe(true)
    expect(cronLinesOf(machine)).toHaveLength(2)
  })

  test('the property lists say what the tiers’ table says, and nothing of that shell’s environment', () => {
    for (const tier of ['watchdog', 'healthcheck'] as const) {
      const plist = plistOf(machine, `com.openclaw.${tier}`)
      expect(plist).toMatchObject({
        Label: `com.openclaw.${tier}`,
        ProgramArguments: ['/bin/sh', join(projectDir, 'scripts', 'run-tier.sh'), TIERS[tier].script],
        StartInterval: TIERS[tier].intervalSec,
        RunAtLoad: true,
        StandardErrorPath: join(machine.home, 'Library', 'Logs', `com.openclaw.${tier}.err.log`),
      })
      const { PATH, ...others } = plist.EnvironmentVariables as Record<string, string>
      expect(others).toEqual({ HOME: machine.home })
      expect(PATH!.split(':')[0]).toBe(machine.binDir)
      expect(PATH).not.toMatch(/node_modules|here/)
    }
    expect(plistOf(machine, HEALTHCHECK).WatchPaths).toEqual([join(machine.memoryDir, 'escalations.log')])
    expect(plistOf(machine, WATCHDOG).WatchPaths).toBeUndefined()
    // Also by a parser that is not ours, where there is one; CI has it.
    const tool = ['/usr/bin/plutil', '/usr/bin/plistutil'].find((path) => existsSync(path))
    for (const label of tool ? JOBS : []) {
      const file = join(machine.agentsDir, `${label}.plist`)
      execFileSync(tool!, tool!.endsWith('plutil') ? ['-lint', file] : ['-i', file, '-f', 'json'], { stdio: 'pipe' })
    }
  })

  test('a second run says unchanged and touches nothing', async () => {
    const listing = listingWithoutLogs(machine)
    const calls = machine.launchd.calls.length
    expect(await installed(machine)).toBe('unchanged\n')
    expect(machine.launchd.calls.slice(calls).filter((call) => !call.startsWith('print'))).toEqual([])
    expect(listingWithoutLogs(machine)).toEqual(listing)
  })

  test('--status shows every job, and the gateway', async () => {
    const { code, stdout } = await machine.setup(['--status'])
    // Around midnight with the day.
    expect(stdout).toMatch(
      /watchdog +yes \(launchd: loaded, between runs\) +(?:[\d-]{10} )?\d\d:\d\d:\d\d +3 \(stood down\) +about \d/,
    )
    expect(stdout).toMatch(/guardian +yes \(cron: in the crontab\) +never +- +about (?:[\d-]{10} )?\d\d:\d[05]:00/)
    expect(stdout).toMatch(/gateway +○ absent: /)
    expect(stdout).toMatch(/paused +paused by/)
    expect(code).toBe(1)
  })

  test('the log folder deleted: the next tick makes it again', async () => {
    const { runs } = machine.launchd.job(HEALTHCHECK)!
    rmSync(join(machine.home, 'openclaw'), { recursive: true })
    await machine.launchd.call('kickstart', `${DOMAIN}/${WATCHDOG}`)
    await waitFor(() => machine.log('watchdog').includes('RUN ended'), 'the log')
    expect(statSync(machine.memoryDir).mode & 0o777).toBe(0o700)
    // That the file is gone which launchd watches starts Level 2; it has run before the next test begins.
    await waitFor(() => machine.launchd.job(HEALTHCHECK)!.runs > runs && areIdle(machine), 'the end of both')
  })

  test('Level 1 escalates, and launchd starts Level 2 at once', async () => {
    const { runs } = machine.launchd.job(HEALTHCHECK)!
    const pause = join(machine.stateDir, 'self-healing.paused')
    rmSync(pause)
    machine.writeConfig('{ this is broken')
    // The real Level 1; what it writes is what launchd watches. It looks when Level 2 is paused again.
    machine.launchd.sleep()
    expect((await machine.launch(['gateway-watchdog'])).code).toBe(1)
    writeFileSync(pause, '')
    machine.launchd.wake()
    await waitFor(() => machine.launchd.job(HEALTHCHECK)!.runs > runs, 'the run of Level 2')
    machine.writeConfig()
  })

  test('uninstalled, nothing is left but the logs', async () => {
    const gone = await machine.setup(['--uninstall'])
    expect(gone).toMatchObject({ code: 0, stderr: '' })
    expect(machine.launchd.labels()).toEqual([])
    expect(machine.crontab()).toBe(CRONTAB)
    expect(listingWithoutLogs(machine)).toEqual(before)
    expect(machine.memoryFiles('watchdog-')).not.toEqual([])
    expect(await machine.setup(['--uninstall'])).toMatchObject({ code: 0, stdout: 'not installed: nothing to do\n' })
  })
})

describe.concurrent('jobs on a Mac', () => {
  test('an edit of a script counts from the next tick, a bad one too', async ({ onTestFinished }) => {
    const machine = await createMac({ runsTiers: true })
    onTestFinished(machine.close)
    const checkout = copyCheckout(join(machine.root, 'checkout'))
    await installed(machine, ['--yes'], { checkout: checkout.root })
    const tick = async () => {
      const job = machine.launchd.job(WATCHDOG)!
      await waitFor(() => !job.child, 'the end of the run before')
      const { runs } = job
      await machine.launchd.call('kickstart', `${DOMAIN}/${WATCHDOG}`)
      await waitFor(() => job.runs > runs && !job.child, 'the tick')
      return job.lastExit
    }
    checkout.edit('lib/tier/pause.ts', (text) => text.replaceAll('paused by', 'put to sleep by'))
    expect(await tick()).toBe(3)
    expect(machine.log('watchdog')).toContain('standing down: put to sleep by')
    checkout.edit('scripts/gateway-watchdog.ts', (text) => text.replace('async function main', 'async functoin main'))
    expect(await tick()).toBe(1)
    expect(machine.log('watchdog')).toMatch(/cannot start: .*gateway-watchdog\.ts/)
    const { stdout, code } = await machine.setup(['--status'], { checkout: checkout.root })
    expect(code).toBe(1)
    expect(stdout).toMatch(/watchdog +yes .*cannot start: /)
  })

  test('after nine hours of sleep every level runs once, and nobody is accused', async ({ onTestFinished }) => {
    // 300 of launchd's seconds pass in 1.7 s.
    const machine = await createMac({ runsTiers: true, launchd: { speed: 180 } })
    onTestFinished(machine.close)
    await installed(machine)
    await waitFor(() => machine.launchd.job(WATCHDOG)!.runs >= 2, 'a second tick')
    machine.launchd.sleep()
    await waitFor(() => areIdle(machine), 'silence')
    const runs = JOBS.map((label) => machine.launchd.job(label)!.runs)
    const wakeAt = Date.now() + 4000
    await waitFor(() => Date.now() > wakeAt, 'at least two intervals of each')
    expect(JOBS.map((label) => machine.launchd.job(label)!.runs)).toEqual(runs)
    machine.launchd.wake()
    expect(JOBS.map((label) => machine.launchd.job(label)!.runs)).toEqual(runs.map((n) => n + 1))
    await waitFor(() => areIdle(machine), 'the run at wake')
    expect(machine.log()).not.toMatch(/revival|not revived|MANUAL/)
  })

  test('from a path with a blank, an é, a quote and a %, with HOME behind a symlink: launchd and cron run them', async ({
    onTestFinished,
  }) => {
    const machine = await createMac({ runsTiers: true })
    onTestFinished(machine.close)
    const link = join(machine.root, 'hôme of mine')
    symlinkSync(machine.home, link)
    const { root } = copyCheckout(join(machine.root, "it's 100% sélf <healing> & more"))
    const before = listingWithoutLogs(machine)
    const run = { checkout: root, env: { HOME: link } }
    expect(await installed(machine, ['--yes'], run)).toContain('The watchdog has written its first line.')
    for (const line of cronLinesOf(machine)) runCronLine(line)
    for (const tier of ['monitor', 'guardian']) expect(machine.log(tier)).toContain('standing down: paused by')
    await installed(machine, ['--uninstall'], run)
    expect(machine.crontab()).toBe(CRONTAB)
    expect(listingWithoutLogs(machine)).toEqual(before)
  })
})
