/** Edits of the gateway's config, judged by what changes between before and after, not by how it is written. */
import JSON5 from 'json5'
import { isSecretName, secretValues } from '../alerts/redact.ts'
import { isRecord } from '../tier/state.ts'
import { Refused } from './guard.ts'
import { differsInMarksOnly, standsWhole } from './guard-config-text.ts'
import {
  fullId,
  type Leaf,
  lastName,
  leavesOf,
  lenientLeaves,
  nearId,
  parseOrNothing,
  without,
} from './guard-config-tree.ts'

/**
 * Whole sections of OpenClaw's config (2026.9, `openclaw config schema` and its docs) that decide who may use the
 * gateway, what it runs, and where it sends things. Plugins and channels may only be turned off.
 */
const PROTECTED_SECTIONS = new Set(
  `accessGroups acp approvals auth browser cloudWorkers commands desktop discovery env hooks mcp nodeHost plugins proxy
  secrets security skills surfaces telemetry tools update`.split(/\s+/),
)

/** Words that make a setting security-relevant wherever it stands; compared with the words of each part of its path. */
const PROTECTED_WORDS = new Set(
  `$include accept access account accounts admin allow allowed allowlist approval approvals approve approver
  approvers args attestation audit auth authorization authorized autoapprove bind bindings binds block blocked bot
  browser ca cap capture cert certificate chat cidr cidrs command commands consent cors credential credentials
  dangerously denied deny denylist device devices directory dirs docker domain domains elevated encrypt encryption
  endpoint endpoints env exec executable export exporter expose exposed external file files fingerprint from
  funnel grant grants group groups guard guest header headers hook hooks host hostname hostnames hosts http https
  identity include ingress insecure install instructions invite invites ip ips join key keys load lockout mcp mdns
  members network node nodes oauth origin origins otel owner owners pair pairing passphrase passwd password path
  paths peer peers permission permissions pin plugin plugins policies policy portal portals private prompt prompts
  proxies proxy public rate recipient recipients redact relay remote require role roles root roots sandbox scope
  scopes script scripts seccomp secret secrets secure security session-share share sharing shell signature signing
  skill skills socket spawn ssh ssl sso ssrf strict tailscale target targets template templates tenant terminal
  tls to token tool tools transform trust trusted unsafe untrusted uri url urls user username users verification
  verify webhook webhooks whitelist workspace write writes`.split(/\s+/),
)
/** Names that contain such a word and yet only tune how a session or a model works. */
const HARMLESS_NAMES = new Set(['hostname', 'sessionKey', 'mainKey', 'keepRecentTokens', 'userTimezone'])

/** An edit may not throw away more settings than a repair plausibly does; whoever rewrites the file loses data. */
const MOST_REMOVED = 12

export interface ConfigEdit {
  /** The file's text before; undefined when there is no file. */
  before: string | undefined
  /** The text of the last config that booted, when it is known. */
  knownGood: string | undefined
  /** The port that is watched: the only one that `gateway.port` may be set to. */
  gatewayPort: number
}

/** Judges a new text of the config. Throws `Refused` with the setting that may not change. */
export function judgeConfigText(after: string, edit: ConfigEdit): void {
  let parsed: unknown
  try {
    parsed = JSON5.parse(after)
  } catch (error) {
    throw new Refused(
      'unclear',
      `After this edit the config could still not be parsed (${(error as Error).message.replace(/^JSON5: /, '')}). Repair everything in one Edit or Write.`,
    )
  }
  judgeConfigValue(parsed, edit, after)
}

/** Judges the parsed config that an edit would leave; its text, where there is one, tells a slip from a change. */
export function judgeConfigValue(after: unknown, edit: ConfigEdit, afterText?: string): void {
  if (!isRecord(after)) throw new Refused('delete', 'After this edit the config would hold no settings.')
  const afterLeaves = leavesOf(after)
  const before = edit.before === undefined ? undefined : parseOrNothing(edit.before)
  if (before) judgeExactly(leavesOf(before), afterLeaves, edit.gatewayPort)
  else judgeRepair(edit, afterText, afterLeaves)
}

/** Both sides are readable: every setting that changed must be one that may. */
function judgeExactly(before: Leaf[], after: Leaf[], port: number): void {
  const removed = without(before, after, fullId)
  const added = without(after, before, fullId)
  for (const leaf of added) assertMayBecome(leaf, port)
  for (const leaf of removed) {
    const isReplaced = added.some((one) => one.path.join('\0') === leaf.path.join('\0'))
    // Turning off (enabled: true → false) was judged as the value that it became.
    if (!(isReplaced && isSwitch(leaf.path))) assertMayGo(leaf)
  }
  assertFewLost(removed.length - added.length)
}

