/** Level 2 stands in for a dead cron: it runs Level 4's monitor itself, so that the call for a human still goes out. */
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runCommand } from '../tier/command.ts'
import { EXIT, localIso, TIERS } from '../tier/contract.ts'
import { isInstalled, receiptPath, sight } from '../tier/peers.ts'
import type { TierRun } from '../tier/run.ts'

/** Two missed runs of cron's, and half of one for busy machines. */
const CRON_IS_LATE_SEC = 2.5 * TIERS.monitor.intervalSec
const TIMEOUT_MS = 300_000

/**
 * Runs the monitor when monitor or guardian has not been run by cron for a while. Unlike a peer's revival this looks at
 * the clock alone: after sleep it may run once too often, which harms nobody, and in a long outage it may not be missed.
 */
export async function runMonitorIfCronIsDead(run: TierRun): Promise<void> {
  const { settings, journal, dryRun } = run
  if (!isInstalled(settings)) return
  const now = new Date()
  const sinceMs = Math.min(
    ...(['monitor', 'guardian'] as const).map(
      // Never heard of: since the installation.
      (tier) => sight(settings, tier, now).heartbeatMs || statSync(receiptPath(settings)).mtimeMs,
    ),
  )
  if (now.getTime() - sinceMs <= CRON_IS_LATE_SEC * 1000) return
  const found = `cron has not run monitor and guardian since ${localIso(new Date(sinceMs))}`
  if (dryRun) return journal.info(`dry run: ${found}: would run the monitor`)
  journal.warn(`${found}: running the monitor in its place`)
  const launcher = fileURLToPath(new URL('../../scripts/run-tier.sh', import.meta.url))
  const options = { timeoutMs: TIMEOUT_MS, env: settings.childEnv }
  const result = await runCommand('sh', [launcher, TIERS.monitor.script], options)
  if (result.code === EXIT.healthy || result.code === EXIT.stoodDown)
    journal.info(`the monitor ended with exit code ${result.code}`)
  else journal.warn(`the monitor: ${result.failure}`)
}
