/** Times and durations for a person who has just been woken up. */
import { localIso } from '../tier/contract.ts'

/** `02:14`, with the date when it is not today's: the clock of the machine that is in trouble. */
export function clockTime(at: Date, now: Date): string {
  if (Number.isNaN(at.getTime())) return '(unknown time)'
  const [day, time] = [localIso(at).slice(0, 10), localIso(at).slice(11, 16)]
  return day === localIso(now).slice(0, 10) ? time : `${day} ${time}`
}

/** `50 s`, `23 min`, `5 h`, `3 days`. */
export function duration(seconds: number): string {
  if (!(seconds >= 0)) return '0 s'
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`
  if (seconds < 2 * 86_400) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} days`
}
