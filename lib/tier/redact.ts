/**
 * The one room in which text loses its secrets before it leaves the machine or enters a prompt, a log or a report.
 *
 * Pure, and linear in the length of the text: every pattern either starts at a place that the text can
 * hold only once per character or is bounded in length, so that a hostile log of a megabyte cannot stall a tier.
 * Redacting twice gives what redacting once gives.
 */

import { REDACTED, SHAPES } from './secret-shapes.ts'

export { REDACTED }

/** Shorter known values are left to the other rules: "on" or "test" as a password would blacken half a log. */
const SHORTEST_KNOWN = 6

/** From this length on a known value is also found when a terminal has wrapped it over two lines. */
const SHORTEST_WRAPPED = 16

/**
 * Replaces everything that looks like a secret, and every value in `known`, by {@link REDACTED}.
 *
 * @param known values that are secret here (from the config and `.env`; see {@link secretValues}), also found
 *   JSON-escaped, URL-encoded, in base64, and wrapped by a terminal
 */
export function redact(text: string, known: Iterable<string> = []): string {
  // A colour code ends in a letter, which would hide that a word begins behind it: hold it off while looking.
  const coloured = text.includes('\u001b')
  let out = coloured ? text.replace(/\u001b\[[\d;?]{0,32}[A-Za-z]/g, `$&${SPACER}`) : text
  for (const form of formsOf(known)) {
    out = typeof form === 'string' ? out.replaceAll(form, REDACTED) : out.replace(form, REDACTED)
  }
  out = redactPrivateKeys(out)
  for (const [pattern, replacement] of SHAPES) out = out.replace(pattern, replacement)
  out = out.replace(DATABASE_CLIENT, (line) => line.replace(ATTACHED_PASSWORD, `$1${REDACTED}`))
  out = redactNamedValues(out)
  return coloured ? out.replaceAll(new RegExp(`(\\u001b\\[[\\d;?]{0,32}[A-Za-z])${SPACER}`, 'g'), '$1') : out
}

/** A character of Unicode's private use area. */
const SPACER = '\ue000'

/**
 * Does this setting or config key, by its name, hold a secret? `botToken`, `OPENCLAW_GATEWAY_PASSWORD` and `x-api-key`
 * do; `maxTokens`, `passwordFile`, `tokenRef` and `auth.mode` do not.
 */
export function isSecretName(name: string): boolean {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(Boolean)
  const last = words.at(-1) ?? ''
  const joined = words.join('')
  if (/webhookur[li]s?$|privatekeyid$/.test(joined) || name === '_auth') return true
  if (POINTERS.has(last) || (words.includes('tokens') && words.some((word) => COUNTS.has(word)))) return false
  if (words.some((word) => SECRET_WORDS.has(word))) return true
  return SECRET_ENDINGS.test(joined)
}

/**
 * The secret values of a parsed config or environment, for {@link redact}'s `known`: every string under a secret name.
 * References (`${VAR}`, SecretRef objects) are no secrets and are left out.
 */
export function secretValues(tree: unknown, name = ''): string[] {
  if (typeof tree === 'string') return isSecretName(name) && !isHarmless(tree, name) ? [tree] : []
  if (typeof tree === 'number') return isSecretName(name) && !isHarmless(String(tree), name) ? [String(tree)] : []
  if (Array.isArray(tree)) return tree.flatMap((item) => secretValues(item, name))
  if (tree === null || typeof tree !== 'object') return []
  return Object.entries(tree).flatMap(([key, value]) => secretValues(value, key))
}

const SECRET_WORDS = new Set(
  `token tokens secret secrets password passwords passwd passwort passphrase passcode pwd pass apikey apikeys authorization
  cookie cookies credential credentials bearer jwt nsec otp totp pat dsn pin`.split(/\s+/),
)
const SECRET_ENDINGS =
  /(api|access|private|secret|encrypt|encryption|encoding|signing|sign|recovery|aes|auth|master|host|service|client|account|license|subscription|app|bot|deploy|gotify|ssh|pgp|gpg|wallet|shared|webhook|admin)keys?$|(token|secret|password|passwd|apikey|passphrase)s?$|(pairing|setup|invite|auth|verification)code$|connectionstring$|privatekey/
/** A name that ends so names where a secret is, or something about it, not the secret. */
const POINTERS = new Set(
  `file path dir ref refs env name names mode type kind id ids url uri endpoint source provider status state at field
  header expires expiry length size profile profiles policy store manager scope scopes rotation`.split(/\s+/),
)
/** Tokens that are counted are a model's, not a door's. */
const COUNTS = new Set(
  'max min limit count total usage used budget remaining prompt completion input output per ttl reserve context cached'.split(
    ' ',
  ),
)

/** Words that follow `token:` or `--password` in sentences and help texts, and a value that only refers to a secret. */
const HARMLESS =
  /^(?:true|false|null|undefined|none|missing|required|set|unset|not|is|isn't|are|was|invalid|expired|mismatch|unauthorized|unavailable|empty|ok|must|the|a|an|no|yes|on|off|and|or|for|from|in|to|of|configured|unconfigured|present|absent|rejected|accepted|failed|refused|denied|changed|unchanged|rotated|provided|string|object|boolean|number|optional|default|plaintext|token|password|bearer|basic|trusted-proxy|\*+|\.{3}|…|<[\w .-]+>?|\$\{[^}]{1,80}\}|\$[A-Za-z_]\w{0,80}|%[A-Za-z_]\w{0,80}%?|\[REDACTED\])$/i

function isHarmless(value: string, name: string): boolean {
  if (value.length === 0 || HARMLESS.test(value)) return true
  return /tokens$|^pass$/i.test(name) && /^\d{1,9}(\.\d+)?$/.test(value)
}

/** Every spelling under which a known value may stand in a text, the longest first so that none leaves a rest. */
function formsOf(known: Iterable<string>): (string | RegExp)[] {
  const forms = new Set<string>()
  const wrapped: RegExp[] = []
  for (const value of known) {
    const secret = value.trim()
    if (secret.length < SHORTEST_KNOWN || secret === REDACTED) continue
    forms.add(secret)
    forms.add(JSON.stringify(secret).slice(1, -1))
    forms.add(JSON.stringify(JSON.stringify(secret).slice(1, -1)).slice(1, -1))
    forms.add(urlEncoded(secret))
    const base64 = bytesToBase64(new TextEncoder().encode(secret)).replace(/=+$/, '')
    if (base64.length >= 12) forms.add(base64).add(base64.replaceAll('+', '-').replaceAll('/', '_'))
    if (secret.length >= SHORTEST_WRAPPED && !/\s/.test(secret)) {
      wrapped.push(
        new RegExp([...secret].map((c) => c.replace(/[^\w]/u, '\\$&')).join('(?:[ \\t]{0,8}\\r?\\n[ \\t]{0,8})?'), 'g'),
      )
    }
  }
  return [...[...forms].sort((a, b) => b.length - a.length), ...wrapped]
}

function urlEncoded(value: string): string {
  try {
    return encodeURIComponent(value)
  } catch {
    return value // a lone surrogate has no encoding
  }
}

function bytesToBase64(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** MySQL's programs take their password as `-pPASSWORD`. */
const DATABASE_CLIENT = /\b(?:mysql|mariadb)[^\r\n]{0,2000}/g
const ATTACHED_PASSWORD = /([ \t]-p["']?)(?!\[REDACTED\]|["'])[^\s"']{1,256}/g

const KEY_BEGIN = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g
const KEY_END = /-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g
const LONGEST_KEY = 32_768

/**
 * Private keys in PEM form, their newlines real or escaped as in JSON, and also when a log's tail has cut off the
 * begin or the end: then the lines of base64 next to what is left are taken for the key.
 */
function redactPrivateKeys(text: string): string {
  if (!text.includes('PRIVATE KEY-') && !text.includes('PRIVATE KEY BLOCK-')) return text
  const begins = [...text.matchAll(KEY_BEGIN)].map((hit) => ({ start: hit.index, end: hit.index + hit[0].length }))
  const ends = [...text.matchAll(KEY_END)].map((hit) => ({ start: hit.index, end: hit.index + hit[0].length }))
  let out = ''
  let from = 0
  const cut = (start: number, end: number) => {
    out += text.slice(from, start) + REDACTED
    from = end
  }
  for (const end of ends) {
    while (begins[0] && begins[0].start < from) begins.shift()
    while (begins[0] && begins[0].start < end.start) {
      const begin = begins.shift()!
      if (begin.start < from) continue
      const next = begins[0]?.start ?? Infinity
      const whole = next > end.start && end.start - begin.end <= LONGEST_KEY
      cut(begin.start, whole ? end.end : keyLinesAfter(text, begin.end))
    }
    if (end.start >= from) cut(keyLinesBefore(text, end.start, from), end.end)
  }
  for (const begin of begins) if (begin.start >= from) cut(begin.start, keyLinesAfter(text, begin.end))
  return out + text.slice(from)
}

/** The end of the base64 lines that begin at `at`. */
function keyLinesAfter(text: string, at: number): number {
  const line =
    /(?:\\r)?\\n|[\r\n \t]{1,64}|(?:[A-Za-z0-9+/=]{24,128}|(?=[A-Za-z]{0,22}[\d+/=])[A-Za-z0-9+/=]{1,23})(?=\\|[\r\n]|$)|(?:Proc-Type|DEK-Info|Version|Comment): [^\r\n\\]{0,120}/y
  let end = at
  while (end - at < LONGEST_KEY) {
    line.lastIndex = end
    if (!line.test(text)) break
    end = line.lastIndex
  }
  return end
}

/** The beginning of the base64 lines that end at `at`, not before `floor`. */
function keyLinesBefore(text: string, at: number, floor: number): number {
  let start = at
  for (;;) {
    const newline = /(?:\r?\n|(?:\\r)?\\n)$/.exec(text.slice(Math.max(floor, start - 4), start))
    if (!newline) return start
    let p = start - newline[0].length
    const lineEnd = p
    while (p > floor && lineEnd - p < 128 && /[A-Za-z0-9+/=]/.test(text[p - 1] ?? '')) p--
    if (text[p - 1] === '\\' && text[p] === 'n') p++
    if (!/^(?:.{24,}|.*[\d+/=].*)$/.test(text.slice(p, lineEnd))) return start
    start = p
  }
}

/** `name: value`, `"name": "value"`, `NAME=value`, `--name value`, `name => value`, also inside an escaped string. */
const NAMED =
  /(?<![A-Za-z0-9_])(?=([A-Za-z_][\w.-]{1,63}))\1(\\{0,3}["'`]?[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,8}|[ \t]{1,4})/g

function redactNamedValues(text: string): string {
  let out = ''
  let from = 0
  NAMED.lastIndex = 0
  for (let hit = NAMED.exec(text); hit; hit = NAMED.exec(text)) {
    const name = hit[1] ?? ''
    const separator = hit[2] ?? ''
    if (separator.trim() === '' && !text.startsWith('--', hit.index - 2)) continue
    if (!isSecretName(name) && !(isQueryField(text, hit.index) && QUERY_NAMES.has(name.toLowerCase()))) {
      // The value may itself begin with a name (`level=token=abc`): look again right behind this one.
      NAMED.lastIndex = hit.index + name.length + 1
      continue
    }
    const at = hit.index + hit[0].length
    const value = readValue(text, at, hit.index, separator)
    if (value.end > value.start) {
      const secret = text.slice(value.start, value.end)
      if (value.list) out += text.slice(from, value.start) + redactItems(secret)
      else if (isHarmless(secret, name)) out += text.slice(from, value.end)
      else out += text.slice(from, value.start) + REDACTED
      from = value.end
    }
    NAMED.lastIndex = Math.max(value.end, at)
  }
  return out + text.slice(from)
}

const QUERY_NAMES = new Set(['key', 'sig', 'signature', 'auth', 'code', 'access'])

function isQueryField(text: string, nameAt: number): boolean {
  return text[nameAt - 1] === '?' || text[nameAt - 1] === '&'
}

interface Span {
  start: number
  end: number
  list?: boolean
}

/** Where the value begins and ends that stands at `at`. No value is longer than 32 KiB. */
function readValue(text: string, at: number, nameAt: number, separator: string): Span {
  const quote = /\\{0,3}["'`]/y
  quote.lastIndex = at
  const opened = quote.exec(text)
  if (opened) return readQuoted(text, at + opened[0].length, opened[0])
  if (text[at] === '[' && !text.startsWith(REDACTED, at)) {
    FLAT_LIST.lastIndex = at
    const list = FLAT_LIST.exec(text)
    return { start: at, end: list ? FLAT_LIST.lastIndex : at, list: true }
  }
  if (text[at] === '{') return { start: at, end: at }
  const stop = isQueryField(text, nameAt)
    ? /[\s"'`<>&#]/g
    : startsLine(text, nameAt, separator)
      ? /[\r\n]/g
      : /[\s"'`<>]/g
  stop.lastIndex = at
  const end = stop.exec(text.slice(0, at + 32_768))?.index ?? Math.min(text.length, at + 32_768)
  const tail = /[,;)}\]\\]+$/.exec(text.slice(Math.max(at, end - 16), end))?.[0].length ?? 0
  const isPlaceholders = tail > 0 && text.slice(at, end - tail + 1).endsWith(REDACTED)
  return { start: at, end: end - (isPlaceholders ? tail - 1 : tail) }
}

/** A line of an `.env` file or of a printed environment: the value runs to the end of the line, blanks and all. */
function startsLine(text: string, nameAt: number, separator: string): boolean {
  if (separator !== '=' || !/[A-Z_]/.test(text[nameAt] ?? '')) return false
  return /(?:^|\n)[ \t]*(?:export[ \t]+|declare -x[ \t]+)?$/.test(
    nameAt < 16 ? text.slice(0, nameAt) : `.${text.slice(nameAt - 16, nameAt)}`,
  )
}

function readQuoted(text: string, start: number, opening: string): Span {
  const closing = opening
  const limit = Math.min(text.length, start + 32_768)
  for (let i = start; i < limit; i++) {
    if (text[i] === '\n' && text[i - 1] !== '\\') return { start, end: i }
    if (text.startsWith(closing, i)) return { start, end: i }
    if (text[i] === '\\' && opening.length === 1) i++
  }
  return { start, end: limit }
}

/** `["a", 'b']`: quoted strings and nothing else. */
const FLAT_LIST = /\[\s{0,64}(?:(?:"[^"\r\n]{0,4096}"|'[^'\r\n]{0,4096}')\s{0,64},?\s{0,64}){1,64}\]/y

function redactItems(list: string): string {
  return list.replace(/"[^"\r\n]{1,4096}"|'[^'\r\n]{1,4096}'/g, (item) => `${item[0]}${REDACTED}${item[0]}`)
}
