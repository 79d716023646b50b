/** Edits of the gateway's config, judged by what changes, and what of the config is shown. */
import fc from 'fast-check'
import JSON5 from 'json5'
import { describe, expect, test } from 'vitest'
import {
  isProtected,
  judgeConfigText,
  judgeSetting,
  shownBrokenConfig,
  shownConfig,
  VEIL,
  veiledConfig,
  yardstickOf,
} from '../lib/doctor/config-policy.ts'
import { Refused } from '../lib/doctor/instrument.ts'
import { configSecrets, configWith, configWithout, leavesOf, parseOrNothing } from '../lib/gateway/config-tree.ts'
import { configText, PLANTED } from './support/doctor-world.ts'

const PORT = 18789
const CONFIG_TEXT = `// the gateway's config
{
  "gateway": {
    "mode": "local", "port": 18789, "bind": "loopback",
    "auth": { "mode": "token", "token": "planted-gateway-token-1" },
  },
  "logging": { "level": "info" },
  "agents": { "defaults": { "model": { "primary": "anthropic/claude-x" }, "bogus": 1 } },
  "channels": { "telegram": { "enabled": true, "botToken": "planted-bot-token-3", "allowFrom": ["1001"], "groupPolicy": "allowlist" } },
  "plugins": { "entries": { "broken": { "enabled": true } } }, "bogus": 1
}
`

function refusal(before: string, after: string, knownGood?: string): string | undefined {
  try {
    judgeConfigText(before, after, yardstickOf(knownGood, PORT))
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(Refused)
    return (error as Refused).message
  }
}

const parsed = () => JSON5.parse(CONFIG_TEXT) as Record<string, never>
const text = (value: unknown) => JSON.stringify(value, null, 1)
/** The protected settings of a text, each with its place and value. */
const protectedOf = (config: string) =>
  leavesOf(parseOrNothing(config) ?? {})
    .filter(({ path }) => isProtected(path))
    .map(({ path, value, kind }) => `${path.join('.')}=${kind} ${value}`)
    .sort()

