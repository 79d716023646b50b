/** The control of all plays: a healthy stand-in gateway that is busy and talkative, and is restarted as planned. */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { installedOn } from '../support/installed.ts'
import { waitFor } from '../support/wait-for.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import { blockFor, editValidly, saveInTwoSteps, tickQuietly } from './quiet.ts'

const NOISE = { noise: 200 }

test('sixty ticks of all tiers: no restart, no escalation, no alert', async (t) => {
  const receiver = await startWebhookReceiver()
  t.onTestFinished(receiver.close)
  const box = await installedOn(t, 'linux', { settings: { DISCORD_WEBHOOK_URL: receiver.url, NOTIFY: 'all' } })
  let { pid } = await box.startGateway(NOISE)
  let byHand = 1
  const readies = () => box.events().filter(({ what }) => what === 'ready').length
  /** It restarts in its process; the tiers look meanwhile. */
  const restartBy = (how: () => unknown) => async () => {
    const before = readies()
    await how()
    await waitFor(() => readies() > before, 'the restart')
  }
  const openclaw = (...args: string[]) => execa(join(box.binDir, 'openclaw'), args, { env: box.env, extendEnv: false })
  await tickQuietly(
    box,
    receiver,
    60,
    [
      () => editValidly(box, String(readies())),
      restartBy(() => openclaw('gateway', 'restart')),
      () => blockFor(pid, 1500),
      () => saveInTwoSteps(box),
      restartBy(() => process.kill(pid, 'SIGUSR2')),
    ],
    true,
    async () => {
      // As a supervisor does it for `openclaw gateway restart`, which leaves this line (2026.9.6).
      const line = `[${new Date().toISOString()}] openclaw gateway lifecycle source=cli action=restart mode=service\n`
      appendFileSync(join(box.stateDir, 'logs', 'gateway-restart.log'), line)
      const old = pid
      process.kill(old, 'SIGTERM')
      await waitFor(() => !box.processes().includes(old), 'its end')
      byHand++
      pid = (await box.startGateway(NOISE)).pid
    },
  )
  expect(box.openclawCalls().filter((call) => call === 'gateway run')).toHaveLength(byHand)
  expect(box.events().filter(({ what }) => what === 'debugger opened')).toEqual([])
  expect(box.processes()).toContain(pid)
})
