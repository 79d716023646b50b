/** Level 4 as a process, beside the logs of the other tiers, with a stand-in of Discord. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext } from 'vitest'
import type { Ledger } from '../../lib/alerts/ledger.ts'
import { MARKER, type TierName } from '../../lib/tier/contract.ts'
import { createSandbox, type RunOptions } from './sandbox.ts'
import { writeTierLog } from './tier-logs.ts'
import { startWebhookReceiver } from './webhook-receiver.ts'

export const MONITOR = 'emergency-recovery-monitor'
export const HEALTHY = MARKER.runEnded('healthy', 0, 1)

export async function monitorScene({ onTestFinished }: TestContext, settings: Record<string, string> = {}) {
  const discord = await startWebhookReceiver()
  const sandbox = await createSandbox({
    settings: { DISCORD_WEBHOOK_URL: discord.url, ALERT_HTTP_TIMEOUT: '60', ...settings },
  })
  onTestFinished(async () => {
    await sandbox.close()
    await discord.close()
  })
  const { memoryDir } = sandbox
  const state = join(sandbox.stateDir, 'watchdog')
  const ledgerPath = join(state, 'alerts.json')
  const says = (tier: TierName, minutesAgo: number, ...texts: string[]) =>
    writeTierLog(memoryDir, tier, ...texts.map((text) => ({ text, minutesAgo })))
  const run = async (code: number, flags: string[], options: RunOptions = {}) => {
    const done = await sandbox.runScript(MONITOR, flags, options)
    expect(done.code, done.stdout + done.stderr).toBe(code)
    return done.stdout + done.stderr
  }
  return {
    ...{ sandbox, discord, memoryDir, state, ledgerPath, run, says },
    /** Ticks of cron with the exit codes that they must have; what the last one printed. */
    tick: async (...codes: number[]) => {
      let said = ''
      for (const code of codes) said = await run(code, [])
      return said
    },
    fail: (why = 'the doctor gave up', minutesAgo = 1) => says('emergency-recovery', minutesAgo, MARKER.manual(why)),
    editLedger: (edit: (ledger: Ledger) => void) => {
      const ledger = JSON.parse(readFileSync(ledgerPath, 'utf8')) as Ledger
      edit(ledger)
      writeFileSync(ledgerPath, JSON.stringify(ledger))
    },
    read: () =>
      discord.delivered().map(({ content, embeds = [] }) => {
        const embedded = embeds.flatMap(({ title, description, fields = [], footer }) => [
          ...[title, description, ...fields.map(({ name, value }) => `${name}: ${value}`), footer?.text],
        ])
        return [content, ...embedded].filter(Boolean).join('\n')
      }),
  }
}
