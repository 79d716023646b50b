import { claude } from './claude-code.ts'
import { codex } from './codex.ts'
import { gemini } from './gemini.ts'
import { qwen } from './qwen.ts'

export const DOCTORS = { claude, codex, qwen, gemini }
