/** The report's figures, words and forms; the logs behind them are those of the made-up week. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { lastDays } from '../../lib/incidents/history.ts'
import { spell } from '../../lib/incidents/words.ts'
import { composeDigest } from '../../lib/report/digest.ts'
import { beginOfWeek, endOfLastWeek, isToldUntil } from '../../lib/report/digest-week.ts'
import { figuresOf, percentOf } from '../../lib/report/figures.ts'
import { asPage } from '../../lib/report/html.ts'
import { html } from '../../lib/report/html-text.ts'
import { asMarkdown } from '../../lib/report/markdown.ts'
import { readReport } from '../../lib/report/report.ts'
import { MARKER, oneLine } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { at, type PastLogs, pastLogs, WEEK_ENDS, writeWeek } from '../support/week.ts'

const NOW = at(WEEK_ENDS)
const WEEK = lastDays(7, NOW)

function settingsWith(write: (memoryDir: string) => void) {
  const home = mkdtempSync(join(tmpdir(), 'oc-report-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const settings = loadSettings({ HOME: home, ANTHROPIC_API_KEY: 'a-quiet-phrase-of-mine' })
  mkdirSync(settings.memoryDir, { recursive: true })
  write(settings.memoryDir)
  return settings
}

const reportOf = (write: (memoryDir: string) => void) => readReport(settingsWith(write), WEEK, NOW)

test('the table of the article, from a week of logs', async () => {
  const { history } = await reportOf(writeWeek)
  const figures = Object.fromEntries(figuresOf(history).map(({ metric, value }) => [metric, value]))
  expect(figures).toEqual({
    'Total failures': '4',
    'Level 1 resolved': '1 (25%)',
    'Level 2 resolved': '1 (25%)',
    'Level 3 resolved': '1 (25%)',
    'Level 4 alerts': '1 (25%), 4 messages delivered',
    // 3572 s down of 579240 s that were watched; 600 s more if each outage began right after the last look.
    Uptime: '99.3% (at worst 99.2%)',
    // (12 + 20 + 1080 + 2460) / 4 = 893 s
    'Mean time to recovery': '15 min',
    'Manual interventions': '1',
    // 7 hours and 6 minutes of 168 hours were watched by nobody.
    Watched: '95.7% of the time',
  })
})

test('the article’s own week: three failures, all escalated, two for the doctor, one for a human', async () => {
  const doctor = (logs: PastLogs, day: string) => {
    logs.run('watchdog', {
      begin: `${day} 09:59:00`,
      verdict: 'broken-install',
      exitCode: 1,
      seconds: 1,
      says: [
        [0, MARKER.down('broken-install', 'x')],
        [1, MARKER.escalate(2, 'x')],
      ],
    })
    logs.run('healthcheck', {
      begin: `${day} 10:00:00`,
      seconds: 900,
      says: [[300, MARKER.escalate(3, 'down for 300 s')]],
    })
    logs.run('emergency-recovery', {
      begin: `${day} 10:05:01`,
      seconds: 719,
      says: [[719, MARKER.recovered(3, 1080)]],
    })
  }
  const { history } = await reportOf((dir) => {
    const logs = pastLogs(dir)
    doctor(logs, '2026-11-16')
    doctor(logs, '2026-11-17')
    logs.run('emergency-recovery', {
      begin: '2026-11-18 10:00:00',
      exitCode: 1,
      verdict: 'impostor',
      says: [
        [0, MARKER.down('impostor', 'x')],
        [0, MARKER.manual('impostor')],
      ],
    })
    logs.run('watchdog', { begin: '2026-11-18 10:10:00' })
  })
  expect(figuresOf(history).slice(0, 5)).toEqual([
    { metric: 'Total failures', value: '3' },
    { metric: 'Level 1 resolved', value: '0 (all escalated)' },
    { metric: 'Level 2 resolved', value: '0 (all escalated to L3)' },
    { metric: 'Level 3 resolved', value: '2 (67%)' },
    { metric: 'Level 4 alerts', value: '1 (33%), no delivery is in the logs' },
  ])
})

/** A human was called after nine minutes, paused everything as the call advises, and had it back after two hours and a half. */
function writeRepairByHand(dir: string): void {
  const logs = pastLogs(dir)
  logs.quiet('2026-11-10 00:00:00', '2026-11-20 00:00:00', [['2026-11-17 10:00:00', '2026-11-17 12:30:00']])
  for (const minute of ['00', '03', '06', '09'])
    logs.run('watchdog', {
      begin: `2026-11-17 10:${minute}:00`,
      verdict: 'impostor',
      exitCode: 1,
      says: [
        [0, MARKER.down('impostor', 'x')],
        ...(minute === '09' ? [[0, MARKER.manual('x')] as [number, string]] : []),
      ],
      seconds: 0,
    })
  logs.paused('2026-11-17 10:12:00', '2026-11-17 12:30:00')
}

