/** Edits of the gateway's config, judged by what changes between before and after, not by how it is written. */
import JSON5 from 'json5'
import { isSecretName, secretValues } from '../alerts/redact.ts'
import { isRecord } from '../tier/state.ts'
import { Refused } from './guard.ts'

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
  `$include access account accounts admin allow allowed allowlist approval approvals approve approver approvers args attestation
  audit auth authorization authorized autoapprove bind binds bindings block blocked bot browser ca cap cert certificate chat cidr
  cidrs command commands consent cors credential credentials dangerously deny denied denylist device devices directory dirs docker
  domain domains elevated encrypt encryption endpoint endpoints env exec executable expose exposed external file files fingerprint from funnel
  grant grants group groups guard guest header headers hook hooks host hosts hostname hostnames http https identity include
  ingress insecure install instructions ip ips key keys load lockout mcp mdns members network node nodes oauth origin origins owner owners pair pairing
  passphrase passwd password path paths permission permissions pin policies policy portal portals plugin plugins private prompt prompts proxies proxy public
  rate redact relay remote role roles root roots sandbox scope scopes script scripts seccomp secret secrets secure security session-share
  share sharing shell signature signing skill skills socket spawn ssh ssl ssrf sso strict tailscale template templates tenant terminal tls tool tools transform token trust trusted unsafe
  untrusted uri url urls user users username verification verify webhook webhooks whitelist workspace write writes`.split(
    /\s+/,
  ),
)
/** Names that contain such a word and yet only tune how a session or a model works. */
const HARMLESS_NAMES = new Set(['hostname', 'sessionKey', 'mainKey', 'keepRecentTokens', 'userTimezone'])

/** An edit may not throw away more settings than a repair plausibly does; whoever rewrites the file loses data. */
const MOST_REMOVED = 12

interface Leaf {
  path: string[]
  value: string
}

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
  judgeConfigValue(parsed, edit)
}