/** The text without one of its marks, for each whose absence leaves nothing that can be parsed. */
const breaksOf = (config: string) =>
  [...config].flatMap((c, i) => {
    if (!/["{}[\],:]/.test(c) || i < config.indexOf('{')) return []
    const broken = config.slice(0, i) + config.slice(i + 1)
    return parseOrNothing(broken) ? [] : [{ broken, at: i }]
  })

describe('a config that cannot be parsed', () => {
  const breaks = breaksOf(CONFIG_TEXT)

  test('may be brought back to what it was, whichever quote, brace, comma or colon is missing', () => {
    expect(breaks.length).toBeGreaterThan(80)
    for (const { broken, at } of breaks)
      expect(refusal(broken, CONFIG_TEXT, CONFIG_TEXT), `position ${at}`).toBeUndefined()
  })

  test('mostly also when no earlier config is known', () => {
    const repaired = breaks.filter(({ broken }) => refusal(broken, CONFIG_TEXT) === undefined)
    expect(repaired.length / breaks.length).toBeGreaterThan(0.6)
  })

  test('may not lose or change its protection on the way, whatever is missing', () => {
    const changes = ['none', 'password', ''].map((mode) => CONFIG_TEXT.replace('"mode": "token"', `"mode": "${mode}"`))
    changes.push(CONFIG_TEXT.replace('"loopback"', '"lan"'), CONFIG_TEXT.replace('planted-gateway-token-1', 'other'))
    changes.push(CONFIG_TEXT.replace('["1001"]', '["*"]'), CONFIG_TEXT.replace('"1001"', '"1001", "*"'))
    changes.push(CONFIG_TEXT.replace(/"auth": \{[^}]*\},/, ''), CONFIG_TEXT.replace(', "groupPolicy": "allowlist"', ''))
    changes.push(CONFIG_TEXT.replace('"info"', '"info", "file": "/etc/cron.d/x"'))
    changes.push(CONFIG_TEXT.replace('"logging"', '"hooks": { "enabled": true }, "logging"'))
    for (const { broken, at } of breaks)
      for (const after of changes) {
        expect(refusal(broken, after), `position ${at}: ${after}`).toBeDefined()
        expect(refusal(broken, after, CONFIG_TEXT), `position ${at}: ${after}`).toBeDefined()
      }
  })

  test('a repair that moves a brace, a bracket or a quote elsewhere takes no setting away from what it protects', () => {
    const marks = '{}[],:"'
    const edits = fc.array(fc.tuple(fc.nat(), fc.constantFrom(...marks), fc.boolean()), { minLength: 1, maxLength: 3 })
    const kept = protectedOf(CONFIG_TEXT)
    let allowed = 0
    fc.assert(
      fc.property(
        fc.constantFrom(...breaks),
        fc.boolean(),
        edits,
        fc.boolean(),
        ({ broken, at }, isBack, some, isKnown) => {
          // Mostly beside a mark, where an edit can leave something that parses.
          let after = isBack ? CONFIG_TEXT : broken
          for (const [where, mark, isAdded] of some) {
            const places = [...after].flatMap((c, i) =>
              marks.includes(c) || marks.includes(after[i - 1] ?? ' ') ? [i] : [],
            )
            const place = places[where % places.length]!
            if (isAdded) after = after.slice(0, place) + mark + after.slice(place)
            else if (marks.includes(after[place]!)) after = after.slice(0, place) + after.slice(place + 1)
          }
          if (refusal(broken, after, isKnown ? CONFIG_TEXT : undefined) !== undefined) return
          allowed++
          expect(protectedOf(after), `position ${at}: ${after}`).toEqual(kept)
        },
      ),
      { numRuns: 4000 },
    )
    expect(allowed).toBeGreaterThan(40)
  })

  test.each([
    ['an agent’s sandbox', '"x": 1 } ,', '"sandbox": { "mode": "all" }'],
    ['a group’s policy', '"x": 1 } ,', '"groupPolicy": "allowlist"'],
  ])('%s is not taken out by a brace that ends too early', (_what, end, setting) => {
    const whole = `{ "agents": { "defaults": { "model": "a/b", ${setting}, ${end.replace(' ,', '')} , "y": 2 }, "z": 3 }`
    const broken = whole.replace('} , "y"', ', "y"')
    const early = broken.replace(`, ${setting}`, ` }, ${setting}`)
    expect(parseOrNothing(whole)).toBeDefined()
    expect(parseOrNothing(broken)).toBeUndefined()
    expect(parseOrNothing(early)).toBeDefined()
    expect(refusal(broken, early)).toBeDefined()
    expect(refusal(broken, early, whole)).toBeDefined()
    expect(refusal(broken, whole, whole)).toBeUndefined()
  })

  test('has to be repaired in one edit, and what is said of it names no character of it', () => {
    const message = refusal('{ "gateway": ', '{ "gateway": {')
    expect(message).toMatch(/one call/)
    const secret = CONFIG_TEXT.replace('"planted-gateway', 'qlanted-gateway')
    expect(refusal(CONFIG_TEXT.replace('"info" }', '"info"'), secret)).toMatch(
      /^After this edit the config could still not be parsed in line 5\. /,
    )
  })

  test('cut off in the middle it may be completed from the last config that booted, and from nothing else', () => {
    const cut = CONFIG_TEXT.slice(0, CONFIG_TEXT.indexOf('"channels"'))
    expect(refusal(cut, CONFIG_TEXT, CONFIG_TEXT)).toBeUndefined()
    expect(refusal(cut, CONFIG_TEXT)).toMatch(/only marks/)
    expect(refusal('', CONFIG_TEXT, CONFIG_TEXT)).toBeUndefined()
    expect(refusal('', CONFIG_TEXT)).toMatch(/only marks/)
    expect(refusal('', '{ gateway: { mode: "local", port: 18789 } }', CONFIG_TEXT)).toMatch(/security is for a human/)
  })

  test('a token that was being changed when the syntax broke may stay the one that stands there', () => {
    const broken = CONFIG_TEXT.replace('"planted-gateway-token-1"', '"new-token-of-the-user')
    const repaired = CONFIG_TEXT.replace('planted-gateway-token-1', 'new-token-of-the-user')
    expect(refusal(broken, repaired, CONFIG_TEXT)).toBeUndefined()
    for (const by of ['', 'of-somebody'])
      expect(refusal(broken, repaired.replace('of-the-user', by), CONFIG_TEXT)).toMatch(/security/)
  })

  test('several slips at once may be repaired', () => {
    const broken = CONFIG_TEXT.replace('"mode": "local",', '"mode" "local"')
      .replace('"level":', 'level" =')
      .replace('"allowlist" } }', '"allowlist" }')
    expect(refusal(broken, CONFIG_TEXT, CONFIG_TEXT)).toBeUndefined()
  })
})

describe('a config that can be parsed', () => {
  test.each([
    ['the missing gateway.mode is put back', '"mode": "local", "port"', '"port"', true],
    ['an unknown key is removed', '"bogus": 1 } }', '} }', false],
    ['a model is changed', 'claude-x', 'claude-y', false],
    ['a comment is removed', "// the gateway's config", '', false],
    ['a broken plugin is turned off', '"broken": { "enabled": true }', '"broken": { "enabled": false }', false],
    ['a log level is changed', '"info"', '"debug"', false],
  ])('%s', (_what, from, to, isReversed) => {
    const changed = CONFIG_TEXT.replace(from, to)
    expect(changed).not.toBe(CONFIG_TEXT)
    expect(isReversed ? refusal(changed, CONFIG_TEXT) : refusal(CONFIG_TEXT, changed)).toBeUndefined()
  })

  test('the same settings written differently are no change', () => {
    expect(refusal(CONFIG_TEXT, JSON.stringify(parsed()))).toBeUndefined()
    expect(refusal(JSON.stringify(parsed()), CONFIG_TEXT)).toBeUndefined()
  })

  test('a value of another kind is another value', () => {
    expect(refusal(CONFIG_TEXT, CONFIG_TEXT.replace('"1001"', '1001'))).toMatch(/security/)
    expect(refusal(CONFIG_TEXT.replace('["1001"]', '[]'), CONFIG_TEXT.replace('["1001"]', '[""]'))).toMatch(/security/)
    const set = (path: string, value: unknown) =>
      refusal(CONFIG_TEXT, text(configWith(parsed(), path.split('.'), value)))
    expect(set('plugins.entries.broken.enabled', 'false')).toMatch(/turned off, not on/)
    expect(set('channels.telegram.enabled', 0)).toMatch(/turned off, not on/)
    expect(set('gateway.port', '18789')).toMatch(/may only be 18789/)
  })

  test('the port may only become the one that is watched', () => {
    expect(refusal(CONFIG_TEXT.replace('18789', '1878'), CONFIG_TEXT)).toBeUndefined()
    expect(refusal(CONFIG_TEXT, CONFIG_TEXT.replace('18789', '8080'))).toMatch(/may only be 18789/)
    expect(refusal(CONFIG_TEXT, CONFIG_TEXT.replace('"port": 18789,', ''))).toMatch(/nothing watches/)
  })

  test('a rewrite that throws settings away is refused', () => {
    const many = { ...parsed(), ui: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`a${i}`, i])) }
    expect(refusal(text(many), text({ ...many, ui: { a0: 0 } }))).toMatch(/throw away 19 settings/)
    expect(refusal(CONFIG_TEXT, '{}')).toBeDefined()
    for (const nothing of ['[]', 'null', '7', '"x"']) expect(refusal(CONFIG_TEXT, nothing)).toMatch(/hold no settings/)
  })

  test('setting, changing or removing anything under a protected name is refused', () => {
    const name = fc.constantFrom(
      ...'auth token allowFrom bind tls commands exec sandbox elevated trustedProxies baseUrl hooks mcp env scopes roles'.split(
        ' ',
      ),
      ...'groupPolicy dmPolicy allowedOrigins systemPrompt apiKey password webhookSecret approvals paths $include'.split(
        ' ',
      ),
      'dangerouslyDisableDeviceAuth',
    )
    const around = fc.array(fc.constantFrom('agents', 'defaults', 'list', 'misc', 'channels', 'x'), { maxLength: 3 })
    const value = fc.oneof(
      fc.string(),
      fc.boolean(),
      fc.integer(),
      fc.array(fc.string({ minLength: 1 }), { minLength: 1 }),
    )
    fc.assert(
      fc.property(around, name, value, value, (path, leaf, one, two) => {
        const nest = (last: Record<string, unknown>) =>
          text({ ...parsed(), extra: path.reduceRight((inner, key) => ({ [key]: inner }), last) })
        const [without, withOne, withTwo] = [{ other: 1 }, { other: 1, [leaf]: one }, { other: 1, [leaf]: two }].map(
          nest,
        ) as [string, string, string]
        expect(refusal(without, withOne)).toMatch(/security|variable|requests go/)
        expect(refusal(withOne, without)).toMatch(/security/)
        if (withOne !== withTwo) expect(refusal(withOne, withTwo)).toMatch(/security|variable/)
      }),
      { numRuns: 500 },
    )
  })

  test('whatever is allowed leaves every protected setting as it was, or as it was known to be', () => {
    const names =
      'gateway auth mode token bind port agents defaults model primary channels telegram allowFrom enabled plugins entries broken logging level 0 list $include tools exec models'.split(
        ' ',
      )
    const path = fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 4 })
    const value = fc.oneof(
      fc.constantFrom<unknown>(
        'local',
        'lan',
        'debug',
        false,
        true,
        PORT,
        'a/b',
        '${X}',
        'claude-cli/x',
        [],
        {},
        ['*'],
        null,
      ),
      fc.dictionary(fc.constantFrom(...names), fc.constantFrom<unknown>('x', false, true, 1, ['*'])),
    )
    const kept = protectedOf(CONFIG_TEXT)
    const isOff = (one: string) => /^plugins\.entries\.[^.]+\.enabled=boolean false$/.test(one)
    let allowed = 0
    fc.assert(
      fc.property(path, fc.option(value, { nil: undefined }), (where, what) => {
        let after: Record<string, unknown>
        try {
          after = what === undefined ? configWithout(parsed(), where) : configWith(parsed(), where, what)
        } catch {
          return
        }
        if (refusal(CONFIG_TEXT, text(after)) !== undefined) return
        allowed++
        const now = protectedOf(text(after)).filter((one) => !isOff(one))
        expect(now, `${where.join('.')} = ${JSON.stringify(what)}`).toEqual(
          kept.filter((one) => now.includes(one) || !/^plugins/.test(one)),
        )
        expect(text(after)).not.toMatch(/\$\{|claude-cli/)
      }),
      { numRuns: 2500 },
    )
    expect(allowed).toBeGreaterThan(40)
  })
})

