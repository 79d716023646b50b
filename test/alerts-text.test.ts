import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Alert } from '../lib/alerts/alert.ts'
import { discordContent } from '../lib/alerts/discord.ts'
import { codeBlock, codeSpan, cut, defuse } from '../lib/alerts/safe-text.ts'
import { clockTime, duration } from '../lib/alerts/time-words.ts'

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
  kind: fc.constantFrom('failure', 'update', 'test'),
  writtenAt: fc.constantFrom(new Date().toISOString(), 'never', new Date(0).toISOString()),
  host: nasty,
  title: nasty.map((text) => `x${text}`),
  whys: fc.array(nasty, { maxLength: 12 }),
  downSince: fc.option(fc.constant(new Date().toISOString()), { nil: undefined }),
  verdict: fc.option(nasty, { nil: undefined }),
  evidence: fc.option(nasty, { nil: undefined }),
  tried: fc.array(fc.record({ who: nasty, what: nasty }), { maxLength: 4 }),
  todo: fc.array(nasty, { maxLength: 3 }),
  log: fc.option(fc.record({ path: nasty, lines: fc.array(nasty, { maxLength: 40 }) }), { nil: undefined }),
})

/** Text that Discord would read: outside of code, and with the invisible spaces that break mentions. */
const isWellFormed = (text: string) => !/[\ud800-\udfff]/u.test(text)

test('any alert whatever becomes a message that Discord takes: not empty, at most 2000 characters, whole characters', () => {
  fc.assert(
    fc.property(alerts, fc.boolean(), (alert, mayBeRepetition) => {
      const content = discordContent(alert, { now: new Date(), mayBeRepetition })
      expect(content.trim()).not.toBe('')
      expect(content.length).toBeLessThanOrEqual(2000)
      expect(isWellFormed(content)).toBe(true)
      expect(JSON.parse(JSON.stringify({ content }))).toEqual({ content })
    }),
    { numRuns: 500 },
  )
})

test('no text from outside can ping anybody', () => {
  fc.assert(
    fc.property(alerts, (alert) => {
      const content = discordContent(alert, { now: new Date(), mayBeRepetition: false })
      expect(content).not.toMatch(/@everyone|@here|<@|<#|<\/x|<!/i)
    }),
    { numRuns: 300 },
  )
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

test('a late alert says from when it is', () => {
  const now = new Date('2026-11-22T12:00:00Z')
  const alert: Alert = {
    kind: 'failure',
    writtenAt: '2026-11-22T09:00:00Z',
    host: 'h',
    title: 't',
    whys: [],
    tried: [],
    todo: [],
  }
  expect(discordContent(alert, { now, mayBeRepetition: false })).toContain('it could not be sent for 3 h')
})

test('times and durations are short, and another day is named', () => {
  const now = new Date('2026-11-22T12:00:00Z')
  expect(clockTime(now, now)).toMatch(/^\d\d:\d\d$/)
  expect(clockTime(new Date('2026-11-20T12:00:00Z'), now)).toMatch(/^2026-11-20 \d\d:\d\d$/)
  expect([59, 600, 7200, 90_000, 864_000].map(duration)).toEqual(['59 s', '10 min', '2 h', '25 h', '10 days'])
})
