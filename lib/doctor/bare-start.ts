/**
 * A hand for the doctor where nobody supervises the gateway: the guard lets nothing outlive its call, and
 * `openclaw gateway start` starts no bare process (measured on 2026.9.6), so a gateway that he repaired is started here.
 */
import type { Examination, Verdict } from '../gateway/examine.ts'
import { start } from '../gateway/remedies.ts'
import { oneLine } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { isTreatment } from './account.ts'
import { decisionsIn } from './guard-record.ts'

/** A repair that is still going on (a reinstallation) may need more than one try. */
const BETWEEN_STARTS_MS = 60_000
const MAX_STARTS = 5
/** With other verdicts there is a process, or a reason why a start would fail. */
const STARTABLE: readonly Verdict[] = ['absent', 'broken-install']

/** True when the gateway has no supervisor that would start it. */
export function isBare(seen: Examination): boolean {
  return seen.service === undefined || seen.service.kind === 'none'
}

/** Starts a bare gateway whenever the doctor has begun something that can heal since the last start, and at his end. */
export class BareStarter {
  #settings: Settings
  #logPath: string
  #treatments = 0
  #starts = 0
  #startedAtEnd = false
  #lastStart = Number.NEGATIVE_INFINITY

  /** @param logPath the log in which the guard notes its decisions */
  constructor(settings: Settings, logPath: string) {
    this.#settings = settings
    this.#logPath = logPath
  }

  /**
   * Does what is to be done after a look at the gateway. Returns what it did, as a line for the log.
   * @param isDone the doctor's work is over. The guard notes a call before it runs, so that an earlier start may have
   *   come before the repair it was for; one after the end cannot.
   */
  async after(seen: Examination, isDone: boolean): Promise<string | undefined> {
    if (!isBare(seen) || seen.process || !STARTABLE.includes(seen.verdict)) return undefined
    const treatments = decisionsIn(readTail(this.#logPath, 4 * 1024 * 1024)).filter(isTreatment).length
    if (treatments === 0) return undefined
    const isLast = isDone && !this.#startedAtEnd
    const isDue = treatments > this.#treatments || performance.now() - this.#lastStart > BETWEEN_STARTS_MS
    if (!isLast && !(isDue && this.#starts < MAX_STARTS)) return undefined
    this.#startedAtEnd = isDone
    this.#treatments = treatments
    this.#starts++
    this.#lastStart = performance.now()
    const { done, failure } = await start(this.#settings, seen)
    return failure ? `${done}: FAILED: ${oneLine(failure)}` : done
  }
}
