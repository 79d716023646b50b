/** Room on the file system of OpenClaw's folder. */
import { statfsSync } from 'node:fs'

/** Below this a gateway that is up deserves a warning. */
export const LOW_DISK_MB = 100
/** Below this a gateway that is down is not started: each start writes more, and fails. */
export const FULL_DISK_MB = 10

/** Free megabytes for this user where the folder is; undefined when that cannot be told. */
export function freeDiskMb(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return Math.floor((bavail * bsize) / 1024 / 1024)
  } catch {
    return undefined
  }
}
