/** What Level 1's pulse (scripts/run-tier.sh) goes by between two ticks. */
import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT, TIERS } from '../tier/contract.ts'
import type { Outcome } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { tried, writeFileAtomic } from '../tier/state.ts'
import { editingSec } from './config.ts'
import { cooldownLeftSec, readWatchState } from './watch-state.ts'

export const pulsePath = (settings: Settings): string => join(settings.stateDirOfJobs, 'watchdog', 'pulse')

/** Leaves when the next tick is due, and what to ask before then: only a gateway that was healthy is asked. */
export function leavePulse(settings: Settings, startedMs: number, { code }: Outcome): void {
  const { gatewayUrl, configPath, pulseSec, watchdogBackoffSec } = settings
  const nowMs = Date.now()
  const coolingSec = cooldownLeftSec(readWatchState(settings, false).value.backoff, nowMs, watchdogBackoffSec)
  const soonSec = code === EXIT.stoodDown ? coolingSec : code === EXIT.healthy ? editingSec(settings) : 0
  const dueMs = startedMs + TIERS.watchdog.intervalSec * 1000
  const nextMs = soonSec > 0 ? Math.min(dueMs, nowMs + soonSec * 1000) : dueMs
  // curl cannot verify the gateway's own certificate.
  const url = gatewayUrl.startsWith('https:') ? '' : new URL(gatewayUrl).origin
  const isAsked = pulseSec > 0 && code === EXIT.healthy
  const path = pulsePath(settings)
  const text = `${Math.ceil(nextMs / 1000)} ${pulseSec || 15} ${isAsked ? url : '-'}\n${configPath}\n`
  // A config that is changed from now on is newer than this file.
  tried(() => writeFileAtomic(path, text, 0o600, false))
  tried(() => utimesSync(path, startedMs / 1000, startedMs / 1000))
}
