/** No fault at all: ticks of all tiers, beside what a busy gateway and its user do. Nothing is done, nobody is called. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { TIERS } from '../../lib/tier/contract.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { restartsIn } from '../support/tier-logs.ts'
import { letTimePass } from '../support/time-passing.ts'
import type { WebhookReceiver } from '../support/webhook-receiver.ts'

const SCRIPTS = (['watchdog', 'healthcheck', 'guardian', 'monitor'] as const).map((tier) => TIERS[tier].script)
/** On time for each of them. */
const TICK_SEC = 250

/** @param busy what is done at every other tick, in turn. @param isInstalled the guardian, which has to be on time once, judges */
export async function tickQuietly(
  box: Sandbox,
  receiver: WebhookReceiver,
  ticks: number,
  busy: readonly (() => unknown)[],
  isInstalled: boolean,
  /** While no tier is at work: between two processes it is down, for all that a tier can see. */
  restartFromOutside?: () => unknown,
): Promise<void> {
  const watchdogDir = join(box.stateDir, 'watchdog')
  for (let i = 0; i < ticks; i++) {
    letTimePass({ ...box, watchdogDir }, TICK_SEC)
    makeOlder(watchdogDir, TICK_SEC * 1000)
    if (i % 12 === 11) await restartFromOutside?.()
    const doing = i % 2 === 0 ? busy[(i / 2) % busy.length]?.() : undefined
    const [, ...runs] = await Promise.all([
      doing,
      ...SCRIPTS.map((script) => box.runScript(script, [], { timeoutMs: 300_000 })),
    ])
    const codes = runs.map(({ code }) => code)
    expect(codes, `tick ${i}:\n${box.log()}`).toEqual([0, 0, isInstalled && i === 0 ? 3 : 0, 0])
  }
  expect(box.log()).not.toMatch(/\] (?:DOWN|ESCALATE|MANUAL INTERVENTION REQUIRED|NOTICE|RECOVERED)\b/)
  expect(restartsIn(box.log())).toBe(0)
  expect(receiver.requests).toEqual([])
}

/** What the tiers remember of the gateway. */
function makeOlder(watchdogDir: string, ms: number): void {
  mkdirSync(watchdogDir, { recursive: true })
  const older = (_: string, value: unknown) => (typeof value === 'number' && value > 1e12 ? value - ms : value)
  for (const name of readdirSync(watchdogDir).filter((one) => /^(?:gateway|watchdog)\.json$/.test(one))) {
    const path = join(watchdogDir, name)
    writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, 'utf8'), older)))
  }
}

/** A turn that blocks its event loop. */
export async function blockFor(pid: number, ms: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await sleep(ms)
  process.kill(pid, 'SIGCONT')
}

/** An editor that writes in two steps; the gateway goes on with the config that it has. */
export async function saveInTwoSteps({ configPath }: Sandbox): Promise<void> {
  const text = readFileSync(configPath, 'utf8')
  writeFileSync(configPath, text.slice(0, 100))
  await sleep(500)
  writeFileSync(configPath, text)
}

export function editValidly({ configPath }: Sandbox, responsePrefix: string): void {
  const config = JSON.parse(readFileSync(configPath, 'utf8'))
  writeFileSync(configPath, JSON.stringify({ ...config, messages: { responsePrefix } }))
}
