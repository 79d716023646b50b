/** Sandboxes that close themselves when their test is over. */
import { expect, onTestFinished } from 'vitest'
import type { Faults } from './faults.ts'
import { createSandbox, type Sandbox, type SandboxOptions } from './sandbox.ts'

export async function sandbox(options?: SandboxOptions): Promise<Sandbox> {
  const box = await createSandbox(options)
  onTestFinished(box.close)
  return box
}

/** A sandbox whose gateway runs, is healthy, and is known to the watchdog. */
export async function known(options?: SandboxOptions, faults?: Faults): Promise<{ box: Sandbox; pid: number }> {
  const box = await sandbox(options)
  const { pid } = await box.startGateway(faults)
  expect((await box.runScript('gateway-watchdog')).code).toBe(0)
  return { box, pid }
}
