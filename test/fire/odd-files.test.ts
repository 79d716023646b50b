/**
 * State and log files that are damaged, huge, of another kind, not to be written, or another user's, full disks, and
 * many tiers at once: none breaks, a healthy gateway is left alone, and one that is down is brought back or a human called.
 */
import { execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { createSandbox, projectDir, type Sandbox } from '../support/sandbox.ts'
import { collect, type Run } from '../support/script-process.ts'

const SCRIPTS = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian']
const isRoot = process.getuid?.() === 0
/** `nobody` of Linux and macOS alike is no fixed number; any that is not root will do. */
const ORDINARY = { uid: 65_534, gid: 65_534 }

const stateLike = fc.dictionary(
  fc.constantFrom('lastHealthyMs', 'pid', 'putBack', 'lastTickMs', 'warnings', 'backoff', 'memory', 'cases', 'outbox'),
  fc.oneof(fc.jsonValue(), fc.double(), fc.record({ crashes: fc.nat(), lastCrashMs: fc.jsonValue() })),
)
const FOLDER = 'a folder'
const HARM: Record<string, (path: string) => void> = {
  damaged: (path) => fs.writeFileSync(path, '{"half": '),
  empty: (path) => fs.writeFileSync(path, ''),
  'of another shape': (path) => fs.writeFileSync(path, JSON.stringify(fc.sample(stateLike, 1)[0])),
  'full of zeros': (path) => fs.writeFileSync(path, Buffer.alloc(4096)),
  // A hole: no disk is filled, but to read it whole takes 3 GB of memory.
  huge: (path) => fs.truncateSync(path, 3 * 1024 ** 3),
  [FOLDER]: (path) => {
    fs.rmSync(path, { recursive: true })
    fs.mkdirSync(path)
  },
}

async function sandbox(settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...settings } })
  onTestFinished(box.close)
  return box
}

/** The state and log files that the tiers have left. */
function filesOf(box: Sandbox): string[] {
  return [join(box.stateDir, 'watchdog'), box.memoryDir].flatMap((folder) => {
    const files = fs.readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile())
    return files.map(({ name }) => join(folder, name))
  })
}

function expectCode(run: Run, what: string, ...codes: number[]): void {
  expect(codes, `${what}: ${run.signal}\n${run.stdout}${run.stderr}`).toContain(run.code)
}

const boots = (box: Sandbox) => box.events().filter(({ what }) => what === 'boot').length

test.each(Object.keys(HARM))('a file that is %s', async (name) => {
  const box = await sandbox()
  await box.startGateway()
  for (const script of SCRIPTS) await box.runScript(script)
  const [gateway] = box.processes()
  for (const path of filesOf(box)) HARM[name]!(path)
  // A log that cannot be written sends its tier to the fallback; state that cannot be written is a human's.
  const codes = name === FOLDER ? [0, 1, 3] : [0]
  for (const script of SCRIPTS) expectCode(await box.runScript(script), `${script}, files ${name}`, ...codes)
  expect(box.processes(), 'a healthy gateway is left alone').toEqual([gateway])

  await box.endProcesses()
  for (const path of filesOf(box)) HARM[name]!(path)
  const run = await box.runScript('gateway-watchdog')
  expectCode(run, `down, files ${name}`, ...(name === FOLDER ? [0, 1] : [0]))
  expect(run.stdout).toMatch(run.code === 0 ? /RECOVERED by level 1/ : /MANUAL INTERVENTION REQUIRED/)
})

test('50 watchdogs at once start one gateway, once', async () => {
  // Fifty starts of Node at once hold up the gateway, too: its boot, and its answers.
  const box = await sandbox({ OPENCLAW_STARTUP_GRACE: '240', OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '60' })
  const start = () => box.runScript('gateway-watchdog', [], { timeoutMs: 600_000 })
  const runs = await Promise.all(Array.from({ length: 50 }, start))
  expect(new Set(runs.map(({ code }) => code))).toEqual(new Set([0, 3]))
  expect(box.log('watchdog').match(/RECOVERED by level 1/g)).toHaveLength(1)
  expect(boots(box)).toBe(1)
})

/** Puts a folder on a small file system of its own that has no byte left. */
function fill(folder: string): void {
  const aside = `${folder}.aside`
  fs.mkdirSync(folder, { recursive: true })
  execFileSync('cp', ['-a', folder, aside])
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'tmpfs', folder])
  onTestFinished(() => void execFileSync('umount', ['-l', folder]))
  execFileSync('cp', ['-a', `${aside}/.`, folder])
  fs.rmSync(aside, { recursive: true })
  for (let size = 1024 * 1024; size >= 1; size /= 2)
    try {
      fs.writeFileSync(join(folder, `hog-${size}`), Buffer.alloc(size))
    } catch {
      // Full for this size.
    }
}

