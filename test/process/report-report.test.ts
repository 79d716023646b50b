/** The report in all its forms: words, numbers, nothing that acts, no secrets; and as a process on what real tiers wrote. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { lastDays } from '../../lib/incidents/history.ts'
import { asPage } from '../../lib/report/html.ts'
import { asMarkdown, figuresOf, percentOf, readReport } from '../../lib/report/report.ts'
import { formatLine, MARKER, oneLine } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { createSandbox, waitFor } from '../support/sandbox.ts'
import { startStranger } from '../support/stranger.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import { at, type PastLogs, pastLogs, WEEK_ENDS, writeWeek } from '../support/week.ts'

function reportOf(write: (logs: PastLogs, memoryDir: string) => void) {
  const home = mkdtempSync(join(tmpdir(), 'oc-report-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const settings = loadSettings({ HOME: home, ANTHROPIC_API_KEY: 'a-quiet-phrase-of-mine' })
  write(pastLogs(settings.memoryDir), settings.memoryDir)
  return readReport(settings, lastDays(7, at(WEEK_ENDS)), at(WEEK_ENDS))
}

test('the table of the article, and every incident with what was seen, what was felt, cause, finding and steps', async () => {
  const report = await reportOf((_, dir) => writeWeek(dir))
  expect(figuresOf(report)).toEqual({
    'Total failures': '4',
    'Level 1 resolved': '1 (25%)',
    'Level 2 resolved': '1 (25%)',
    'Level 3 resolved': '1 (25%)',
    'Level 4 alerts': '1 (25%), 4 messages delivered',
    // 3572 s down of 579240 s that were watched; 601 s more if each outage began right after the last look.
    Uptime: '99.3% (at worst 99.2%)',
    // (12 + 20 + 1080 + 2460) / 4 = 893 s, and 150 s more on average since the last healthy sighting.
    'Mean time to recovery': '15 min as seen; up to 17 min felt',
    'Manual interventions': '1',
    Watched: '95.7% of the time',
  })
  expect(asPage(report)).toMatch(/<b>15 min<\/b>Mean time to recovery<br>[^/]*up to 17 min felt</)
  const text = asMarkdown(report)
  expect(text).toMatch(/^### 3\. 2026-11-18 22:05 broken-install\n\nDown for 18 min .* 20 min/m)
  expect(text).toContain("`[openclaw] Cannot find module 'run-command.mjs'; exited with code 1`\n")
  expect(text.replace(/\s+/g, ' ')).toContain(
    "`An update was interrupted: ˋrun-command.mjsˋ of OpenClaw's package was missing.`",
  )
  expect(text).toMatch(/^- 22:10:10 \*\*Level 3, doctor\*\* .*Claude Code 2\.1\.330/m)
  expect(text).toMatch(/\n- 2026-11-19 09:57 to [^-]*\S*[\s\S]*paused[\s\S]*\n- 2026-11-21 00:57 to [\s\S]*sleep/)
})

test('what was escalated is said, what no tier saw is not claimed, and no number is rounded to what is not true', async () => {
  const impostor = { verdict: 'impostor', exitCode: 1, seconds: 1 }
  const calls = { ...impostor, says: { 0: MARKER.down('impostor', 'x'), 1: MARKER.manual('x') } }
  const escalated = await reportOf((logs) => {
    const says = { 0: MARKER.down('broken-install', 'x'), 300: MARKER.escalate(3, 'x') }
    logs.run('healthcheck', '2026-11-17 10:00:00', { seconds: 900, says })
    logs.run('emergency-recovery', '2026-11-17 10:05:01', { seconds: 719, says: { 719: MARKER.recovered(3, 1080) } })
    logs.run('emergency-recovery', '2026-11-18 10:00:00', calls)
    logs.run('watchdog', '2026-11-18 10:10:00')
  })
  expect(figuresOf(escalated)).toMatchObject({
    'Total failures': '2',
    'Level 1 resolved': '0 (all escalated)',
    'Level 2 resolved': '0 (all escalated to L3)',
    'Level 3 resolved': '1 (50%)',
    'Level 4 alerts': '1 (50%), no delivery is in the logs',
  })
  expect(figuresOf(await reportOf(() => {})).Uptime).toMatch(/^unknown/)
  const quiet = await reportOf((logs) => logs.quiet('2026-11-15 00:00:00', WEEK_ENDS))
  expect(figuresOf(quiet)).toMatchObject({ 'Total failures': '0', Uptime: '100%', 'Mean time to recovery': '–' })
  const lost = await reportOf((logs) => {
    logs.quiet('2026-11-17 00:00:00', '2026-11-17 01:00:00')
    logs.run('watchdog', '2026-11-17 01:00:00', calls)
  })
  expect(figuresOf(lost).Uptime).toMatch(/^99\.97% \(of the 60 min that were watched; at worst 0\.\d%\)$/)
  const percents = [100, 99.99999, 99.996, 99.95, 99.49, 0]
  expect(percents.map(percentOf)).toEqual(['100%', '99.999%', '99.996%', '99.95%', '99.4%', '0.0%'])
})

// test/real/page.test.ts shows such a page to a browser.
test('text from a log is text in the page, whatever it is, and secrets are in no form', async () => {
  const secrets = 'a-quiet-phrase-of-mine and sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789'
  const hostile = `"><img src=x onerror=alert(1)>' onmouseover='alert(1)</code></details><iframe src=//x><!-- &lt;b \0\u202e\ud83d`
  const reportSaying = (text: string) =>
    reportOf((logs, dir) => {
      const says = { 0: MARKER.down('hung', text), 1: MARKER.manual(text), 2: MARKER.recovered(1, 2) }
      logs.run('watchdog', '2026-11-20 10:00:00', { exitCode: 1, verdict: 'hung', seconds: 2, says })
      const cannotStart = formatLine(at('2026-11-21 10:00:00'), 'healthcheck', 'ERROR', `cannot start: ${text}`)
      writeFileSync(join(dir, 'healthcheck-2026-11-21.log'), `${cannotStart}\n`)
    })
  const report = await reportSaying(oneLine(`${secrets} ${hostile}`))
  // The same elements and attributes as with a harmless text: nothing of it became any.
  const tagsOf = (page: string) => page.replace(/>[^<]*/g, '>').replace(/ style="[^"]*"/g, '')
  expect(tagsOf(asPage(report))).toBe(tagsOf(asPage(await reportSaying('x'))))
  expect(asPage(report)).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u202e]/)
  for (const form of [asMarkdown(report), asPage(report), JSON.stringify(report)]) {
    expect(form).toContain('[REDACTED]')
    expect(form).not.toMatch(/a-quiet-phrase|sk-ant-api03-abc/)
  }
})

