/** Edits of the gateway's config, judged by what changes. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import JSON5 from 'json5'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Refused } from '../lib/doctor/guard.ts'
import { type ConfigEdit, configSecrets, judgeConfigText } from '../lib/doctor/guard-config.ts'
import { isProtected } from '../lib/doctor/guard-config-rules.ts'
import { configWith, configWithout } from '../lib/doctor/guard-config-tree.ts'
import { judge } from '../lib/doctor/guard-judge.ts'
import { CONFIG_TEXT, guardHome } from './support/guard-world.ts'

const PORT = 18789

function refusal(before: string | undefined, after: string, knownGood?: string): string | undefined {
  const edit: ConfigEdit = { before, knownGood, gatewayPort: PORT }
  try {
    judgeConfigText(after, edit)
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(Refused)
    return `${(error as Refused).rule}: ${(error as Refused).message}`
  }
}

const parsed = () => JSON5.parse(CONFIG_TEXT) as Record<string, never>

describe('a config that cannot be parsed', () => {
  const breaks = [...CONFIG_TEXT].flatMap((c, i) => {
    if (!/["{}[\],:]/.test(c) || i < CONFIG_TEXT.indexOf('{')) return []
    const broken = CONFIG_TEXT.slice(0, i) + CONFIG_TEXT.slice(i + 1)
    try {
      JSON5.parse(broken)
      return []
    } catch {
      return [{ broken, at: i }]
    }
  })

  test('may be brought back to what it was, whichever quote, brace, comma or colon is missing', () => {
    expect(breaks.length).toBeGreaterThan(80)
    for (const { broken, at } of breaks) {
      expect(refusal(broken, CONFIG_TEXT, CONFIG_TEXT), `position ${at}`).toBeUndefined()
    }
  })

  test('mostly also when no earlier config is known', () => {
    const repaired = breaks.filter(({ broken }) => refusal(broken, CONFIG_TEXT) === undefined)
    expect(repaired.length / breaks.length).toBeGreaterThan(0.9)
  })

  test('may not lose or change its protection on the way, whatever is missing', () => {
    const changes = ['none', 'password', ''].map((mode) => CONFIG_TEXT.replace('"mode": "token"', `"mode": "${mode}"`))
    changes.push(CONFIG_TEXT.replace('"loopback"', '"lan"'), CONFIG_TEXT.replace('planted-gateway-token-1', 'other'))
    changes.push(CONFIG_TEXT.replace('["1001"]', '["*"]'), CONFIG_TEXT.replace('"1001"', '"1001", "*"'))
    changes.push(CONFIG_TEXT.replace(/"auth": \{[^}]*\},/, ''), CONFIG_TEXT.replace(', "groupPolicy": "allowlist"', ''))
    changes.push(CONFIG_TEXT.replace('"info"', '"info", "file": "/etc/cron.d/x"'))
    changes.push(CONFIG_TEXT.replace('"logging"', '"hooks": { "enabled": true }, "logging"'))
    for (const { broken, at } of breaks) {
      for (const after of changes) {
        expect(refusal(broken, after), `position ${at}: ${after}`).toBeDefined()
        expect(refusal(broken, after, CONFIG_TEXT), `position ${at}: ${after}`).toBeDefined()
      }
    }
  })

  test('has to be repaired in one edit', () => {
    expect(refusal('{ "gateway": ', '{ "gateway": {')).toMatch(/one Edit or Write/)
  })

  test('cut off in the middle it may be completed from the last config that booted, and from nothing else', () => {
    const cut = CONFIG_TEXT.slice(0, CONFIG_TEXT.indexOf('"channels"'))
    expect(refusal(cut, CONFIG_TEXT, CONFIG_TEXT)).toBeUndefined()
    expect(refusal(cut, CONFIG_TEXT)).toMatch(/security/)
    expect(refusal('', CONFIG_TEXT, CONFIG_TEXT)).toBeUndefined()
    expect(refusal('', CONFIG_TEXT)).toMatch(/security/)
    expect(refusal(undefined, CONFIG_TEXT, CONFIG_TEXT)).toBeUndefined()
    expect(refusal(undefined, '{ gateway: { mode: "local" } }', CONFIG_TEXT)).toMatch(/security/)
  })

  test('a token that was being changed when the syntax broke may stay the one that stands there', () => {
    const broken = CONFIG_TEXT.replace('"planted-gateway-token-1"', '"new-token-of-the-user')
    const repaired = CONFIG_TEXT.replace('planted-gateway-token-1', 'new-token-of-the-user')
    expect(refusal(broken, repaired, CONFIG_TEXT)).toBeUndefined()
    expect(refusal(broken, repaired.replace('of-the-user', ''), CONFIG_TEXT)).toMatch(/security/)
    expect(refusal(broken, repaired.replace('of-the-user', 'of-somebody'), CONFIG_TEXT)).toMatch(/security/)
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
    const typed = CONFIG_TEXT.replace('"1001"', '1001')
    expect(refusal(CONFIG_TEXT, typed)).toMatch(/security/)
    expect(refusal(CONFIG_TEXT.replace('["1001"]', '[]'), CONFIG_TEXT.replace('["1001"]', '[""]'))).toMatch(/security/)
  })

  test('the port may only become the one that is watched', () => {
    expect(refusal(CONFIG_TEXT.replace('18789', '1878'), CONFIG_TEXT)).toBeUndefined()
    expect(refusal(CONFIG_TEXT, CONFIG_TEXT.replace('18789', '8080'))).toMatch(/security/)
  })

  test('a rewrite that throws settings away is refused', () => {
    const many = { ...parsed(), ui: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`a${i}`, i])) }
    expect(refusal(JSON.stringify(many), CONFIG_TEXT)).toMatch(/delete/)
    expect(refusal(CONFIG_TEXT, '{}')).toBeDefined()
    expect(refusal(CONFIG_TEXT, '[]')).toMatch(/delete/)
    expect(refusal(CONFIG_TEXT, 'null')).toMatch(/delete/)
  })

  test('setting, changing or removing anything under a protected name is refused', () => {
    const name = fc.constantFrom(
      ...['auth', 'token', 'allowFrom', 'bind', 'tls', 'commands', 'exec', 'sandbox', 'elevated', 'trustedProxies'],
      ...[
        'baseUrl',
        'hooks',
        'mcp',
        'env',
        'scopes',
        'roles',
        'groupPolicy',
        'dmPolicy',
        'allowedOrigins',
        'systemPrompt',
      ],
      ...['apiKey', 'password', 'webhookSecret', 'approvals', 'dangerouslyDisableDeviceAuth', 'paths', '$include'],
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
          JSON.stringify({ ...parsed(), extra: path.reduceRight((inner, key) => ({ [key]: inner }), last) })
        const without = nest({ other: 1 })
        const withOne = nest({ other: 1, [leaf]: one })
        const withTwo = nest({ other: 1, [leaf]: two })
        expect(refusal(without, withOne)).toMatch(/^security/)
        expect(refusal(withOne, without)).toMatch(/^security/)
        if (withOne !== withTwo) expect(refusal(withOne, withTwo)).toMatch(/^security/)
      }),
      { numRuns: 500 },
    )
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
  const text = (value: unknown) => JSON.stringify(value, null, 1)
  const before = text(both({}, {}))
  const swaps: [string, string][] = [
    [
      'the ids of two agents',
      before.replace('"id": "main"', '"id": "X"').replace('"id": "public"', '"id": "main"').replace('"X"', '"public"'),
    ],
    ['two sandboxes', text(both({ sandbox: { mode: 'off' } }, { sandbox: { mode: 'all' } }))],
    ['two lists of tools', text(both({ tools: { allow: ['exec'] } }, { tools: { allow: ['read'] } }))],
    [
      'the agents of two bindings',
      before
        .replace('"agentId": "main"', '"agentId": "X"')
        .replace('"agentId": "public"', '"agentId": "main"')
        .replace('"agentId": "X"', '"agentId": "public"'),
    ],
    ['the names of all', text(both({}, {}, ['public', 'main']))],
    [
      'two agents, whole',
      text({ ...both({}, {}), agents: { ...both({}, {}).agents, list: both({}, {}).agents.list.reverse() } }),
    ],
    [
      'the names of two entries',
      before
        .replace(/"main": \{/, '"X": {')
        .replace(/"public": \{/, '"main": {')
        .replace('"X": {', '"public": {'),
    ],
  ]
  // No comma between two settings, far from what is swapped.
  const broken = (whole: string) => whole.replace('"mode": "local",', '"mode": "local"')

  test.each(swaps)('%s: refused, also in a config that cannot be parsed', (_what, after) => {
    expect(JSON.parse(after)).not.toEqual(JSON.parse(before))
    expect(refusal(before, after)).toBeDefined()
    expect(refusal(before, after, before)).toBeDefined()
    expect(() => JSON5.parse(broken(before))).toThrow()
    expect(refusal(broken(before), after)).toBeDefined()
    expect(refusal(broken(before), after, before)).toBeDefined()
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
    const plain = (names: unknown[]) => text({ ...parsed(), agents: { list: names } })
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
  const text = JSON.stringify(config)
  const set = (path: string, value: string, known?: string) =>
    refusal(text, JSON.stringify(configWith(config, path, value)), known)
  const unset = (path: string, known?: string) => refusal(text, JSON.stringify(configWithout(config, path)), known)

  test.each([
    ['channels.matrix.homeserver', 'https://evil.example'],
    ['channels.nostr.relays', '["wss://evil.example"]'],
    ['channels.irc.server', 'evil.example'],
    ['channels.googlechat.audience', 'x'],
    ['channels.discord.actions.moderation', 'true'],
    ['channels.telegram.actions.deleteMessage', 'true'],
    ['session.maintenance.maxDiskBytes', '1'],
    ['session.maintenance.resetArchiveRetention', '1s'],
    ['session.store', '/tmp/x'],
    ['cron.sessionRetention', '1s'],
    ['cron.store', '/tmp/x'],
    ['cron.enabled', 'true'],
    ['cron.jobs', '[{ "at": "1m" }]'],
    ['agents.defaults.heartbeat.every', '1m'],
    ['agents.defaults.heartbeat.model', 'a/b'],
    ['agents.defaults.cwd', '/'],
    ['transcripts.enabled', 'true'],
    ['gateway.discovery.wideArea.enabled', 'true'],
    ['gateway.mode', 'remote'],
    ['models.providers.x.models', '[{"agentRuntime": {"id": "shell"}}]'],
  ])('%s may not become %s', (path, value) => {
    expect(set(path, value)).toMatch(/^(?:security|not-allowed): /)
  })

  test.each([
    ['gateway.mode', 'local'],
    ['gateway.port', String(PORT)],
    ['cron.enabled', 'false'],
    ['transcripts.enabled', 'false'],
    ['logging.consoleLevel', 'debug'],
    ['agents.defaults.model.fallbacks', '["a/b", "c/d"]'],
    ['agents.defaults.models', '{ "a/b.c": {} }'],
    ['agents.defaults.timeoutSeconds', '600'],
    ['agents.defaults.maxConcurrent', '2'],
    ['models.providers.x.timeoutSeconds', '60'],
    ['messages.inbound.debounceMs', '10'],
  ])('%s may become %s', (path, value) => {
    expect(set(path, value)).toBeUndefined()
  })

  test('a value that stood there when the gateway last booted may come back, and no other', () => {
    const known = JSON.stringify({ ...config, session: { store: '/b', dmScope: 'main' }, cron: { enabled: true } })
    expect(set('session.store', '/b', known)).toBeUndefined()
    expect(set('session.store', '/c', known)).toMatch(/not-allowed/)
    expect(set('session.dmScope', 'main', known)).toMatch(/security/)
    expect(set('cron.enabled', 'true', known)).toMatch(/security/)
  })

  test('what OpenClaw does not know may be removed; of what it knows only what a default replaces without harm', () => {
    expect(unset('legacy')).toBeUndefined()
    expect(unset('agents.defaults.bogus')).toBeUndefined()
    expect(unset('messages.queue.mode')).toBeUndefined()
    for (const path of ['cron.enabled', 'session.store', 'agents.defaults.heartbeat.every', 'cron.bogus'])
      expect(unset(path), path).toMatch(/not-allowed/)
    const known = JSON.stringify({ ...config, session: { store: '/a' }, cron: {} })
    expect(unset('session.bogus', known)).toBeUndefined()
    expect(unset('session.store', known)).toMatch(/not-allowed/)
    expect(unset('cron.enabled', known)).toMatch(/not-allowed/)
  })

  test('a whole section is not thrown away, unless the gateway last booted without it', () => {
    for (const path of ['agents', 'session', 'messages', 'logging']) expect(unset(path), path).toBeDefined()
    const { messages: _messages, ...known } = config
    expect(unset('messages', JSON.stringify(known))).toBeUndefined()
  })
})

test('what protects a gateway is recognised in real paths of its config, what tunes it is not', () => {
  for (const path of [
    'gateway.auth.mode gateway.bind gateway.tls.enabled gateway.tailscale.mode gateway.controlUi.allowedOrigins gateway.trustedProxies',
    'gateway.nodes.pairing.autoApproveCidrs channels.discord.guilds.1.users channels.whatsapp.dmPolicy channels.slack.botToken',
    'tools.exec.security agents.defaults.sandbox.mode agents.list.tools.elevated.enabled models.providers.openai.apiKey',
    'models.providers.openai.baseUrl commands.restart hooks.token mcp.servers.x.command env.vars.PATH plugins.load.paths',
    'approvals.exec.enabled security.installPolicy.enabled session.dmScope logging.file logging.redactPatterns browser.enabled',
  ].flatMap((line) => line.split(' '))) {
    expect(isProtected(path.split('.')), path).toBe(true)
  }
  for (const path of [
    'gateway.mode gateway.reload.mode logging.level agents.defaults.model.primary agents.defaults.timeoutSeconds session.reset.mode',
    'agents.defaults.maxConcurrent messages.queue.mode ui.seamColor agents.defaults.thinkingDefault channels.telegram.streaming.mode',
  ].flatMap((line) => line.split(' '))) {
    expect(isProtected(path.split('.')), path).toBe(false)
  }
})

test('the secrets of a config are known even when it cannot be parsed', () => {
  const broken = CONFIG_TEXT.replace('"gateway": {', '"gateway": ')
  expect(configSecrets(CONFIG_TEXT).sort()).toEqual(['planted-bot-token-3', 'planted-gateway-token-1'])
  expect(configSecrets(broken).sort()).toEqual(['planted-bot-token-3', 'planted-gateway-token-1'])
})

test('`openclaw config set` may put back what the known-good config says, as Edit may', async () => {
  const at = guardHome()
  onTestFinished(at.remove)
  const knownGoodPath = join(at.home, 'known-good.json')
  writeFileSync(knownGoodPath, '{ "messages": { "queue": { "mode": "collect" } } }')
  const decide = (value: string) =>
    judge(
      { tool: 'Bash', input: { command: `openclaw config set messages.queue.mode ${value}` } },
      { ...at.world, knownGoodPath },
    )
  expect(await decide('collect')).toMatchObject({ allow: true, rule: 'edit-config' })
  expect(await decide('interrupt')).toMatchObject({ allow: false })
})
