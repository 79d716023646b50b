/**
 * Every tier is killed (SIGKILL) at moments spread over its work, and at each of its changes of the file system in turn,
 * and then run again: no stuck lock, no half file, no lost call for a human, no lost config, no session of the doctor
 * left behind, and the next run does the right thing.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { startGithubApi } from '../support/github-api.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

/** That each script survives; Level 3, which runs for long, a third of them. */
const KILLS = 100
const PRELOAD = `--import=${new URL('./crash-point.mjs', import.meta.url).href}`
const LONG = { timeoutMs: 300_000 }
/** Its multiples, without their whole part, are spread evenly from 0 to 1. */
const GOLDEN_RATIO = 1.618034

interface Scene {
  box: Sandbox
  before?: (n: number) => Promise<void> | void
  after: (n: number) => Promise<void>
}

/** By the script that is killed: while it brings back a gateway, puts a config back, has a doctor at work, calls a human. */
const SCENES: Record<string, (t: TestContext) => Promise<Scene>> = {
  'gateway-watchdog': (t) => knownGateway(t, 'gateway-watchdog'),

  async 'gateway-healthcheck'(t) {
    const { box, after: expectHealed } = await knownGateway(t, 'gateway-healthcheck')
    const broken = () =>
      readdirSync(box.stateDir).flatMap((name) => (/json\.broken-/.test(name) ? [join(box.stateDir, name)] : []))
    const before = async (n: number) => {
      await box.endProcesses()
      for (const path of broken()) rmSync(path)
      box.writeConfig(`{ broken: ${n}`)
    }
    const after = async (n: number) => {
      await expectHealed(n)
      const kept = broken().map((path) => readFileSync(path, 'utf8'))
      expect(kept, 'the broken config is kept').toContain(`{ broken: ${n}\n`)
    }
    return { box, before, after }
  },

  async 'emergency-recovery'(t) {
    const box = await sandbox(t, { EMERGENCY_RECOVERY_CHECK_INTERVAL: '0.3' })
    const module = join(box.root, 'package', 'run-command.mjs')
    box.addTool('npm', `mkdir -p '${join(module, '..')}'; echo >'${module}'`)
    box.writeDoctorScript({
      steps: [{ call: 'reinstall_package' }, { call: 'start_gateway' }, { call: 'wait_until_healthy' }],
      report: { symptom: 'It exits at once.', root_cause: 'A file is missing.', fix: 'Reinstalled the package.' },
    })
    const before = async () => {
      await box.endProcesses()
      rmSync(module, { force: true })
      rmSync(join(box.stateDir, 'watchdog', 'doctor-visits.json'), { force: true })
      await box.startGateway({ missingModule: module }, 'exit')
    }
    const after = async () => {
      // The session that was cut short counts: for the same failure the next run may call the human and no doctor.
      const run = await box.runScript('emergency-recovery', [], LONG)
      if (run.code !== 0) expect(run.stdout).toMatch(/MANUAL INTERVENTION REQUIRED: /)
      expect(box.processes(), 'only the gateway runs').toEqual(readyGateways(box))
    }
    return { box, before, after }
  },

  async 'emergency-recovery-monitor'(t) {
    const receiver = await startWebhookReceiver()
    const github = await startGithubApi()
    t.onTestFinished(receiver.close)
    t.onTestFinished(github.close)
    const box = await sandbox(t, { DISCORD_WEBHOOK_URL: receiver.url, ...github.settings })
    // Letters: the same reason with another number would be the same failure.
    const reason = (n: number) => `reason ${String(n).replace(/\d/g, (digit) => 'abcdefghij'[Number(digit)]!)} of many`
    const before = (n: number) => {
      // A gateway that fails again and again is reported differently: what failed before is forgotten.
      for (const folder of [box.memoryDir, join(box.stateDir, 'watchdog')])
        rmSync(folder, { recursive: true, force: true })
      writeTierLog(box.memoryDir, 'healthcheck', { text: MARKER.manual(reason(n)) })
    }
    const after = async (n: number) => {
      for (let i = 0; i < 2; i++) await expectExit0(box, 'emergency-recovery-monitor')
      const messages = receiver.delivered().map((message) => JSON.stringify(message))
      const [first, ...again] = messages.filter((message) => message.includes(reason(n)))
      expect(first, 'the call arrived').toBeDefined()
      // Killed between Discord's answer and the note of it: that cannot be known, and the second message says so.
      expect(again.length).toBeLessThan(2)
      for (const message of again) expect(message).toMatch(/repetition/)
      // There it can be known.
      expect([github.issues.length, github.comments.length]).toEqual([n, 0])
    }
    return { box, before, after }
  },

  async 'watchdog-guardian'(t) {
    const { box } = await knownGateway(t, 'gateway-watchdog')
    return { box, after: () => expectExit0(box, 'watchdog-guardian') }
  },
}

