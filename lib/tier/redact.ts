/** Removes secrets (and terminal escapes) from text, in linear time; redacting twice gives what redacting once gives. */
import { cleanText } from './contract.ts'
import { tried } from './state.ts'

export const REDACTED = '[REDACTED]'
/** "on" as a password would black out half a log. */
const SHORTEST_KNOWN = 6

/** From here on it is also found where a terminal has wrapped it. */
const SHORTEST_WRAPPED = 16

/** MySQL's programs take their password as `-pPASSWORD`. */
const DATABASE_CLIENT = /\b(?:mysql|mariadb)[^\r\n]{0,2000}/g
const ATTACHED_PASSWORD = /([ \t]-p["']?)(?!\[REDACTED\]|["'])[^\s"']{1,256}/g

/** @param known values that are secret here, also found JSON-escaped, URL-encoded, in base64, and wrapped by a terminal */
export function redact(text: string, known: Iterable<string> = []): string {
  let out = cleanText(text)
  for (const form of formsOf(known)) out = out.replaceAll(form, REDACTED)
  out = redactPrivateKeys(out)
  // Of a pattern without a group the second argument is the place.
  for (const pattern of SECRETS)
    out = out.replace(pattern, (_, kept: string | number) => (typeof kept === 'string' ? kept : '') + REDACTED)
  out = out.replace(DATABASE_CLIENT, (line) => line.replace(ATTACHED_PASSWORD, `$1${REDACTED}`))
  return redactNamedValues(out)
}

export function spaced(name: string): string {
  const apart = name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
  return apart.toLowerCase()
}

/** True for `botToken`, `OPENCLAW_GATEWAY_PASSWORD`, `x-api-key`; not for `maxTokens`, `passwordFile`, `tokenRef`. */
export function isSecretName(name: string): boolean {
  const words = spaced(name)
    .split(/[^a-z0-9]+/)
    .filter(Boolean)
  const joined = words.join('')
  if (/webhookur[li]s?$|privatekeyid$/.test(joined) || name === '_auth') return true
  const counts = words.includes('tokens') && words.some((word) => COUNTS.has(word))
  if (counts || POINTERS.has(words.at(-1) ?? '')) return false
  return words.some((word) => SECRET_WORDS.has(word)) || SECRET_ENDINGS.test(joined)
}

export function secretValues(tree: unknown, name = ''): string[] {
  if (typeof tree === 'string' || typeof tree === 'number')
    return isSecretName(name) && !isHarmless(String(tree), name) ? [String(tree)] : []
  if (Array.isArray(tree)) return tree.flatMap((item) => secretValues(item, name))
  if (tree === null || typeof tree !== 'object') return []
  return Object.entries(tree).flatMap(([key, value]) => secretValues(value, key))
}

export const setOf = (words: string): ReadonlySet<string> => new Set(words.split(/\s+/))

const SECRET_WORDS = setOf(`token tokens secret secrets password passwords passwd passwort passphrase passcode pwd
  pass apikey apikeys authorization cookie cookies credential credentials bearer jwt nsec otp totp pat dsn pin`)
const SECRET_ENDINGS =
  /(api|access|private|secret|encrypt|encryption|encoding|signing|sign|recovery|aes|auth|master|host|service|client|account|license|subscription|app|bot|deploy|gotify|ssh|pgp|gpg|wallet|shared|webhook|admin)keys?$|(token|secret|password|passwd|apikey|passphrase)s?$|(pairing|setup|invite|auth|verification)code$|connectionstring$|privatekey/
/** A name that ends so names where a secret is, or something about it, not the secret. */
const POINTERS = setOf(`file path dir ref refs env name names mode type kind id ids url uri endpoint source provider
  status state at field header expires expiry length size profile profiles policy store manager scope scopes rotation`)
const COUNTS = setOf(`max min limit count total usage used budget remaining prompt completion input output per ttl
  reserve context cached`)

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
    const json = inJson(secret)
    for (const form of [secret, json, inJson(json), tried(() => encodeURIComponent(secret)) ?? secret]) forms.add(form)
    const base64 = Buffer.from(secret).toString('base64').replace(/=+$/, '')
    if (base64.length >= 12) forms.add(base64).add(Buffer.from(secret).toString('base64url'))
    if (secret.length < SHORTEST_WRAPPED || /\s/.test(secret)) continue
    const characters = [...secret].map((c) => c.replace(/[^\w]/u, '\\$&'))
    wrapped.push(new RegExp(characters.join('(?:[ \\t]{0,8}\\r?\\n[ \\t]{0,8})?'), 'g'))
  }
  return [...[...forms].sort((a, b) => b.length - a.length), ...wrapped]
}

const [KEY_BEGIN, KEY_END] = ['BEGIN', 'END'].map((edge) => `-----${edge} [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`)
const KEY_LINE = String.raw`(?:[A-Za-z0-9+/=]{24,4096}|(?=[A-Za-z]{0,22}[\d+/=])[A-Za-z0-9+/=]{1,23})(?=\\|\s|$)`
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
      const isList = value.endsWith(']') && matchAt(FLAT_LIST, value, 0)?.[0] === value
      out += text.slice(from, start) + (isList ? value.replace(LIST_ITEM, `$1${REDACTED}$1`) : REDACTED)
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
const TAIL = /(?:(?<=\[REDACTED\])|(?<!\[REDACTED))[,;)}\]\\]{1,16}$/

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