/** Judges the parsed config that an edit would leave. */
export function judgeConfigValue(after: unknown, edit: ConfigEdit): void {
  if (!isRecord(after)) throw new Refused('delete', 'After this edit the config would hold no settings.')
  const afterLeaves = leavesOf(after)
  const before = edit.before === undefined ? undefined : parseOrNothing(edit.before)
  if (before) judgeExactly(leavesOf(before), afterLeaves, edit.gatewayPort)
  else judgeRepair(edit, afterLeaves)
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
 * The file before cannot be read: its settings are guessed with a parser that forgives everything. What protects the
 * gateway must come out as it stood there, or as it stands in the last config that booted.
 */
function judgeRepair(edit: ConfigEdit, after: Leaf[]): void {
  const before = lenientLeaves(edit.before ?? '')
  const knownGood = edit.knownGood === undefined ? undefined : parseOrNothing(edit.knownGood)
  const known = knownGood ? leavesOf(knownGood) : []
  if (before.length === 0 && known.length === 0) {
    throw new Refused(
      'security',
      'The config is empty and no earlier one is known, so nothing says how it was protected.',
    )
  }
  // A missing brace shifts the guessed paths, so a setting is recognised by its last name and its value.
  const stood = new Set([...before.map(shortId), ...known.map(shortId)])
  for (const leaf of after) if (!stood.has(shortId(leaf))) assertMayBecome(leaf, edit.gatewayPort)
  const remains = new Set(after.map(shortId))
  const names = new Set(after.map((leaf) => lastName(leaf.path)))
  for (const leaf of before) if (!remains.has(shortId(leaf))) assertMayGo(leaf)
  for (const leaf of known) if (isProtected(leaf.path) && !names.has(lastName(leaf.path))) assertMayGo(leaf)
  assertFewLost(Math.max(before.length, known.length) - after.length)
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

/** The config after `openclaw config set <path> <value>`; a value that is not JSON5 is taken as text, as OpenClaw does. */
export function configWith(before: unknown, path: string, value: string): unknown {
  const names = splitPath(path)
  let parsed: unknown
  try {
    parsed = JSON5.parse(value)
  } catch {
    parsed = value
  }
  const root = structuredClone(isRecord(before) ? before : {})
  const parent = names.slice(0, -1).reduce<Record<string, unknown>>((at, name) => {
    const next = isRecord(at[name]) ? at[name] : {}
    at[name] = next
    return next
  }, root)
  parent[names.at(-1)!] = parsed
  return root
}

/** The config after `openclaw config unset <path>`. */
export function configWithout(before: unknown, path: string): unknown {
  const names = splitPath(path)
  const root = structuredClone(isRecord(before) ? before : {})
  let parent: unknown = root
  for (const name of names.slice(0, -1)) parent = isRecord(parent) ? parent[name] : undefined
  if (isRecord(parent)) delete parent[names.at(-1)!]
  return root
}

/** `agents.defaults.model` in its parts. Only plain names: brackets and escapes have readings of their own. */
export function splitPath(path: string): string[] {
  const names = path.split('.')
  if (!names.every((name) => /^[A-Za-z0-9_$-]+$/.test(name)) || names.includes('__proto__')) {
    throw new Refused('unclear', `Write the config path "${path}" with plain names and dots, or use Edit.`)
  }
  return names
}

export function parseOrNothing(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON5.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The secret values in a config's text, also when it cannot be parsed. */
export function configSecrets(text: string): string[] {
  const parsed = parseOrNothing(text)
  if (parsed) return secretValues(parsed)
  return lenientLeaves(text).flatMap((leaf) => secretValues(leaf.value, lastName(leaf.path)))
}

function leavesOf(value: unknown, path: string[] = []): Leaf[] {
  if (Array.isArray(value)) {
    if (value.length === 0) return [{ path: [...path, '*'], value: '' }]
    return value.flatMap((item) => leavesOf(item, [...path, '*']))
  }
  if (isRecord(value)) {
    const entries = Object.entries(value)
    if (entries.length === 0 && path.length > 0) return [{ path, value: '{}' }]
    return entries.flatMap(([name, item]) => leavesOf(item, [...path, name]))
  }
  return [{ path, value: String(value) }]
}

/**
 * Reads settings out of a text that JSON5 refuses. Names and values take turns, so a missing colon or comma does no harm;
 * a quote without its partner on the same line is passed over.
 */
function lenientLeaves(text: string): Leaf[] {
  const leaves: Leaf[] = []
  interface Level {
    path: string[]
    isArray: boolean
    key: string | undefined
  }
  const stack: Level[] = [{ path: [], isArray: false, key: undefined }]
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?!\s*[:,}\]])(?:\\.|[^"\\\n])*"|'(?!\s*[:,}\]])(?:\\.|[^'\\\n])*'|[{}[\],:]|[^\s{}[\],:"']+/g
  for (const [word] of text.matchAll(token)) {
    const top = stack.at(-1)!
    const isComment = word.startsWith('//') || word.startsWith('/*')
    if (isComment || word === ':') continue
    if (word === '{' || word === '[') {
      const path = top.isArray ? [...top.path, '*'] : top.key === undefined ? top.path : [...top.path, top.key]
      top.key = undefined
      stack.push({ path, isArray: word === '[', key: undefined })
    } else if (word === '}' || word === ']' || word === ',') {
      if (top.key !== undefined) leaves.push({ path: [...top.path, top.key], value: '' })
      top.key = undefined
      if (word !== ',' && stack.length > 1) stack.pop()
    } else if (top.isArray) {
      leaves.push({ path: [...top.path, '*'], value: plain(word) })
    } else if (top.key === undefined) {
      top.key = plain(word)
    } else {
      leaves.push({ path: [...top.path, top.key], value: plain(word) })
      top.key = undefined
    }
  }
  return leaves
}

/** A token's text without its quotes and without what a missing quote let slip in. */
function plain(word: string): string {
  try {
    return String(JSON5.parse(word))
  } catch {
    return word.replace(/^["']/, '').replace(/[\s,;}\]"']+$/, '')
  }
}

function lastName(path: readonly string[]): string {
  return path.filter((part) => part !== '*').at(-1) ?? ''
}

function fullId(leaf: Leaf): string {
  return [...leaf.path, '=', leaf.value].join('\0')
}

function shortId(leaf: Leaf): string {
  return `${lastName(leaf.path)}\0${leaf.value}`
}

/** The leaves of `a` that `b` does not have, counting repetitions. */
function without(a: Leaf[], b: Leaf[], id: (leaf: Leaf) => string): Leaf[] {
  const counts = new Map<string, number>()
  for (const leaf of b) counts.set(id(leaf), (counts.get(id(leaf)) ?? 0) + 1)
  return a.filter((leaf) => {
    const left = counts.get(id(leaf)) ?? 0
    counts.set(id(leaf), left - 1)
    return left <= 0
  })
}
