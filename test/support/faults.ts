/** What a test can make the stand-in gateway do. The sandbox writes them to a JSON file that the stand-in reads. */
export interface Faults {
  /** The version that it says it is and behaves like; default 2026.9.6. */
  version?: string
  /** How long `/startupz` says `starting` once the port is open. */
  startingMs?: number
  /** It stays in this phase for as long as this is set: `boot`, before it opens its port; `drain`, before it stops. */
  heldIn?: 'boot' | 'drain'
  /** It goes on logging while it is held. */
  talks?: boolean
  /** It dies at boot with this exit code and these words on standard error. */
  exitAtBoot?: { code: number; stderr: string }
  /** It dies at boot, as OpenClaw does when its package is damaged, for as long as this file is missing. */
  missingModule?: string
  /** What `/health` does, while it runs. `silent`: it connects, never answers; signals still arrive. */
  health?: 'silent' | { status: number; body: string }
  /** Channels named in `/readyz`. */
  failing?: string[]
  suppressed?: string[]
  /** Entries a second that it logs while it works, of several lines each. */
  noise?: number
}

/** Something that a stand-in did, in the order in which it happened. */
export interface StandInEvent {
  pid: number
  /** `boot`, `listening`, `ready`, `signal SIGUSR2`, `debugger opened`, `draining`, `exit 78`, `openclaw …` */
  what: string
}
