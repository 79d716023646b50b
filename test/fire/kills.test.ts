/**
 * Every tier is killed (SIGKILL) at random moments of its work, and at each of its changes of the file system in turn,
 * and then run again: no stuck lock, no half file, no lost call for a human, no lost config, no session of the doctor
 * left behind, and the next run does the right thing. The random moments come from a seed.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, inject, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Kills at random moments that each script survives (Level 3, which runs for long: a third of them). */
    killsPerScript: number
  }
}

const SEED = 20_261_122
const KILLS = inject('killsPerScript')
const PRELOAD = `--import=${new URL('./crash-point.mjs', import.meta.url).href}`
const LONG = { timeoutMs: 300_000 }
const survived: Record<string, number> = {}

afterAll(() => {
  process.stdout.write(`seed ${SEED}, kills survived: ${JSON.stringify(survived)}\n`)
})

interface Scene {
  box: Sandbox
  script: string
  /** Makes the trouble for run `n`. */
  before: (n: number) => Promise<void> | void
  /** Checks what the next runs made of it. */
  after: (n: number) => Promise<void>
}

type OnFinished = (close: () => Promise<void>) => void

const SCENES: Record<string, (onTestFinished: OnFinished) => Promise<Scene>> = {
  async 'Level 1, while it brings back a gateway'(onTestFinished) {
    const box = await healthySandbox(onTestFinished)
    const config = readFileSync(box.configPath, 'utf8')
    const after = async () => {
      await expectHealed(box, 'gateway-watchdog')
      expect(readFileSync(box.configPath, 'utf8')).toBe(config)
    }
    return { box, script: 'gateway-watchdog', before: box.endProcesses, after }
  },

  async 'Level 2, while it puts the known-good config back'(onTestFinished) {
    const box = await healthySandbox(onTestFinished)
    const config = readFileSync(box.configPath, 'utf8')
    const broken = () => readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))
    const before = async (n: number) => {
      await box.endProcesses()
      for (const name of broken()) rmSync(join(box.stateDir, name))
      box.writeConfig(`{ broken: ${n}`)
    }
    const after = async (n: number) => {
      await expectHealed(box, 'gateway-healthcheck')
      expect(readFileSync(box.configPath, 'utf8')).toBe(config)
      const kept = broken().map((name) => readFileSync(join(box.stateDir, name), 'utf8'))
      expect(kept, 'the broken config is kept').toContain(`{ broken: ${n}\n`)
    }
    return { box, script: 'gateway-healthcheck', before, after }
  },

  async 'Level 3, while the doctor is at work'(onTestFinished) {
    const box = await sandbox(onTestFinished, { EMERGENCY_RECOVERY_CHECK_INTERVAL: '0.3' })
    const module = join(box.root, 'package', 'run-command.mjs')
    box.addTool('npm', `mkdir -p '${join(module, '..')}'; echo >'${module}'`)
    box.writeDoctorScript({
      steps: [{ call: 'reinstall_package' }, { call: 'start_gateway' }, { call: 'wait_until_healthy' }],
      report: { symptom: 'It exits at once.', root_cause: 'A file of the package is missing.', fix: 'Reinstalled it.' },
    })
    const before = async () => {
      await box.endProcesses()
      rmSync(module, { force: true })
      rmSync(join(box.stateDir, 'watchdog', 'doctor-visits.json'), { force: true })
      await box.startGateway({ missingModule: module }, 'exit')
    }
    const after = async () => {
      // The session that was cut short counts: the next run may call no doctor for the same failure, but the human.
      const run = await box.runScript('emergency-recovery', [], LONG)
      if (run.code !== 0) expect(run.stdout).toMatch(/MANUAL INTERVENTION REQUIRED: /)
      expect(box.processes(), 'only the gateway lives').toEqual(gateways(box))
    }
    return { box, script: 'emergency-recovery', before, after }
  },

  async 'Level 4, while it calls a human'(onTestFinished) {
    const receiver = await startWebhookReceiver()
    onTestFinished(receiver.close)
    const box = await sandbox(onTestFinished, { DISCORD_WEBHOOK_URL: receiver.url })
    // Letters: the same reason with another number would be the same failure.
    const reason = (n: number) =>
      `reason ${[...String(n)].map((digit) => 'abcdefghij'[Number(digit)]).join('')} of many`
    const before = (n: number) => {
      // What failed before is forgotten: a gateway that fails again and again is reported differently.
      for (const folder of [box.memoryDir, join(box.stateDir, 'watchdog')])
        rmSync(folder, { recursive: true, force: true })
      writeTierLog(box.memoryDir, 'healthcheck', { text: MARKER.manual(reason(n)) })
    }
    const after = async (n: number) => {
      for (let i = 0; i < 2; i++) await expectCode(box, 'emergency-recovery-monitor')
      const messages = receiver.delivered().map((message) => JSON.stringify(message))
      const [first, ...again] = messages.filter((message) => message.includes(reason(n)))
      expect(first, 'the call arrived').toBeDefined()
      // Killed between Discord's yes and the note of it: that cannot be known, and the second one says so.
      expect(again.length).toBeLessThan(2)
      for (const message of again) expect(message).toMatch(/repetition/)
    }
    return { box, script: 'emergency-recovery-monitor', before, after }
  },

  async 'the guardian'(onTestFinished) {
    const box = await healthySandbox(onTestFinished)
    const script = 'watchdog-guardian'
    return { box, script, before: () => {}, after: () => expectCode(box, script) }
  },
}

