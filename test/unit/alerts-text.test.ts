/** Any text whatever becomes a message that every service takes, and that can ping and format nothing. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Alert, codeBlock, codeSpan, mergeAlerts } from '../../lib/alerts/alert.ts'
import { configuredChannels } from '../../lib/alerts/channels.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { answerOf, settingsFor } from '../support/alert-services.ts'
import { type DiscordMessage, problemsOf } from '../support/webhook-receiver.ts'

const KINDS = ['failure', 'update', 'reminder', 'flapping', 'resolved', 'notice', 'several', 'test', 'digest'] as const
const NOTHING = { lead: '', whys: [], tried: [], todo: [] }
const BLANK: Alert = { ...NOTHING, kind: 'failure', writtenAt: '2026-11-22T09:00:00Z', host: 'h', title: 't' }

/** Texts as they come from a broken gateway: anything at all, with a taste for what breaks JSON, markup and limits. */
const MARKUP = ['```', '`', '@everyone', '@here', '<@123>', '<@&1>', '<#5>', '</x:1>', '\\', '"', '\n', '\t', '\r', '&']
const ODD = ['\ud83d', '\ude80', '🚀', '\u0000', '\u001b[31m', '\u202e', '[x](http://y)', '$(tail -20 log)']
const piece = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom(...MARKUP, ...ODD),
  fc.integer({ min: 1, max: 3000 }).map((n) => 'x'.repeat(n)),
)
const nasty = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''))
const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const time = fc.constantFrom(new Date().toISOString(), 'never', new Date(0).toISOString())

const alerts: fc.Arbitrary<Alert> = fc.record({
  kind: fc.constantFrom(...KINDS),
  writtenAt: time,
  host: nasty,
  title: nasty.map((text) => `x${text}`),
  lead: nasty,
  whys: fc.array(nasty, { maxLength: 30 }),
  downSince: option(time),
  lastHealthy: option(time),
  verdict: option(nasty),
  evidence: option(nasty),
  tried: fc.array(fc.record({ who: nasty, what: nasty }), { maxLength: 4 }),
  finding: option(nasty),
  todo: fc.array(nasty, { maxLength: 3 }),
  log: option(fc.record({ path: nasty, lines: fc.array(nasty, { maxLength: 40 }) })),
})
const circumstances = (mayBeRepetition = false, now = new Date()) => ({ now, id: 'one', mayBeRepetition })

const env = { HOME: '/nowhere', DISCORD_WEBHOOK_URL: 'https://host/discord', ...settingsFor('https://host') }
const channels = configuredChannels(loadSettings(env))
const [discord, , telegram] = channels

test.each(channels)('$name takes any alert, and no text of it pings', ({ name, url, headers, payload }) => {
  const isMention = /@everyone|@here|@channel|@all\b|<@|<#|<!|<\/x/i
  const sent = { 'content-type': 'application/json', authorization: headers?.Authorization }
  const asked = { method: 'POST', url: new URL(url).pathname, headers: sent }
  const check = (alert: Alert, mayBeRepetition: boolean) => {
    const { text: plain, ...rest } = payload(alert, circumstances(mayBeRepetition)) as { text?: string }
    // The other fields of the plain webhook are for programs.
    const text = JSON.stringify(name === 'webhook' ? { text: plain } : { text: plain, ...rest })
    expect(text).not.toMatch(isMention)
    if (name === 'Discord') expect(problemsOf(rest as DiscordMessage)).toEqual([])
    else expect(answerOf(asked, text)).toMatchObject({ status: 200 })
  }
  fc.assert(fc.property(alerts, fc.boolean(), check), { numRuns: 300 })
})

test('in Telegram text from outside stands in code alone', () => {
  const outside = { whys: ['@somebody `https://evil.example`'], evidence: '@somebody', finding: '@somebody' }
  const log = { path: '/@somebody', lines: ['@somebody', 'it said ```@somebody'] }
  const { text } = telegram!.payload({ ...BLANK, ...outside, log }, circumstances()) as { text: string }
  expect(text.replace(/<(code|pre)>[\s\S]*?<\/\1>/g, '')).not.toMatch(/somebody|evil/)
})

test('no text from outside can end its code; of a log the end is shown', () => {
  fc.assert(
    fc.property(fc.array(nasty, { maxLength: 30 }), fc.integer({ min: 3, max: 2000 }), (lines, max) => {
      const [block, span] = [codeBlock(lines, max), codeSpan(lines.join('\n'), max)]
      expect(Math.max(block.length, span.length)).toBeLessThanOrEqual(max)
      expect(block).toMatch(/^(?:```\n[^`]*\n```)?$/)
      expect(span).toMatch(/^`[^`\n]+`$/)
    }),
    { numRuns: 300 },
  )
  const lines = Array.from({ length: 100 }, (_, i) => `line ${i}`)
  expect(codeBlock(lines, 100)).toMatch(/^```\nline \d\d\n[\s\S]*line 99\n```$/)
  expect(codeBlock(['y'.repeat(5000)], 400)).toMatch(/^```\ny+…\n```$/)
})

const now = new Date('2026-11-22T12:00:00Z')
const LOG = { path: '/l', lines: ['end'] }
const failed = (scope: Alert['scope']): Alert => ({
  ...BLANK,
  scope,
  title: `${scope} is down`,
  verdict: 'hung',
  log: LOG,
})
const isWell = (scope: Alert['scope']): Alert => ({ ...BLANK, kind: 'resolved', scope, title: `${scope} is back` })

test('alerts that had to wait are one message: what is open in full, what is over wakes no one', () => {
  const late = { content: expect.stringContaining('could not be sent for 3 h') }
  expect(discord!.payload(BLANK, circumstances(false, now))).toMatchObject(late)
  expect(mergeAlerts([failed('gateway')], now)).toEqual(failed('gateway'))
  const open = mergeAlerts([failed('watchers'), failed('gateway'), isWell('watchers')], now)
  expect(open).toMatchObject({ kind: 'several', verdict: 'hung', log: LOG })
  expect(open.title).toBe('3 messages about OpenClaw on h; above all: gateway is down')
  expect(open.whys.at(-1)).toMatch(/✅ watchers is back$/)
  const over = mergeAlerts([failed('gateway'), isWell('gateway'), { ...BLANK, kind: 'notice' }], now)
  expect(over).toMatchObject({ kind: 'resolved', title: expect.stringContaining('above all: gateway is back') })
  expect(over.log).toBeUndefined()
})
