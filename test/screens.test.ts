/** Recorded screens of three releases of Claude Code are read as what they are. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findOption, type Option, readScreen, type Screen, stepsTo } from '../lib/doctor/screens.ts'

const folder = join(import.meta.dirname, 'fixtures', 'screens')
const screen = (name: string) => readScreen(readFileSync(join(folder, `${name}.txt`), 'utf8'))
const options = (labels: string[], highlighted: number): Option[] =>
  labels.map((label, i) => ({ label, highlighted: i === highlighted }))

/** For every kind of recorded screen: what it must be read as, whatever the release. */
const EXPECTED: Record<string, Partial<Screen>> = {
  trust: { kind: 'trust' },
  'trust-yes': { kind: 'trust' },
  'api-key': { kind: 'api-key', options: options(['Yes', 'No (recommended)'], 1) },
  'settings-error': { kind: 'settings-refused' },
  'onboarding-theme': { kind: 'onboarding' },
  'login-at-first-run': { kind: 'trouble', trouble: 'login' },
  'login-in-browser': { kind: 'trouble', trouble: 'login' },
  login: { kind: 'trouble', trouble: 'login' },
  'unreachable-at-first-run': { kind: 'trouble', trouble: 'service' },
  'permission-question': { kind: 'permission' },
  ready: { kind: 'ready' },
  working: { kind: 'working' },
  'turn-ended': { kind: 'ready' },
  'not-logged-in': { kind: 'ready', trouble: expect.objectContaining({ trouble: 'login' }) },
  'credit-too-low': { kind: 'ready', trouble: expect.objectContaining({ trouble: 'quota' }) },
  'rate-limit-retrying': { kind: 'working', retrying: expect.stringContaining('429') },
  'key-refused': { kind: 'working', retrying: expect.stringContaining('401') },
  'network-gone': { kind: 'working', retrying: expect.stringMatching(/connect/i) },
}

describe.each(['2.1.330', '2.0.77', '1.0.128'])('Claude Code %s', (release) => {
  const names = readdirSync(folder)
    .filter((name) => name.startsWith(release))
    .map((name) => name.slice(release.length + 1, -4))
    .filter((name) => name !== 'usage-limit' && name !== 'overloaded')
  test.each(names)('its screen "%s" is recognised', (name) => {
    expect(EXPECTED, 'an expectation for this recording').toHaveProperty([name])
    expect(screen(`${release}-${name}`)).toMatchObject(EXPECTED[name]!)
  })

  test('a used-up quota is recognised', () => {
    const seen = screen(`${release}-usage-limit`)
    const trouble = seen.kind === 'ready' ? seen.trouble : seen
    expect(trouble).toMatchObject({ trouble: 'quota', detail: expect.stringMatching(/limit/i) })
  })

  test('a finished turn is no failure', () => {
    expect(screen(`${release}-turn-ended`)).not.toHaveProperty('trouble')
    expect(screen(`${release}-ready`)).not.toHaveProperty('trouble')
  })
})

test('an overloaded service is told from a doctor who has finished', () => {
  expect(screen('2.1.330-overloaded')).toMatchObject({ kind: 'ready', trouble: { trouble: 'service' } })
  expect(screen('2.0.77-overloaded')).toMatchObject({ kind: 'working', retrying: expect.stringContaining('529') })
  expect(screen('1.0.128-overloaded')).toMatchObject({ kind: 'working', retrying: expect.stringContaining('529') })
})

test('the trust question of today is answered by going down to Yes, the older one by staying there', () => {
  const steps = (name: string) => {
    const seen = screen(name)
    if (seen.kind !== 'trust') throw new Error(`read as ${seen.kind}`)
    return stepsTo(seen.options, findOption(seen.options, /yes|trust|proceed/i)!)
  }
  expect(steps('2.1.330-trust')).toBe(1)
  expect(steps('2.1.330-trust-yes')).toBe(0)
  expect(steps('2.0.77-trust')).toBe(0)
  expect(steps('1.0.128-trust')).toBe(0)
})

test('of two questions on one screen the lower one counts', () => {
  expect(screen('1.0.128-trust')).toEqual({ kind: 'trust', options: options(['Yes, proceed', 'No, exit'], 0) })
})

test('the settings that were refused are named', () => {
  expect(screen('2.0.77-settings-error')).toMatchObject({ detail: expect.stringContaining('StopFailure: Invalid key') })
})

const box = (above: string) =>
  `${above}\n\n${'─'.repeat(80)}\n❯ \n${'─'.repeat(80)}\n  ⏵⏵ don't ask on (shift+tab to cycle)\n`

test('what a tool printed or the doctor says about limits and logins is no failure of Claude Code', () => {
  for (const above of [
    "● Bash(tail gateway.log)\n  ⎿  You've hit your limit · resets 3am\n     Please run /login",
    '● The gateway was refused with 429 rate limit; OAuth token has expired. I am done.',
    '● Bash(cat log)\n  ⎿  API Error: 401\n\n● Done: the API Error: 401 in the log was old.',
    '  429 in pid 14292 limit reached',
  ])
    expect(readScreen(box(above))).toEqual({ kind: 'ready', input: '' })
})

test('a log line about interrupting does not look like work', () => {
  expect(readScreen(box('● Bash(cat log)\n  ⎿  press esc to interrupt'))).toMatchObject({ kind: 'ready' })
})

test('noise is unknown, never ready', () => {
  for (const noise of [
    '',
    'claude: command not found',
    '$ ',
    '❯ ',
    '─'.repeat(100),
    `${'─'.repeat(80)}\nfoo\n${'─'.repeat(80)}`,
  ])
    expect(readScreen(noise).kind).toBe('unknown')
})

test('text in the input box is given back', () => {
  const text = `hello\n${'─'.repeat(80)}\n❯ first line\n  second line\n${'─'.repeat(80)}\n  ? for shortcuts`
  expect(readScreen(text)).toEqual({ kind: 'ready', input: 'first line\nsecond line' })
})
