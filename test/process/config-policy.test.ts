/** The doctor's edits of the gateway's config, judged by what changes; what of the config is shown, and its secrets. */
import fc from 'fast-check'
import JSON5 from 'json5'
import { describe, expect, test } from 'vitest'
import {
  isProtected,
  judgeConfigText,
  shownBrokenConfig,
  shownConfig,
  VEIL,
  veiledConfig,
  yardstickOf,
} from '../../lib/doctor/config-policy.ts'
import { Refused } from '../../lib/doctor/instrument.ts'
import { configSecrets, configWith, configWithout, leavesOf, parseOrNothing } from '../../lib/gateway/config-tree.ts'
import { configText, PLANTED } from '../support/doctor-world.ts'

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

/** Undefined when an edit is allowed. */
function refusal(before: string, after: string, knownGood?: string): Refused | undefined {
  try {
    judgeConfigText(before, after, yardstickOf(knownGood, PORT))
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(Refused)
    return error as Refused
  }
}
const parsed = () => JSON5.parse(CONFIG_TEXT) as Record<string, never>
const text = (value: unknown) => JSON.stringify(value, null, 1)
const swapped = (from: string, to: string) => {
  expect(CONFIG_TEXT).toContain(from)
  return CONFIG_TEXT.replace(from, to)
}
const words = (lines: string) => lines.trim().split(/\s+/)
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
    return parseOrNothing(broken) ? [] : [broken]
  })

describe('a config that cannot be parsed', () => {
  const breaks = breaksOf(CONFIG_TEXT)

  test('may be brought back to what it was, mostly also when no earlier config is known', () => {
    expect(breaks.length).toBeGreaterThan(80)
    for (const broken of breaks) expect(refusal(broken, CONFIG_TEXT, CONFIG_TEXT), broken).toBeUndefined()
    const repaired = breaks.filter((broken) => refusal(broken, CONFIG_TEXT) === undefined)
    expect(repaired.length / breaks.length).toBeGreaterThan(0.6)
  })

  test('may not lose or change its protection on the way, whatever is missing', () => {
    const changes = ['none', 'password', ''].map((mode) => swapped('"mode": "token"', `"mode": "${mode}"`))
    changes.push(swapped('"loopback"', '"lan"'), swapped('planted-gateway-token-1', 'other'))
    changes.push(swapped('["1001"]', '["*"]'), swapped('"1001"', '"1001", "*"'))
    changes.push(CONFIG_TEXT.replace(/"auth": \{[^}]*\},/, ''), swapped(', "groupPolicy": "allowlist"', ''))
    changes.push(swapped('"info"', '"info", "file": "/etc/cron.d/x"'))
    changes.push(swapped('"logging"', '"hooks": { "enabled": true }, "logging"'))
    for (const broken of breaks)
      for (const after of changes)
        for (const known of [undefined, CONFIG_TEXT])
          expect(refusal(broken, after, known), `${broken} → ${after}`).toBeDefined()
  })

  test('a repair that moves marks takes no setting away from what it protects', () => {
    const marks = '{}[],:"\''
    const edits = fc.array(fc.tuple(fc.nat(), fc.constantFrom(...marks), fc.boolean()), { minLength: 1, maxLength: 4 })
    const kept = protectedOf(CONFIG_TEXT)
    let allowed = 0
    const judge = (broken: string, isBack: boolean, some: [number, string, boolean][], known: boolean) => {
      // Mostly beside a mark, where an edit can leave something that parses.
      let after = isBack ? CONFIG_TEXT : broken
      for (const [where, mark, isAdded] of some) {
        const isNear = (c: string, i: number) => marks.includes(c) || marks.includes(after[i - 1] ?? ' ')
        const places = [...after].flatMap((c, i) => (isNear(c, i) ? [i] : []))
        const place = places[where % places.length]!
        if (isAdded) after = after.slice(0, place) + mark + after.slice(place)
        else if (marks.includes(after[place]!)) after = after.slice(0, place) + after.slice(place + 1)
      }
      if (refusal(broken, after, known ? CONFIG_TEXT : undefined) !== undefined) return
      allowed++
      expect(protectedOf(after), `${broken} → ${after}`).toEqual(kept)
    }
    fc.assert(fc.property(fc.constantFrom(...breaks), fc.boolean(), edits, fc.boolean(), judge), { numRuns: 4000 })
    expect(allowed).toBeGreaterThan(40)
  })

  test.each([
    ['a sandbox falls out', '{ "sandbox": { "mode": "all" }, "x": 1 }', '{ }, "sandbox": { "mode": "all" }, "x": 1'],
    ['a policy falls out', '{ "groupPolicy": "all", "x": 1 }', '{ }, "groupPolicy": "all", "x": 1'],
    ['a text swallows a switch', '{ n: 600, requireMention: true }', "{ n: '600, requireMention: true' }"],
    ['two texts become one', "{ mode: 'a', bind: 'b' }", "{ mode: 'a bind b' }"],
    ['a quoted text swallows a number', `{ "x": 5, "y": 6 }`, `{ x: ": 5, ", y: 6 }`],
  ])('%s: refused', (_what, one, other) => {
    const whole = (part: string) => `{ "z": "a/b", "agents": ${part} }`
    const [before, after, broken] = [whole(one), whole(other), whole(one).replace('"a/b",', '"a/b"')]
    expect([before, after, broken].map((text) => parseOrNothing(text) !== undefined)).toEqual([true, true, false])
    for (const known of [undefined, before]) expect(refusal(broken, after, known)).toBeDefined()
    for (const known of [undefined, before]) expect(refusal(broken, before, known)).toBeUndefined()
  })

  test('cut off in the middle it may be completed from the last config that booted, and from nothing else', () => {
    for (const cut of [CONFIG_TEXT.slice(0, CONFIG_TEXT.indexOf('"channels"')), '']) {
      expect(refusal(cut, CONFIG_TEXT, CONFIG_TEXT)).toBeUndefined()
      expect(refusal(cut, CONFIG_TEXT)).toBeDefined()
    }
    expect(refusal('', '{ gateway: { mode: "local", port: 18789 } }', CONFIG_TEXT)).toBeDefined()
  })

  test('a token that was being changed when the syntax broke may stay the one that stands there', () => {
    const broken = swapped('"planted-gateway-token-1"', '"new-token-of-the-user')
    const repaired = swapped('planted-gateway-token-1', 'new-token-of-the-user')
    expect(refusal(broken, repaired, CONFIG_TEXT)).toBeUndefined()
    for (const by of ['', 'of-another'])
      expect(refusal(broken, repaired.replace('of-the-user', by), CONFIG_TEXT)).toBeDefined()
  })
})

