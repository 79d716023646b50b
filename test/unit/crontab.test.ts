/** Our block in the user's crontab, and the templates' quoting: pure functions of text. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cronLines, filledTemplate } from '../../lib/install/plan.ts'
import { cronTiers, withBlock, withoutBlock } from '../../lib/services/cron.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { parsePlist } from '../support/plist.ts'

const settings = loadSettings({ HOME: '/home/alice' })
const facts = (root: string, environment: Record<string, string> = {}) => ({ settings, root, environment })
const lines = cronLines(facts('/home/alice/openclaw-self-healing'), false)

/** Crontabs as bytes (latin1), with pieces that look like ours among them. */
const RUNS_TIER = '*/5 * * * * sh /x/scripts/run-tier.sh gateway-watchdog'
const likeOurs = fc.constantFrom('# BEGIN openclaw', '# END openclaw-self-healing-x', RUNS_TIER)
const anyBytes = fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('latin1'))
const crontabs = fc
  .array(fc.oneof(likeOurs, anyBytes))
  .map((parts) => parts.map((part) => `${part.replaceAll('\n', ' ')}\n`).join(''))

describe('the crontab block', () => {
  const all = withBlock('', lines)
  test.each<[what: string, damage: (text: string) => string]>([
    ['the end marker is gone', (text) => text.replace('# END openclaw-self-healing\n', '')],
    ['only the markers are left', (text) => text.replace(/^.*run-tier.*\n/gm, '')],
    ['lines have blanks behind them', (text) => text.replaceAll('healing\n', 'healing  \n')],
    ['one of ours is commented out', (text) => text.replace(/^\*\/5(.*monitor)/m, '# */5$1')],
    ['it stands twice', (text) => text.replace(all, all + all)],
  ])('is taken out and nothing with it when %s', (_, damage) => {
    const rest = 'MAILTO=me\n0 1 * * * echo hi\n'
    expect(withoutBlock(damage(withBlock(rest, lines)))).toBe(rest)
  })

  test('the tiers that a crontab starts are read back from it', () => {
    expect(cronTiers(all)).toEqual(['monitor', 'guardian'])
    const four = ['watchdog', 'healthcheck', 'monitor', 'guardian']
    expect(cronTiers(withBlock('', cronLines(facts("/it's 100% ours"), true)))).toEqual(four)
    expect(cronTiers(all.replace(/^\*/gm, '# *'))).toEqual([])
    expect(cronTiers('0 1 * * * echo hi\n')).toEqual([])
  })

  test('every profile has its own, which come and go without moving another or a byte of the rest', () => {
    const names = ['default', 'work', 'a-b', 'Z_9']
    const block = (profile: string) =>
      cronLines(facts('/x', profile === 'default' ? {} : { OPENCLAW_PROFILE: profile }), false)
    fc.assert(
      fc.property(crontabs, fc.shuffledSubarray(names, { minLength: 2 }), (text, some) => {
        const put = (before: string, profile: string) => withBlock(before, block(profile), profile)
        const all = some.reduce(put, text)
        // A second installation of any changes nothing, one from elsewhere replaces it.
        const others = cronLines(facts('/somewhere/else'), true)
        for (const profile of some) {
          expect(put(all, profile)).toBe(all)
          expect(put(withBlock(all, others, profile), profile)).toBe(put(withoutBlock(all, profile), profile))
          expect(cronTiers(all.slice(0, all.length - text.length), profile)).toEqual(['monitor', 'guardian'])
        }
        expect(some.reduce((rest, profile) => withoutBlock(rest, profile), all)).toBe(text)
        const [gone, ...left] = some
        expect(withoutBlock(all, gone)).toBe(left.reduce(put, text))
      }),
      { numRuns: 100 },
    )
  })
})

describe('the templates', () => {
  /** Anything that a path or a variable may hold: no line breaks, no NUL. */
  const texts = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[\p{C}\r\n]/u.test(text))

  test('a LaunchAgent says exactly the given launcher and environment', () => {
    fc.assert(
      fc.property(texts, texts, (root, value) => {
        const text = filledTemplate('launchagents/com.openclaw.watchdog.plist', facts(`/${root}`, { PATH: value }))
        const plist = parsePlist(text) as Record<string, unknown>
        const program = ['/bin/sh', `/${root}/scripts/run-tier.sh`, 'gateway-watchdog', '--pulse']
        expect(plist.ProgramArguments).toEqual(program)
        expect(plist.EnvironmentVariables).toEqual({ PATH: value })
      }),
      { numRuns: 100, examples: [['a & <b> "c" \'d\'', ']]>']] },
    )
  })

  test('a systemd unit holds nothing that systemd would expand or end a word at', () => {
    const odd = facts('/a $HOME "b" \\ 100%', { PATH: '/x y:%h:"z"' })
    const unit = filledTemplate('systemd/com.openclaw.watchdog.service', odd)
    expect(unit).toContain(
      'ExecStart=/bin/sh "/a $$HOME \\"b\\" \\\\ 100%%/scripts/run-tier.sh" gateway-watchdog --pulse\n',
    )
    expect(unit).toContain('Environment="PATH=/x y:%%h:\\"z\\""\n')
    expect(unit).not.toContain('{{')
  })

  test('a crontab line keeps below the thousand characters that cron takes, and % is no line break', () => {
    const [line] = cronLines(facts(`/${'a'.repeat(200)}/100%`, { HOME: "/it's" }), false)
    expect(line!.length).toBeLessThan(500)
    expect(line).toContain("HOME='/it'\\''s' ")
    expect(line).toContain('/100\\%/')
  })
})
