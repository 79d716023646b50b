/** Edits of the gateway's config, judged by what changes. */
import fc from 'fast-check'
import JSON5 from 'json5'
import { describe, expect, test } from 'vitest'
import { Refused } from '../lib/doctor/guard.ts'
import { type ConfigEdit, configSecrets, isProtected, judgeConfigText } from '../lib/doctor/guard-config.ts'
import { CONFIG_TEXT } from './support/guard-world.ts'

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
