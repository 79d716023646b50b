/** Can the folders be written that everything else depends on? When they cannot, no tier can leave a word anywhere. */
import { accessSync, constants, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import type { Sighting } from './sightings.ts'

/** As much as a state file and a few lines of a log need. */
const PROBE = Buffer.alloc(16 * 1024)

const WORDS: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ENOTDIR: 'something that is no folder is in its place',
  EEXIST: 'something that is no folder is in its place',
}

/**
 * One phrase for each of our folders that cannot be written, e.g. `/home/u/openclaw/memory: the disk is full (ENOSPC)`.
 * @param dryRun only asks for permissions, writes nothing
 */
export function unwritableFolders(settings: Settings, dryRun: boolean): string[] {
  return [settings.watchdogDir, settings.memoryDir].flatMap((folder) => {
    try {
      if (dryRun) {
        if (existsSync(folder)) accessSync(folder, constants.W_OK)
      } else writeProbe(folder)
      return []
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error)
      return [`${folder}: ${WORDS[code] ?? 'cannot be written'} (${code})`]
    }
  })
}

/** The look at the folders in the form of a marked line, so that it opens and ends a case like any other. */
export function diskSighting(troubles: readonly string[], at: Date): Sighting {
  const well = { kind: 'run-ended', verdict: 'can be written', exitCode: 0, seconds: 0 } as const
  const marker = troubles.length === 0 ? well : ({ kind: 'manual', why: troubles.join('; ') } as const)
  return { scope: 'disk', tier: 'monitor', log: '', at, marker }
}

function writeProbe(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, '.can-be-written')
  try {
    writeFileSync(path, PROBE, { mode: 0o600 })
  } finally {
    rmSync(path, { force: true })
  }
}
