/** What secrets look like, wherever they stand: keys by their vendors' prefixes, hook addresses, credentials of programs. */

/** What stands in the place of a secret. */
export const REDACTED = '[REDACTED]'

/** Keys of vendors, by their prefixes. */
const VENDOR_KEYS = [
  // Artificial intelligence.
  'ABSK[A-Za-z0-9+/]{40,512}', // Amazon Bedrock
  'apify_api_[A-Za-z0-9]{20,64}',
  'AQ\\.[\\w-]{20,256}', // Google
  'bb_live_[\\w-]{16,128}', // Browserbase
  'crsr_[A-Za-z0-9]{20,128}', // Cursor
  'csk-[A-Za-z0-9]{20,128}', // Cerebras
  'e2b_[a-f0-9]{20,64}',
  'fc-[a-f0-9]{32}', // Firecrawl
  'fw_[A-Za-z0-9]{16,64}', // Fireworks
  'gsk_[A-Za-z0-9]{20,128}', // Groq
  'hf_[A-Za-z0-9]{20,64}', // Hugging Face
  'jina_[\\w-]{20,128}',
  'lsv2_(?:pt|sk)_\\w{20,128}', // LangSmith
  'nvapi-[\\w-]{20,128}', // NVIDIA
  'pcsk_\\w{20,128}', // Pinecone
  'pplx-[A-Za-z0-9]{20,128}', // Perplexity
  'r8_[A-Za-z0-9]{20,64}', // Replicate
  'tgp_v1_[\\w-]{20,128}', // Together
  'tvly-[\\w-]{16,64}', // Tavily
  'xai-[A-Za-z0-9]{20,256}',
  // Chat and mail.
  'EAA[A-Za-z0-9]{40,512}', // Meta
  'key-[0-9a-f]{32}', // Mailgun
  'nsec1[a-z0-9]{30,80}', // Nostr
  'oauth:[a-z0-9]{30,36}', // Twitch
  're_[A-Za-z0-9]{6,16}_[A-Za-z0-9]{16,64}', // Resend
  'SG\\.[\\w-]{16,64}\\.[\\w-]{16,128}', // SendGrid
  'SK[0-9a-f]{32}', // Twilio
  'syt_[\\w=-]{20,256}', // Matrix
  // Hosts, shops and tools.
  'AGE-SECRET-KEY-1[A-Z0-9]{30,80}',
  'AKID[A-Za-z0-9]{32,36}', // Tencent
  'AKLT[A-Za-z0-9]{16,64}', // Volcengine
  'ATATT3x[\\w=-]{20,256}', // Atlassian
  'ATBB[A-Za-z0-9]{24,64}', // Bitbucket
  '[A-Za-z0-9]{14}\\.atlasv1\\.[\\w=-]{20,128}', // Terraform
  'CCIPAT_\\w{20,128}', // CircleCI
  'dapi[a-f0-9]{32}(?:-\\d)?', // Databricks
  'dckr_(?:pat|oat)_[\\w-]{20,64}', // Docker
  'do[opr]_v1_[a-f0-9]{32,128}', // DigitalOcean
  'dp\\.(?:pt|st|ct|sa)\\.[\\w.-]{20,128}', // Doppler
  'figd_[\\w-]{20,128}', // Figma
  '(?:FlyV1 )?fm[12][ar]?_[\\w+/=,-]{20,2048}|fo1_[\\w-]{20,128}', // Fly.io
  'glc_[\\w+/=]{20,512}|glsa_\\w{20,128}', // Grafana
  'HRKU-[\\w-]{20,128}', // Heroku
  'hv[sb]\\.[\\w-]{20,256}', // Vault
  'lin_(?:api|oauth)_[A-Za-z0-9]{20,64}', // Linear
  'LTAI[A-Za-z0-9]{12,32}', // Alibaba
  'nfp_\\w{20,128}', // Netlify
  'npm_[A-Za-z0-9]{30,64}',
  'NRAK-[A-Z0-9]{20,64}', // New Relic
  'ntn_[A-Za-z0-9]{20,64}', // Notion
  'ops_eyJ[\\w-]{20,4096}', // 1Password
  'phx_\\w{20,128}', // PostHog
  'pscale_(?:oauth|pw|tkn)_[\\w=.-]{20,128}', // PlanetScale
  'pul-[a-f0-9]{40}', // Pulumi
  'pypi-[\\w-]{30,512}',
  'rnd_[A-Za-z0-9]{20,64}', // Render
  'sb_secret_[\\w-]{20,64}|sbp_[a-f0-9]{20,64}', // Supabase
  'shp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,64}', // Shopify
  'sntry[su]_[\\w+/=-]{20,512}', // Sentry
  'sq0(?:atp|csp)-[\\w-]{20,64}', // Square
  'tskey-[\\w-]{10,128}', // Tailscale
  'vcp_\\w{20,128}|vercel_blob_rw_\\w{20,128}', // Vercel
  'whsec_[\\w+/=-]{20,128}', // webhooks of Stripe and Svix
]

