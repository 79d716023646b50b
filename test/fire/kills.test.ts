/**
 * Every tier is killed (SIGKILL) at each of its changes of the file system in turn, and then run again: no stuck lock,
 * no half file, no lost alert, no lost config, and the next run does the right thing.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import { expectCode, gateways, killGateway, LONG, letters, lookWhole, REINSTALLATION } from './aftermath.ts'

const PRELOAD = `--import=${new URL('./crash-point.mjs', import.meta.url).href}`
const survived: Record<string, number> = {}

afterAll(() => {
  process.stdout.write(`kills survived: ${JSON.stringify(survived)}\n`)
})

async function sandbox(settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0', ...settings } })
  onTestFinished(box.close)
  return box
}

/**
 * Runs a script again and again, killed at its 1st, 2nd, … change, until it gets through.
 * @param before makes the trouble for this run
 * @param after looks at what the next runs made of it
 * @param step for a script that takes long: only every so-manieth change
 */
async function killEverywhere(
  box: Sandbox,
  script: string,
  before: (n: number) => Promise<void>,
  after: (n: number) => Promise<void>,
  step = 1,
): Promise<void> {
  let kills = 0
  for (let n = 1; ; n += step) {
    await before(n)
    const env = { NODE_OPTIONS: PRELOAD, CRASH_SCRIPT: script, CRASH_AT: String(n) }
    const run = await box.runScript(script, [], { ...LONG, env })
    if (run.signal !== 'SIGKILL') {
      expect(run, run.stdout + run.stderr).toMatchObject({ code: 0, signal: null })
      expect(n, 'it changed the file system').toBeGreaterThan(5)
      return
    }
    try {
      await after(n)
      lookWhole(box)
    } catch (error) {
      throw new Error(`killed at change ${n}: ${(error as Error).message}\n${box.log()}`, { cause: error })
    }
    survived[script] = ++kills
  }
}

test('Level 1, while it brings back a gateway', async () => {
  const box = await sandbox()
  await box.startGateway()
  for (let i = 0; i < 2; i++) await expectCode(box, 'gateway-watchdog', 0)
  const config = readFileSync(box.configPath, 'utf8')
  await killEverywhere(
    box,
    'gateway-watchdog',
    () => killGateway(box),
    async () => {
      await expectCode(box, 'gateway-watchdog', 0)
      expect(gateways(box)).toHaveLength(1)
      expect(readFileSync(box.configPath, 'utf8')).toBe(config)
    },
  )
})

test('Level 2, while it puts the known-good config back', async () => {
  const box = await sandbox()
  await box.startGateway()
  for (let i = 0; i < 2; i++) await expectCode(box, 'gateway-watchdog', 0)
  const config = readFileSync(box.configPath, 'utf8')
  await killEverywhere(
    box,
    'gateway-healthcheck',
    async (n) => {
      await killGateway(box)
      box.writeConfig(`{ broken: ${n}`)
    },
    async (n) => {
      await expectCode(box, 'gateway-healthcheck', 0)
      expect(gateways(box)).toHaveLength(1)
      expect(readFileSync(box.configPath, 'utf8')).toBe(config)
      const kept = readdirSync(box.stateDir).filter((name) => name.startsWith('openclaw.json.broken-'))
      const texts = kept.map((name) => readFileSync(join(box.stateDir, name), 'utf8'))
      expect(texts, 'the broken config is kept').toContain(`{ broken: ${n}\n`)
    },
  )
})

test('Level 3, while the doctor is at work: no session of it stays behind', async () => {
  const box = await sandbox({ EMERGENCY_RECOVERY_CHECK_INTERVAL: '0.5' })
  const module = join(box.root, 'package', 'run-command.mjs')
  box.addTool('npm', `mkdir -p '${join(module, '..')}'; echo >'${module}'`)
  box.writeDoctorScript(REINSTALLATION)
  await killEverywhere(
    box,
    'emergency-recovery',
    async () => {
      await killGateway(box)
      rmSync(module, { force: true })
      rmSync(join(box.stateDir, 'watchdog', 'doctor-visits.json'), { force: true })
      await box.startGateway({ missingModule: module }, 'exit')
    },
    async () => {
      // The visit that was cut short counts: the next run may call no doctor for the same failure, and then the human.
      const run = await box.runScript('emergency-recovery', [], LONG)
      if (run.code !== 0) expect(run.stdout).toMatch(/MANUAL INTERVENTION REQUIRED: no doctor was called/)
      expect(box.processes(), 'only the gateway lives').toEqual(gateways(box))
    },
    13,
  )
})

test('Level 4, while it calls a human: every call arrives', async () => {
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  const box = await sandbox({ DISCORD_WEBHOOK_URL: receiver.url })
  let doubles = 0
  await killEverywhere(
    box,
    'emergency-recovery-monitor',
    async (n) => {
      // What failed before is forgotten: a gateway that fails again and again is told of differently.
      for (const folder of [box.memoryDir, join(box.stateDir, 'watchdog')])
        rmSync(folder, { recursive: true, force: true })
      // Letters: the same reason with another number would be the same failure.
      writeTierLog(box.memoryDir, 'healthcheck', { text: MARKER.manual(`reason ${letters(n)}`) })
    },
    async (n) => {
      await expectCode(box, 'emergency-recovery-monitor', 0)
      const told = receiver.delivered().filter((message) => JSON.stringify(message).includes(`reason ${letters(n)}`))
      expect(told.length, 'the call arrived').toBeGreaterThan(0)
      doubles += told.length > 1 ? 1 : 0
    },
  )
  process.stdout.write(`told twice: ${doubles}\n`)
  expect(existsSync(join(box.stateDir, 'watchdog', 'monitor.lock'))).toBe(false)
})

test('the guardian', async () => {
  const box = await sandbox()
  await box.startGateway()
  await killEverywhere(
    box,
    'watchdog-guardian',
    async () => {},
    () => expectCode(box, 'watchdog-guardian', 0),
  )
})