describe('settings that trade places', () => {
  const both = (main: unknown, other: unknown, names = ['main', 'public']) => ({
    ...parsed(),
    agents: {
      list: [
        { id: names[0], sandbox: { mode: 'all' }, tools: { allow: ['read'] }, ...(main as object) },
        { id: names[1], sandbox: { mode: 'off' }, tools: { allow: ['exec'] }, ...(other as object) },
      ],
      entries: {
        [names[0]!]: { runtime: { acp: { sandbox: 'all' } } },
        [names[1]!]: { runtime: { acp: { sandbox: 'off' } } },
      },
    },
    bindings: [
      { agentId: names[0], match: { channel: 'telegram' } },
      { agentId: names[1], match: { channel: 'irc' } },
    ],
  })
  const before = text(both({}, {}))
  const traded = (a: string, b: string) => before.replace(a, 'X').replace(b, a).replace('X', b)
  const swaps: [string, string][] = [
    ['the ids of two agents', traded('"id": "main"', '"id": "public"')],
    ['two sandboxes', text(both({ sandbox: { mode: 'off' } }, { sandbox: { mode: 'all' } }))],
    ['two lists of tools', text(both({ tools: { allow: ['exec'] } }, { tools: { allow: ['read'] } }))],
    ['the agents of two bindings', traded('"agentId": "main"', '"agentId": "public"')],
    ['the names of all', text(both({}, {}, ['public', 'main']))],
    [
      'two agents, whole',
      text({ ...both({}, {}), agents: { ...both({}, {}).agents, list: both({}, {}).agents.list.reverse() } }),
    ],
    ['the names of two entries', traded('"main": {', '"public": {')],
  ]
  // No comma between two settings, far from what is swapped.
  const broken = (whole: string) => whole.replace('"mode": "local",', '"mode": "local"')

  test.each(swaps)('%s: refused, also in a config that cannot be parsed', (_what, after) => {
    expect(JSON.parse(after)).not.toEqual(JSON.parse(before))
    expect(() => JSON5.parse(broken(before))).toThrow()
    for (const knownGood of [undefined, before])
      for (const from of [before, broken(before)]) expect(refusal(from, after, knownGood)).toBeDefined()
    expect(refusal(broken(before).slice(0, -40), after, before)).toBeDefined()
  })

  test('what stays in its place may be repaired around them', () => {
    expect(refusal(broken(before), before)).toBeUndefined()
    expect(refusal(broken(before), before, before)).toBeUndefined()
    expect(refusal(broken(before).slice(0, -40), before, before)).toBeUndefined()
    const two = before.replace('"public"', '"public", "bogus": 1, "model": "a/b"')
    expect(refusal(two, before)).toBeUndefined()
    expect(refusal(before, two.replace(' "bogus": 1,', ''))).toBeUndefined()
  })

  test('an item that protects nothing may be taken out of the middle of a list', () => {
    const three = (names: string[]) =>
      text({ ...parsed(), agents: { list: names.map((id) => ({ id, sandbox: { mode: id } })), defaults: {} } })
    expect(refusal(three(['a', 'b', 'c']), three(['a', 'c']))).toMatch(/agents.list.1.sandbox.mode/)
    const plain = (items: unknown[]) => text({ ...parsed(), agents: { list: items } })
    const safe = { id: 'a', sandbox: { mode: 'all' } }
    expect(
      refusal(plain([safe, { bogus: 1 }, { ...safe, id: 'c' }]), plain([safe, { ...safe, id: 'c' }])),
    ).toBeUndefined()
  })
})