test.concurrent.for(Object.entries(SCENES))('%s, killed at moments spread over its work', async ([script, open], t) => {
  const scene = await open(t)
  const { box } = scene
  const kills = script === 'emergency-recovery' ? Math.ceil(KILLS / 3) : KILLS
  let longestMs = 0
  for (let n = 1, killed = 0; killed < kills; n++) {
    await scene.before?.(n)
    const started = performance.now()
    const running = box.startScript(script, [], LONG)
    // The first run shows how long one takes; later ones show it when they were faster than their kill.
    const limitMs = ((n * GOLDEN_RATIO) % 1) * longestMs
    const timer = n > 1 ? setTimeout(() => running.child.kill('SIGKILL'), limitMs) : undefined
    const { signal } = await running.finished
    clearTimeout(timer)
    if (signal === 'SIGKILL') killed++
    else longestMs = Math.max(100, (performance.now() - started) * 1.05)
    await expectAftermath(scene, n, `after ${limitMs} ms`)
    expect(n, 'runs that were too fast to be killed').toBeLessThan(kills * 4 + 20)
  }
  // What a killed run leaves lying does not pile up.
  const litter = readdirSync(join(box.stateDir, 'watchdog')).filter((name) => /^\.|\.stale\./.test(name))
  expect(litter.length, litter.join(' ')).toBeLessThan(kills + 10)
})

test.concurrent.for(Object.entries(SCENES))('%s, killed at each change of files', async ([script, open], t) => {
  const scene = await open(t)
  for (let n = 1; ; n += script === 'emergency-recovery' ? 13 : 1) {
    await scene.before?.(n)
    const env = { NODE_OPTIONS: PRELOAD, CRASH_SCRIPT: script, CRASH_AT: String(n) }
    const run = await scene.box.runScript(script, [], { ...LONG, env })
    if (run.signal !== 'SIGKILL') {
      expect(run, run.stdout + run.stderr).toMatchObject({ code: 0, signal: null })
      expect(n, 'it changed the file system').toBeGreaterThan(5)
      return
    }
    await expectAftermath(scene, n, 'at a change of files')
  }
})

async function sandbox(t: TestContext, settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...settings } })
  t.onTestFinished(box.close)
  return box
}

/** A gateway that is gone, whose config is kept as known-good: the script brings it back, once, with that config. */
async function knownGateway(t: TestContext, script: string): Promise<Scene> {
  const box = await sandbox(t)
  await box.startGateway()
  for (let i = 0; i < 2; i++) await expectExit0(box, 'gateway-watchdog')
  const config = readFileSync(box.configPath, 'utf8')
  const after = async () => {
    await expectExit0(box, script)
    expect(readyGateways(box), 'one gateway').toHaveLength(1)
    expect(readFileSync(box.configPath, 'utf8')).toBe(config)
  }
  return { box, before: box.endProcesses, after }
}

async function expectExit0(box: Sandbox, script: string): Promise<void> {
  const run = await box.runScript(script, [], LONG)
  expect(run, run.stdout + run.stderr).toMatchObject({ code: 0 })
}

function readyGateways(box: Sandbox): number[] {
  const ready = new Set(box.events().flatMap(({ what, pid }) => (what === 'ready' ? [pid] : [])))
  return box.processes().filter((pid) => ready.has(pid))
}

/** The next run does the right thing, and leaves state files that can be read, no lock, no session of the doctor. */
async function expectAftermath({ box, after }: Scene, n: number, when: string): Promise<void> {
  try {
    await after(n)
    const folder = join(box.stateDir, 'watchdog')
    for (const name of readdirSync(folder)) {
      if (name === 'doctor') expect(readdirSync(join(folder, name)), 'a session of the doctor stayed').toEqual([])
      expect(name, 'a lock or a damaged state file stayed').not.toMatch(/^[a-z-]+\.lock$|corrupt/)
      if (name.endsWith('.json')) JSON.parse(readFileSync(join(folder, name), 'utf8'))
    }
  } catch (error) {
    throw new Error(`run ${n}, killed ${when}: ${(error as Error).message}\n${box.log()}`, { cause: error })
  }
}
