import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Alert } from '../lib/alerts/alert.ts'
import { discordPayload } from '../lib/alerts/discord.ts'
import { mergeAlerts } from '../lib/alerts/merge.ts'
import { ntfyPayload } from '../lib/alerts/ntfy.ts'
import { codeBlock, codeSpan, cut, cutEscaped, defuse } from '../lib/alerts/safe-text.ts'
import { slackPayload } from '../lib/alerts/slack.ts'
import { telegramPayload } from '../lib/alerts/telegram.ts'
import { clockTime, duration } from '../lib/alerts/time-words.ts'
import { webhookPayload } from '../lib/alerts/webhook.ts'
import { readHtml } from './support/alert-services.ts'

const BLANK: Alert = {
  kind: 'failure',
  writtenAt: '2026-11-22T09:00:00Z',
  host: 'h',
  title: 't',
  lead: '',
  whys: [],
  tried: [],
  todo: [],
}

/** Texts as they come from a broken gateway: anything at all, with a taste for what breaks JSON, markup and limits. */
const nasty = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.string({ unit: 'grapheme', maxLength: 40 }),
      fc.constantFrom(
        '```',
        '`',
        '@everyone',
        '@here',
        '<@123>',
        '<@&1>',
        '<#5>',
        '</x:1>',
        '\\',
        '"',
        '\n',
        '\t',
        '\r',
      ),
      fc.constantFrom('\ud83d', '\ude80', '🚀', '\u0000', '\u001b[31m', '\u202e', '[x](http://y)', '$(tail -20 log)'),
      fc.integer({ min: 1, max: 3000 }).map((n) => 'x'.repeat(n)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''))

const alerts: fc.Arbitrary<Alert> = fc.record({
  kind: fc.constantFrom('failure', 'update', 'reminder', 'flapping', 'resolved', 'notice', 'several', 'test'),
  writtenAt: fc.constantFrom(new Date().toISOString(), 'never', new Date(0).toISOString()),
  host: nasty,
  title: nasty.map((text) => `x${text}`),
  lead: nasty,
  whys: fc.array(nasty, { maxLength: 30 }),
  downSince: fc.option(fc.constantFrom(new Date().toISOString(), 'never'), { nil: undefined }),
  verdict: fc.option(nasty, { nil: undefined }),
  evidence: fc.option(nasty, { nil: undefined }),
  tried: fc.array(fc.record({ who: nasty, what: nasty }), { maxLength: 4 }),
  finding: fc.option(nasty, { nil: undefined }),
  todo: fc.array(nasty, { maxLength: 3 }),
  log: fc.option(fc.record({ path: nasty, lines: fc.array(nasty, { maxLength: 40 }) }), { nil: undefined }),
})

const circumstances = (mayBeRepetition = false) => ({ now: new Date(), id: 'one', mayBeRepetition })

/** Every text of a message, and that it is whole characters. */
function textsOf(payload: object): string[] {
  const texts: string[] = []
  JSON.stringify(payload, (_, value) => {
    if (typeof value === 'string') texts.push(value)
    return value
  })
  for (const text of texts) expect(text).not.toMatch(/[\ud800-\udfff]/u)
  return texts
}

/** Any alert whatever, in this channel's form. */
function forAnyAlert(check: (alert: Alert, mayBeRepetition: boolean) => void): void {
  fc.assert(fc.property(alerts, fc.boolean(), check), { numRuns: 300 })
}

const within = (text: string | undefined, min: number, max: number) => {
  expect(text?.length ?? 0).toBeGreaterThanOrEqual(min)
  expect(text?.length ?? 0).toBeLessThanOrEqual(max)
}