function readValue(text: string, at: number, unquoted: RegExp): { start: number; value: string } {
  const quoted = matchAt(QUOTED, text, at)
  if (quoted) return { start: at + (quoted[1] ?? quoted[3])!.length, value: (quoted[2] ?? quoted[4])! }
  if (/[[{]/.test(text[at] ?? '') && !text.startsWith(REDACTED, at))
    return { start: at, value: matchAt(FLAT_LIST, text, at)?.[0] ?? '' }
  const value = matchAt(unquoted, text, at)?.[0] ?? ''
  const tail = TAIL.exec(value.slice(-32))?.[0].length ?? 0
  return { start: at, value: value.slice(0, value.length - tail) }
}

/** A line of an `.env` file or of a printed environment: the value may hold blanks. */
function startsLine(text: string, nameAt: number): boolean {
  const before = (nameAt < 17 ? '\n' : '') + text.slice(Math.max(0, nameAt - 17), nameAt)
  return /[A-Z_]/.test(text[nameAt] ?? '') && /\n[ \t]*(?:(?:export|declare -x)[ \t]+)?$/.test(before)
}

const keys = (prefixes: string, body: string) => `(?:${prefixes.split(' ').join('|')})${body}`

/** Keys by their vendors' prefixes. Every repetition is bounded: linear time. */
const VENDOR_KEYS = [
  keys('apify_api_ ATBB crsr_ csk- gsk_ hf_ lin_api_ lin_oauth_', '[A-Za-z0-9]{20,512}'),
  keys('npm_ NRAK- ntn_ pplx- r8_ rnd_ xai-', '[A-Za-z0-9]{20,512}'),
  keys('do[opr]_v1_ e2b_ sbp_ shpat_ shpca_ shppa_ shpss_', '[A-Fa-f0-9]{20,128}'),
  keys('dapi fc- key- pul- SK', '[0-9a-f]{32,40}(?:-\\d)?'),
  keys('AQ\\. ATATT3x CCIPAT_ dckr_[op]at_ figd_ fo1_ glsa_ HRKU- hv[bs]\\. jina_ lsv2_[ps][kt]_', '[\\w=-]{20,512}'),
  keys('nfp_ nvapi- pcsk_ phx_ sb_secret_ sq0atp- sq0csp- syt_ tgp_v1_ vcp_ vercel_blob_rw_', '[\\w=-]{20,512}'),
  keys('bb_live_ tvly- gl(?:pat|rt|dt|cbt|ptt|soat|agent|ft)- [sr]k[-_] ya29\\. GOCSPX-', '[\\w-]{16,1024}'),
  keys('dp\\.(?:ct|pt|sa|st)\\. pscale_oauth_ pscale_pw_ pscale_tkn_', '[\\w=.-]{20,256}'),
  keys('ABSK (?:FlyV1\\s)?fm[12][ar]?_ glc_ sntry[su]_ whsec_', '[\\w+/=,-]{20,2048}'),
  keys('gh[pousr]_ github_pat_ 1//0 pypi- AIza ops_eyJ', '[\\w-]{20,4096}'),
  keys('AKIA ASIA ABIA ACCA AROA AIDA', '[A-Z0-9]{16}(?![A-Za-z0-9])'),
  keys('AKID EAA', '[A-Za-z0-9]{32,512}'),
  keys('AKLT LTAI', '[A-Za-z0-9]{12,64}'),
  keys('nsec1 oauth:', '[a-z0-9]{30,80}'),
  keys('xox[a-z](?:\\.xox[a-z])?- xapp- tskey-', '[\\w-]{8,512}'),
  'AGE-SECRET-KEY-1[A-Z0-9]{30,80}',
  'fw_[A-Za-z0-9]{16,64}',
  're_[A-Za-z0-9]{6,16}_[A-Za-z0-9]{16,64}',
  'SG\\.[\\w-]{16,64}\\.[\\w-]{16,128}',
  '[A-Za-z0-9]{14}\\.atlasv1\\.[\\w=-]{20,128}',
]

/** In this order; what is in a group stays. */
const SECRETS: readonly RegExp[] = [
  // Credentials by what stands before them.
  /(discord(?:app)?\.com\/api\/(?:v\d{1,2}\/)?webhooks\/)\d{1,32}\/[\w-]{1,256}/gi,
  /(hooks\.slack(?:-gov)?\.com\/(?:services|workflows|triggers)\/)[\w/-]{1,256}/gi,
  /(\/bot)\d{5,16}:[\w-]{20,128}/g,
  /([\w-]{1,64}\.webhook\.office\.com\/webhookb2\/)[\w@/-]{1,512}/gi,
  /(open\.(?:feishu\.cn|larksuite\.com)\/open-apis\/bot\/v2\/hook\/)[\w-]{8,128}/gi,
  /(hooks\.zapier\.com\/hooks\/catch\/)[\w/-]{4,128}/gi,
  /(hook\.(?:[a-z0-9]{1,8}\.)?(?:make|integromat)\.com\/)[\w-]{16,128}/gi,
  /(maker\.ifttt\.com\/(?:use|trigger\/[\w-]{1,64}\/(?:json\/)?with\/key)\/)[\w-]{8,128}/gi,
  /(hc-ping\.com\/)[\w-]{16,64}/gi,
  /(\/hooks\/)(?=[a-z]{0,64}\d)[A-Za-z0-9]{17,64}(?:\/[\w-]{16,128})?/gi,
  /(:\/\/)[^\s/"'<>`\\]{1,512}(?=@[\w[.-])/g,
  /(\b(?:proxy-)?authorization\\?["']?\s{0,3}[:=]\s{0,3}\\?["']?(?:bearer|basic|token|digest|apikey|negotiate)[ \t]{1,3})[^\s"'\\,;}]{3,4096}/gi,
  /(\b(?:proxy-)?authorization\\?["']?\s{0,3}[:=]\s{0,3}\\?["']?)(?!(?:bearer|basic|token|digest|apikey|negotiate)[ \t])(?:[a-z][\w-]{1,24}[ \t]{1,3})?[^\s"'\\,;}]{3,4096}/gi,
  /\b(bearer[ \t]{1,3})(?=[\w.~+/-]{0,64}[\d._~+/-])[\w.~+/=-]{8,4096}/gi,
  /\b(basic[ \t]{1,3})(?=[A-Za-z0-9+/]{0,64}[\d=+/])[A-Za-z0-9+/]{8,4096}={0,2}/gi,
  /((?:set-)?cookie2?:[ \t]{0,8})[^\r\n"']{3,4096}/gi,
  /((?<!\S)(?:-u[= ]{0,2}|(?:--user|--proxy-user)[= ]{1,2})["']?)[^\s:"']{1,128}:[^\s"']{1,256}/g,
  /(\bsshpass[ \t]{1,3}-p[ \t]{0,3}["']?)(?!\[REDACTED\])[^\s"']{1,256}/g,
  /(\blogin\s{1,8}\S{1,128}\s{1,8}password[ \t]{1,8})(?!\[REDACTED\])\S{1,256}/g,
  /(\b(?:PASSWORD|IDENTIFIED[ \t]{1,3}BY)[ \t]{1,3}')(?!\[REDACTED\])[^'\r\n]{1,256}/g,
  /(\bSSWS[ \t]{1,3})[\w-]{16,256}/g,
  /(\b(?:sessionid|connect\.sid|PHPSESSID|JSESSIONID)=)(?!\[REDACTED\])[^\s;"'&]{8,1024}/g,
  /(["']--?[\w-]{0,40}(?:token|secret|password|passwd|passphrase|api-?key)\\{0,3}["']\s{0,64},\s{0,64}\\{0,3}["'])(?!\[REDACTED\]|-)[^"'\\\r\n]{1,4096}/gi,
  /(<key>[^<]{0,64}(?:token|secret|password|passwd|api_?key|webhook_url)[^<]{0,32}<\/key>\s{0,32}<string>)(?!\[REDACTED\])[^<]{1,4096}/gi,
  // Keys that are recognised by themselves.
  /(?<![\w-])eyJ[\w-]{8,8192}\.(?:[\w-]{8,8192}|(?=\.[\w-]{8}))(?:\.[\w-]{0,8192}){0,3}/g,
  new RegExp(`(?<![A-Za-z0-9])(?:${VENDOR_KEYS.join('|')})`, 'g'),
  /(?<![\w-])[MNO][\w-]{22,30}\.[\w-]{6}\.[\w-]{27,64}(?![\w-])/g,
  /(?<!\d)\d{8,12}:[A-Za-z0-9_-]{34,36}(?![\w-])/g,
  // A short name, underscores, and a long word with letters and digits.
  /(?<!\w)(?!(?:call|chatcmpl|commit|digest|evt|file|hash|md5|msg|req|resp|run|sess|session|sha\d{1,3}|thread|toolu)_)[a-z][a-z0-9]{1,11}_(?:[a-z0-9]{1,32}_){0,2}(?=[A-Za-z]{0,255}\d)(?=\d{0,255}[A-Za-z])[A-Za-z0-9]{24,512}[\w-]{0,256}/g,
  // In sentences, "… with token 3f9a…".
  /(?<![A-Za-z0-9])((?:token|secret|password|passphrase|api[ _-]?key)s?["']?[ \t]{1,3}(?:is[ \t]{1,3})?["'`]?)(?=[\w+/.-]{0,64}\d)[\w+/.=-]{12,4096}/gi,
  /(?<![A-Za-z0-9])((?:password|passphrase)["']?[ \t]{1,3}(?:is[ \t]{1,3})?["'`]?)(?=[\w+/.-]{0,11}\d)(?=[\d+/.-]{0,11}[A-Za-z])[\w+/.=!#$%&*-]{6,64}/gi,
]