test('what the real tiers do is what report and status say: a crash for Level 1, a stranger on the port for a human', async () => {
  const discord = await startWebhookReceiver()
  onTestFinished(discord.close)
  const box = await createSandbox({ settings: { DISCORD_WEBHOOK_URL: discord.url } })
  onTestFinished(box.close)
  const run = async (script: string, flags: string[] = [], code = 0) => {
    const ended = await box.runScript(script, flags)
    expect(ended, ended.stdout).toMatchObject({ code })
    return ended.stdout
  }
  const gateway = await box.startGateway()
  await run('gateway-watchdog')
  process.kill(gateway.pid, 'SIGKILL')
  await run('gateway-watchdog')
  // It crashes again, and a stranger takes its port: every level escalates, a human is called and ends the stranger.
  process.kill(box.events().findLast(({ what }) => what.startsWith('ready'))!.pid, 'SIGKILL')
  const stranger = await startStranger(box)
  for (const tier of ['gateway-watchdog', 'gateway-healthcheck']) await run(tier, [], 1)
  await run('emergency-recovery-monitor')
  stranger.end()
  await box.startGateway()
  // Logs are to the second: of one in which a tier saw it down and another up, the next look tells.
  const lastSec = Math.floor(Date.now() / 1000)
  await waitFor(() => Math.floor(Date.now() / 1000) > lastSec, 'the next second')
  await run('gateway-watchdog')

  const text = await run('incident-report', ['--days', '1'])
  expect(text).toMatch(/^- \*\*watchdog\*\*: Begun: 4; Exit 0: 3; Exit 1: 1; Exit 2: 0; Exit 3: 0;/m)
  expect(text).toMatch(/\*\*Total failures\*\*(?: +\||:) 2\b/)
  const asJson = JSON.parse(await run('incident-report', ['--json']))
  expect(asJson).toMatchObject({
    figures: { 'Level 2 resolved': '0 (0%)', 'Level 4 alerts': '1 (50%), 1 message delivered' },
    incidents: [
      { verdict: 'absent', healedBy: 1, restarts: 1 },
      { verdict: 'impostor', healedBy: 'outside', manualCalls: 1, alerts: 1 },
    ],
  })
  // The same begin, end and seconds everywhere; a human feels at least what was seen.
  const status = JSON.parse(await run('status', ['--json'], 1))
  for (const [i, one] of [...asJson.incidents].reverse().entries()) {
    const { begin, end, downSec, feltSec } = status.incidents[i]
    expect(one).toMatchObject({ begin, end, downSec, feltSec })
    expect(feltSec).toBeGreaterThanOrEqual(downSec)
  }
  const recovered = box.log('watchdog-').match(/RECOVERED by level 1 after (\d+) s/)
  expect(Math.abs(Number(recovered![1]) - asJson.incidents[0].downSec)).toBeLessThanOrEqual(1)

  const page = join(box.root, 'new folder', 'report.html')
  await run('incident-report', ['--html', page, '--dry-run'])
  expect(() => statSync(page)).toThrow()
  await run('incident-report', ['--html', page])
  expect(statSync(page).mode & 0o777).toBe(0o600)
  expect(readFileSync(page, 'utf8')).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/)
})

