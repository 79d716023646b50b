/** The stage with the stand-in gateway: a sandbox for each fault. */
import { expect } from 'vitest'
import { examine } from '../../lib/gateway/examine.ts'
import { readRecord } from '../../lib/gateway/record.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.ts'
import type { StandInScene } from './fault.ts'
import type { Performance } from './play.ts'
import { sandboxScene, undoings } from './scene.ts'

export async function openStandIn(settings: Record<string, string> = {}): Promise<Performance<StandInScene>> {
  const receiver = await startWebhookReceiver()
  const usual = { OPENCLAW_STARTUP_GRACE: '120', CONFIG_KNOWN_GOOD_AFTER: '0', DISCORD_WEBHOOK_URL: receiver.url }
  const box = await createSandbox({ settings: { ...usual, ...settings } })
  const { onClose, undo } = undoings()
  const { pid } = await box.startGateway()
  return {
    scene: { ...sandboxScene(box, pid, onClose), box },
    ...tiersIn(box, receiver, 180_000),
    async close() {
      const debuggers = box.events().filter(({ what }) => what === 'debugger opened')
      for (const end of [undo, box.close, receiver.close]) await end()
      expect(debuggers).toEqual([])
    },
  }
}

export function tiersIn(box: Sandbox, receiver: WebhookReceiver, timeoutMs: number) {
  return {
    run: (script: string) => box.runScript(script, [], { timeoutMs }),
    async examine() {
      const settings = loadSettings(box.env)
      const record = readRecord(settings, true).value
      return (await examine(settings, { httpTimeoutSec: 5, record, deep: true })).verdict
    },
    processes: async () => box.processes(),
    received: () => ({
      texts: receiver.requests.map(({ json }) => JSON.stringify(json)),
      problems: receiver.requests.flatMap(({ problems }) => problems),
    }),
  }
}
