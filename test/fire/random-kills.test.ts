/**
 * Every tier is killed (SIGKILL) at random moments of its work, from the first millisecond of its start on, and run
 * again: no stuck lock, no lost call for a human, none made twice without saying so, no lost or half config, no session
 * of the doctor's left behind, and the next run does the right thing. The moments come from a seed, which is printed.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import { expectCode, gateways, killGateway, LONG, letters, lookWhole, REINSTALLATION } from './aftermath.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Kills that each script shall survive. */
    killsPerScript: number
  }
}

const SEED = 20_261_122
const KILLS = inject('killsPerScript')
const survived: Record<string, number> = {}
let toldTwice = 0

afterAll(() => {
  const all = Object.values(survived).reduce((sum, n) => sum + n, 0)
  process.stdout.write(
    `seed ${SEED}: ${all} kills at random moments survived ${JSON.stringify(survived)}, losses 0, told twice and said so: ${toldTwice}\n`,
  )
})

type OnFinished = (close: () => Promise<void>) => void

async function sandbox(onTestFinished: OnFinished, settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...settings } })
  onTestFinished(box.close)
  return box
}

interface Scene {
  box: Sandbox
  script: string
  /** Makes the trouble for run `n`. */
  before: (n: number) => Promise<void> | void
  /** Looks at what the next runs made of it. */
  after: (n: number) => Promise<void>
}

/** @param lane tells the lanes apart that share a script */
async function killAtRandom({ box, script, before, after }: Scene, kills: number, lane = 0): Promise<void> {
  const random = generator(SEED + lane + script.length * 1000)
  let longestMs = 0
  for (let n = 1, killed = 0; killed < kills; n++) {
    await before(n)
    const started = performance.now()
    const running = box.startScript(script, [], LONG)
    // The first run shows how long one takes; later ones show it when they were faster than their kill.
    const limitMs = n === 1 ? Number.POSITIVE_INFINITY : random() * longestMs
    const wasKilled = await Promise.race([
      running.finished.then(() => false),
      Number.isFinite(limitMs)
        ? delay(limitMs).then(() => running.child.kill('SIGKILL'))
        : new Promise<never>(() => {}),
    ])
    const { signal } = await running.finished
    if (!wasKilled || signal !== 'SIGKILL') longestMs = Math.max(100, (performance.now() - started) * 1.05)
    try {
      await after(n)
      lookWhole(box)
    } catch (error) {
      throw new Error(`${script}, run ${n}, killed after ${limitMs} ms: ${(error as Error).message}\n${box.log()}`, {
        cause: error,
      })
    }
    if (signal === 'SIGKILL') killed++
    if (signal === 'SIGKILL') survived[script] = (survived[script] ?? 0) + 1
    expect(n, 'runs that were too fast to be killed').toBeLessThan(kills * 4 + 20)
  }
  // What a run that was killed leaves lying does not pile up.
  const litter = readdirSync(join(box.stateDir, 'watchdog')).filter(
    (name) => name.startsWith('.') || name.includes('.stale.'),
  )
  expect(litter.length, litter.join(' ')).toBeLessThan(kills + 10)
}