describe('a config that can be parsed', () => {
  const many = { ...parsed(), ui: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`a${i}`, i])) }
  const set = (path: string, value: unknown) => text(configWith(parsed(), path.split('.'), value))

  test.each<[string, string, string, boolean]>([
    ['a comment is removed', CONFIG_TEXT, swapped("// the gateway's config", ''), true],
    ['it is written differently', CONFIG_TEXT, text(parsed()), true],
    ['a guard becomes a number', CONFIG_TEXT, swapped('"1001"', '1001'), false],
    ['an empty list gets an empty text', swapped('["1001"]', '[]'), swapped('["1001"]', '[""]'), false],
    ['a guard becomes an empty object', CONFIG_TEXT, set('gateway.auth.token', {}), false],
    ['a section of guards is emptied', CONFIG_TEXT, set('channels.telegram', {}), false],
    ['a switch becomes a number', CONFIG_TEXT, set('channels.telegram.enabled', 0), false],
    ['many settings go', text(many), text({ ...many, ui: { a0: 0 } }), false],
    ...['{}', '[]', 'null', '7', '"x"'].map((all): [string, string, string, boolean] => [all, CONFIG_TEXT, all, false]),
  ])('%s', (_what, before, after, isAllowed) => expect(refusal(before, after) === undefined).toBe(isAllowed))

  test('setting, changing or removing anything under a protected name is refused', () => {
    const name = fc.constantFrom(
      ...words(`auth token allowFrom bind tls commands exec sandbox elevated trustedProxies baseUrl hooks mcp env scopes
        roles groupPolicy dmPolicy allowedOrigins systemPrompt apiKey password webhookSecret approvals paths $include
        dangerouslyDisableDeviceAuth`),
    )
    const around = fc.array(fc.constantFrom('agents', 'defaults', 'list', 'misc', 'channels', 'x'), { maxLength: 3 })
    const items = fc.array(fc.string({ minLength: 1 }), { minLength: 1 })
    const value = fc.oneof(fc.string(), fc.boolean(), fc.integer(), items)
    const judge = (path: string[], leaf: string, one: unknown, two: unknown) => {
      const below = (last: object) =>
        path.reduceRight<object>((inner, key) => ({ [key]: inner }), { other: 1, ...last })
      const nest = (last: object) => text({ ...parsed(), extra: below(last) })
      const [without, withOne, withTwo] = [nest({}), nest({ [leaf]: one }), nest({ [leaf]: two })]
      expect(refusal(without, withOne)).toBeDefined()
      expect(refusal(withOne, without)).toBeDefined()
      if (withOne !== withTwo) expect(refusal(withOne, withTwo)).toBeDefined()
    }
    fc.assert(fc.property(around, name, value, value, judge), { numRuns: 500 })
  })

  test('whatever is allowed leaves every protected setting as it was, or as it was known to be', () => {
    const names =
      words(`gateway auth mode token bind port agents defaults model primary channels telegram allowFrom enabled
      plugins entries broken logging level 0 list $include tools exec models`)
    const path = fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 4 })
    const values = ['local', 'lan', 'debug', false, true, PORT, 'a/b', '${X}', 'claude-cli/x', [], {}, ['*'], null]
    const inner = fc.constantFrom<unknown>('x', false, true, 1, ['*'])
    const value = fc.oneof(fc.constantFrom<unknown>(...values), fc.dictionary(fc.constantFrom(...names), inner))
    const kept = protectedOf(CONFIG_TEXT)
    const isOff = (one: string) => /^plugins\.entries\.[^.]+\.enabled=boolean false$/.test(one)
    let allowed = 0
    const judge = (where: string[], what: unknown) => {
      let after: Record<string, unknown>
      try {
        after = what === undefined ? configWithout(parsed(), where) : configWith(parsed(), where, what)
      } catch {
        return
      }
      if (refusal(CONFIG_TEXT, text(after)) !== undefined) return
      allowed++
      const now = protectedOf(text(after)).filter((one) => !isOff(one))
      const wanted = kept.filter((one) => now.includes(one) || !/^plugins/.test(one))
      expect(now, `${where.join('.')} = ${JSON.stringify(what)}`).toEqual(wanted)
      expect(text(after)).not.toMatch(/\$\{|claude-cli/)
    }
    fc.assert(fc.property(path, fc.option(value, { nil: undefined }), judge), { numRuns: 2500 })
    expect(allowed).toBeGreaterThan(40)
  })
})

