/** Plays one fault through all tiers, twice, and says what came of it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { expect } from 'vitest'
import { examine } from '../../lib/gateway/examine.ts'
import { readRecord } from '../../lib/gateway/record.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.ts'
import type { Fault, Healer, Scene } from './fault.ts'

/** A line of the table. */
export interface Outcome {
  fault: Fault
  verdict: string
  healedBy: Healer
  restarts: number
  /** From the fault to the first live answer; undefined: it was never away, or did not come back. */
  seconds: number | undefined
  told: string[]
}

const LONG = { timeoutMs: 180_000 }
/** By Levels 1 and 2; and by Level 3, when there is no supervisor, after the doctor's repair. */
const RESTART = /\[INFO\] (?:restart: |no supervisor starts what the doctor repaired: )/g

export async function play(fault: Fault): Promise<Outcome> {
  const receiver = await startWebhookReceiver()
  const box = await createSandbox({
    settings: { CONFIG_KNOWN_GOOD_AFTER: '0', DISCORD_WEBHOOK_URL: receiver.url, ...fault.settings },
  })
  const undo: (() => void)[] = []
  try {
    const { pid } = await box.startGateway()
    // The first tick gets to know the gateway, the second keeps its config as known-good.
    for (let i = 0; i < 2; i++) await tick(box, 'gateway-watchdog', 0)
    return await playIn({ box, pid, onClose: (one) => undo.push(one) }, fault, receiver)
  } finally {
    for (const one of undo.reverse()) one()
    await box.close()
    await receiver.close()
  }
}

async function playIn(scene: Scene, fault: Fault, receiver: WebhookReceiver): Promise<Outcome> {
  const { box, pid } = scene
  const config = readFileSync(box.configPath, 'utf8')
  await fault.produce(scene)
  const clock = timeUntilLive(box.port)

  const settings = loadSettings(box.env)
  const { verdict } = await examine(settings, {
    httpTimeoutSec: 2,
    record: readRecord(settings, true).value,
    deep: true,
  })
  expect(verdict, 'what `examine` says').toBe(fault.verdict)

  await Promise.all([tick(box, 'gateway-watchdog', fault.exits[0]), fault.meanwhile?.(scene)])
  await tick(box, 'gateway-healthcheck', fault.exits[1])
  const isUp = await isLive(box.port)
  const seconds = isUp ? await clock.seconds : undefined
  clock.stop()
  // Ten minutes later: what still stands is for a human; what was done must not be done again.
  letTimePass(box)
  await fault.again?.(scene)
  const again = fault.healedBy === 'a human' ? fault.exits : [0, 0]
  await tick(box, 'gateway-watchdog', again[0]!)
  await tick(box, 'gateway-healthcheck', again[1]!)
  await tick(box, 'emergency-recovery-monitor', 0)
  const isUpAtLast = await isLive(box.port)

  const log = box.log('watchdog') + box.log('healthcheck')
  const restarts = (log + box.log('emergency-recovery')).match(RESTART)?.length ?? 0
  const healedBy = isUpAtLast ? healer(log + box.log('emergency-recovery')) : 'a human'
  const told = receiver.requests.map(({ json }) => JSON.stringify(json))
  expect(receiver.requests.flatMap(({ problems }) => problems)).toEqual([])
  expect(restarts, 'restarts spent').toBe(fault.restarts)
  expect(healedBy, 'healed by').toBe(fault.healedBy)
  if (fault.told) expect(told.join('\n')).toMatch(fault.told)
  else expect(told).toEqual([])
  if (fault.keeps.includes('process')) expect(box.processes()).toContain(pid)
  if (fault.keeps.includes('config')) expect(readFileSync(box.configPath, 'utf8')).toBe(config)
  expect(box.events().filter(({ what }) => what === 'debugger opened')).toEqual([])
  fault.check?.(scene)

  if (fault.repair) {
    box.setFaults({})
    await fault.repair(scene)
    await tick(box, 'gateway-watchdog', 0)
    expect(await isLive(box.port), 'live after the repair').toBe(true)
  }
  return { fault, verdict, healedBy, restarts, seconds, told }
}

async function tick(box: Sandbox, script: string, code: number): Promise<void> {
  const run = await box.runScript(script, [], LONG)
  expect(run, `${script}:\n${run.stdout}${run.stderr}`).toMatchObject({ code })
}

function healer(log: string): Healer {
  const level = /RECOVERED by level (\d)/.exec(log)?.[1]
  if (level) return `level ${level}` as Healer
  return /RECOVERED by itself|; waiting up to|probe \d\/\d/.test(log) ? 'itself' : 'nobody needed'
}

/** Moves what Level 1 remembers of standing warnings eleven minutes into the past. */
function letTimePass(box: Sandbox): void {
  const path = join(box.stateDir, 'watchdog', 'watchdog.json')
  const state = JSON.parse(readFileSync(path, 'utf8'))
  for (const warning of state.warnings) warning.sinceMs -= 11 * 60_000
  writeFileSync(path, JSON.stringify(state))
}

/** Looks ten times a second. Resolves with undefined when it is live at the first look: it was never away. */
function timeUntilLive(port: number) {
  const started = performance.now()
  let stopped = false
  const seconds = (async () => {
    if (await isLive(port)) return undefined
    while (!stopped) {
      if (await isLive(port)) return (performance.now() - started) / 1000
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    return undefined
  })()
  return { seconds, stop: () => void (stopped = true) }
}

function isLive(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/health', timeout: 1000, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve(text === '{"ok":true,"status":"live"}'))
    })
    request.on('timeout', () => request.destroy(new Error('timeout')))
    request.on('error', () => resolve(false))
  })
}