test('any alert whatever becomes a message that Discord takes: 2000, 256, 4096, 1024 and 6000 characters at most', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const payload = discordPayload(alert, circumstances(mayBeRepetition))
    textsOf(payload)
    expect(payload.allowed_mentions).toEqual({ parse: [] })
    within(payload.content.trim(), 1, 2000)
    const [embed] = payload.embeds
    within(embed!.title.trim(), 1, 256)
    within(embed!.description, 0, 4096)
    within(embed!.footer.text, 1, 2048)
    expect(embed!.fields.length).toBeLessThanOrEqual(25)
    for (const { name, value } of embed!.fields) {
      within(name, 1, 256)
      within(value.trim(), 1, 1024)
    }
    const fields = embed!.fields.flatMap(({ name, value }) => [name, value])
    within([embed!.title, embed!.description, embed!.footer.text, ...fields].join(''), 1, 6000)
    if (embed!.timestamp) expect(new Date(embed!.timestamp).toISOString()).toBe(embed!.timestamp)
  })
})

test('any alert whatever becomes blocks that Slack takes: 150 and 3000 characters at most, none empty', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const payload = slackPayload(alert, circumstances(mayBeRepetition))
    textsOf(payload)
    within(payload.text.trim(), 1, 4000)
    for (const { type, text } of payload.blocks) within(text.text.trim(), 1, type === 'header' ? 150 : 3000)
    // What is left of `<` and `&` is only what Slack reads as these characters.
    for (const { text } of payload.blocks)
      if (text.type === 'mrkdwn') expect(text.text).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/)
  })
})

test('any alert whatever becomes a text that Telegram takes: 4096 characters at most, its markup whole', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const payload = telegramPayload(alert, circumstances(mayBeRepetition), '1')
    textsOf(payload)
    within(payload.text, 1, 4096)
    expect(readHtml(payload.text)?.trim()).toBeTruthy()
  })
})

test('any alert whatever becomes a notification that ntfy shows and does not turn into a file: 4096 bytes at most', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const payload = ntfyPayload(alert, circumstances(mayBeRepetition), 'topic')
    textsOf(payload)
    expect(Buffer.byteLength(payload.message)).toBeLessThanOrEqual(4096)
    within(payload.message.trim(), 1, 4096)
    within(payload.title.trim(), 1, 120)
  })
})

test('any alert whatever becomes JSON with a text of its own for other receivers', () => {
  forAnyAlert((alert, mayBeRepetition) => {
    const payload = webhookPayload(alert, circumstances(mayBeRepetition))
    within(payload.text.trim(), 1, 4000)
    expect(JSON.parse(JSON.stringify(payload))).toMatchObject({
      version: 1,
      id: 'one',
      kind: alert.kind,
      mayBeRepetition,
    })
  })
})

test('no text from outside can ping anybody', () => {
  const mention = /@everyone|@here|@channel|@all\b|<@|<#|<!|<\/x/i
  forAnyAlert((alert) => {
    const { content, embeds } = discordPayload(alert, circumstances())
    const slack = slackPayload(alert, circumstances())
    const ntfy = ntfyPayload(alert, circumstances(), 'topic')
    const others = [slack.text, ntfy.title, ntfy.message, webhookPayload(alert, circumstances()).text]
    for (const text of [content, ...textsOf(embeds), ...textsOf(slack.blocks), ...others])
      expect(text).not.toMatch(mention)
  })
})

test('outside of code nothing of a text from outside is left that Telegram would make a mention or a link of', () => {
  const alert: Alert = {
    ...BLANK,
    whys: ['@somebody https://evil.example t.me/x'],
    evidence: '@somebody',
    finding: '@somebody',
  }
  const { text } = telegramPayload(alert, circumstances(), '1')
  expect(text.replace(/<(code|pre)>[\s\S]*?<\/\1>/g, '')).not.toMatch(/somebody|evil/)
})

test('no text from outside can end the code block in which the log is shown', () => {
  fc.assert(
    fc.property(fc.array(nasty, { maxLength: 30 }), fc.integer({ min: 0, max: 2000 }), (lines, max) => {
      const block = codeBlock(lines, max)
      expect(block.length).toBeLessThanOrEqual(max)
      if (block === '') return
      expect(block.startsWith('```\n') && block.endsWith('\n```')).toBe(true)
      expect(block.slice(3, -3)).not.toContain('`')
    }),
    { numRuns: 300 },
  )
})

