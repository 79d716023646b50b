/** What an examination of the gateway takes and gives. */
import type { Service } from '../services/supervisor.ts'
import type { ProcessInfo } from './processes.ts'
import type { PatientRecord } from './record.ts'
import type { Verdict } from './treat.ts'

export type { Verdict }

export interface Examination {
  verdict: Verdict
  /** One line: what was seen. */
  evidence: string
  /** What is wrong with a gateway that is up: worth a warning, never a restart. */
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
