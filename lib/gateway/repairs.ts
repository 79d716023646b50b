/** Repairs of the gateway beyond a restart: its package, and what OpenClaw's own repair may do to the config. */
import { type Leaf, leavesOf, parseOrNothing } from './config-tree.ts'

/** The package manager whose folder the package lies in. */
export function reinstallation(folder: string | undefined, version: string): [string, string[]] {
  const wanted = `openclaw@${version}`
  if (folder?.includes('/pnpm/')) return ['pnpm', ['add', '-g', wanted]]
  if (folder?.includes('/.bun/')) return ['bun', ['add', '-g', wanted]]
  return ['npm', ['install', '-g', wanted]]
}

const GUARDED =
  /^(?:gateway\.(?:auth|bind|tailscale|trustedProxies|controlUi)|tools|hooks|mcp|plugins|env|approvals)\b|(?:Policy|allowFrom|\.allow|\.deny|sandbox\.mode)\b/

/** What a repair must not change: who may use the gateway, and where it listens. It has also stripped whole configs (#78848). */
export function lostByRepair(before: string, after: string): string | undefined {
  const [a, b] = [before, after].map((text) => leavesOf(parseOrNothing(text) ?? {})) as [Leaf[], Leaf[]]
  if (a.length - b.length > 12) return `${a.length - b.length} settings`
  const guarded = (leaves: Leaf[]) =>
    leaves.map(({ path, value }) => `${path.join('.')}=${value}`).filter((one) => GUARDED.test(one))
  const left = guarded(b).join('\n')
  return a.length > 0 && guarded(a).join('\n') !== left ? 'who may use the gateway or what it may do' : undefined
}
