/** What Level 1's pulse (scripts/run-tier.sh) goes by between two ticks. */
import { existsSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT, TIERS } from '../tier/contract.ts'
import type { Outcome } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { readWhole, tried, writeFileAtomic } from '../tier/state.ts'
import { editingSec } from './config.ts'
import { cooldownLeftSec, readWatchState } from './watch-state.ts'

export const pulsePath = (settings: Settings): string => join(settings.stateDirOfJobs, 'watchdog', 'pulse')

/** Leaves when the next tick is due, and what to ask before then: only a gateway that was healthy is asked. */
export function leavePulse(settings: Settings, startedMs: number, { code, verdict }: Outcome): void {
  const { gatewayUrl, configPath, pulseSec, watchdogBackoffSec } = settings
  const nowMs = Date.now()
  const coolingSec = cooldownLeftSec(readWatchState(settings, false).value.backoff, nowMs, watchdogBackoffSec)
  const soonSec = code === EXIT.stoodDown ? coolingSec : 0
  const dueMs = startedMs + TIERS.watchdog.intervalSec * 1000
  const nextMs = soonSec > 0 ? Math.min(dueMs, nowMs + soonSec * 1000) : dueMs
  // curl cannot verify the gateway's own certificate. With the account in it, if it has one.
  const url = gatewayUrl.startsWith('https:') ? '' : new URL('/', gatewayUrl).href.slice(0, -1)
  const isBrief = code === EXIT.stoodDown && coolingSec <= 0 && verdict !== 'stopped-on-purpose'
  const asked = pulseSec > 0 && code === EXIT.healthy ? url : isBrief ? '?' : '-'
  const path = pulsePath(settings)
  const config = existsSync(configPath) ? configPath : ''
  const text = `${Math.ceil(nextMs / 1000)} ${pulseSec || 15} ${asked}\n${config}\n`
  // A config that is changed from now on is newer than this file; so is one that has not settled yet.
  const sinceSec = code === EXIT.healthy && editingSec(settings) > 0 ? 0 : startedMs / 1000
  tried(() => writeFileAtomic(path, text, 0o600, false))
  tried(() => utimesSync(path, sinceSec, sinceSec))
}

/** It is healthy again by another level's doing: the pulse does not wait for the usual tick. */
export function wakePulse(settings: Settings): void {
  const path = pulsePath(settings)
  tried(() => / [-?]\n/.test(readWhole(path)) && rmSync(path))
}
