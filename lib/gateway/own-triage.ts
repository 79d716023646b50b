/**
 * OpenClaw's own repair: `openclaw triage` (also after a failed update) starts a coding agent on the same gateway; it is
 * waited for (2026.9.6, docs/gateway/restart-recovery.md and docs/cli/triage).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { listProcesses } from '../services/terminal.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'

/** A sentence when OpenClaw's own triage or embedded repair agent is at work right now. */
export async function ownTriage(settings: Settings): Promise<string | undefined> {
  const all = await listProcesses(settings)
  // The lock stays behind after a kill, and its pid becomes somebody else's.
  const embedded = embeddedAgents(settings).find((pid) =>
    all.some((one) => one.pid === pid && /openclaw/.test(one.command)),
  )
  if (embedded !== undefined) return `OpenClaw's own repair agent is at work (pid ${embedded})`
  const agent = all.find((one) => {
    if (!AGENT.test(one.command)) return false
    const parent = all.find(({ pid }) => pid === one.parent)
    // A running command shows its bare title (2026.9.6: `openclaw-triage`); its arguments are gone then.
    return (
      parent !== undefined &&
      /^openclaw(?:-triage|-update)?(?:\s|$)|\/openclaw\S*\s+(?:triage|update)\b/.test(parent.command)
    )
  })
  return agent && `OpenClaw's own triage is at work (pid ${agent.pid})`
}

/** The coding agents that `openclaw triage` knows, as their command lines begin. */
const AGENT =
  /^(?:\S*\bnode\s+)?(?:\S*\/)?(?:codex|claude|pi|opencode|muse|grok|cursor-agent|kimi|qwen)(?:\.[a-z]+)?(?:\s|$)/

/** Pids in the state folder's lock files that were taken by an embedded agent. */
function embeddedAgents(settings: Settings): number[] {
  const uid = process.getuid?.() ?? 0
  const folder = join(settings.stateDir, 'tmp', `openclaw-${uid}`)
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.lock'))
  } catch {
    return []
  }
  return names.flatMap((name) => {
    try {
      const lock: unknown = JSON.parse(readFileSync(join(folder, name), 'utf8'))
      return isRecord(lock) && lock.role === 'agent-embedded' && Number.isInteger(lock.pid) ? [Number(lock.pid)] : []
    } catch {
      return []
    }
  })
}
