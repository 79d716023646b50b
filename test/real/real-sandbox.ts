/** A sandbox whose `openclaw` (or doctor) is the real one. */
import { join } from 'node:path'
import type { Sandbox } from '../support/sandbox.ts'
import { agentBin, node24Bin, openclawBin } from './parts.ts'

/**
 * In the config of a real gateway that has no model: OpenClaw's scheduler would run the agent's heartbeat, and a stop
 * would wait for that run for up to 315 s (2026.9.6).
 */
export const WITHOUT_HEARTBEAT = { cron: { enabled: false } }

/** Puts the real OpenClaw on the sandbox's PATH, under the Node that it needs; the tiers keep the Node of the test run. */
export function useRealOpenClaw(box: Sandbox): void {
  box.addTool('openclaw', `PATH='${node24Bin}':$PATH\nexport PATH\nexec '${openclawBin}' "$@"`)
}

export function useRealAgent(box: Sandbox, name: Parameters<typeof agentBin>[0]): void {
  box.addTool(name, `PATH='${node24Bin}':$PATH\nexport PATH\nexec '${join(agentBin(name), name)}' "$@"`)
}
