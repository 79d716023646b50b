/** What secrets look like, wherever they stand: keys by their vendors' prefixes, hook addresses, credentials of programs. */

/** What stands in the place of a secret. */
export const REDACTED = '[REDACTED]'

const keys = (prefixes: string, body: string) => `(?:${prefixes.split(' ').join('|')})${body}`

/** Keys by their vendors' prefixes. Every repetition is bounded: linear time. */
const VENDOR_KEYS = [
  keys(
    'apify_api_ ATBB crsr_ csk- gsk_ hf_ lin_api_ lin_oauth_ npm_ NRAK- ntn_ pplx- r8_ rnd_ xai-',
    '[A-Za-z0-9]{20,512}',
  ),
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

/** Credentials by what stands before them; the first group stays. */
export const CREDENTIALS: readonly RegExp[] = [
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
]

/** Secrets that are recognised by themselves. */
export const KEYS: readonly RegExp[] = [
  /(?<![\w-])eyJ[\w-]{8,8192}\.(?:[\w-]{8,8192}|(?=\.[\w-]{8}))(?:\.[\w-]{0,8192}){0,3}/g,
  new RegExp(`(?<![A-Za-z0-9])(?:${VENDOR_KEYS.join('|')})`, 'g'),
  /(?<![\w-])[MNO][\w-]{22,30}\.[\w-]{6}\.[\w-]{27,64}(?![\w-])/g,
  /(?<!\d)\d{8,12}:[A-Za-z0-9_-]{34,36}(?![\w-])/g,
  // A short name, underscores, and a long word with letters and digits.
  /(?<!\w)(?!(?:call|chatcmpl|commit|digest|evt|file|hash|md5|msg|req|resp|run|sess|session|sha\d{1,3}|thread|toolu)_)[a-z][a-z0-9]{1,11}_(?:[a-z0-9]{1,32}_){0,2}(?=[A-Za-z]{0,255}\d)(?=\d{0,255}[A-Za-z])[A-Za-z0-9]{24,512}[\w-]{0,256}/g,
]

/** In sentences, "… with token 3f9a…". The first group stays. */
export const SENTENCES: readonly RegExp[] = [
  /(?<![A-Za-z0-9])((?:token|secret|password|passphrase|api[ _-]?key)s?["']?[ \t]{1,3}(?:is[ \t]{1,3})?["'`]?)(?=[\w+/.-]{0,64}\d)[\w+/.=-]{12,4096}/gi,
  /(?<![A-Za-z0-9])((?:password|passphrase)["']?[ \t]{1,3}(?:is[ \t]{1,3})?["'`]?)(?=[\w+/.-]{0,11}\d)(?=[\d+/.-]{0,11}[A-Za-z])[\w+/.=!#$%&*-]{6,64}/gi,
]
