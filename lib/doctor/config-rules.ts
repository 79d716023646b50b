/** Which settings of the gateway's config a repair may set or remove, and which protect it or hold what is the user's. */
import { fullId, type Leaf } from '../gateway/config-tree.ts'
import { isSecretName } from '../tier/redact.ts'
import { Refused } from './refused.ts'

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

/**
 * What a repair may set to any value: how much is logged, which model answers, how long it may take and how much it may
 * have. A `*` stands for one name; what lies below a path belongs to it. Everything else may only become what it was.
 */
const REPAIRABLE = `logging.level logging.consoleLevel logging.consoleStyle
  models.mode models.providers.*.maxTokens models.providers.*.timeoutSeconds models.providers.*.models
  agents.defaults.models agents.*.*.models`
  .split(/\s+/)
  .map((path) => path.split('.'))
/** In the sections `agents` and `messages`: a model, and what bounds a run. */
const MODEL_NAME = /^(?:\w+M|m)odel$/
const BOUND_NAME =
  /^(?:(?:\w+T|t)imeout(?:Ms|Seconds)|max(?:Concurrent|ChildrenPerAgent|Tokens|Chars|Turns)|\w+Max(?:Chars|Mb|Pages)|debounceMs|thinkingDefault)$/

/** The sections of OpenClaw 2026.9.6's config; a name beside them is one that it does not know. */
const SECTIONS = new Set(
  `$schema accessGroups acp agents approvals attachments auth bindings broadcast browser channels cloudWorkers commands cron
  desktop diagnostics discovery env gateway hooks logging mcp memory messages meta models nodeHost plugins proxy secrets
  security session skills surfaces talk telemetry tools transcripts tts ui update web wizard worktreeAcceleration
  worktreeRoot`.split(/\s+/),
)
/** Where a setting that nobody vouches for may be removed: without it these go back to a default that does no harm. */
const TUNED_SECTIONS = new Set(['agents', 'gateway', 'logging', 'messages', 'models', 'ui'])
/** Names that switch, schedule or keep something: their default may do more than what the user set. */
const FATEFUL_NAMES = /^(?:enabled|heartbeat|every|cwd|agentDir|default|\w*archive\w*|\w*transcript\w*)$/i

/** What an edit is judged by. */
export interface Yardstick {
  /** The port that is watched: the only one that `gateway.port` may be set to. */
  port: number
  /** The settings of the last config that booted; empty when there is none. */
  known: readonly Leaf[]
}

/** Throws `Refused` unless a repair may give this setting this value. */
export function assertMayBecome(leaf: Leaf, { port, known }: Yardstick): void {
  const name = leaf.path.join('.')
  assertNoHarm(leaf, port)
  if (name === 'gateway.port' || (name === 'gateway.mode' && leaf.value === 'local')) return
  if (isSwitch(leaf.path) || isRepairable(leaf.path)) return
  if (known.some((one) => fullId(one) === fullId(leaf))) return
  throw new Refused(
    `${name} is none of the settings that a repair may set: gateway.mode to local, log levels, models, timeouts and limits of agents and messages, enabled to false, and what stood there in the known-good config. Write in the report what would have to change.`,
  )
}

/** Where a model's requests go, and what is kept of them. */
const ROUTING =
  /^(?:data_?collection|zdr|routing?|route|provider|allow_?fallbacks|order|only|ignore|sort|transforms|params|extra_?body|store|metadata|privacy|retention)$/i
/** A model that is a program on this machine: `claude-cli/opus`. */
const PROGRAM_MODEL = /^[\w-]*cli\//i

/** Throws `Refused` when this value in this place does harm, whoever vouches for it. */
export function assertNoHarm(leaf: Leaf, port: number): void {
  const name = leaf.path.join('.')
  if (leaf.path.some((part) => /^(?:__proto__|constructor|prototype)$/.test(part)))
    throw new Refused(`${name} is no name of a setting.`)
  // OpenClaw puts the value of the variable there, and sends or prints it.
  if ([leaf.value, ...leaf.path].some((text) => text.includes('${')))
    throw new Refused(`${name} may not refer to an environment variable.`)
  if (PROGRAM_MODEL.test(leaf.value) || leaf.path.some((part) => PROGRAM_MODEL.test(part)))
    throw new Refused(`${name} would run a program as the model.`)
  if (leaf.path.slice(2).some((part) => ROUTING.test(part)))
    throw new Refused(`${name} decides where requests go and what is kept of them: that is for a human.`)
  if (name === 'gateway.port' && (leaf.value !== String(port) || leaf.kind === 'string'))
    throw new Refused(`gateway.port may only be ${port}, the port that is watched.`)
  if (isSwitch(leaf.path)) {
    // The text "false" is none of OpenClaw's switches, and counts as true elsewhere.
    if (leaf.value === 'false' && leaf.kind !== 'string') return
    throw new Refused(`${name} may be turned off, not on.`)
  }
  if (leaf.path.at(-1) === 'source' && /^(?:exec|env|file)$/.test(leaf.value))
    throw new Refused(`${name} would take a value from a program, a variable or a file.`)
  if (isProtected(leaf.path)) throw new Refused(`${name} may not be set or changed: security is for a human.`)
}

/** Throws `Refused` unless a repair may take this setting away. */
export function assertMayGo(leaf: Leaf, { known }: Pick<Yardstick, 'known'>): void {
  const name = leaf.path.join('.')
  if (isProtected(leaf.path)) throw new Refused(`${name} may not be removed or changed: security is for a human.`)
  if (name === 'gateway.port')
    throw new Refused('Without gateway.port the gateway would listen where nothing watches it.')
  if (name === 'gateway.mode') throw new Refused('Without gateway.mode the gateway does not start: set it to local.')
  const [section = ''] = leaf.path
  if (isRepairable(leaf.path) || !SECTIONS.has(section)) return
  const isOff = leaf.value === 'false' && isSwitch(leaf.path)
  const isNew = known.length > 0 && !known.some((one) => one.path.join('\0') === leaf.path.join('\0'))
  if (isNew && !isOff) return
  if (TUNED_SECTIONS.has(section) && !leaf.path.some((part) => FATEFUL_NAMES.test(part))) return
  throw new Refused(
    `Without ${name} its default would hold, which may do more. A setting that OpenClaw does not know is removed by openclaw_doctor_fix.`,
  )
}

/** The sections of OpenClaw's config among these names. */
export function sectionsIn(config: object): string[] {
  return Object.keys(config).filter((name) => SECTIONS.has(name))
}

function isRepairable(path: readonly string[]): boolean {
  if (REPAIRABLE.some((open) => open.every((part, i) => part === path[i] || (part === '*' && path[i] !== undefined))))
    return !path.some((part) => FATEFUL_NAMES.test(part) || /runtime|codeMode/i.test(part))
  if (path[0] !== 'agents' && path[0] !== 'messages') return false
  if (path.some((part) => FATEFUL_NAMES.test(part))) return false
  return path.some((part) => MODEL_NAME.test(part)) || BOUND_NAME.test(path.at(-1) ?? '')
}

/** Turning a broken part off is a repair: `plugins.entries.<id>.enabled`, `channels.<id>.enabled` and what protects nothing. */
function isSwitch(path: readonly string[]): boolean {
  if (path.at(-1) !== 'enabled') return false
  return /^(?:plugins\.entries\.[^.]+|channels\.[^.]+)\.enabled$/.test(path.join('.')) || !isProtected(path)
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