test.concurrent.for(Object.entries(SCENES))('killed at random moments: %s', async ([, open], { onTestFinished }) => {
  const scene = await open(onTestFinished)
  const { box, script } = scene
  const random = generator(SEED + script.length * 1000)
  const kills = script === 'emergency-recovery' ? Math.ceil(KILLS / 3) : KILLS
  let longestMs = 0
  for (let n = 1, killed = 0; killed < kills; n++) {
    await scene.before(n)
    const started = performance.now()
    const running = box.startScript(script, [], LONG)
    // The first run shows how long one takes; later ones show it when they were faster than their kill.
    const limitMs = random() * longestMs
    const timer = n > 1 ? setTimeout(() => running.child.kill('SIGKILL'), limitMs) : undefined
    const { signal } = await running.finished
    clearTimeout(timer)
    if (signal === 'SIGKILL') killed++
    else longestMs = Math.max(100, (performance.now() - started) * 1.05)
    await expectAftermath(scene, n, `after ${limitMs} ms`)
    expect(n, 'runs that were too fast to be killed').toBeLessThan(kills * 4 + 20)
  }
  survived[`${script}, at random`] = kills
  // What a killed run leaves lying does not pile up.
  const litter = readdirSync(join(box.stateDir, 'watchdog')).filter((name) => /^\.|\.stale\./.test(name))
  expect(litter.length, litter.join(' ')).toBeLessThan(kills + 10)
})

test.concurrent.for(Object.entries(SCENES))(
  'killed at each change of files: %s',
  async ([, open], { onTestFinished }) => {
    const scene = await open(onTestFinished)
    const { box, script } = scene
    // The short run takes a sample, and so does a script that takes long.
    const step = (KILLS < 100 ? 7 : 1) * (script === 'emergency-recovery' ? 13 : 1)
    for (let n = 1; ; n += step) {
      await scene.before(n)
      const env = { NODE_OPTIONS: PRELOAD, CRASH_SCRIPT: script, CRASH_AT: String(n) }
      const run = await box.runScript(script, [], { ...LONG, env })
      if (run.signal === 'SIGKILL') {
        await expectAftermath(scene, n, 'at a change of files')
        survived[`${script}, at a change`] = (survived[`${script}, at a change`] ?? 0) + 1
        continue
      }
      expect(run, run.stdout + run.stderr).toMatchObject({ code: 0, signal: null })
      expect(n, 'it changed the file system').toBeGreaterThan(5)
      return
    }
  },
)

async function sandbox(onTestFinished: OnFinished, settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...settings } })
  onTestFinished(box.close)
  return box
}

/** With a gateway that is known, and its config kept as known-good. */
async function healthySandbox(onTestFinished: OnFinished): Promise<Sandbox> {
  const box = await sandbox(onTestFinished)
  await box.startGateway()
  for (let i = 0; i < 2; i++) await expectCode(box, 'gateway-watchdog')
  return box
}

async function expectCode(box: Sandbox, script: string): Promise<void> {
  const run = await box.runScript(script, [], LONG)
  expect(run, run.stdout + run.stderr).toMatchObject({ code: 0 })
}

async function expectHealed(box: Sandbox, script: string): Promise<void> {
  await expectCode(box, script)
  expect(gateways(box), 'one gateway').toHaveLength(1)
}

/** Gateways that came up and live. */
function gateways(box: Sandbox): number[] {
  const alive = box.processes()
  const ready = box.events().flatMap(({ what, pid }) => (what === 'ready' ? [pid] : []))
  return [...new Set(ready)].filter((pid) => alive.includes(pid))
}

/** The next run does the right thing, and leaves state files that can be read, no lock, no session of the doctor. */
async function expectAftermath({ box, script, after }: Scene, n: number, when: string): Promise<void> {
  try {
    await after(n)
    const folder = join(box.stateDir, 'watchdog')
    for (const name of readdirSync(folder)) {
      if (name === 'doctor') expect(readdirSync(join(folder, name)), 'a session of the doctor stayed').toEqual([])
      expect(name, 'a lock or a damaged state file stayed').not.toMatch(/^[a-z-]+\.lock$|corrupt/)
      if (name.endsWith('.json')) JSON.parse(readFileSync(join(folder, name), 'utf8'))
    }
  } catch (error) {
    const message = `${script}, run ${n}, killed ${when}: ${(error as Error).message}\n${box.log()}`
    throw new Error(message, { cause: error })
  }
}

/** Numbers from 0 to 1, the same for the same seed. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}