/**
 * The file before cannot be read. What protects the gateway must come out as in the last config that booted (Level 2
 * would put that one back), or as the broken text says: the same words with a mark added or taken away, or, when more is
 * wrong, the same settings as a parser finds there that forgives everything.
 */
function judgeRepair(edit: ConfigEdit, afterText: string | undefined, after: Leaf[]): void {
  const text = edit.before ?? ''
  const known = leavesOf((edit.knownGood === undefined ? undefined : parseOrNothing(edit.knownGood)) ?? {})
  const before = lenientLeaves(text)
  const stood = new Set([...before, ...known].map(nearId))
  for (const leaf of after) {
    if (!isProtected(leaf.path) && !stood.has(nearId(leaf))) assertMayBecome(leaf, edit.gatewayPort)
  }
  const kept = after.filter((leaf) => isProtected(leaf.path))
  const isAsKnown =
    known.length > 0 &&
    isSame(
      kept,
      known.filter((leaf) => isProtected(leaf.path)),
    )
  const isSlip =
    afterText !== undefined &&
    differsInMarksOnly(text, afterText) &&
    kept.every((leaf) => standsWhole(leaf.value, text)) &&
    namesOf(known).every((name) => namesOf(after).includes(name))
  if (!isAsKnown && !isSlip) judgeGuessed(before, after, edit.gatewayPort)
  assertFewLost((before.length || known.length) - after.length)
}

/** Compares with what a forgiving parser finds: everything that protects must stand on both sides. */
function judgeGuessed(before: Leaf[], after: Leaf[], port: number): void {
  if (before.length === 0) {
    throw new Refused(
      'security',
      'The config is empty and no earlier one is known, so nothing says how it was protected.',
    )
  }
  const remains = new Set(after.map(nearId))
  const given = new Set(before.map(nearId))
  for (const leaf of after) if (!given.has(nearId(leaf))) assertMayBecome(leaf, port)
  for (const leaf of before) if (!remains.has(nearId(leaf))) assertMayGo(leaf)
}

function isSame(a: Leaf[], b: Leaf[]): boolean {
  return without(a, b, fullId).length === 0 && without(b, a, fullId).length === 0
}

/** The paths of what protects the gateway. */
function namesOf(leaves: Leaf[]): string[] {
  return leaves.filter((leaf) => isProtected(leaf.path)).map((leaf) => leaf.path.join('.'))
}

function assertMayBecome(leaf: Leaf, port: number): void {
  const name = leaf.path.join('.')
  if (name === 'gateway.mode' && leaf.value === 'local') return
  if (name === 'gateway.port' && leaf.value === String(port)) return
  if (name === 'gateway.port')
    throw new Refused('security', `gateway.port may only be ${port}, the port that is watched.`)
  if (isSwitch(leaf.path)) {
    if (leaf.value === 'false') return
    throw new Refused('security', `${name} may be turned off, not on.`)
  }
  if (lastName(leaf.path) === 'source' && leaf.value === 'exec') {
    throw new Refused('security', `${name} would run a program.`)
  }
  if (isProtected(leaf.path)) throw new Refused('security', `The config’s ${name} may not be set or changed.`)
}

function assertMayGo(leaf: Leaf): void {
  const name = leaf.path.join('.')
  if (name === 'gateway.mode' || name === 'gateway.port') return
  if (isProtected(leaf.path)) throw new Refused('security', `The config’s ${name} may not be removed or changed.`)
}

function assertFewLost(count: number): void {
  if (count > MOST_REMOVED) {
    throw new Refused('delete', `This edit would throw away ${count} settings. Change only what is broken.`)
  }
}

/** `plugins.entries.<id>.enabled` and `channels.<id>.enabled`: turning a broken part off is a repair. */
function isSwitch(path: string[]): boolean {
  const name = path.join('.')
  return /^plugins\.entries\.[^.]+\.enabled$/.test(name) || /^channels\.[^.]+\.enabled$/.test(name)
}

/** Is this setting security-relevant, by its section or by a word in its path? */
export function isProtected(path: readonly string[]): boolean {
  if (PROTECTED_SECTIONS.has(path[0] ?? '')) return true
  return path.some((part) => {
    if (HARMLESS_NAMES.has(part)) return false
    return isSecretName(part) || wordsOf(part).some((word) => PROTECTED_WORDS.has(word))
  })
}

function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9$]+/)
    .filter(Boolean)
}

/** The secret values in a config's text, also when it cannot be parsed. */
export function configSecrets(text: string): string[] {
  const parsed = parseOrNothing(text)
  if (parsed) return secretValues(parsed)
  return lenientLeaves(text).flatMap((leaf) => secretValues(leaf.value, lastName(leaf.path)))
}
