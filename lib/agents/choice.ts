/** Which doctors there are, in which order they are called, and what each is given. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Settings } from '../tier/settings.ts'
import { claude } from './claude-code.ts'
import { codex } from './codex.ts'
import type { Commission, Doctor, DoctorName } from './doctors.ts'
import { gemini } from './gemini.ts'
import { qwen } from './qwen.ts'

const DOCTORS: Readonly<Record<DoctorName, Doctor>> = { claude, codex, qwen, gemini }

/** The doctors of the setting DOCTOR, in its order. */
export function chosenDoctors({ doctors }: Settings): Doctor[] {
  return doctors.map((name) => DOCTORS[name])
}

/**
 * What a doctor is given: its folder, and how the server with its instruments is started, whatever Node runs this.
 * @param context the name of the session's context in the folder
 */
export function commissionOf(
  settings: Settings,
  folder: string,
  context: string,
  instruments: readonly string[],
): Commission {
  const script = fileURLToPath(new URL('../../scripts/doctor-tools.ts', import.meta.url))
  const isPlain = 'typescript' in process.features && process.features.typescript
  const loader = isPlain ? [] : ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href]
  const server = { command: process.execPath, args: [...loader, script, join(folder, context)] }
  return { settings, folder, server, instruments }
}
