/** A sandbox whose `openclaw` (and `claude`) are the real ones. */
import type { Sandbox } from '../support/sandbox.ts'
import { claudeBin, node24Bin, openclawBin } from './parts.ts'

/** Puts the real OpenClaw on the sandbox's PATH, under the Node that it needs; the tiers keep the Node of the test run. */
export function useRealOpenClaw(box: Sandbox): void {
  box.addTool('openclaw', `PATH='${node24Bin}':$PATH\nexport PATH\nexec '${openclawBin}' "$@"`)
}

/** Puts the real Claude Code on the sandbox's PATH; 2.1.330 unless another release is named. */
export function useRealClaude(box: Sandbox, executable = claudeBin): void {
  box.addTool('claude', `exec '${executable}' "$@"`)
}
