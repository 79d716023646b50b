/** OpenClaw's profiles by its own rules (2026.9.6: docs/gateway/multiple-gateways.md, docs/logging.md). */
import { createRequire } from 'node:module'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { readWhole, tried } from './state.ts'

export const DEFAULT_PROFILE = 'default'

const isMac = process.platform === 'darwin'

export const PROFILE_RULE = isMac
  ? 'at most 64 small letters, digits, - and _, beginning with a letter or digit, but not gateway or node'
  : 'at most 64 letters, digits, - and _, beginning with a letter or digit'

export function parseProfile(text: string): string | undefined {
  if (text.toLowerCase() === DEFAULT_PROFILE) return DEFAULT_PROFILE
  // macOS: `Main` and `main` share a file name; the two labels are those of the default gateway and the node host.
  const rule = isMac ? /^(?!(?:gateway|node)$)[a-z0-9][a-z0-9_-]{0,63}$/ : /^[a-z0-9][a-z0-9_-]{0,63}$/i
  return rule.test(text) ? text : undefined
}

export function hostOf(profile: string): string {
  const host = hostname().replace(/\.local$/, '')
  return profile === DEFAULT_PROFILE ? host : `${host} (profile ${profile})`
}

export function profileSuffix(profile: string, separator: '.' | '-'): string {
  return profile === DEFAULT_PROFILE ? '' : `${separator}${profile}`
}

/** A profile's state folder unless `OPENCLAW_STATE_DIR` says otherwise; scripts/run-tier.sh has this rule too. */
export function profileStateDir(home: string, profile: string): string {
  return join(home, `.openclaw${profileSuffix(profile, '-')}`)
}

export function profilePort(profile: string, configPath: string): number {
  const port = portInConfig(tried(() => readWhole(configPath)) ?? '')
  if (port !== undefined) return port
  if (profile.toLowerCase() === 'dev') return 19_001
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(profile)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return 20_000 + (hash % 40_000)
}

/** `gateway.port`, also of a broken config. The parser is loaded for profiles only: it would cost every healthy tick. */
export function portInConfig(text: string): number | undefined {
  const parsed = tried(() => createRequire(import.meta.url)('json5').parse(text))
  const port = parsed ? parsed.gateway?.port : Number(LIKE_A_PORT.exec(text)?.[1])
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined
}

/** Behind `gateway: {`, with sections of up to two levels between. */
const LIKE_A_PORT = /\bgateway["']?\s*:\s*\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*?\bport["']?\s*:\s*(\d+)/

export function rollingLogName(profile: string): string {
  if (profile === DEFAULT_PROFILE) return 'openclaw'
  const encoded = profile.replace(/[-_A-Z]/g, (c) => (c === '-' ? '--' : c === '_' ? '-0' : `-1${c.toLowerCase()}`))
  return `openclaw-${encoded}`
}

export function isForeignLog(name: string, profile: string): boolean {
  const rolling = /^(openclaw(?:-[a-z0-9-]+)?)-\d{4}-\d\d-\d\d(?:\.\d+)?\.log$/.exec(name)
  if (rolling) return rolling[1] !== rollingLogName(profile)
  const service = /^(gateway(?:-[^.]+)?)(?:\.[^.]+)*\.log$/.exec(name)
  return service !== null && service[1] !== `gateway${profileSuffix(profile, '-')}`
}
