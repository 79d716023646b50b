/** Tests, several at once, with sandboxes that close themselves when their test is over. */
import { test as base, expect } from 'vitest'
import type { Faults } from './faults.ts'
import { createSandbox, type Sandbox, type SandboxOptions } from './sandbox.ts'

export type MakeSandbox = (options?: SandboxOptions) => Promise<Sandbox>
/** A sandbox whose gateway runs, is healthy, and is known to the watchdog. */
export type MakeKnown = (options?: SandboxOptions, faults?: Faults) => Promise<{ box: Sandbox; pid: number }>

const withBoxes = base.extend<{ sandbox: MakeSandbox; known: MakeKnown }>({
  sandbox: async ({ onTestFinished }, use) => {
    await use(async (options) => {
      const box = await createSandbox(options)
      onTestFinished(box.close)
      return box
    })
  },
  known: async ({ sandbox }, use) => {
    await use(async (options, faults) => {
      const box = await sandbox(options)
      const { pid } = await box.startGateway(faults)
      expect((await box.runScript('gateway-watchdog')).code).toBe(0)
      return { box, pid }
    })
  },
})
export const test = withBoxes.concurrent
