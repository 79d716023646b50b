/** What the scripted doctor does, and the failure that it mostly meets. */
import { appendFileSync, mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Sandbox } from './sandbox.ts'

/** The sandbox writes it to a JSON file that the stand-in for `claude` reads. */
export interface DoctorScript {
  /**
   * `exits`: at once, with 1. `silent`: says nothing, for ever. `hangs`: says nothing more once it has its instruments.
   * `no-instruments`: they failed, and it works on all the same. `login`, `quota`: it is not signed in, or has no credit.
   */
  mode?: 'exits' | 'silent' | 'hangs' | 'no-instruments' | 'login' | 'quota'
  /** Its work, in order: waits for so long, or until a file is in the control folder; calls an instrument of the real server. */
  steps?: { say?: string; call?: string; args?: Record<string, unknown>; waitMs?: number; untilFile?: string }[]
  /** What it reports in the end; without it, it writes no report. */
  report?: Record<string, string>
}

/** The gateway died for want of a file, and dies again until npm has brought it back. @param npm what npm does instead */
export function breakPackage({ packageDir, gatewayLog, addTool, setFaults }: Sandbox, npm?: string): string {
  const file = join(packageDir, 'dist', 'run-command.mjs')
  mkdirSync(dirname(file), { recursive: true })
  rmSync(file, { force: true })
  addTool('npm', npm ?? `[ "$*" = "install -g openclaw@2026.9.6" ] && touch '${file}' && echo "changed 1 package"`)
  setFaults({ missingModule: file })
  appendFileSync(gatewayLog, `[openclaw] Reason: Cannot find module '${file}' imported from /app/entry.js\n`)
  return file
}
