/** Any text whatever becomes a message that every service takes, and that can ping and format nothing. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Alert, mergeAlerts } from '../../lib/alerts/alert.ts'
import { webhookPayload } from '../../lib/alerts/channels.ts'
import { discordPayload } from '../../lib/alerts/discord.ts'
import { ntfyMessage } from '../../lib/alerts/ntfy.ts'
import { codeBlock, codeSpan } from '../../lib/alerts/safe-text.ts'
import { slackPayload } from '../../lib/alerts/slack.ts'
import { telegramText } from '../../lib/alerts/telegram.ts'
import { readHtml } from '../support/alert-services.ts'

const BLANK: Alert = {
  ...{
    kind: 'failure',
    writtenAt: '2026-11-22T09:00:00Z',
    host: 'h',
    title: 't',
    lead: '',
    whys: [],
    tried: [],
    todo: [],
  },
}

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
  kind: fc.constantFrom('failure', 'update', 'reminder', 'flapping', 'resolved', 'notice', 'several', 'test', 'digest'),
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

function forAnyAlert(check: (alert: Alert, mayBeRepetition: boolean) => void): void {
  fc.assert(fc.property(alerts, fc.boolean(), check), { numRuns: 300 })
}

/** Every text of a message; each is whole characters. */
function textsOf(payload: object | string): string[] {
  const texts: string[] = []
  JSON.stringify(payload, (_, value) => {
    if (typeof value === 'string') texts.push(value)
    return value
  })
  for (const text of texts) expect(text).not.toMatch(/[\ud800-\udfff]/u)
  return texts
}

const within = (text: string | undefined, min: number, max: number) => {
  expect(text?.trim().length ?? 0).toBeGreaterThanOrEqual(min)
  expect(text?.length ?? 0).toBeLessThanOrEqual(max)
}
const MENTION = /@everyone|@here|@channel|@all\b|<@|<#|<!|<\/x/i

test('Discord: 2000, 256, 4096, 1024 and 6000 characters at most, no mentions', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const payload = discordPayload(alert, circumstances(mayBeRepetition))
    for (const text of textsOf(payload)) expect(text).not.toMatch(MENTION)
    expect(payload.allowed_mentions).toEqual({ parse: [] })
    within(payload.content, 1, 2000)
    const embed = payload.embeds[0]!
    within(embed.title, 1, 256)
    within(embed.description, 0, 4096)
    within(embed.footer.text, 1, 2048)
    for (const { name, value } of embed.fields) {
      within(name, 1, 256)
      within(value, 1, 1024)
    }
    const fields = embed.fields.flatMap(({ name, value }) => [name, value])
    within([embed.title, embed.description, embed.footer.text, ...fields].join(''), 1, 6000)
    if (embed.timestamp) expect(new Date(embed.timestamp).toISOString()).toBe(embed.timestamp)
  })
})

test('Slack: 150 and 3000 characters at most, none empty, no markup', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const payload = slackPayload(alert, circumstances(mayBeRepetition))
    for (const text of textsOf(payload)) expect(text).not.toMatch(MENTION)
    within(payload.text, 1, 4000)
    for (const { type, text } of payload.blocks) within(text.text, 1, type === 'header' ? 150 : 3000)
    // What is left of `<` and `&` is only what Slack reads as these characters.
    for (const { text } of payload.blocks)
      if (text.type === 'mrkdwn') expect(text.text).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/)
  })
})

test('Telegram: 4096 characters at most, its markup whole, text from outside in code alone', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const text = telegramText(alert, circumstances(mayBeRepetition))
    textsOf(text)
    within(text, 1, 4096)
    expect(readHtml(text)?.trim()).toBeTruthy()
  })
  const outside = { whys: ['@somebody https://evil.example'], evidence: '@somebody', finding: '@somebody' }
  const text = telegramText({ ...BLANK, ...outside }, circumstances())
  expect(text.replace(/<(code|pre)>[\s\S]*?<\/\1>/g, '')).not.toMatch(/somebody|evil/)
})

test('ntfy: 4096 bytes at most, else it would be a file; JSON: a text of its own', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const ntfy = ntfyMessage(alert, circumstances(mayBeRepetition))
    expect(Buffer.byteLength(ntfy.message)).toBeLessThanOrEqual(4096)
    within(ntfy.message, 1, 4096)
    within(ntfy.title, 1, 120)
    const webhook = webhookPayload(alert, circumstances(mayBeRepetition))
    within(webhook.text, 1, 4000)
    for (const text of [...textsOf(ntfy), ...textsOf(webhook.text)]) expect(text).not.toMatch(MENTION)
    expect(JSON.parse(JSON.stringify(webhook))).toMatchObject({
      version: 1,
      id: 'one',
      kind: alert.kind,
      mayBeRepetition,
    })
  })
})

test('no text from outside can end its code; of a log the end is shown, of one overlong line its beginning', () => {
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
  expect(codeBlock(lines, 100)).toMatch(/line 99\n```$/)
  expect(codeBlock(['short', 'y'.repeat(5000)], 200)).toMatch(/^```\ny+…\n```$/)
})

const now = new Date('2026-11-22T12:00:00Z')
const failed = (scope: Alert['scope'], title = `${scope} needs you`): Alert => ({
  ...BLANK,
  ...{
    scope,
    title,
    whys: ['port taken'],
    verdict: 'impostor',
    todo: ['do this'],
    log: { path: '/l', lines: ['end'] },
  },
})
const isWell = (scope: Alert['scope']): Alert => ({ ...BLANK, kind: 'resolved', scope, title: `${scope} is back` })
const notice: Alert = { ...BLANK, kind: 'notice', title: 'noticed', whys: ['config rolled back'] }

test('alerts that had to wait are one message: what is open in full, what is over wakes no one', () => {
  expect(discordPayload(BLANK, circumstances(false, now)).content).toContain('could not be sent for 3 h')
  expect(mergeAlerts([failed('gateway')], now)).toEqual(failed('gateway'))
  const open = mergeAlerts([failed('watchers'), failed('gateway'), isWell('watchers')], now)
  expect(open).toMatchObject({ kind: 'several', verdict: 'impostor', todo: ['do this'], log: { path: '/l' } })
  expect(open.title).toBe('3 messages about OpenClaw on h; above all: gateway needs you')
  expect(open.whys.at(-1)).toMatch(/✅ watchers is back$/)
  const over = mergeAlerts([failed('gateway'), isWell('gateway'), notice], now)
  expect(over).toMatchObject({
    kind: 'resolved',
    todo: [],
    title: expect.stringContaining('above all: gateway is back'),
  })
  expect(over.log).toBeUndefined()
  const again = mergeAlerts([failed('gateway'), isWell('gateway'), failed('gateway', 'again')], now)
  expect(again).toMatchObject({ kind: 'several', title: '3 messages about OpenClaw on h; the last: again' })
})