test('the hours in which a human repaired it by hand and nobody watched are not left out', async () => {
  const settings = settingsWith(writeRepairByHand)
  const day = { from: at('2026-11-17 00:00:00'), to: at('2026-11-18 00:00:00') }
  const report = await readReport(settings, day, NOW)
  // Down from 10:00 to 10:09, then nobody watched until 12:30: 540 s of 77940 s, or 9000 s of the day and 180 s before.
  const [recovery, uptime] = ['9 min (2 h 30 min with the time nobody watched)', '99.3% (at worst 89.3%)']
  const figures = Object.fromEntries(figuresOf(report.history).map(({ metric, value }) => [metric, value]))
  expect(figures).toMatchObject({ 'Mean time to recovery': recovery, Uptime: uptime })
  const text = asMarkdown(report)
  expect(text).toContain(`| ${recovery} |`)
  expect(text).toMatch(/\| impostor \| 1 +\| 9 min \(2 h 30 min with the time nobody watched\) \|/)
  const page = asPage(report)
  expect(page).toContain(`<td>${recovery}</td>`)
  expect(page).toContain(
    '<b>9 min</b>Mean time to recovery<br><span class="dim">2 h 30 min with the time nobody watched',
  )
  expect(page).toContain(`1 incident, ${recovery}`)
  const digest = await composeDigest(settings, at('2026-11-18 09:00:00'), NOW)
  expect(digest.lead).toMatch(/^1 failure, uptime 99\.90% \(at worst 98\.4%\)/)
  expect(digest.whys).toContain(`Mean time to recovery: ${recovery}`)
  expect(digest.whys.at(-1)).toBe('Causes: impostor (1×, 9 min; 2 h 30 min with the time nobody watched)')
})

test('an outage that nobody has watched since is down all the time, at worst, however little was watched', async () => {
  const settings = settingsWith((dir) => {
    const logs = pastLogs(dir)
    logs.quiet('2026-11-17 00:00:00', '2026-11-17 01:00:00')
    const says: [number, string][] = [[0, MARKER.down('hung', 'x')]]
    logs.run('watchdog', { begin: '2026-11-17 01:00:00', verdict: 'hung', exitCode: 1, says, seconds: 0 })
  })
  const day = { from: at('2026-11-17 00:00:00'), to: at('2026-11-18 00:00:00') }
  const { history } = await readReport(settings, day, NOW)
  const uptime = figuresOf(history).find(({ metric }) => metric === 'Uptime')!.value
  // Of 24 hours the first one, but for the three minutes before the look that saw it down.
  expect(uptime).toBe('100% (of the 60 min that were watched; at worst 3.9%)')
  expect(history.uptime).toMatchObject({ unknownSec: 23 * 3600, unknownInIncidentsSec: 23 * 3600 })
})

test('the Markdown has the table, each incident with cause and steps, and what is not known', async () => {
  const text = asMarkdown(await reportOf(writeWeek))
  expect(text).toContain('| **Level 3 resolved**      | 1 (25%)                       |')
  expect(text).toContain('### 3. 2026-11-18 22:05 broken-install: down for 18 min')
  expect(text).toContain('Ended by level 3; 1 restart, 1 doctor.')
  expect(text).toContain("Cause: `its log says: [openclaw] Cannot find module 'run-command.mjs'`")
  expect(text).toContain(
    "The doctor found: `An update was interrupted: ˋrun-command.mjsˋ of OpenClaw's package was missing.`",
  )
  expect(text).toContain('- 22:10:10 **Level 3, doctor** called Claude Code 2.1.330')
  expect(text).toContain('- 14:41:01 **Gateway** seen healthy again; none of the levels did it')
  expect(text).toMatch(
    /## What is not known\n\n- 2026-11-19 09:57 to .*stood down.*\n- 2026-11-21 00:57 to .*no watcher ran/,
  )
})

test('a week without logs, and one without a failure, claim nothing that nobody saw', async () => {
  const nothing = asMarkdown(await reportOf(() => {}))
  expect(nothing).toMatch(/\*\*Uptime\*\* +\| unknown: nobody watched/)
  expect(nothing).toContain('there is no log of these days at all')
  const quiet = asMarkdown(await reportOf((dir) => pastLogs(dir).quiet('2026-11-15 00:00:00', WEEK_ENDS)))
  expect(quiet).toMatch(/\*\*Total failures\*\* +\| 0 /)
  expect(quiet).toMatch(/\*\*Uptime\*\* +\| 100% /)
  expect(quiet).toMatch(/\*\*Mean time to recovery\*\* +\| – /)
  expect(asPage(await reportOf(() => {}))).toContain('unknown: nobody watched')
})