test('flags, settings and files that cannot be used are an exit code and one line; huge logs are read in little memory', async () => {
  const box = await createSandbox()
  onTestFinished(box.close)
  const run = (...flags: string[]) => box.runScript('incident-report', flags)
  for (const flag of ['--days=0', '--days=1e3', '--html='])
    expect(await run(flag)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(flag.split('=')[0]!) })
  expect(await run('--html', box.root)).toMatchObject({ code: 1, stderr: expect.stringContaining(box.root) })
  // It left nothing behind: it has no log and no state.
  expect(() => statSync(box.memoryDir)).toThrow()

  mkdirSync(box.memoryDir, { recursive: true })
  const day = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10)
  const down = formatLine(new Date(`${day}T12:00:00Z`), 'watchdog', 'WARN', MARKER.down('hung', 'no answer'))
  writeFileSync(join(box.memoryDir, `watchdog-${day}.log`), `${down}\n`.repeat(500_000))
  writeFileSync(join(box.memoryDir, `healthcheck-${day}.log`), 'x'.repeat(100_000_000))
  const env = { NODE_OPTIONS: '--max-old-space-size=128' }
  const { code, stdout } = await box.runScript('incident-report', ['--json'], { env })
  expect(code).toBe(0)
  const { incidents, notes } = JSON.parse(stdout)
  expect(incidents).toHaveLength(1)
  for (const name of ['watchdog-', 'healthcheck-'])
    expect(notes).toContainEqual(expect.stringContaining(`${name}${day}.log: only `))
  expect(stdout.length).toBeLessThan(20_000)
})

test('it ends with what to do next, at the terminal, on the page and as JSON; no line is over 80 columns but a command or a path', async () => {
  const box = await createSandbox()
  onTestFinished(box.close)
  const found = MARKER.down('impostor', 'port 18789 belongs to node (pid 4711, `node x.mjs`), not to the gateway')
  const log = (...texts: string[]) =>
    writeTierLog(box.memoryDir, 'watchdog', ...texts.map((text) => ({ text, minutesAgo: 5 })))
  log(found, MARKER.runEnded('impostor', 1, 2))
  const text = (await box.runScript('incident-report')).stdout
  const end = text.split('\n## What to do next\n')[1]!
  expect(end).toMatch(/^\n- .*`[^`]+4711[^`]*`[\s\S]*\n- do not [^`]*`touch [^`]*self-healing\.paused`[^#]*$/)
  const isWhole = (line: string) => line.length <= 80 || /^(?: *[-*]? *)\S+$|`[^`]{60,}`|\/\S{50,}/.test(line)
  expect(text.split('\n').filter((line) => !isWhole(line))).toEqual([])
  expect(JSON.parse((await box.runScript('incident-report', ['--json'])).stdout).todo).toHaveLength(2)
  const file = join(box.home, 'page.html')
  await box.runScript('incident-report', ['--html', file])
  const page = readFileSync(file, 'utf8')
  expect(page).toMatch(/not over yet: <b>impostor<\/b>/)
  expect(page).toMatch(
    /What to do next<\/h2><ul>\s*<li>.*<code>[^<]*4711[^<]*<\/code>[\s\S]*<\/ul><\/section>\s*<footer>/,
  )

  log(MARKER.runEnded('healthy', 0, 1))
  expect((await box.runScript('incident-report')).stdout).toMatch(/What to do next\n\n- nothing: .*\n$/)
})
