/** What a doctor may change in the gateway's config (default: nothing), how its edits are judged, and what it is shown. */
import JSON5 from 'json5'
import { type Leaf, leavesOf, parseOrNothing, valueAt } from '../gateway/config-tree.ts'
import { isSecretName, setOf, spaced } from '../tier/redact.ts'
import { isRecord } from '../tier/state.ts'
import { Refused } from './instrument.ts'

/** Sections (2026.9) that decide who may use the gateway, what it runs, and where it sends things. */
const PROTECTED_SECTIONS = setOf(`accessGroups acp approvals auth browser cloudWorkers commands desktop discovery env
  hooks mcp nodeHost plugins proxy secrets security skills surfaces telemetry tools update`)

/** Words that make a setting security-relevant wherever it stands; compared with the words of each part of its path. */
const PROTECTED_WORDS = setOf(`$include accept access account accounts admin allow allowed allowlist approval
  approvals approve approver approvers args attestation audit auth authorization authorized autoapprove bind bindings
  binds block blocked bot browser ca cap capture cert certificate chat cidr cidrs command commands consent cors
  credential credentials dangerously denied deny denylist device devices directory dirs docker domain domains elevated
  encrypt encryption endpoint endpoints env exec executable export exporter expose exposed external file files
  fingerprint from funnel grant grants group groups guard guest header headers hook hooks host hostname hostnames
  hosts http https identity include ingress insecure install instructions invite invites ip ips join key keys load
  lockout mcp mdns members network node nodes oauth origin origins otel owner owners pair pairing passphrase passwd
  password path paths peer peers permission permissions pin plugin plugins policies policy portal portals private
  prompt prompts proxies proxy public rate recipient recipients redact relay remote require role roles root roots
  sandbox scope scopes script scripts seccomp secret secrets secure security session-share share sharing shell
  signature signing skill skills socket spawn ssh ssl sso ssrf strict tailscale target targets template templates
  tenant terminal tls to token tool tools transform trust trusted unsafe untrusted uri url urls user username users
  verification verify webhook webhooks whitelist workspace write writes`)
const HARMLESS_NAMES = new Set(['hostname', 'sessionKey', 'mainKey', 'keepRecentTokens', 'userTimezone'])

/** What a repair may set to any value. `*` stands for one name; what lies below a path belongs to it. */
const REPAIRABLE = `logging.level logging.consoleLevel logging.consoleStyle
  models.mode models.providers.*.maxTokens models.providers.*.timeoutSeconds models.providers.*.models
  agents.defaults.models agents.*.*.models`
  .split(/\s+/)
  .map((path) => path.split('.'))
const MODEL_NAME = /^(?:\w+M|m)odel$/
const BOUND_NAME =
  /^(?:(?:\w+T|t)imeout(?:Ms|Seconds)|max(?:Concurrent|ChildrenPerAgent|Tokens|Chars|Turns)|\w+Max(?:Chars|Mb|Pages)|debounceMs|thinkingDefault)$/

/** Where a default mostly does no harm. */
const TUNED_SECTIONS = new Set(['agents', 'gateway', 'logging', 'messages', 'models', 'ui'])
const OTHER_SECTIONS = setOf(`$schema attachments bindings broadcast channels cron diagnostics memory meta session
  talk transcripts tts web wizard worktreeAcceleration worktreeRoot`)
const SECTIONS = new Set([...PROTECTED_SECTIONS, ...TUNED_SECTIONS, ...OTHER_SECTIONS])
const FATEFUL_NAMES = /^(?:enabled|heartbeat|every|cwd|agentDir|default|\w*archive\w*|\w*transcript\w*)$/i

type Yardstick = ReturnType<typeof yardstickOf>

export function yardstickOf(knownGood: string | undefined, port: number) {
  const good = knownGood === undefined ? undefined : parseOrNothing(knownGood)
  return { port, good, known: leavesOf(good ?? {}) }
}

function assertMayBecome(leaf: Leaf, { port, known }: Yardstick): void {
  const name = leaf.path.join('.')
  assertNoHarm(leaf, port)
  if (name === 'gateway.port' || (name === 'gateway.mode' && leaf.value === 'local')) return
  if (isSwitch(leaf.path) || isRepairable(leaf.path)) return
  if (known.some((one) => spotOf(one) === spotOf(leaf))) return
  throw new Refused(`${name} is not among what set_config lists. Write in the report what would have to change.`)
}

const ROUTING =
  /^(?:data_?collection|zdr|routing?|route|provider|allow_?fallbacks|order|only|ignore|sort|transforms|params|extra_?body|store|metadata|privacy|retention)$/i
const PROGRAM_MODEL = /^[\w-]*cli\//i

