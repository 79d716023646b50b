/** The restart budget: exponential backoff with a crash counter that decays. Pure; times are epoch milliseconds. */

export interface Backoff {
  crashes: number
  lastCrashMs: number
  lastRestartMs: number
}

export const NO_CRASHES: Backoff = { crashes: 0, lastCrashMs: 0, lastRestartMs: 0 }

/** After a restart was spent: one crash more, and the cooldown begins. */
export function afterRestart(backoff: Backoff, nowMs: number): Backoff {
  return { crashes: backoff.crashes + 1, lastCrashMs: nowMs, lastRestartMs: nowMs }
}

/** After a healthy tick: one crash less; none at all after `decayHours` without a crash. */
export function afterHealthyTick(backoff: Backoff, nowMs: number, decayHours: number): Backoff {
  const quiet = nowMs - backoff.lastCrashMs >= decayHours * 3_600_000
  return { ...backoff, crashes: quiet ? 0 : Math.max(0, backoff.crashes - 1) }
}

/**
 * Seconds until the next restart may be spent; 0: now. After the n-th crash the n-th step of `stepsSec` must have passed
 * since the last restart (one in the future: the clock was set back).
 */
export function cooldownLeftSec(backoff: Backoff, nowMs: number, stepsSec: readonly number[]): number {
  if (backoff.crashes === 0) return 0
  const stepSec = stepsSec[Math.min(backoff.crashes, stepsSec.length) - 1] ?? 0
  const sinceSec = (nowMs - backoff.lastRestartMs) / 1000
  return sinceSec < 0 ? 0 : Math.max(0, stepSec - sinceSec)
}