describe('what a repair needs is open, and nothing else', () => {
  const config = {
    ...parsed(),
    cron: { enabled: false, bogus: 1 },
    session: { store: '/a', maintenance: { mode: 'warn' }, bogus: 1 },
    agents: { defaults: { model: { primary: 'a/b' }, heartbeat: { every: '0m' }, bogus: 1 } },
    messages: { queue: { mode: 'steer' } },
    legacy: { a: 1 },
  }
  const set = (path: string, value: unknown, known?: string) =>
    refusal(text(config), text(configWith(config, path.split('.'), value)), known)
  const unset = (path: string, known?: string) =>
    refusal(text(config), text(configWithout(config, path.split('.'))), known)

  test.each<[string, unknown]>([
    ['channels.matrix.homeserver', 'https://evil.example'],
    ['channels.nostr.relays', ['wss://evil.example']],
    ['channels.irc.server', 'evil.example'],
    ['channels.googlechat.audience', 'x'],
    ['channels.discord.actions.moderation', true],
    ['channels.telegram.actions.deleteMessage', true],
    ['session.maintenance.maxDiskBytes', 1],
    ['session.maintenance.resetArchiveRetention', '1s'],
    ['session.store', '/tmp/x'],
    ['cron.sessionRetention', '1s'],
    ['cron.store', '/tmp/x'],
    ['cron.enabled', true],
    ['cron.jobs', [{ at: '1m' }]],
    ['agents.defaults.heartbeat.every', '1m'],
    ['agents.defaults.heartbeat.model', 'a/b'],
    ['agents.defaults.cwd', '/'],
    ['transcripts.enabled', true],
    ['gateway.discovery.wideArea.enabled', true],
    ['gateway.mode', 'remote'],
    ['models.providers.x.models', [{ agentRuntime: { id: 'shell' } }]],
    ['models.providers.x.models', [{ id: 'a', zdr: false }]],
    ['models.providers.x.models', [{ id: 'a', provider: { data_collection: 'allow' } }]],
    ['agents.defaults.models', { 'a/b': { params: { transforms: [] } } }],
    ['agents.defaults.models', { 'codex-cli/gpt': {} }],
    ['agents.defaults.models', { 'a/${TOKEN}': {} }],
    ['agents.defaults.model.primary', 'claude-cli/opus'],
    ['agents.defaults.model.primary', '${MY_BANK_LOGIN}'],
    ['agents.defaults.model', { source: 'env', id: 'MY_BANK_LOGIN' }],
  ])('%s may not become %j', (path, value) => {
    expect(set(path, value)).toBeDefined()
  })

  test.each<[string, unknown]>([
    ['gateway.mode', 'local'],
    ['gateway.port', PORT],
    ['cron.enabled', false],
    ['transcripts.enabled', false],
    ['logging.consoleLevel', 'debug'],
    ['agents.defaults.model.fallbacks', ['a/b', 'c/d']],
    ['agents.defaults.models', { 'a/b.c': {} }],
    ['agents.defaults.timeoutSeconds', 600],
    ['agents.defaults.maxConcurrent', 2],
    ['models.providers.x.timeoutSeconds', 60],
    ['messages.inbound.debounceMs', 10],
  ])('%s may become %j', (path, value) => {
    expect(set(path, value)).toBeUndefined()
  })

  test('a value that stood there when the gateway last booted may come back, and no other', () => {
    const known = text({ ...config, session: { store: '/b', dmScope: 'main' }, cron: { enabled: true } })
    expect(set('session.store', '/b', known)).toBeUndefined()
    expect(set('session.store', '/c', known)).toMatch(/none of the settings/)
    expect(set('session.dmScope', 'main', known)).toMatch(/security/)
    expect(set('cron.enabled', true, known)).toMatch(/not on/)
  })

  test('what OpenClaw does not know may be removed; of what it knows only what a default replaces without harm', () => {
    for (const path of ['legacy', 'agents.defaults.bogus', 'messages.queue.mode'])
      expect(unset(path), path).toBeUndefined()
    for (const path of ['cron.enabled', 'session.store', 'agents.defaults.heartbeat.every', 'cron.bogus'])
      expect(unset(path), path).toMatch(/its default would hold/)
    expect(unset('gateway.mode')).toMatch(/does not start/)
    const known = text({ ...config, session: { store: '/a' }, cron: {} })
    expect(unset('session.bogus', known)).toBeUndefined()
    expect(unset('session.store', known)).toBeDefined()
    expect(unset('cron.enabled', known)).toBeDefined()
  })

  test('a whole section is not thrown away, unless the gateway last booted without it', () => {
    for (const path of ['agents', 'session', 'messages', 'logging']) expect(unset(path), path).toBeDefined()
    const { messages: _messages, ...known } = config
    expect(unset('messages', text(known))).toBeUndefined()
  })

  test('a wish is judged before it is looked at what stands there', () => {
    const judge = (path: string, value: unknown) => () =>
      judgeSetting(path.split('.'), value, yardstickOf(undefined, PORT))
    for (const value of ['planted-gateway-token-1', 'wrong'])
      expect(judge('gateway.auth.token', value)).toThrow(/^gateway\.auth\.token may not be set/)
    expect(judge('logging.level', 'debug')).not.toThrow()
  })
})

