import { fileURLToPath } from 'node:url'
import type { Settings } from '../tier/settings.ts'
import type { Commission, Doctor, DoctorName } from './agent.ts'
import { claude } from './claude-code.ts'
import { codex } from './codex.ts'
import { gemini } from './gemini.ts'
import { qwen } from './qwen.ts'

const DOCTORS: Readonly<Record<DoctorName, Doctor>> = { claude, codex, qwen, gemini }

export function chosenDoctors({ doctors }: Settings): Doctor[] {
  return doctors.map((name) => DOCTORS[name])
}

/** How the server with the instruments of a session is started, with whatever Node runs this. */
export function instrumentsServer(contextPath: string): Commission['server'] {
  const script = fileURLToPath(new URL('../../scripts/doctor-tools.ts', import.meta.url))
  const isPlain = 'typescript' in process.features && process.features.typescript
  const loader = isPlain ? [] : ['--import', import.meta.resolve('tsx')]
  return { command: process.execPath, args: [...loader, script, contextPath] }
}
