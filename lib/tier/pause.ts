/** The pause switch: a file that may hold the time at which the pause ends, `2026-11-22 07:00`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { localIso } from './contract.ts'
import type { Settings } from './settings.ts'
import { readWhole, tried } from './state.ts'

export const pausePath = (settings: Settings): string => join(settings.stateDir, 'self-healing.paused')

/** Also by a file that cannot be read, or whose text is no time. */
export function pauseReason(settings: Settings, now = new Date()): string | undefined {
  const path = pausePath(settings)
  if (!existsSync(path)) return undefined
  const text = tried(() => readWhole(path))?.trim() ?? ''
  // Only what looks like a date is one: Date.parse reads "upgrading, back at 5" as the year 2001.
  const until = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text.split('\n')[0]!) : Number.NaN
  if (Number.isNaN(until)) return `paused by ${path}, until it is removed`
  return until > now.getTime() ? `paused by ${path} until ${localIso(new Date(until))}` : undefined
}