describe('settings that trade places', () => {
  const agent = (id: string, mode: string, tool: string) => ({ id, sandbox: { mode }, tools: { allow: [tool] } })
  const both = (list: unknown[]) => ({
    ...parsed(),
    agents: { list, entries: { main: { acp: { sandbox: 'all' } }, public: { acp: { sandbox: 'off' } } } },
    bindings: ['main telegram', 'public irc'].map((one) => {
      const [agentId, channel] = one.split(' ')
      return { agentId, match: { channel } }
    }),
  })
  const [main, other] = [agent('main', 'all', 'read'), agent('public', 'off', 'exec')]
  const before = text(both([main, other]))
  const traded = (a: string, b: string) => before.replace(a, 'X').replace(b, a).replace('X', b)
  // No comma between two settings, far from what is swapped.
  const broken = (whole: string) => whole.replace('"mode": "local",', '"mode": "local"')

  test.each([
    ['the ids of two agents', traded('"id": "main"', '"id": "public"')],
    ['two sandboxes', text(both([agent('main', 'off', 'read'), agent('public', 'all', 'exec')]))],
    ['two lists of tools', text(both([agent('main', 'all', 'exec'), agent('public', 'off', 'read')]))],
    ['the agents of two bindings', traded('"agentId": "main"', '"agentId": "public"')],
    ['two agents, whole', text(both([other, main]))],
    ['the names of two entries', traded('"main": {', '"public": {')],
  ])('%s: refused, also in a config that cannot be parsed', (_what, after) => {
    expect(JSON.parse(after)).not.toEqual(JSON.parse(before))
    for (const from of [before, broken(before)])
      for (const knownGood of [undefined, before]) expect(refusal(from, after, knownGood)).toBeDefined()
    expect(refusal(broken(before).slice(0, -40), after, before)).toBeDefined()
  })

  test('what stays in its place may be repaired around them', () => {
    expect(refusal(broken(before), before)).toBeUndefined()
    for (const cut of [broken(before), broken(before).slice(0, -40)])
      expect(refusal(cut, before, before)).toBeUndefined()
    const two = before.replace('"public"', '"public", "bogus": 1, "model": "a/b"')
    expect(refusal(two, before)).toBeUndefined()
    expect(refusal(before, two.replace(' "bogus": 1,', ''))).toBeUndefined()
    const list = (...items: unknown[]) => text({ ...parsed(), agents: { list: items } })
    expect(refusal(list(main, other), list(main))).toBeDefined()
    expect(refusal(list(main, { bogus: 1 }), list(main))).toBeUndefined()
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

  test('a value that stood there when the gateway last booted may come back, and no other', () => {
    const known = text({ ...config, session: { store: '/b', dmScope: 'main' }, cron: { enabled: true } })
    expect(set('session.store', '/b', known)).toBeUndefined()
    expect(set('session.store', '/c', known)).toBeDefined()
    expect(set('session.dmScope', 'main', known)).toBeDefined()
    expect(set('cron.enabled', true, known)).toBeDefined()
  })

  test('what OpenClaw does not know may be removed; of what it knows only what a default replaces without harm', () => {
    for (const path of words('legacy agents.defaults.bogus messages.queue.mode'))
      expect(unset(path), path).toBeUndefined()
    for (const path of words('cron.enabled session.store agents.defaults.heartbeat.every cron.bogus gateway.mode'))
      expect(unset(path), path).toBeDefined()
    const known = text({ ...config, session: { store: '/a' }, cron: {} })
    expect(unset('session.bogus', known)).toBeUndefined()
    for (const path of words('session.store cron.enabled')) expect(unset(path, known), path).toBeDefined()
    // A whole section only when the gateway last booted without it.
    expect(unset('messages')).toBeDefined()
    const { messages: _messages, ...without } = config
    expect(unset('messages', text(without))).toBeUndefined()
  })
})

test('the secrets of a config are known even when it cannot be parsed, under whatever name they stand', () => {
  const planted = ['planted-bot-token-3', 'planted-gateway-token-1']
  for (const one of [CONFIG_TEXT, swapped('"gateway": {', '"gateway": ')])
    expect([...new Set(configSecrets(one))].sort()).toEqual(planted)
  const whole = configText(PORT, '/tmp/openclaw.log')
  const { gatewayToken, envVars, mcpEnv, mcpArgs, mcpHeader, botToken, apiKey } = PLANTED
  const inIt = [gatewayToken, envVars, mcpEnv, mcpArgs, mcpHeader, botToken, apiKey]
  expect(configSecrets(whole)).toEqual(expect.arrayContaining(inIt))
  for (const broken of breaksOf(whole).filter((_, i) => i % 7 === 0))
    for (const secret of [gatewayToken, apiKey, envVars, mcpEnv, mcpArgs, mcpHeader])
      expect(configSecrets(broken).join(' '), broken).toContain(secret)
  // A pass phrase is known by its name alone.
  expect(configSecrets(`{ "password": "correct horse battery", "n" 1 }`)).toEqual(['correct horse battery'])
})

describe('what is shown', () => {
  test('of a config: switches, small numbers, modes, levels and models; everything else is hidden', () => {
    const config = `{
      gateway: { mode: 'local', port: 18789, bind: 'lan', auth: { mode: 'token', token: <'s3cret'> } },
      logging: { level: 'debug', file: <'/home/me/x.log'> },
      agents: { defaults: { model: { primary: 'a/b', fallbacks: ['c/d', <'not a model: 4711'>] }, timeoutSeconds: 600 } },
      channels: { whatsapp: { enabled: true, phone: <4917012345678>, allowFrom: [<'+49'>], rateLimitPin: <4711> } },
      env: { vars: { COLOUR: <'red'>, ON: true, N: <7> } },
      models: { providers: { x: { api: 'openai-completions', models: [{ id: <'secret name'> }] } }, 'a/b:free': {} },
      <'+49 170 1234567'>: 1,
      nothing: null,
    }`
    const [whole, hidden] = [config.replace(/<(.*?)>/g, '$1'), config.replace(/<.*?>/g, "'[hidden]'")]
    expect(shownConfig(JSON5.parse(whole))).toEqual(JSON5.parse(hidden))
  })

  test('of a broken one: marks, blanks and known names, never a word that is none of them', () => {
    const names = new Set(['gateway', 'auth', 'token', 'mode', 'botToken'])
    const isSecret = (word: string) => !names.has(word) && !/\/[/*]/.test(word)
    const secret = fc.stringMatching(/^[A-Za-z0-9+/=_.-]{4,40}$/).filter(isSecret)
    const around = fc.constantFrom('"', "'", '', ': "', '": ', '// ', '/* ', '", "', '\n')
    const harmless = /^(?:[{}[\]:,"'\s]|gateway|auth|true|false|null|none|auto|lan|local)*$/
    const judge = (parts: [string, string, string][]) => {
      const broken = `{ "gateway": { "auth": ${parts.map((one) => one.join('')).join(' ')}`
      const shown = shownBrokenConfig(broken, names)
      expect(shown.split('\n')).toHaveLength(broken.split('\n').length)
      expect(shown.replaceAll('[hidden]', '').replaceAll('//', '')).toMatch(harmless)
      const veiled = veiledConfig(broken, names)
      expect(veiled).toHaveLength(broken.length)
      expect(veiled.replaceAll(VEIL, '')).toMatch(harmless)
    }
    fc.assert(fc.property(fc.array(fc.tuple(around, secret, around), { minLength: 1, maxLength: 6 }), judge))
    expect(shownBrokenConfig('{ "pin": "12 345 678", "n": 7 // a secret 9\n }', names)).toBe(
      '{ "[hidden]": "[hidden] [hidden] [hidden]", "[hidden]": [hidden] // [hidden]\n }',
    )
  })
})
