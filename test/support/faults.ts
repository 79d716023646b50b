/** What a test can make the stand-in gateway do. The sandbox writes them to a JSON file that the stand-in reads. */

export interface Faults {
  /** The version that it says it is and behaves like; default 2026.9.6. */
  version?: string
  /** How long its process lives before it opens its port. */
  bootDelayMs?: number
  /** How long `/startupz` says `starting` once the port is open. */
  startingMs?: number
  /** How long the port is closed in an in-process restart. */
  restartMs?: number
  /** How long it finishes its work before a stop or a restart. */
  drainMs?: number
  /** It stays in this phase for as long as this is set: `boot`, before it opens its port; `drain`, before it stops. */
  heldIn?: 'boot' | 'drain'
  /** It dies at boot with this exit code and these words on standard error. */
  exitAtBoot?: { code: number; stderr: string }
  /** It dies at boot, as OpenClaw does when its package is damaged, for as long as this file is missing. */
  missingModule?: string
  /** It takes the title of a gateway, but its port stays closed. */
  neverListen?: boolean
  /** What `/health` does, while it runs: readable at any time. Default `live`. */
  health?:
    | 'live'
    /** Connects, never answers; signals still arrive. */
    | 'silent'
    /** The event loop stands still from the next request on: no answers, signals have no effect, only SIGKILL ends it. */
    | 'blocked'
    /** The connection is closed without a word. */
    | 'reset'
    | { status: number; body: string }
  /** `/` answers 404: the control UI is switched off. */
  controlUiOff?: boolean
  /** Memory it holds, beside its own. */
  ballastMb?: number
  /** Channels named in `/readyz`. */
  failing?: string[]
  suppressed?: string[]
}

/** Something that a stand-in did, in the order in which it happened. */
export interface StandInEvent {
  at: string
  pid: number
  /** `boot`, `listening`, `ready`, `signal SIGUSR2`, `debugger opened`, `restart`, `draining`, `blocked`, `exit 78`, `openclaw …` */
  what: string
}
