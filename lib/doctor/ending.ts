/** How a visit can end. */
import { oneLine } from '../tier/contract.ts'
import type { Trouble } from './screens.ts'

export type Ending =
  /** Healthy three times in a row. */
  | 'recovered'
  /** It needs a login, has no quota left, or cannot reach its service. */
  | Trouble
  /** Never set up on this account. */
  | 'onboarding'
  /** It refused the settings that hold the guard, or did not take them over: it got no prompt. */
  | 'unguarded'
  | 'room'
  | 'not-ready'
  | 'not-delivered'
  | 'exited'
  /** It ended its turn, or sat there, and the gateway stayed down. */
  | 'idle'
  | 'questions'
  /** Somebody paused everything meanwhile. */
  | 'paused'
  | 'time-limit'

/** Thrown inside the visit when it ends before the gateway is well. */
export class VisitOver extends Error {
  readonly ending: Ending
  constructor(ending: Ending, detail: string) {
    super(oneLine(detail, 300))
    this.ending = ending
  }
}
