/**
 * State and log files that are damaged, empty, huge, of another kind, not to be written, or somebody else's: no tier
 * breaks, a healthy gateway is left alone, and one that is down is brought back or a human is called. As an ordinary
 * user too: root may write everywhere, and would see nothing of the last two.
 */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createSandbox, projectDir, type Sandbox } from '../support/sandbox.ts'
import { collect, type Run } from '../support/script-process.ts'
import { killGateway } from './aftermath.ts'

const SCRIPTS = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian'] as const
const isRoot = process.getuid?.() === 0
/** `nobody` of Linux and macOS alike is no fixed number; any that is not root will do. */
const ORDINARY = 65_534

const GIB = 1024 ** 3
const HARM: Record<string, (path: string) => void> = {
  damaged: (path) => writeFileSync(path, '{"half": '),
  empty: (path) => writeFileSync(path, ''),
  'of another shape': (path) => writeFileSync(path, '[1, {"backoff": null}]'),
  'full of zeros': (path) => writeFileSync(path, Buffer.alloc(4096)),
  huge: (path) => {
    writeFileSync(path, '')
    // A hole: no disk is filled, and whoever reads it whole has 3 GB of zeros in memory.
    truncateSync(path, 3 * GIB)
  },
  'a folder': (path) => {
    rmSync(path, { force: true })
    mkdirSync(path)
  },
}

async function healthySandbox(): Promise<Sandbox> {
  const box = await createSandbox()
  onTestFinished(box.close)
  await box.startGateway()
  for (const script of SCRIPTS) await box.runScript(script)
  return box
}

/** The state and log files that the tiers have left. */
function filesOf(box: Sandbox): string[] {
  return [join(box.stateDir, 'watchdog'), box.memoryDir].flatMap((folder) =>
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(folder, entry.name)),
  )
}

function expectWhole(run: Run, what: string, codes: number[] = [0]): void {
  expect(run.signal, what).toBe(null)
  expect(codes, `${what}\n${run.stdout}${run.stderr}`).toContain(run.code)
  expect(run.stdout + run.stderr, what).not.toMatch(/unexpected failure|cannot start/)
}

test.each(Object.entries(HARM))(
  'a file that is %s: a healthy gateway is left alone by all',
  async (name, harm) => {
    const box = await healthySandbox()
    const [gateway] = box.processes()
    for (const path of filesOf(box)) harm(path)
    // A log that cannot be written sends its tier to the fallback; state that cannot be written is a human's.
    const codes = name === 'a folder' ? [0, 1, 3] : [0]
    for (const script of SCRIPTS) expectWhole(await box.runScript(script), `${script}, files ${name}`, codes)
    expect(box.processes()).toEqual([gateway])
    expect(box.events().filter(({ what }) => what === 'boot')).toHaveLength(1)
  },
  300_000,
)

test.each(Object.entries(HARM))(
  'a file that is %s: a gateway that is down is brought back, or a human is called',
  async (name, harm) => {
    const box = await healthySandbox()
    await killGateway(box)
    for (const path of filesOf(box)) harm(path)
    const run = await box.runScript('gateway-watchdog', [], { timeoutMs: 120_000 })
    expectWhole(run, `files ${name}`, [0, 1])
    if (run.code === 0) expect(run.stdout).toMatch(/RECOVERED by level 1/)
    else expect(run.stdout).toMatch(/MANUAL INTERVENTION REQUIRED/)
    if (name !== 'a folder') expect(run.code).toBe(0)
  },
  300_000,
)

test.runIf(isRoot && canBeRunByOthers())(
  'read-only and foreign files, as an ordinary user',
  async () => {
    const box = await createSandbox()
    onTestFinished(box.close)
    giveAway(box)
    await startGatewayAs(box)
    for (const script of SCRIPTS) expectWhole(await runAs(box, script), `${script}, first run`, [0, 3])
    for (const [what, change] of [
      ['read-only', (path: string) => chmodSync(path, 0o400)],
      ["root's, readable", (path: string) => giveToRoot(path, 0o644)],
      ["root's, unreadable", (path: string) => giveToRoot(path, 0o600)],
    ] as const) {
      for (const path of filesOf(box)) change(path)
      for (const script of SCRIPTS) expectWhole(await runAs(box, script), `${script}, files ${what}`)
    }
    // The folder itself: nothing can be written any more, and that is said.
    const state = join(box.stateDir, 'watchdog')
    giveToRoot(state, 0o755)
    for (const script of SCRIPTS) expectWhole(await runAs(box, script), `${script}, foreign state folder`, [0, 1])
    expect(box.log()).toMatch(/MANUAL INTERVENTION REQUIRED: .*cannot be written \(EACCES\)/)
    expect(statSync(state).uid).toBe(0)
    expect(box.events().filter(({ what }) => what === 'boot')).toHaveLength(1)
  },
  300_000,
)

function giveToRoot(path: string, mode: number): void {
  chownSync(path, 0, 0)
  chmodSync(path, mode)
}

/** Another user can read this checkout and run this Node. */
function canBeRunByOthers(): boolean {
  let folder = projectDir
  for (; folder !== '/'; folder = join(folder, '..')) if ((statSync(folder).mode & 0o005) !== 0o005) return false
  return (statSync(process.execPath).mode & 0o005) === 0o005
}

function giveAway(box: Sandbox): void {
  for (const name of ['', ...readdirSync(box.root, { recursive: true, encoding: 'utf8' })]) {
    const path = join(box.root, name)
    if (!path.startsWith(box.binDir) && statSync(path, { throwIfNoEntry: false })) chownSync(path, ORDINARY, ORDINARY)
  }
  chmodSync(box.binDir, 0o755)
}

async function startGatewayAs(box: Sandbox): Promise<void> {
  const out = openSync('/dev/null', 'w')
  const options = { env: box.env, cwd: '/', uid: ORDINARY, gid: ORDINARY, detached: true } as const
  spawn(join(box.binDir, 'openclaw'), ['gateway', 'run'], { ...options, stdio: ['ignore', out, out] })
  await expect.poll(() => box.events().some(({ what }) => what === 'ready'), { timeout: 60_000 }).toBe(true)
}

function runAs(box: Sandbox, script: string): Promise<Run> {
  const argv = [join(projectDir, 'lib', 'tier', 'start.mjs'), join(projectDir, 'scripts', `${script}.ts`)]
  const child = spawn(process.execPath, argv, {
    env: box.env,
    cwd: '/',
    uid: ORDINARY,
    gid: ORDINARY,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return collect(child, script, 60_000)
}