const HOSTILE = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</code></details><iframe src=//evil.example>',
  '<!--',
  ']]>',
  '&lt;b&gt;',
  '\u0000\u001b[31m\u202e',
  '\ud83d',
  '`|**[x](javascript:alert(1))',
]

test('text from a log is text in the page, whatever it is', async () => {
  const bare = asPage(await reportOf((dir) => incidentSaying(dir, 'x')))
  const tagsOf = (page: string) => page.replace(/>[^<]*/g, '>').replace(/ style="[^"]*"/g, '')
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string()), { maxLength: 6 }), async (parts) => {
      const text = parts.join('') || 'x'
      const page = asPage(await reportOf((dir) => incidentSaying(dir, text)))
      // The same elements and attributes as with a harmless text: nothing of it became any.
      if (oneLine(text) !== '') expect(tagsOf(page)).toBe(tagsOf(bare))
      expect(page).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u202e]/)
    }),
    { numRuns: 40 },
  )
})

function incidentSaying(dir: string, text: string): void {
  pastLogs(dir).run('watchdog', {
    begin: '2026-11-20 10:00:00',
    exitCode: 1,
    verdict: 'hung',
    seconds: 1,
    says: [
      [0, MARKER.down('hung', oneLine(text))],
      [0, MARKER.manual(oneLine(text) || 'x')],
      [1, MARKER.recovered(1, 1)],
    ],
  })
}

test('values in a template are escaped, in text and in attributes; templates are not escaped twice', () => {
  const inner = html`<b title="${'"a" & <b>'}">${"it's"}</b>`
  expect(html`<p>${inner}${[inner]}</p>`.text).toBe(`<p>${inner.text}${inner.text}</p>`)
  expect(inner.text).toBe('<b title="&#34;a&#34; &#38; &#60;b&#62;">it&#39;s</b>')
})

test('secrets of this machine are in no form of the report', async () => {
  const text = 'it said a-quiet-phrase-of-mine and sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789'
  const report = await reportOf((dir) => incidentSaying(dir, text))
  for (const form of [asMarkdown(report), asPage(report)]) {
    expect(form).toContain('[REDACTED]')
    expect(form).not.toMatch(/a-quiet-phrase|sk-ant-api03-abc/)
  }
})

test('durations and percentages are never rounded to what is not true', () => {
  expect([0, 119, 120, 1080, 7200, 19_200, 172_800, 280_000].map(spell)).toEqual([
    '0 s',
    '119 s',
    '2 min',
    '18 min',
    '2 h',
    '5 h 20 min',
    '2 days',
    '3 days 5 h',
  ])
  expect([100, 99.99999, 99.996, 99.95, 99.49, 0].map(percentOf)).toEqual([
    '100%',
    '99.999%',
    '99.996%',
    '99.95%',
    '99.4%',
    '0.0%',
  ])
})

test('the week of the digest ends on Monday at nine, and is told once', () => {
  const monday = at('2026-11-16 09:00:00')
  expect(endOfLastWeek(at('2026-11-16 08:59:59'))).toEqual(at('2026-11-09 09:00:00'))
  for (const now of ['2026-11-16 09:00:00', '2026-11-18 00:00:00', '2026-11-22 23:59:59', '2026-11-23 08:59:00'])
    expect(endOfLastWeek(at(now))).toEqual(monday)
  expect(beginOfWeek(monday)).toEqual(at('2026-11-09 09:00:00'))

  const now = at('2026-11-18 12:00:00')
  expect(isToldUntil('', monday, now)).toBe(false)
  expect(isToldUntil('nonsense', monday, now)).toBe(false)
  expect(isToldUntil(at('2026-11-09 09:00:00').toISOString(), monday, now)).toBe(false)
  expect(isToldUntil(monday.toISOString(), monday, now)).toBe(true)
  // Written by a clock that was a year ahead.
  expect(isToldUntil(at('2027-11-15 09:00:00').toISOString(), monday, now)).toBe(false)
})

test('the digest is the table of its week, and knows nothing of what came after', async () => {
  const settings = settingsWith(writeWeek)
  const digest = await composeDigest(settings, at('2026-11-18 09:00:00'), NOW)
  expect(digest).toMatchObject({ kind: 'digest', title: expect.stringMatching(/: the week to 2026-11-18 09:00$/) })
  // 12 + 20 s of the 81 hours of which there are logs.
  expect(digest.lead).toMatch(/^2 failures, uptime 99\.98% /)
  expect(digest.whys).toContain('Total failures: 2')
  expect(digest.whys).toContain('Level 2 resolved: 1 (50%)')
  expect(digest.whys.at(-1)).toBe('Causes: misconfigured (1×, 20 s), absent (1×, 12 s)')
})
