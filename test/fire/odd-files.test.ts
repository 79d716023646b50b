/**
 * State and log files that are damaged, huge or of another kind, full disks, many tiers at once, odd settings and answers:
 * none breaks, a healthy gateway is left alone, and one that is down is brought back or a human called.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { claude } from '../../lib/agents/claude-code.ts'
import { codex } from '../../lib/agents/codex.ts'
import { gemini } from '../../lib/agents/gemini.ts'
import { qwen } from '../../lib/agents/qwen.ts'
import { readLaunchdJob } from '../../lib/services/launchd.ts'
import { ALL_SETTINGS } from '../../lib/tier/setting-table.ts'
import { loadSettings, SettingsError } from '../../lib/tier/settings.ts'
import { needsMount } from '../faults/scene.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import type { Run } from '../support/script-process.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

const SCRIPTS = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian']

const stateLike = fc.dictionary(
  fc.constantFrom('lastHealthyMs', 'pid', 'putBack', 'lastTickMs', 'warnings', 'backoff', 'memory', 'cases', 'outbox'),
  fc.oneof(fc.jsonValue(), fc.double(), fc.record({ crashes: fc.nat(), lastCrashMs: fc.jsonValue() })),
)
const FOLDER = 'a folder'
const HARM: Record<string, (path: string) => void> = {
  damaged: (path) => fs.writeFileSync(path, '{"half": '),
  empty: (path) => fs.writeFileSync(path, ''),
  'of another shape': (path) => fs.writeFileSync(path, JSON.stringify(fc.sample(stateLike, 1)[0])),
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

const filesOf = (box: Sandbox) =>
  [join(box.stateDir, 'watchdog'), box.memoryDir].flatMap((folder) => {
    const files = fs.readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile())
    return files.map(({ name }) => join(folder, name))
  })

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

test('a pipe without a writer, in the place of whatever is read', async () => {
  const box = await sandbox()
  await box.startGateway()
  expectCode(await box.runScript('gateway-watchdog'), 'healthy', 0)
  const lockFolder = join(box.stateDir, 'tmp', `openclaw-${process.getuid!()}`)
  const files = ['gateway.json', 'watchdog.json', 'supervision.json'].map((name) =>
    join(box.stateDir, 'watchdog', name),
  )
  const others = [box.configPath, `${box.configPath}.bak`, box.gatewayLog, join(lockFolder, 'gateway.other.lock')]
  const pipes = () => {
    for (const path of [...files, ...others]) {
      fs.rmSync(path, { force: true })
      execFileSync('mkfifo', [path])
    }
  }
  const [gateway] = box.processes()
  pipes()
  for (const script of [...SCRIPTS, 'status']) expectCode(await box.runScript(script), script, 0, 1)
  expect(box.processes(), 'a healthy gateway is left alone').toEqual([gateway])
  await box.endProcesses()
  pipes()
  expectCode(await box.runScript('gateway-watchdog'), 'down', 1)
  expect(box.log('watchdog')).toMatch(/DOWN misconfigured/)
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
  const script = `set -e; mkdir -p "$0"; cp -a "$0" "$0.aside"; mount -t tmpfs -o size=2m,mode=0700 tmpfs "$0"
    cp -a "$0.aside/." "$0"; rm -r "$0.aside"; dd if=/dev/zero of="$0/hog" 2>/dev/null || true`
  execFileSync('sh', ['-c', script, folder])
  onTestFinished(() => void execFileSync('umount', ['-l', folder]))
}

test.runIf(needsMount() === undefined)('folders that are full', async () => {
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
  expect(fs.readdirSync(join(state.stateDir, 'watchdog')).filter((name) => name.includes('.lock'))).toEqual([])
  expect(boots(state)).toBe(0)

  // Where nothing can be written down cron's Level 4 speaks at the half hour; one that a level calls would repeat it.
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  const both = await sandbox()
  fill(join(both.stateDir, 'watchdog'))
  fill(both.memoryDir)
  const preload = `--import=${new URL('shifted-clock.mjs', import.meta.url).href}`
  const shiftSec = 60 * (31 - new Date().getMinutes())
  const env = { NODE_OPTIONS: preload, CLOCK_SHIFT_SEC: String(shiftSec), DISCORD_WEBHOOK_URL: receiver.url }
  for (const flags of [[], ['--called']]) {
    await both.runScript('emergency-recovery-monitor', flags, { env })
    expect(receiver.delivered()).toHaveLength(1)
  }

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

const words = (...list: string[]) => fc.constantFrom(...list)
/** Text of the kind that lands in logs and settings. */
const outside = fc
  .array(fc.oneof(words('\n', '\r', '\u001b[2J', '"', '=', '#', '$HOME'), fc.string({ unit: 'binary', maxLength: 30 })))
  .map((parts) => parts.join(''))

test('any .env is settings, or a refusal in words', async () => {
  const { home, stateDir } = await sandbox()
  const name = words(...Object.values(ALL_SETTINGS).map((setting) => setting.name))
  const set = fc.tuple(name, outside).map((pair) => pair.join('='))
  const anyLines = fc.array(fc.oneof(outside, set), { maxLength: 8 })
  const holds = (lines: string[]) => {
    fs.writeFileSync(join(stateDir, '.env'), lines.join('\n'))
    try {
      expect(loadSettings({ HOME: home }).gatewayPort).toBeGreaterThan(0)
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError)
    }
  }
  fc.assert(fc.property(anyLines, holds), { numRuns: 10_000 })
})

test('what launchctl and a doctor print can be read, whatever it is', () => {
  const key = words('type', 'subtype', 'message', 'content', 'text', 'error', 'item', 'result', 'mcp_servers', 'name')
  const word = words('system', 'init', 'assistant', 'user', 'result', 'text', 'tool_use', 'tool_result', 'item')
  const values = [word, fc.jsonValue({ maxDepth: 1 })]
  const event = fc.object({ key, values, maxDepth: 3, maxKeys: 5 }).map((one) => JSON.stringify(one))
  const state = fc.tuple(words('\tstate = running\n', '\tpid = 12\n', '\tlast exit code = ', '\n\n'), outside)
  const job = fc.array(state, { maxLength: 4 }).map((lines) => lines.flat().join(''))
  const doctors = [claude, codex, qwen, gemini]
  const holds = (code: number, line: string) => {
    expect(readLaunchdJob(code, line, line)?.pid ?? 1).toBeGreaterThan(0)
    for (const doctor of doctors)
      for (const { kind } of [...doctor.read(line), ...(doctor.readError?.(line) ?? [])])
        expect(kind).toMatch(/^(?:connected|trouble|said|called|answered|finished)$/)
  }
  const printed = fc.oneof(outside, event, job)
  fc.assert(fc.property(fc.nat(255), printed, holds), { numRuns: 30_000 })
})