test('a code span is one line and holds no backtick', () => {
  fc.assert(
    fc.property(nasty, fc.integer({ min: 3, max: 300 }), (text, max) => {
      const span = codeSpan(text, max)
      expect(span.length).toBeLessThanOrEqual(max)
      expect(span).toMatch(/^`[^`\n]+`$/)
    }),
    { numRuns: 300 },
  )
})

test('the end of the log is what is shown, not its beginning', () => {
  const lines = Array.from({ length: 100 }, (_, i) => `line ${i}`)
  const block = codeBlock(lines, 100)
  expect(block).toContain('line 99')
  expect(block).not.toContain('line 1\n')
})

test('one overlong line at the end of the log is shown cut rather than not at all', () => {
  expect(codeBlock(['short', 'y'.repeat(5000)], 200)).toMatch(/^```\ny+…\n```$/)
})

test('cutting never leaves half a character', () => {
  expect(cut('ab🚀cd', 4)).toBe('ab…')
  expect(cut('ab🚀cd', 5)).toBe('ab🚀…')
  expect(cut('abc', 3)).toBe('abc')
})

test('what would be resolved is broken invisibly, and everything else stays as it is', () => {
  expect(defuse('mail me@example.org, 1 < 2, a<b')).toBe('mail me@example.org, 1 < 2, a<b')
  expect(defuse('<@1> @everyone')).toBe('<\u200b@1> @\u200beveryone')
})

test('escaping is counted: what is cut to a length has that length when it is escaped', () => {
  const escapeAmp = (text: string) => text.replaceAll('&', '&amp;')
  expect(cutEscaped('&&&&', 20, escapeAmp)).toBe('&amp;&amp;&amp;&amp;')
  expect(cutEscaped('&&&&', 12, escapeAmp)).toBe('&amp;&amp;…')
  fc.assert(
    fc.property(nasty, fc.integer({ min: 0, max: 500 }), (text, max) => {
      const result = cutEscaped(text, max, escapeAmp)
      expect(result.length).toBeLessThanOrEqual(max)
      expect(result).not.toMatch(/&(?!amp;)/)
    }),
  )
})

test('a late alert says from when it is', () => {
  const now = new Date('2026-11-22T12:00:00Z')
  expect(discordPayload(BLANK, { now, id: '', mayBeRepetition: false }).content).toContain('could not be sent for 3 h')
})

test('alerts that had to wait become one message that tells each, and the open trouble in full', () => {
  const now = new Date('2026-11-22T12:00:00Z')
  const log = { path: '/l', lines: ['the end'] }
  const first: Alert = { ...BLANK, title: 'needs you', whys: ['port taken'], todo: ['do this'], log }
  const reminder: Alert = { ...BLANK, kind: 'reminder', title: 'still needs you', whys: ['port taken'], log }
  const resolved: Alert = {
    ...BLANK,
    kind: 'resolved',
    title: 'is back',
    lead: 'By level 2.',
    writtenAt: now.toISOString(),
  }
  expect(mergeAlerts([first], now)).toBe(first)

  const open = mergeAlerts([first, reminder], now)
  expect(open).toMatchObject({ kind: 'several', log, writtenAt: first.writtenAt })
  expect(open.title).toBe('2 messages about OpenClaw on h; the last: still needs you')
  expect(open.whys).toEqual([
    expect.stringMatching(/🚨 needs you: port taken$/),
    expect.stringMatching(/⏰ still needs you/),
  ])

  const over = mergeAlerts([first, resolved], now)
  expect(over).toMatchObject({ kind: 'resolved', todo: [] })
  expect(over.log).toBeUndefined()
  expect(over.whys.at(-1)).toMatch(/✅ is back: By level 2\.$/)
})

test('times and durations are short, and another day is named', () => {
  const now = new Date('2026-11-22T12:00:00Z')
  expect(clockTime(now, now)).toMatch(/^\d\d:\d\d$/)
  expect(clockTime(new Date('2026-11-20T12:00:00Z'), now)).toMatch(/^2026-11-20 \d\d:\d\d$/)
  expect([59, 600, 7200, 90_000, 864_000].map(duration)).toEqual(['59 s', '10 min', '2 h', '25 h', '10 days'])
})
