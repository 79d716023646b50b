/** Logs of past times, written by the contract's own writer. Times are given as `2026-11-18 22:05:00`, local time. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEED, formatLine, localStamp, MARKER, TIERS, type TierName } from '../../lib/tier/contract.ts'
import { logName } from '../../lib/tier/journal.ts'

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
type Span = readonly [from: string, to: string]

/** @param shiftMs added to every time that is given, so that a test can let it end now */
export function pastLogs(folder: string, shiftMs = 0) {
  mkdirSync(folder, { recursive: true })
  const logs = new Map<string, [ms: number, line: string][]>()
  const put = (tier: TierName, begin: number, run: PastRun): string => {
    const { says = {}, verdict = 'healthy', exitCode = 0, seconds = 0.3, isKilled = false } = run
    const path = join(folder, logName(tier, new Date(begin + shiftMs)))
    const end = isKilled ? [] : [[seconds, MARKER.runEnded(verdict, exitCode, seconds)] as const]
    const lines = [[0, MARKER.runStarted(4711)] as const, ...Object.entries(says), ...end].map(([afterSec, text]) => {
      const ms = begin + shiftMs + Number(afterSec) * 1000
      return [ms, formatLine(new Date(ms), tier, 'INFO', text)] as [number, string]
    })
    logs.set(path, [...(logs.get(path) ?? []), ...lines])
    return path
  }
  /** In order of time, as the tiers would have. */
  const write = (path: string) => {
    const lines = logs.get(path)!.sort(([a], [b]) => a - b)
    writeFileSync(path, lines.map(([, line]) => `${line}\n`).join(''))
  }
  return {
    run: (tier: TierName, begin: string, run: PastRun = {}) => write(put(tier, at(begin).getTime(), run)),
    /** Such runs of all daily tiers at their intervals, but for those that would begin in one of these times. */
    quiet(from: string, to: string, but: readonly Span[] = [], run: PastRun = {}) {
      const isIn = (ms: number, [a, b]: Span) => ms >= at(a).getTime() && ms < at(b).getTime()
      for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const)
        for (let ms = at(from).getTime(); isIn(ms, [from, to]); ms += TIERS[tier].intervalSec * 1000)
          if (!but.some((span) => isIn(ms, span))) put(tier, ms, run)
      for (const path of logs.keys()) write(path)
    },
  }
}

/** When the week below ends. */
export const WEEK_ENDS = '2026-11-22 12:00:00'

const REFUSED = 'connection refused; no gateway process'
const NO_MODULE = "[openclaw] Cannot find module 'run-command.mjs'; exited with code 1"
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
  logs.quiet('2026-11-19 10:00:00', '2026-11-19 11:00:00', [], { verdict: 'stood down', exitCode: 3 })

  const crash = { 0: MARKER.down('absent', REFUSED), 1: KICKSTART, 12: MARKER.recovered(1, 12) }
  logs.run('watchdog', '2026-11-16 03:14:00', { seconds: 12, says: crash })

  const noJson = MARKER.down('misconfigured', '~/.openclaw/openclaw.json is not JSON5: invalid end of input at 15:1')
  const noUse = { 0: noJson, 1: MARKER.escalate(2, 'it would exit 78 again; a restart cannot help') }
  const putBack = MARKER.notice('needs attention: config rolled back: the known-good one of 08:12 was put back')
  const rolledBack = { 0: noJson, 1: putBack, 2: KICKSTART, 18: MARKER.recovered(2, 20) }
  logs.run('watchdog', '2026-11-17 09:30:00', { verdict: 'misconfigured', exitCode: 1, seconds: 1, says: noUse })
  logs.run('healthcheck', '2026-11-17 09:30:02', { seconds: 18, says: rolledBack })

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
  for (const [begin, title] of Object.entries({ '14:10:00': 'needs you', '14:45:00': 'is back' })) {
    const [discord, telegram] = ['Discord', 'Telegram'].map((channel) =>
      DEED.delivered(channel, `OpenClaw Gateway on mac-mini ${title}`),
    )
    const says = { 0: discord!, 1: telegram! }
    logs.run('monitor', `2026-11-20 ${begin}`, { verdict: 'alerts delivered', seconds: 2, says })
  }
  logs.run('watchdog', '2026-11-20 14:41:01', { seconds: 0.2 })
}