test('what protects a gateway is recognised in real paths of its config, what tunes it is not', () => {
  const words = (...lines: string[]) => lines.flatMap((line) => line.split(/\s+/))
  for (const path of words(
    'gateway.auth.mode gateway.bind gateway.tls.enabled gateway.tailscale.mode gateway.controlUi.allowedOrigins gateway.trustedProxies',
    'gateway.nodes.pairing.autoApproveCidrs channels.discord.guilds.1.users channels.whatsapp.dmPolicy channels.slack.botToken',
    'tools.exec.security agents.defaults.sandbox.mode agents.list.tools.elevated.enabled models.providers.openai.apiKey',
    'models.providers.openai.baseUrl commands.restart hooks.token mcp.servers.x.command env.vars.PATH plugins.load.paths',
    'approvals.exec.enabled security.installPolicy.enabled session.dmScope logging.file logging.redactPatterns browser.enabled',
  ))
    expect(isProtected(path.split('.')), path).toBe(true)
  for (const path of words(
    'gateway.mode gateway.reload.mode logging.level agents.defaults.model.primary agents.defaults.timeoutSeconds session.reset.mode',
    'agents.defaults.maxConcurrent messages.queue.mode ui.seamColor agents.defaults.thinkingDefault channels.telegram.streaming.mode',
  ))
    expect(isProtected(path.split('.')), path).toBe(false)
})

