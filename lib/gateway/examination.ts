/** What an examination of the gateway takes and gives. */
import type { Service } from '../services/supervisor.ts'
import type { ProcessInfo } from './processes.ts'
import type { PatientRecord } from './record.ts'

export type Verdict =
  /** It says that it is the gateway and that it is live. */
  | 'healthy'
  /** Its process is there and still has time to come up. */
  | 'starting'
  /** It finishes its work before a restart or a stop. */
  | 'draining'
  /** Its process is there and does not answer as it should. */
  | 'hung'
  /** No process, no known reason. */
  | 'absent'
  /** Its job is not loaded. */
  | 'unloaded'
  /** Its supervisor gave up starting it. */
  | 'parked'
  /** Its config keeps it from starting. */
  | 'misconfigured'
  /** Somebody else has its port. */
  | 'impostor'
  /** It is up, but is not the process that its supervisor has. */
  | 'orphan'
  /** Its package or its Node is damaged or gone. */
  | 'broken-install'
  /** It refuses to start: a secret is missing. */
  | 'blocked'
  /** It refuses to start: its database is newer than it, or damaged. */
  | 'unusable-state'
  /** It is down and there is no room to start it. */
  | 'disk-full'
  /** Somebody stopped it deliberately. */
  | 'stopped-on-purpose'

export interface Examination {
  verdict: Verdict
  /** One line: what was seen. */
  evidence: string
  /** Things that are wrong with a gateway that is up: worth a warning, never a restart. */
  warnings: string[]
  process: ProcessInfo | undefined
  /** Who listens on the port, when that was asked and is not the gateway. */
  portOwner: ProcessInfo | undefined
  /** Undefined when there was no need to ask the supervisor. */
  service: Service | undefined
  /** The running gateway's version, if it told. */
  version: string | undefined
  /** The gateway process answers HTTP, so its event loop turns and it would notice a signal. */
  answersHttp: boolean
  /** For `starting`: how long it may still take, in seconds. */
  graceLeftSec: number
}

/** How the two warnings begin that also decide what is noted of a gateway that is up. */
export const WARNING = {
  brokenConfig: 'the config was broken while the gateway runs',
  stillStarting: '/startupz still says starting',
} as const

export interface ExamineOptions {
  httpTimeoutSec: number
  /** What is remembered of earlier sightings. */
  record: PatientRecord
  /** Also ask `openclaw config validate` when the gateway is down (seconds; Level 2 and 3). */
  deep: boolean
  nowMs?: number
}

/** All but what it comes to. */
export type Base = Omit<Examination, 'verdict' | 'evidence'>
