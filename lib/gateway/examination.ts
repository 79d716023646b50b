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
  portOwner: ProcessInfo | undefined
  service: Service | undefined
  version: string | undefined
  answersHttp: boolean
  graceLeftSec: number
}

export interface ExamineOptions {
  httpTimeoutSec: number
  record: GatewayRecord
  deep: boolean
}

export type Base = Omit<Examination, 'verdict' | 'evidence'>

export const LOW_DISK_MB = 100
export const FULL_DISK_MB = 10

/** Free megabytes for this user where the folder is; undefined when that is unknown. */
export function freeDiskMb(folder: string): number | undefined {
  const disk = tried(() => statfsSync(folder))
  return disk && Math.floor((disk.bavail * disk.bsize) / 1024 / 1024)
}
