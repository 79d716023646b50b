/** Logs of past times, written by the contract's own writer. Times are given as `2026-11-18 22:05:00`, local time. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEED, formatLine, localStamp, MARKER, TIERS, type TierName } from '../../lib/tier/contract.ts'
import { logName } from '../../lib/tier/journal.ts'

/** `2026-11-18 22:05:00`, local time. */
export function at(text: string): Date {
  return new Date(text.replace(' ', 'T'))
}

interface PastRun {
  seconds?: number
  /** What it said how many seconds after its begin. */
  says?: Record<number, string>
  verdict?: string
  exitCode?: number
  /** Killed: it has no last line. */
  isKilled?: boolean
}

export type PastLogs = ReturnType<typeof pastLogs>

/** @param shiftMs added to every time that is given, so that a test can let it end now */
export function pastLogs(folder: string, shiftMs = 0) {
  mkdirSync(folder, { recursive: true })
  // By log: what it holds so far, to be written in order of time as the tiers would have.
  const logs = new Map<string, { atMs: number; line: string }[]>()
  const put = (tier: TierName, beginMs: number, run: PastRun) => {
    const { says = {}, verdict = 'healthy', exitCode = 0, seconds = 0.3, isKilled = false } = run
    const path = join(folder, logName(tier, new Date(beginMs + shiftMs)))
    const lines = logs.get(path) ?? []
    logs.set(path, lines)
    const line = (afterSec: number, text: string) => {
      const atMs = beginMs + shiftMs + afterSec * 1000
      lines.push({ atMs, line: formatLine(new Date(atMs), tier, 'INFO', text) })
    }
    line(0, MARKER.runStarted(4711))
    for (const [afterSec, text] of Object.entries(says)) line(Number(afterSec), text)
    if (!isKilled) line(seconds, MARKER.runEnded(verdict, exitCode, seconds))
    return path
  }
  const write = (...paths: string[]) => {
    for (const path of new Set(paths)) {
      const lines = logs.get(path)!.sort((a, b) => a.atMs - b.atMs)
      writeFileSync(path, lines.map(({ line }) => `${line}\n`).join(''))
    }
  }
  type Span = readonly [from: string, to: string]
  const daily = ([from, to]: Span, but: readonly Span[], runOf: (tier: TierName) => PastRun) => {
    const isIn = (ms: number, [a, b]: Span) => ms >= at(a).getTime() && ms < at(b).getTime()
    for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const)
      for (let ms = at(from).getTime(); isIn(ms, [from, to]); ms += TIERS[tier].intervalSec * 1000)
        if (!but.some((span) => isIn(ms, span))) put(tier, ms, runOf(tier))
    write(...logs.keys())
  }
  const verdicts: Partial<Record<TierName, string>> = { monitor: 'nothing to alert', guardian: 'all watchers are well' }
  return {
    run: (tier: TierName, begin: string, run: PastRun = {}) => write(put(tier, at(begin).getTime(), run)),
    /** Runs of all daily tiers at their intervals, healthy, but for those that would begin in one of these times. */
    quiet: (from: string, to: string, but: readonly Span[] = []) =>
      daily([from, to], but, (tier) => ({ verdict: verdicts[tier] })),
    /** Runs of the watchers that only say that they are paused. */
    paused: (from: string, to: string) => daily([from, to], [], () => ({ verdict: 'stood down', exitCode: 3 })),
  }
}

/** When the week below ends. */
export const WEEK_ENDS = '2026-11-22 12:00:00'

const REFUSED = 'connection refused; no gateway process'
const NO_JSON = '~/.openclaw/openclaw.json is not JSON5: invalid end of input at 15:1'
const NO_MODULE = "its log says: [openclaw] Cannot find module 'run-command.mjs'"
const STRANGER = 'port 18789 belongs to node (pid 10223, `node dev-server.mjs`), not to the gateway'
const KICKSTART = DEED.restart('launchctl kickstart gui/501/ai.openclaw.gateway')