test('the secrets of a config are known even when it cannot be parsed, under whatever name they stand', () => {
  const planted = ['planted-bot-token-3', 'planted-gateway-token-1']
  expect(configSecrets(CONFIG_TEXT).sort()).toEqual(planted)
  expect(configSecrets(CONFIG_TEXT.replace('"gateway": {', '"gateway": ')).sort()).toEqual(planted)
  const whole = configText(PORT, '/tmp/openclaw.log')
  const inIt = [
    PLANTED.gatewayToken,
    PLANTED.envVars,
    PLANTED.mcpEnv,
    PLANTED.mcpArgs,
    PLANTED.mcpHeader,
    PLANTED.botToken,
    PLANTED.apiKey,
  ]
  expect(configSecrets(whole)).toEqual(expect.arrayContaining(inIt))
  for (const { broken, at } of breaksOf(whole).filter((_, i) => i % 7 === 0))
    for (const secret of [PLANTED.gatewayToken, PLANTED.apiKey])
      expect(configSecrets(broken).join(' '), `position ${at}`).toContain(secret)
})

describe('what is shown', () => {
  const names = new Set(['gateway', 'auth', 'token', 'mode', 'botToken'])

  test('of a config: switches, small numbers, modes, levels and models; everything else is hidden', () => {
    const shown = shownConfig({
      gateway: { mode: 'local', port: PORT, bind: 'lan', auth: { mode: 'token', token: 's3cret' } },
      logging: { level: 'debug', file: '/home/me/x.log' },
      agents: {
        defaults: { model: { primary: 'a/b', fallbacks: ['c/d', 'not a model: 4711 0815'] }, timeoutSeconds: 600 },
      },
      channels: {
        whatsapp: { enabled: true, phone: 4_917_012_345_678, allowFrom: ['+4917012345678'], rateLimitPin: 4711 },
      },
      env: { vars: { COLOUR: 'red', ON: true, N: 7 } },
      models: { providers: { x: { api: 'openai-completions', models: [{ id: 'secret name' }] } }, 'a/b:free': {} },
      '+49 170 1234567': 1,
      nothing: null,
    })
    expect(shown).toEqual({
      gateway: { mode: 'local', port: PORT, bind: 'lan', auth: { mode: 'token', token: '[hidden]' } },
      logging: { level: 'debug', file: '[hidden]' },
      agents: { defaults: { model: { primary: 'a/b', fallbacks: ['c/d', '[hidden]'] }, timeoutSeconds: 600 } },
      channels: { whatsapp: { enabled: true, phone: '[hidden]', allowFrom: ['[hidden]'], rateLimitPin: '[hidden]' } },
      env: { vars: { COLOUR: '[hidden]', ON: true, N: '[hidden]' } },
      models: { providers: { x: { api: 'openai-completions', models: [{ id: '[hidden]' }] } }, 'a/b:free': {} },
      '[hidden]': 1,
      nothing: null,
    })
  })

  test('of a broken one: marks, blanks and known names, never a word that is none of them', () => {
    const secret = fc
      .stringMatching(/^[A-Za-z0-9+/=_.-]{4,40}$/)
      .filter((word) => !names.has(word) && !/\/[/*]/.test(word))
    const around = fc.constantFrom('"', "'", '', ': "', '": ', '// ', '/* ', '", "', '\n')
    fc.assert(
      fc.property(fc.array(fc.tuple(around, secret, around), { minLength: 1, maxLength: 6 }), (words) => {
        const broken = `{ "gateway": { "auth": ${words.map((parts) => parts.join('')).join(' ')}`
        const shown = shownBrokenConfig(broken, names)
        expect(shown.split('\n')).toHaveLength(broken.split('\n').length)
        const bare = shown.replaceAll('[hidden]', '').replaceAll('//', '')
        expect(bare).toMatch(/^(?:[{}[\]:,"'\s]|gateway|auth|true|false|null|none|auto|lan|local)*$/)
        const veiled = veiledConfig(broken, names)
        expect(veiled).toHaveLength(broken.length)
        expect(veiled.replaceAll(VEIL, '')).toMatch(
          /^(?:[{}[\]:,"'\s]|gateway|auth|true|false|null|none|auto|lan|local)*$/,
        )
      }),
    )
    expect(shownBrokenConfig('{ "pin": "12 345 678", "n": 7 // a secret 9\n }', names)).toBe(
      '{ "[hidden]": "[hidden] [hidden] [hidden]", "[hidden]": [hidden] // [hidden]\n }',
    )
  })

  test('a megabyte of it is shown without delay', () => {
    const large = `{ "a": [${'"x", {"y": "z"}, '.repeat(60_000)}`
    const began = performance.now()
    shownBrokenConfig(large, names)
    veiledConfig('/*'.repeat(300_000), names)
    expect(performance.now() - began).toBeLessThan(5000)
  })
})