/** Mulberry32: numbers from 0 to 1, the same for the same seed. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

describe.concurrent('killed at random moments', () => {
  test('Level 1, while it brings back a gateway', async ({ onTestFinished }) => {
    const box = await sandbox(onTestFinished)
    await box.startGateway()
    for (let i = 0; i < 2; i++) await expectCode(box, 'gateway-watchdog', 0)
    const config = readFileSync(box.configPath, 'utf8')
    const after = async () => {
      await expectCode(box, 'gateway-watchdog', 0)
      expect(gateways(box), 'one gateway').toHaveLength(1)
      expect(readFileSync(box.configPath, 'utf8')).toBe(config)
    }
    await killAtRandom({ box, script: 'gateway-watchdog', before: () => killGateway(box), after }, KILLS)
  })

  test('Level 2, while it puts the known-good config back', async ({ onTestFinished }) => {
    const box = await sandbox(onTestFinished)
    await box.startGateway()
    for (let i = 0; i < 2; i++) await expectCode(box, 'gateway-watchdog', 0)
    const config = readFileSync(box.configPath, 'utf8')
    const before = async (n: number) => {
      await killGateway(box)
      for (const name of brokenConfigs(box)) rmSync(join(box.stateDir, name))
      box.writeConfig(`{ broken: ${n}`)
    }
    const after = async (n: number) => {
      await expectCode(box, 'gateway-healthcheck', 0)
      expect(gateways(box), 'one gateway').toHaveLength(1)
      expect(readFileSync(box.configPath, 'utf8')).toBe(config)
      const kept = brokenConfigs(box).map((name) => readFileSync(join(box.stateDir, name), 'utf8'))
      expect(kept, 'the broken config is kept').toContain(`{ broken: ${n}\n`)
    }
    await killAtRandom({ box, script: 'gateway-healthcheck', before, after }, KILLS)
  })

  const brokenConfigs = (box: Sandbox) =>
    readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))

  // The longest runs by far: in three lanes.
  test.for([0, 1, 2])('Level 3, while the doctor is at work (lane %i)', async (lane, { onTestFinished }) => {
    const box = await sandbox(onTestFinished, { EMERGENCY_RECOVERY_CHECK_INTERVAL: '0.3' })
    const module = join(box.root, 'package', 'run-command.mjs')
    box.addTool('npm', `mkdir -p '${join(module, '..')}'; echo >'${module}'`)
    box.writeDoctorScript(REINSTALLATION)
    const before = async () => {
      await killGateway(box)
      rmSync(module, { force: true })
      rmSync(join(box.stateDir, 'watchdog', 'doctor-visits.json'), { force: true })
      await box.startGateway({ missingModule: module }, 'exit')
    }
    const after = async () => {
      // The visit that was cut short counts: the next run may call no doctor for the same failure, and then the human.
      const run = await box.runScript('emergency-recovery', [], LONG)
      if (run.code !== 0) expect(run.stdout).toMatch(/MANUAL INTERVENTION REQUIRED: no doctor was called/)
      expect(box.processes(), 'only the gateway lives').toEqual(gateways(box))
    }
    const share = Math.floor(KILLS / 3) + (lane < KILLS % 3 ? 1 : 0)
    await killAtRandom({ box, script: 'emergency-recovery', before, after }, share, lane)
  })

  test('Level 4, while it calls a human', async ({ onTestFinished }) => {
    const receiver = await startWebhookReceiver()
    onTestFinished(receiver.close)
    const box = await sandbox(onTestFinished, { DISCORD_WEBHOOK_URL: receiver.url })
    const before = (n: number) => {
      // What failed before is forgotten: a gateway that fails again and again is told of differently.
      for (const folder of [box.memoryDir, join(box.stateDir, 'watchdog')])
        rmSync(folder, { recursive: true, force: true })
      writeTierLog(box.memoryDir, 'healthcheck', { text: MARKER.manual(`reason ${letters(n)} of many`) })
    }
    const after = async (n: number) => {
      await expectCode(box, 'emergency-recovery-monitor', 0)
      await expectCode(box, 'emergency-recovery-monitor', 0)
      const told = receiver
        .delivered()
        .map((message) => JSON.stringify(message))
        .filter((message) => message.includes(`reason ${letters(n)} of many`))
      expect(told.length, 'the call arrived').toBeGreaterThan(0)
      // Killed between Discord's yes and the note of it: nobody can know, and the second one says so.
      for (const again of told.slice(1)) expect(again).toMatch(/Perhaps a repetition/)
      toldTwice += told.length > 1 ? 1 : 0
      expect(told.length).toBeLessThan(3)
    }
    await killAtRandom({ box, script: 'emergency-recovery-monitor', before, after }, KILLS)
  })

  test('the guardian', async ({ onTestFinished }) => {
    const box = await sandbox(onTestFinished)
    await box.startGateway()
    const after = () => expectCode(box, 'watchdog-guardian', 0)
    await killAtRandom({ box, script: 'watchdog-guardian', before: () => {}, after }, KILLS)
  })
})