/** A week with an incident for each level, a pause of an hour, and a night in which the machine slept. */
export function writeWeek(folder: string, ends = at(WEEK_ENDS)): void {
  const shiftMs = ends.getTime() - at(WEEK_ENDS).getTime()
  const logs = pastLogs(folder, shiftMs)
  logs.quiet('2026-11-15 00:00:00', WEEK_ENDS, [
    ['2026-11-16 03:14:00', '2026-11-16 03:14:30'],
    ['2026-11-17 09:30:00', '2026-11-17 09:31:00'],
    ['2026-11-18 22:05:00', '2026-11-18 22:24:00'],
    ['2026-11-19 10:00:00', '2026-11-19 11:00:00'],
    ['2026-11-20 14:00:00', '2026-11-20 14:41:00'],
    ['2026-11-21 01:00:00', '2026-11-21 07:00:00'],
  ])
  logs.paused('2026-11-19 10:00:00', '2026-11-19 11:00:00')

  // Level 1: down for 12 s.
  const crash = { 0: MARKER.down('absent', REFUSED), 1: KICKSTART, 12: MARKER.recovered(1, 12) }
  logs.run('watchdog', '2026-11-16 03:14:00', { seconds: 12, says: crash })

  // Level 2: down for 20 s.
  const noJson = MARKER.down('misconfigured', NO_JSON)
  const noUse = { 0: noJson, 1: MARKER.escalate(2, 'it would exit 78 again; a restart cannot help') }
  const putBack = MARKER.notice('needs a look: config rolled back: the known-good one of 08:12 was put back')
  const rolledBack = { 0: noJson, 1: putBack, 2: KICKSTART, 18: MARKER.recovered(2, 20) }
  logs.run('watchdog', '2026-11-17 09:30:00', { verdict: 'misconfigured', exitCode: 1, seconds: 1, says: noUse })
  logs.run('healthcheck', '2026-11-17 09:30:02', { seconds: 18, says: rolledBack })

  // Level 3: down for 18 min.
  const broken = MARKER.down('broken-install', NO_MODULE)
  const onRestart = MARKER.escalate(2, `broken-install after a restart: ${NO_MODULE}`)
  const restarted = { 0: MARKER.down('absent', REFUSED), 1: KICKSTART, 8: onRestart }
  const waited = { 0: broken, 1: broken, 290: MARKER.escalate(3, `down for 300 s, broken-install: ${NO_MODULE}`) }
  const repaired = { 1: broken, 9: DEED.doctor('Claude Code', '2.1.330', 1), 779: MARKER.recovered(3, 1080) }
  logs.run('watchdog', '2026-11-18 22:05:00', { verdict: 'broken-install', exitCode: 1, seconds: 8, says: restarted })
  logs.run('healthcheck', '2026-11-18 22:05:10', { seconds: 1072, says: waited })
  logs.run('emergency-recovery', '2026-11-18 22:10:01', { seconds: 780, says: repaired })
  const stamp = localStamp(new Date(at('2026-11-18 22:10:01').getTime() + shiftMs))
  const cause = "An update was interrupted: `run-command.mjs` of OpenClaw's package was missing."
  const report = `# Emergency recovery report\n\n## Root cause\n${cause}\n\n## Fix\nReinstalled.\n`
  writeFileSync(join(folder, `emergency-recovery-report-${stamp}.md`), report)

  // A human: down for 41 min.
  const unhelped = { verdict: 'impostor', exitCode: 1 }
  const found = MARKER.down('impostor', STRANGER)
  const foreign = { 1: found, 2: MARKER.escalate(2, 'a foreign process is never killed') }
  for (let minute = 0; minute < 42; minute += 3)
    logs.run('watchdog', `2026-11-20 14:${`${minute}`.padStart(2, '0')}:00`, { ...unhelped, seconds: 2, says: foreign })
  const passedOn = { 1: found, 296: MARKER.escalate(3, `down for 300 s, impostor: ${STRANGER}`) }
  logs.run('healthcheck', '2026-11-20 14:00:05', { ...unhelped, seconds: 302, says: passedOn })
  const called = { 1: found, 2: MARKER.manual(`impostor: ${STRANGER}`) }
  logs.run('emergency-recovery', '2026-11-20 14:05:02', { ...unhelped, seconds: 3, says: called })
  const told = (title: string): PastRun => {
    const [discord, telegram] = ['Discord', 'Telegram'].map((channel) =>
      DEED.told(channel, `OpenClaw Gateway ${title}`),
    )
    return { verdict: 'alerts delivered', seconds: 2, says: { 0: discord!, 1: telegram! } }
  }
  logs.run('monitor', '2026-11-20 14:10:00', told('on mac-mini needs you'))
  logs.run('watchdog', '2026-11-20 14:41:01', { seconds: 0.2 })
  logs.run('monitor', '2026-11-20 14:45:00', told('on mac-mini is back'))
}
