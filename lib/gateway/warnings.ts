/**
 * Things that are wrong with a gateway that is up, and that no restart helps: logged once when they begin and once when
 * they are over. What has stood for ten minutes is for a human; what passes by itself before (a channel that reconnects,
 * a config that is being edited, the gateway's own safe mode) is not. Pure; times are epoch milliseconds.
 */
import { isRecord } from '../tier/state.ts'

export interface StandingWarning {
  text: string
  sinceMs: number
  /** A human was told. */
  told: boolean
}

export interface WarningsNow {
  standing: StandingWarning[]
  begun: string[]
  over: string[]
  /** For the human, now. */
  due: string[]
}

const STANDING_MS = 600_000
const KEPT = 50

/** Pids and counts in a text change from look to look; it is the same warning all the same. */
const sameness = (text: string): string => text.replace(/\d+/g, '#')

/** @param texts what is wrong at this look */
export function followWarnings(
  before: readonly StandingWarning[],
  texts: readonly string[],
  nowMs: number,
): WarningsNow {
  const known = new Map(before.map((warning) => [sameness(warning.text), warning]))
  const present = new Set(texts.map(sameness))
  const begun = texts.filter((text) => !known.has(sameness(text)))
  const over = before.filter(({ text }) => !present.has(sameness(text))).map(({ text }) => text)
  const due: string[] = []
  const standing = texts.slice(0, KEPT).map((text) => {
    const { sinceMs = nowMs, told = false } = known.get(sameness(text)) ?? {}
    // A clock that was set back begins the wait anew.
    const since = Math.min(sinceMs, nowMs)
    const isDue = !told && nowMs - since >= STANDING_MS
    if (isDue) due.push(text)
    return { text, sinceMs: since, told: told || isDue }
  })
  return { standing, begun, over, due }
}

/** Reads warnings back from a state file; what is no warning is left out. */
export function checkWarnings(value: unknown): StandingWarning[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, KEPT).flatMap((one: unknown) => {
    if (!isRecord(one) || typeof one.text !== 'string' || typeof one.sinceMs !== 'number') return []
    return [{ text: one.text, sinceMs: one.sinceMs, told: one.told === true }]
  })
}
