/** Which doctors there are, and in which order they are called. */
import type { Settings } from '../tier/settings.ts'
import { claude } from './claude-code.ts'
import { codex } from './codex.ts'
import type { Doctor, DoctorName } from './doctors.ts'
import { gemini } from './gemini.ts'
import { qwen } from './qwen.ts'

const DOCTORS: Readonly<Record<DoctorName, Doctor>> = { claude, codex, qwen, gemini }

/** The doctors of the setting DOCTOR, in its order. */
export function chosenDoctors({ doctors }: Settings): Doctor[] {
  return doctors.map((name) => DOCTORS[name])
}
