/** Many at once, and disks that are full. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { freeDiskMb } from '../../lib/gateway/disk.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'

const LONG = { timeoutMs: 600_000 }
/** Fifty starts of Node at once hold up the gateway, too: its boot, and its answers. */
const PATIENT = { OPENCLAW_STARTUP_GRACE: '240', OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '60' }
const canMount = process.platform === 'linux' && process.getuid?.() === 0

async function sandbox(settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...PATIENT, ...settings } })
  onTestFinished(box.close)
  return box
}

/** Puts a folder on a small file system of its own that has no byte left. */
function fill(folder: string): void {
  mkdirSync(folder, { recursive: true })
  const aside = `${folder}.aside`
  execFileSync('cp', ['-a', folder, aside])
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'tmpfs', folder])
  onTestFinished(() => void execFileSync('umount', ['-l', folder]))
  execFileSync('cp', ['-a', `${aside}/.`, folder])
  rmSync(aside, { recursive: true })
  for (let size = 1024 * 1024; size >= 1; size = Math.floor(size / 2)) {
    try {
      writeFileSync(join(folder, `hog-${size}`), Buffer.alloc(size))
    } catch {
      // Full for this size.
    }
  }
  expect(freeDiskMb(folder)).toBe(0)
}

test('50 watchdogs at once start one gateway, once', async () => {
  const box = await sandbox()
  const runs = await Promise.all(Array.from({ length: 50 }, () => box.runScript('gateway-watchdog', [], LONG)))
  expect(new Set(runs.map(({ code }) => code))).toEqual(new Set([0, 3]))
  expect(box.log('watchdog').match(/\[INFO\] restart: /g)).toHaveLength(1)
  expect(box.events().filter(({ what }) => what === 'boot')).toHaveLength(1)
})

test.runIf(canMount)('log folder full: the gateway is brought back all the same', async () => {
  const box = await sandbox()
  fill(box.memoryDir)
  const run = await box.runScript('gateway-watchdog', [], LONG)
  expect(run.code, run.stdout + run.stderr).toBe(0)
  expect(run.stdout).toMatch(/RECOVERED by level 1/)
  expect(run.stderr).toMatch(/ENOSPC/)
  // What it could not write there stands in the fallback.
  const day = run.stdout.slice(1, 11)
  const fallback = readFileSync(join(box.stateDir, 'watchdog', 'logs', `watchdog-${day}.log`), 'utf8')
  expect(fallback).toMatch(/RECOVERED by level 1/)
})

test.runIf(canMount)('state folder full: nothing is restarted that could not be counted, and it is said', async () => {
  const box = await sandbox()
  fill(join(box.stateDir, 'watchdog'))
  const run = await box.runScript('gateway-watchdog', [], LONG)
  expect(run.code, run.stdout + run.stderr).toBe(1)
  expect(box.log('watchdog')).toMatch(/MANUAL INTERVENTION REQUIRED: .*cannot be written \(ENOSPC\)/)
  expect(box.events().filter(({ what }) => what === 'boot')).toEqual([])
})

test.runIf(canMount)('config folder full: the config is not lost when it cannot be put back', async () => {
  const box = await sandbox()
  const folder = join(box.home, 'config')
  mkdirSync(folder)
  const configPath = join(folder, 'openclaw.json')
  writeFileSync(configPath, readFileSync(box.configPath))
  rmSync(box.configPath)
  box.env.OPENCLAW_CONFIG_PATH = configPath
  const { pid } = await box.startGateway()
  for (let i = 0; i < 2; i++) expect((await box.runScript('gateway-watchdog', [], LONG)).code).toBe(0)
  process.kill(pid, 'SIGKILL')
  const broken = `{ broken: "${'x'.repeat(5000)}"`
  writeFileSync(configPath, broken)
  fill(folder)
  const run = await box.runScript('gateway-healthcheck', [], LONG)
  expect(run.code, run.stdout + run.stderr).toBe(1)
  expect(readFileSync(configPath, 'utf8')).toBe(broken)
  expect(box.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: .*ENOSPC/)
})
