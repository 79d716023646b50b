/** When a week of the digest ends: on Monday at 9:00, local time. It is told by Level 4's first run after that. */

const MONDAY = 1
const HOUR = 9

/** The last Monday, 9:00, that has passed. */
export function endOfLastWeek(now: Date): Date {
  const daysSince = (now.getDay() - MONDAY + 7) % 7
  const end = new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysSince, HOUR)
  return end <= now ? end : new Date(end.getFullYear(), end.getMonth(), end.getDate() - 7, HOUR)
}

/** Seven calendar days before: 167 or 169 hours when the clocks were changed. */
export function beginOfWeek(end: Date): Date {
  return new Date(end.getFullYear(), end.getMonth(), end.getDate() - 7, HOUR)
}

/**
 * Whether the week that ended at `end` was told already.
 * @param toldUntil ISO time up to which the last digest told; one that lies ahead was written by a clock that was wrong
 */
export function isToldUntil(toldUntil: string, end: Date, now: Date): boolean {
  const told = Date.parse(toldUntil)
  return told >= end.getTime() && told <= now.getTime()
}
