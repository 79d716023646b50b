/** The pause switch: a file that may hold the time at which the pause ends, `2026-11-22 07:00`. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { localIso, oneLine } from './contract.ts'
import type { Settings } from './settings.ts'

export const pausePath = (settings: Settings): string => join(settings.stateDir, 'self-healing.paused')

export function pauseReason(settings: Settings, now = new Date()): string | undefined {
  const path = pausePath(settings)
  let text: string
  try {
    text = readFileSync(path, 'utf8').slice(0, 1000)
  } catch (error) {
    // A file that is there but cannot be read was put there to pause.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : `paused by ${path} (which cannot be read)`
  }
  const firstLine = text.trim().split('\n')[0] ?? ''
  if (firstLine === '') return `paused by ${path}, until it is removed`
  // Only what looks like a date is one: Date.parse reads "upgrading, back at 5" as the year 2001.
  const until = /^\d{4}-\d\d-\d\d/.test(firstLine) ? Date.parse(firstLine) : Number.NaN
  if (Number.isNaN(until))
    return `paused by ${path}, until it is removed ("${oneLine(firstLine, 60)}" is no time that can be read)`
  if (until <= now.getTime()) return undefined
  return `paused by ${path} until ${localIso(new Date(until))}`
}
