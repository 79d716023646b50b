/** What an examination of the gateway takes and gives. */
import { statfsSync } from 'node:fs'
import type { Service } from '../services/supervisor.ts'
import { tried } from '../tier/state.ts'
import type { ProcessInfo } from './processes.ts'
import type { GatewayRecord } from './record.ts'
import type { Verdict } from './treat.ts'

export type { Verdict }

/** What is wrong with a gateway that is up; a restart fixes none of these. */
export interface Warning {
  kind: 'safe-mode' | 'not-ready' | 'broken-config' | 'low-disk' | 'no-process' | 'still-starting' | 'other-address'
  text: string
}

export interface Examination {
  verdict: Verdict
  evidence: string
  warnings: Warning[]
  process: ProcessInfo | undefined
  /** Who listens on the port, when that was asked and is not the gateway. */
  portOwner: ProcessInfo | undefined
  /** Undefined when there was no need to ask the supervisor. */
  service: Service | undefined
  version: string | undefined
  answersHttp: boolean
  /** For `starting`. */
  graceLeftSec: number
}

export interface ExamineOptions {
  httpTimeoutSec: number
  record: GatewayRecord
  /** Also ask `openclaw config validate` when the gateway is down (takes seconds). */
  deep: boolean
  nowMs?: number
}

export type Base = Omit<Examination, 'verdict' | 'evidence'>

/** Below this a gateway that is up gets a warning; and below this one that is down is not started. */
export const LOW_DISK_MB = 100
export const FULL_DISK_MB = 10

/** Free megabytes for this user where the folder is; undefined when that is unknown. */
export function freeDiskMb(folder: string): number | undefined {
  const disk = tried(() => statfsSync(folder))
  return disk && Math.floor((disk.bavail * disk.bsize) / 1024 / 1024)
}