test.runIf(process.platform === 'linux' && isRoot)('folders that are full', async () => {
  const memory = await sandbox()
  fill(memory.memoryDir)
  const run = await memory.runScript('gateway-watchdog')
  expectCode(run, 'log folder full', 0)
  const log = join(memory.stateDir, 'watchdog', 'logs', `watchdog-${run.stdout.slice(1, 11)}.log`)
  expect(fs.readFileSync(log, 'utf8')).toMatch(/RECOVERED by level 1/)

  // Nothing is restarted that could not be counted.
  const state = await sandbox()
  fill(join(state.stateDir, 'watchdog'))
  expectCode(await state.runScript('gateway-watchdog'), 'state folder full', 1)
  expect(state.log('watchdog')).toMatch(/MANUAL INTERVENTION REQUIRED: .*ENOSPC/)
  expect(boots(state)).toBe(0)

  // A config that cannot be put back is not lost.
  const config = await sandbox()
  const configPath = join(config.home, 'config', 'openclaw.json')
  fs.mkdirSync(join(configPath, '..'))
  fs.renameSync(config.configPath, configPath)
  config.env.OPENCLAW_CONFIG_PATH = configPath
  await config.startGateway()
  for (let i = 0; i < 2; i++) expectCode(await config.runScript('gateway-watchdog'), 'healthy', 0)
  await config.endProcesses()
  const broken = `{ broken: "${'x'.repeat(5000)}"`
  fs.writeFileSync(configPath, broken)
  fill(join(configPath, '..'))
  expectCode(await config.runScript('gateway-healthcheck'), 'config folder full', 1)
  expect(fs.readFileSync(configPath, 'utf8')).toBe(broken)
  expect(config.log('healthcheck')).toMatch(/MANUAL INTERVENTION REQUIRED: .*ENOSPC/)
})

test.runIf(isRoot && canBeRunByOthers())('read-only and foreign files, as an ordinary user', async () => {
  const box = await sandbox()
  const give = (path: string, uid: number, mode?: number) => {
    fs.chownSync(path, uid, uid)
    if (mode !== undefined) fs.chmodSync(path, mode)
  }
  for (const name of ['', ...fs.readdirSync(box.root, { recursive: true, encoding: 'utf8' })]) {
    const path = join(box.root, name)
    if (!path.startsWith(box.binDir) && fs.existsSync(path)) give(path, ORDINARY.uid)
  }
  fs.chmodSync(box.binDir, 0o755)
  const start = (...argv: [string, ...string[]]) =>
    spawn(argv[0], argv.slice(1), { ...ORDINARY, env: box.env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] })
  const runAll = async (what: string, ...codes: number[]) => {
    for (const script of SCRIPTS) {
      const paths = [join(projectDir, 'lib', 'tier', 'start.mjs'), join(projectDir, 'scripts', `${script}.ts`)]
      const run = await collect(start(process.execPath, ...paths), script, 120_000)
      expectCode(run, `${script}, ${what}`, ...codes)
    }
  }
  start(join(box.binDir, 'openclaw'), 'gateway', 'run')
  await expect.poll(() => box.events().some(({ what }) => what === 'ready'), { timeout: 60_000 }).toBe(true)
  await runAll('first run', 0, 3)
  for (const [mode, uid] of [[0o400, ORDINARY.uid] as const, [0o644, 0] as const, [0o600, 0] as const]) {
    for (const path of filesOf(box)) give(path, uid, mode)
    await runAll(`files of ${uid} with mode ${mode}`, 0)
  }
  // The folder itself: nothing can be written any more, and that is said.
  const state = join(box.stateDir, 'watchdog')
  give(state, 0, 0o755)
  await runAll('foreign state folder', 0, 1)
  expect(box.log()).toMatch(/MANUAL INTERVENTION REQUIRED: .*EACCES/)
  expect(fs.statSync(state).uid).toBe(0)
  expect(boots(box)).toBe(1)
})

/** Another user can read this checkout and run this Node. */
function canBeRunByOthers(): boolean {
  const isOpen = (path: string) => (fs.statSync(path).mode & 0o005) === 0o005
  for (let folder = projectDir; folder !== '/'; folder = join(folder, '..')) if (!isOpen(folder)) return false
  return isOpen(process.execPath)
}