/** Throws `Refused` when this value in this place does harm, even where the known-good config has it. */
function assertNoHarm(leaf: Leaf, port: number): void {
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

function assertMayGo(leaf: Leaf, { known }: Yardstick): void {
  const name = leaf.path.join('.')
  if (isProtected(leaf.path)) throw new Refused(`${name} may not be removed or changed: security is for a human.`)
  if (name === 'gateway.port')
    throw new Refused('Without gateway.port the gateway would listen where nothing watches it.')
  if (name === 'gateway.mode') throw new Refused('Without gateway.mode the gateway does not start: set it to local.')
  const [section = ''] = leaf.path
  if (isRepairable(leaf.path) || !SECTIONS.has(section)) return
  const isOff = leaf.value === 'false' && isSwitch(leaf.path)
  const isNew = known.length > 0 && !known.some((one) => placeOf(one.path) === placeOf(leaf.path))
  if (isNew && !isOff) return
  if (TUNED_SECTIONS.has(section) && !leaf.path.some((part) => FATEFUL_NAMES.test(part))) return
  throw new Refused(`Without ${name} a default holds that may do more; openclaw_doctor_fix removes unknown settings.`)
}

function isRepairable(path: readonly string[]): boolean {
  if (path.some((part) => FATEFUL_NAMES.test(part))) return false
  if (REPAIRABLE.some((open) => open.every((part, i) => part === path[i] || (part === '*' && path[i] !== undefined))))
    return !path.some((part) => /runtime|codeMode/i.test(part))
  if (path[0] !== 'agents' && path[0] !== 'messages') return false
  return path.some((part) => MODEL_NAME.test(part)) || BOUND_NAME.test(path.at(-1) ?? '')
}

function isSwitch(path: readonly string[]): boolean {
  if (path.at(-1) !== 'enabled') return false
  return /^(?:plugins\.entries\.[^.]+|channels\.[^.]+)\.enabled$/.test(path.join('.')) || !isProtected(path)
}

export function isProtected(path: readonly string[]): boolean {
  if (PROTECTED_SECTIONS.has(path[0] ?? '')) return true
  return path.some((part) => {
    if (HARMLESS_NAMES.has(part)) return false
    const words = spaced(part).split(/[^a-z0-9$]+/)
    return isSecretName(part) || words.some((word) => PROTECTED_WORDS.has(word))
  })
}

/** An edit may not throw away more settings than a repair plausibly does: a rewrite of the file loses data. */
const MOST_REMOVED = 12

/** Judged before the present value is read: an answer must not tell whether a guess was right. */
export function judgeSetting(path: string[], value: unknown, yardstick: Yardstick): void {
  for (const leaf of leavesOf(value, path)) assertMayBecome(leaf, yardstick)
}

/** Judges a new text of the config by what changes, not by how it is written. */
export function judgeConfigText(before: string, after: string, yardstick: Yardstick): void {
  const value = parsedAfter(after)
  const readable = parseOrNothing(before)
  const base = readable ?? yardstick.good
  if (!readable && isSlip(before, after, leavesOf(value), yardstick)) return
  if (!base)
    throw new Refused('It cannot be parsed, and no known-good config is there: only marks (quotes, commas) may change.')
  judgeChanges(base, value, yardstick)
}

type Config = Record<string, unknown>

function parsedAfter(text: string): Config {
  try {
    const value: unknown = JSON5.parse(text)
    if (isRecord(value)) return value
  } catch (error) {
    // Neither the character it met there nor its place in the line: they would tell how a hidden value goes on.
    const line = / at (\d+):\d+$/.exec((error as Error).message)?.[1]
    const where = line ? ` in line ${line}` : ''
    throw new Refused(`After this edit the config could still not be parsed${where}. Repair everything in one call.`)
  }
  throw new Refused('After this edit the config would hold no settings.')
}

function judgeChanges(before: Config, after: Config, yardstick: Yardstick): void {
  const { good } = yardstick
  const [was, is] = [leavesOf(before), leavesOf(after)]
  const without = (leaves: Leaf[], others: Leaf[]) => {
    const spots = new Set(others.map(spotOf))
    return leaves.filter((leaf) => !spots.has(spotOf(leaf)))
  }
  const isEmptied = (leaf: Leaf) => leaf.kind === 'object' && isRecord(valueAt(before, leaf.path))
  for (const leaf of without(is, was)) if (!isEmptied(leaf)) assertMayBecome(leaf, yardstick)
  // What was replaced was judged as the value that it became.
  for (const leaf of without(was, is)) if (valueAt(after, leaf.path) === undefined) assertMayGo(leaf, yardstick)
  const lost = Object.keys(before).find((name) => SECTIONS.has(name) && !(name in after) && !(good && !(name in good)))
  if (lost !== undefined) throw new Refused(`This edit would throw away the whole section ${lost}.`)
  const fewer = was.length - is.length
  if (fewer > MOST_REMOVED)
    throw new Refused(`This edit would throw away ${fewer} settings. Change only what is broken.`)
}

/** The same words with a few marks added or taken away, none of them swallowed by a text, and each guard in its place. */
function isSlip(before: string, afterText: string, after: Leaf[], { known }: Yardstick): boolean {
  const texts = [...new Set(after.flatMap(({ path, value }) => [...path.filter((part) => !/^\d+$/.test(part)), value]))]
  if (!differsInMarksOnly(before, afterText) || !texts.every((text) => standsWhole(text, before))) return false
  // Without one to compare with, only the nesting tells what a setting protects.
  const nesting = (text: string) => text.match(/[{}[\]]|[^\s{}[\]:,"']+/g)?.join(' ')
  if (known.length === 0) return nesting(before) === nesting(afterText)
  const places = new Set(after.map(({ path }) => placeOf(path)))
  return known.every(({ path }) => !isProtected(path) || places.has(placeOf(path)))
}

const placeOf = (path: readonly string[]) => path.join('\0')
const spotOf = ({ path, kind, value }: Leaf) => placeOf([...path, kind, value])

const WORD = /[^\s{}[\]:,"']+/g
const MOST_MARKS = 4

function differsInMarksOnly(before: string, after: string): boolean {
  if (before.match(WORD)?.join('\0') !== after.match(WORD)?.join('\0')) return false
  const marks = (text: string) => text.split(WORD).map((gap) => gap.replace(/\s/g, ''))
  const now = marks(after)
  return marks(before).reduce((sum, gap, place) => sum + marksBetween(gap, now[place]!), 0) <= MOST_MARKS
}

function marksBetween(a: string, b: string): number {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++
  return a.length + b.length - 2 * (start + end)
}

/** Does a name or value stand in the text as a whole, not as a piece of something longer, and with no setting swallowed in it? */
function standsWhole(value: string, text: string): boolean {
  if (value === '' || value === '{}') return true
  if (/["'{}[\]]|^[\s,:]/.test(value)) return false
  // With a mark in it, only the quotes around it tell that it is one text.
  const edge = /[,:]/.test(value) ? /["']/ : /[\s{}[\]:,"']|^$/
  const form = JSON.stringify(value).slice(1, -1)
  for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1))
    if (edge.test(text[at - 1] ?? '') && edge.test(text[at + form.length] ?? '')) return true
  return false
}

const HIDDEN = '[hidden]'
/** Settings whose text says how the gateway works, and nothing of its owner. */
const SHOWN_PATH =
  /^(?:gateway\.(?:mode|bind|auth\.mode)|logging\.(?:level|consoleLevel|consoleStyle)|models\.mode|models\.providers\.[^.]+\.api|meta\.\w+|update\.channel|(?:agents|messages)(?:\.[^.]+)*\.(?:(?:\w+M|m)odel(?:\.(?:primary|fallbacks\.\d+))?|thinkingDefault))$/
const PLAIN_WORD = /^[\w.:/-]{1,80}$/
/** A name that looks otherwise may be a phone number or an address. */
const PLAIN_NAME = /^[A-Za-z_$][\w$-]{0,40}$/

export function shownConfig(value: unknown, path: readonly string[] = []): unknown {
  if (Array.isArray(value)) return value.map((item, place) => shownConfig(item, [...path, String(place)]))
  if (isRecord(value)) {
    const nameOf = (name: string) => (PLAIN_NAME.test(name) || (isModels && PLAIN_WORD.test(name)) ? name : HIDDEN)
    const isModels = path.at(-1) === 'models'
    const shown = Object.entries(value).map(([name, item]) => [nameOf(name), shownConfig(item, [...path, name])])
    return Object.fromEntries(shown)
  }
  if (value === null || typeof value === 'boolean') return value
  if (path.some((name) => name === 'env' || name === 'headers')) return HIDDEN
  if (typeof value === 'number')
    return path.join('.') === 'gateway.port' || (!isProtected(path) && Math.abs(value) < 1e8) ? value : HIDDEN
  if (typeof value !== 'string') return HIDDEN
  return SHOWN_PATH.test(path.join('.')) && PLAIN_WORD.test(value) ? value : HIDDEN
}

const SHOWN_WORDS =
  'true false null local remote loopback lan auto token password none debug info warn error trace'.split(' ')
const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|[{}[\]:,"'\s]|[^\s{}[\]:,"']+/g

function hidden(text: string, names: ReadonlySet<string>, hide: (word: string) => string): string {
  const isShown = (word: string) => /^[{}[\]:,"'\s]$/.test(word) || SHOWN_WORDS.includes(word) || names.has(word)
  return text.replace(TOKEN, (word) => (isShown(word) ? word : hide(word)))
}

/** A config that cannot be parsed: marks, blanks, and words known to be names; nothing else tells names from values. */
export function shownBrokenConfig(text: string, names: ReadonlySet<string>): string {
  return hidden(text, names, (word) => (/^\/[/*]/.test(word) ? word.replace(/[^\n]+/g, '// [hidden]') : HIDDEN))
}

export const VEIL = '\ue000'

export function veiledConfig(text: string, names: ReadonlySet<string>): string {
  return hidden(text, names, (word) => word.replace(/[^\n]/g, VEIL))
}
