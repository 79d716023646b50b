/** A class of failures from the field: how to make it, and what the system must and must not do about it. */
import type { Verdict } from '../../lib/gateway/examine.ts'
import type { Sandbox } from '../support/sandbox.ts'

/** A sandbox with a gateway that has been healthy on a known-good config, and what a fault needs of it. */
export interface Scene {
  box: Sandbox
  /** The gateway's process before the fault. */
  pid: number
  /** Undone before the sandbox is closed, last first. */
  onClose(undo: () => void): void
}

export type Healer = 'nobody needed' | 'itself' | 'level 1' | 'level 2' | 'level 3' | 'a human'

export interface Fault {
  /** The class's number; a letter behind it for a second form of the same class. */
  id: string
  name: string
  /** What can be seen from outside. */
  signs: string
  /** Settings for this sandbox, beside the usual short waits. */
  settings?: Record<string, string>
  /** Why it cannot be made on this machine. */
  cannotBeMade?: () => string | undefined
  produce: (scene: Scene) => Promise<void>
  /** What happens while Level 1 is at work. */
  meanwhile?: (scene: Scene) => Promise<void>
  /** What happens before the second round of all tiers. */
  again?: (scene: Scene) => Promise<void>
  /** What `examine` must say right after `produce`. */
  verdict: Verdict
  /** Exit codes of Levels 1 and 2 in the first round. */
  exits: readonly [level1: number, level2: number]
  healedBy: Healer
  /** Starts and restarts of the gateway that the tiers may spend in two rounds: exactly so many. */
  restarts: number
  /** What a human is told; undefined: nothing. */
  told: RegExp | undefined
  /** What must still be so in the end: the gateway's process, the text of its config. */
  keeps: readonly ('process' | 'config')[]
  /** More that must, or must not, be. Throws. */
  check?: (scene: Scene) => void
  /** The human's repair, for what only a human may end; the gateway is healthy after it and Level 1's next tick. */
  repair?: (scene: Scene) => Promise<void>
}

export async function killGateway({ pid }: Scene): Promise<void> {
  process.kill(pid, 'SIGKILL')
}