/**
 * Shapes and what is put in their place, applied in this order. `(?<!…)` keeps them from matching inside longer words;
 * every repetition is bounded, so that no text is read in more than linear time.
 */
export const SHAPES: readonly (readonly [RegExp, string])[] = [
  // Webhooks and bot URLs: whoever has the URL may post.
  [/(discord(?:app)?\.com\/api\/(?:v\d{1,2}\/)?webhooks\/)\d{1,32}\/[\w-]{1,256}/gi, `$1${REDACTED}`],
  [/(hooks\.slack(?:-gov)?\.com\/(?:services|workflows|triggers)\/)[\w/-]{1,256}/gi, `$1${REDACTED}`],
  [/(\/bot)\d{5,16}:[\w-]{20,128}/g, `$1${REDACTED}`],
  [/([\w-]{1,64}\.webhook\.office\.com\/webhookb2\/)[\w@/-]{1,512}/gi, `$1${REDACTED}`],
  [/(open\.(?:feishu\.cn|larksuite\.com)\/open-apis\/bot\/v2\/hook\/)[\w-]{8,128}/gi, `$1${REDACTED}`],
  [/(hooks\.zapier\.com\/hooks\/catch\/)[\w/-]{4,128}/gi, `$1${REDACTED}`],
  [/(hook\.(?:[a-z0-9]{1,8}\.)?(?:make|integromat)\.com\/)[\w-]{16,128}/gi, `$1${REDACTED}`],
  [/(maker\.ifttt\.com\/(?:use|trigger\/[\w-]{1,64}\/(?:json\/)?with\/key)\/)[\w-]{8,128}/gi, `$1${REDACTED}`],
  [/(hc-ping\.com\/)[\w-]{16,64}/gi, `$1${REDACTED}`],
  // Mattermost and Rocket.Chat, at anybody's own address.
  [/(\/hooks\/)(?=[a-z]{0,64}\d)[A-Za-z0-9]{17,64}(?:\/[\w-]{16,128})?/gi, `$1${REDACTED}`],
  // scheme://user:password@host, and a token in the user's place.
  [/(:\/\/)[^\s/"'<>`\\]{1,512}@(?=[\w[.-])/g, `$1${REDACTED}@`],
  // Headers and command-line credentials.
  [
    /(\b(?:proxy-)?authorization\\?["']?\s{0,3}[:=]\s{0,3}\\?["']?)(?:((?:bearer|basic|token|digest|apikey|negotiate)[ \t]{1,3})|[a-z][\w-]{1,24}[ \t]{1,3})?[^\s"'\\,;}]{3,4096}/gi,
    `$1$2${REDACTED}`,
  ],
  [/\b(bearer[ \t]{1,3})(?=[\w.~+/-]{0,64}[\d._~+/-])[\w.~+/=-]{8,4096}/gi, `$1${REDACTED}`],
  [/\b(basic[ \t]{1,3})(?=[A-Za-z0-9+/]{0,64}[\d=+/])[A-Za-z0-9+/]{8,4096}={0,2}/gi, `$1${REDACTED}`],
  [/((?:set-)?cookie2?:[ \t]{0,8})[^\r\n"']{3,4096}/gi, `$1${REDACTED}`],
  [/((?<!\S)(?:-u[= ]{0,2}|(?:--user|--proxy-user)[= ]{1,2})["']?)[^\s:"']{1,128}:[^\s"']{1,256}/g, `$1${REDACTED}`],
  [/(\bsshpass[ \t]{1,3}-p[ \t]{0,3}["']?)(?!\[REDACTED\])[^\s"']{1,256}/g, `$1${REDACTED}`],
  [/(\blogin\s{1,8}\S{1,128}\s{1,8}password[ \t]{1,8})(?!\[REDACTED\])\S{1,256}/g, `$1${REDACTED}`],
  [/(\b(?:PASSWORD|IDENTIFIED[ \t]{1,3}BY)[ \t]{1,3}')(?!\[REDACTED\])[^'\r\n]{1,256}/g, `$1${REDACTED}`],
  [/(\bSSWS[ \t]{1,3})[\w-]{16,256}/g, `$1${REDACTED}`],
  [/(\b(?:sessionid|connect\.sid|PHPSESSID|JSESSIONID)=)(?!\[REDACTED\])[^\s;"'&]{8,1024}/g, `$1${REDACTED}`],
  // Arguments of a program as a list: `["--token","…"]`.
  [
    /(["']--?[\w-]{0,40}(?:token|secret|password|passwd|passphrase|api-?key)\\{0,3}["']\s{0,64},\s{0,64}\\{0,3}["'])(?!\[REDACTED\]|-)[^"'\\\r\n]{1,4096}/gi,
    `$1${REDACTED}`,
  ],
  // JSON web tokens, complete or cut off after the payload; encrypted ones may have an empty part.
  [/(?<![\w-])eyJ[\w-]{8,8192}\.(?:[\w-]{8,8192}|(?=\.[\w-]{8}))(?:\.[\w-]{0,8192}){0,3}/g, REDACTED],
  // Keys by their vendors' prefixes.
  [/(?<![A-Za-z0-9])[sr]k[-_][\w-]{16,512}/g, REDACTED],
  [/(?<![A-Za-z0-9])(?:AIza[\w-]{30,64}|ya29\.[\w-]{16,1024}|GOCSPX-[\w-]{16,64}|1\/\/0[\w-]{20,256})/g, REDACTED],
  [/(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])/g, REDACTED],
  [
    /(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|gl(?:pat|rt|dt|cbt|ptt|soat|agent|ft)-[\w-]{16,255})/g,
    REDACTED,
  ],
  [/(?<![A-Za-z0-9])xox[a-z](?:\.xox[a-z])?-[\w-]{8,512}|(?<![A-Za-z0-9])xapp-[\w-]{8,512}/g, REDACTED],
  [/(?<![\w-])[MNO][\w-]{22,30}\.[\w-]{6}\.[\w-]{27,64}(?![\w-])/g, REDACTED],
  [/(?<!\d)\d{8,12}:[A-Za-z0-9_-]{34,36}(?![\w-])/g, REDACTED],
  [new RegExp(`(?<![A-Za-z0-9])(?:${VENDOR_KEYS.join('|')})`, 'g'), REDACTED],
  // What most of the others look like: a short name, underscores, and a long word with letters and digits in it.
  [
    /(?<!\w)(?!(?:call|chatcmpl|commit|digest|evt|file|hash|md5|msg|req|resp|run|sess|session|sha\d{1,3}|thread|toolu)_)[a-z][a-z0-9]{1,11}_(?:[a-z0-9]{1,32}_){0,2}(?=[A-Za-z]{0,255}\d)(?=\d{0,255}[A-Za-z])[A-Za-z0-9]{24,512}[\w-]{0,256}/g,
    REDACTED,
  ],
  // Property lists (LaunchAgents carry environment variables).
  [
    /(<key>[^<]{0,64}(?:token|secret|password|passwd|api_?key|webhook_url)[^<]{0,32}<\/key>\s{0,32}<string>)(?!\[REDACTED\])[^<]{1,4096}/gi,
    `$1${REDACTED}`,
  ],
  // "… with token 3f9a…": a name, a blank, and something with digits in it.
  [
    /(?<![A-Za-z0-9])((?:token|secret|password|passphrase|api[ _-]?key)s?["']?[ \t]{1,3}(?:is[ \t]{1,3})?["'`]?)(?=[\w+/.-]{0,64}\d)[\w+/.=-]{12,4096}/gi,
    `$1${REDACTED}`,
  ],
  [
    /(?<![A-Za-z0-9])((?:password|passphrase)["']?[ \t]{1,3}(?:is[ \t]{1,3})?["'`]?)(?=[\w+/.-]{0,11}\d)(?=[\d+/.-]{0,11}[A-Za-z])[\w+/.=!#$%&*-]{6,64}/gi,
    `$1${REDACTED}`,
  ],
]
