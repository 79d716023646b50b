/** Removes secrets from text, in linear time; redacting twice gives what redacting once gives. */
import { CREDENTIALS, KEYS, REDACTED, SENTENCES } from './secret-shapes.ts'

export { REDACTED }

/** "on" as a password would black out half a log. */
const SHORTEST_KNOWN = 6

/** From here on it is also found where a terminal has wrapped it. */
const SHORTEST_WRAPPED = 16

/** A colour code ends in a letter and would hide that a word begins: this private character separates them. */
const SPACER = '\ue000'
const COLOUR = '\u001b\\[[\\d;?]{0,32}[A-Za-z]'

/** MySQL's programs take their password as `-pPASSWORD`. */
const DATABASE_CLIENT = /\b(?:mysql|mariadb)[^\r\n]{0,2000}/g
const ATTACHED_PASSWORD = /([ \t]-p["']?)(?!\[REDACTED\]|["'])[^\s"']{1,256}/g

/** @param known values that are secret here, also found JSON-escaped, URL-encoded, in base64, and wrapped by a terminal */
export function redact(text: string, known: Iterable<string> = []): string {
  const isColoured = text.includes('\u001b')
  let out = isColoured ? text.replace(new RegExp(COLOUR, 'g'), `$&${SPACER}`) : text
  for (const form of formsOf(known)) out = out.replaceAll(form, REDACTED)
  out = redactPrivateKeys(out)
  for (const pattern of CREDENTIALS) out = out.replace(pattern, `$1${REDACTED}`)
  for (const pattern of KEYS) out = out.replace(pattern, REDACTED)
  for (const pattern of SENTENCES) out = out.replace(pattern, `$1${REDACTED}`)
  out = out.replace(DATABASE_CLIENT, (line) => line.replace(ATTACHED_PASSWORD, `$1${REDACTED}`))
  out = redactNamedValues(out)
  return isColoured ? out.replaceAll(new RegExp(`(${COLOUR})${SPACER}`, 'g'), '$1') : out
}

/** True for `botToken`, `OPENCLAW_GATEWAY_PASSWORD`, `x-api-key`; not for `maxTokens`, `passwordFile`, `tokenRef`. */
export function isSecretName(name: string): boolean {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(Boolean)
  const joined = words.join('')
  if (/webhookur[li]s?$|privatekeyid$/.test(joined) || name === '_auth') return true
  if (POINTERS.has(words.at(-1) ?? '') || (words.includes('tokens') && words.some((word) => COUNTS.has(word))))
    return false
  return words.some((word) => SECRET_WORDS.has(word)) || SECRET_ENDINGS.test(joined)
}

export function secretValues(tree: unknown, name = ''): string[] {
  if (typeof tree === 'string' || typeof tree === 'number')
    return isSecretName(name) && !isHarmless(String(tree), name) ? [String(tree)] : []
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
const COUNTS = new Set(
  `max min limit count total usage used budget remaining prompt completion input output per ttl reserve context
  cached`.split(/\s+/),
)

/** What follows `token:` in sentences and help texts, and references to a secret. */
const HARMLESS =
  /^(?:true|false|null|undefined|none|missing|required|set|unset|not|is|isn't|are|was|invalid|expired|mismatch|unauthorized|unavailable|empty|ok|must|the|a|an|no|yes|on|off|and|or|for|from|in|to|of|configured|unconfigured|present|absent|rejected|accepted|failed|refused|denied|changed|unchanged|rotated|provided|string|object|boolean|number|optional|default|plaintext|token|password|bearer|basic|trusted-proxy|\*+|\.{3}|…|<[\w .-]+>?|\$\{[^}]{1,80}\}|\$[A-Za-z_]\w{0,80}|%[A-Za-z_]\w{0,80}%?|\[REDACTED\])$/i

function isHarmless(value: string, name: string): boolean {
  return value === '' || HARMLESS.test(value) || (/tokens$|^pass$/i.test(name) && /^\d{1,9}(\.\d+)?$/.test(value))
}

function formsOf(known: Iterable<string>): (string | RegExp)[] {
  const forms = new Set<string>()
  const wrapped: RegExp[] = []
  const inJson = (value: string) => JSON.stringify(value).slice(1, -1)
  for (const value of known) {
    const secret = value.trim()
    if (secret.length < SHORTEST_KNOWN || secret === REDACTED) continue
    const bytes = Buffer.from(secret)
    const base64 = bytes.toString('base64').replace(/=+$/, '')
    for (const form of [secret, inJson(secret), inJson(inJson(secret)), urlEncoded(secret)]) forms.add(form)
    if (base64.length >= 12) forms.add(base64).add(bytes.toString('base64url'))
    if (secret.length < SHORTEST_WRAPPED || /\s/.test(secret)) continue
    const characters = [...secret].map((c) => c.replace(/[^\w]/u, '\\$&'))
    wrapped.push(new RegExp(characters.join('(?:[ \\t]{0,8}\\r?\\n[ \\t]{0,8})?'), 'g'))
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

const [KEY_BEGIN, KEY_END] = ['BEGIN', 'END'].map((edge) => `-----${edge} [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`)
const KEY_LINE = String.raw`(?:[A-Za-z0-9+/=]{24,4096}|(?=[A-Za-z]{0,22}[\d+/=])[A-Za-z0-9+/=]{1,23})(?=\\|[\r\n]|$)`
const KEY_HEADER = String.raw`(?:Proc-Type|DEK-Info|Version|Comment): [^\r\n\\]{0,120}`
const WHOLE_KEY = new RegExp(
  String.raw`${KEY_BEGIN}(?:(?:(?!-----)[\s\S]){0,32768}${KEY_END}|(?:(?:\\r)?\\n|[\r\n \t]{1,64}|${KEY_LINE}|${KEY_HEADER}){0,2048})`,
  'g',
)
const LATTER_PART = new RegExp(
  String.raw`(?=-----END )(?<=((?:(?<=^|[^A-Za-z0-9+/=\\]|\\n)${KEY_LINE}(?:\r?\n|(?:\\r)?\\n)){0,1024}))${KEY_END}`,
  'g',
)

/** PEM keys, also JSON-escaped, and where a cut log has lost begin or end. */
function redactPrivateKeys(text: string): string {
  if (!text.includes('PRIVATE KEY')) return text
  const rest = text.replace(WHOLE_KEY, REDACTED)
  let out = ''
  let from = 0
  for (const end of rest.matchAll(LATTER_PART)) {
    out += rest.slice(from, Math.max(from, end.index - end[1]!.length)) + REDACTED
    from = end.index + end[0].length
  }
  return out + rest.slice(from)
}

/** `name: value`, `"name": "value"`, `NAME=value`, `--name value`. */
const NAMED =
  /(?<![A-Za-z0-9_])(?=([A-Za-z_][\w.-]{1,63}))\1(\\{0,3}["'`]?[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,8}|[ \t]{1,4})/g
const QUERY_NAMES = new Set(['key', 'sig', 'signature', 'auth', 'code', 'access'])

function redactNamedValues(text: string): string {
  let out = ''
  let from = 0
  NAMED.lastIndex = 0
  for (let hit = NAMED.exec(text); hit; hit = NAMED.exec(text)) {
    const [whole, name = '', separator = ''] = hit
    if (separator.trim() === '' && !text.startsWith('--', hit.index - 2)) continue
    const inQuery = /[?&]/.test(text[hit.index - 1] ?? '')
    if (!isSecretName(name) && !(inQuery && QUERY_NAMES.has(name.toLowerCase()))) {
      // The value may begin with a name (`level=token=abc`).
      NAMED.lastIndex = hit.index + name.length + 1
      continue
    }
    const at = hit.index + whole.length
    const unquoted = inQuery ? IN_QUERY : separator === '=' && startsLine(text, hit.index) ? LINE : WORD
    const { start, value } = readValue(text, at, unquoted)
    if (!isHarmless(value, name)) {
      out += text.slice(from, start) + (isList(value) ? value.replace(LIST_ITEM, `$1${REDACTED}$1`) : REDACTED)
      from = start + value.length
    }
    NAMED.lastIndex = Math.max(start + value.length, at)
  }
  return out + text.slice(from)
}

const QUOTED = /(["'`])((?:\\[\s\S]?|(?!\1)[^\\\n]){0,32768})|(\\{1,3}["'`])((?:(?!\3)(?:[^\n]|(?<=\\)\n)){0,32768})/y
const FLAT_LIST = /\[\s{0,64}(?:(?:"[^"\r\n]{0,4096}"|'[^'\r\n]{0,4096}')\s{0,64},?\s{0,64}){1,64}\]/y
const LIST_ITEM = /(["'])(?:(?!\1)[^\r\n]){1,4096}\1/g
const IN_QUERY = /[^\s"'`<>&#]{0,32768}/y
const LINE = /[^\r\n]{0,32768}/y
const WORD = /[^\s"'`<>]{0,32768}/y
/** Punctuation after a value; not the bracket of a placeholder. */
const TAIL = /(?:(?<=\[REDACTED\])|(?<!\[REDACTED))[,;)}\]\\]{1,16}$/

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

/** Empty for an object or a list of something else than strings. */
function readValue(text: string, at: number, unquoted: RegExp): { start: number; value: string } {
  const quoted = matchAt(QUOTED, text, at)
  if (quoted) return { start: at + (quoted[1] ?? quoted[3])!.length, value: (quoted[2] ?? quoted[4])! }
  if (/[[{]/.test(text[at] ?? '') && !text.startsWith(REDACTED, at))
    return { start: at, value: matchAt(FLAT_LIST, text, at)?.[0] ?? '' }
  const value = matchAt(unquoted, text, at)?.[0] ?? ''
  const tail = TAIL.exec(value.slice(-32))?.[0].length ?? 0
  return { start: at, value: value.slice(0, value.length - tail) }
}

function isList(value: string): boolean {
  return value.startsWith('[') && value.endsWith(']') && matchAt(FLAT_LIST, value, 0)?.[0] === value
}

/** A line of an `.env` file or of a printed environment: the value may hold blanks. */
function startsLine(text: string, nameAt: number): boolean {
  const before = (nameAt < 17 ? '\n' : '') + text.slice(Math.max(0, nameAt - 17), nameAt)
  return /[A-Z_]/.test(text[nameAt] ?? '') && /\n[ \t]*(?:(?:export|declare -x)[ \t]+)?$/.test(before)
}
