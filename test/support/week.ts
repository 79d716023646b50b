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
  /** How many seconds after its begin it said what. */
  says?: [afterSec: number, text: string][]
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
  const changed = new Set<string>()
  const flush = () => {
    for (const path of changed) {
      const lines = logs.get(path)!.sort((a, b) => a.atMs - b.atMs)
      writeFileSync(path, lines.map(({ line }) => `${line}\n`).join(''))
    }
    changed.clear()
  }
  const put = (tier: TierName, beginMs: number, run: PastRun) => {
    const { says = [], verdict = 'healthy', exitCode = 0, seconds = 0.3, isKilled = false } = run
    const path = join(folder, logName(tier, new Date(beginMs + shiftMs)))
    const lines = logs.get(path) ?? []
    logs.set(path, lines)
    changed.add(path)
    const line = (afterSec: number, text: string) => {
      const atMs = beginMs + shiftMs + afterSec * 1000
      lines.push({ atMs, line: formatLine(new Date(atMs), tier, 'INFO', text) })
    }
    line(0, MARKER.runStarted(4711))
    for (const [afterSec, text] of says) line(afterSec, text)
    if (!isKilled) line(seconds, MARKER.runEnded(verdict, exitCode, seconds))
  }
  const daily = (from: string, to: string, runOf: (tier: TierName, ms: number) => PastRun | undefined) => {
    for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const)
      for (let ms = at(from).getTime(); ms < at(to).getTime(); ms += TIERS[tier].intervalSec * 1000) {
        const run = runOf(tier, ms)
        if (run) put(tier, ms, run)
      }
    flush()
  }
  const verdicts: Partial<Record<TierName, string>> = { monitor: 'nothing to alert', guardian: 'all watchers are well' }
  return {
    run: (tier: TierName, begin: string, run: PastRun = {}) => {
      put(tier, at(begin).getTime(), run)
      flush()
    },
    /** Runs of all daily tiers at their intervals, healthy, but for those that would begin in one of these times. */
    quiet: (from: string, to: string, but: readonly (readonly [from: string, to: string])[] = []) =>
      daily(from, to, (tier, ms) => {
        const isLeftOut = but.some(([a, b]) => ms >= at(a).getTime() && ms < at(b).getTime())
        return isLeftOut ? undefined : { verdict: verdicts[tier] }
      }),
    /** Runs of the watchers that only say that they are paused. */
    paused: (from: string, to: string) => daily(from, to, () => ({ verdict: 'stood down', exitCode: 3 })),
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
  const crash: PastRun['says'] = [
    [0, MARKER.down('absent', REFUSED)],
    [1, KICKSTART],
    [12, MARKER.recovered(1, 12)],
  ]
  logs.run('watchdog', '2026-11-16 03:14:00', { seconds: 12, says: crash })

  // Level 2: down for 20 s.
  const failed = { verdict: 'misconfigured', exitCode: 1 }
  const handedOn: PastRun['says'] = [
    [0, MARKER.down('misconfigured', NO_JSON)],
    [1, MARKER.escalate(2, 'it would exit 78 again; a restart cannot help')],
  ]
  logs.run('watchdog', '2026-11-17 09:30:00', { ...failed, seconds: 1, says: handedOn })
  const rolledBack: PastRun['says'] = [
    [0, MARKER.down('misconfigured', NO_JSON)],
    [1, MARKER.notice('needs a look: config rolled back: the known-good one of 08:12 was put back')],
    [2, KICKSTART],
    [18, MARKER.recovered(2, 20)],
  ]
  logs.run('healthcheck', '2026-11-17 09:30:02', { seconds: 18, says: rolledBack })

  // Level 3: down for 18 min.
  const restarted: PastRun['says'] = [
    [0, MARKER.down('absent', REFUSED)],
    [1, KICKSTART],
    [8, MARKER.escalate(2, `broken-install after a restart: ${NO_MODULE}`)],
  ]
  logs.run('watchdog', '2026-11-18 22:05:00', { verdict: 'broken-install', exitCode: 1, seconds: 8, says: restarted })
  const waited: PastRun['says'] = [
    [0, MARKER.down('broken-install', NO_MODULE)],
    [1, MARKER.down('broken-install', NO_MODULE)],
    [290, MARKER.escalate(3, `down for 300 s, broken-install: ${NO_MODULE}`)],
  ]
  logs.run('healthcheck', '2026-11-18 22:05:10', { seconds: 1072, says: waited })
  const repaired: PastRun['says'] = [
    [1, MARKER.down('broken-install', NO_MODULE)],
    [9, DEED.doctor('Claude Code', '2.1.330', 1)],
    [779, MARKER.recovered(3, 1080)],
  ]
  logs.run('emergency-recovery', '2026-11-18 22:10:01', { seconds: 780, says: repaired })
  const stamp = localStamp(new Date(at('2026-11-18 22:10:01').getTime() + shiftMs))
  const cause = "An update was interrupted: `run-command.mjs` of OpenClaw's package was missing."
  const report = `# Emergency recovery report\n\n## Root cause\n${cause}\n\n## Fix\nReinstalled.\n`
  writeFileSync(join(folder, `emergency-recovery-report-${stamp}.md`), report)

  // A human: down for 41 min.
  const unhelped = { verdict: 'impostor', exitCode: 1 }
  const found: [number, string] = [1, MARKER.down('impostor', STRANGER)]
  const foreign: PastRun['says'] = [found, [2, MARKER.escalate(2, 'a foreign process is never killed')]]
  for (let minute = 0; minute < 42; minute += 3)
    logs.run('watchdog', `2026-11-20 14:${`${minute}`.padStart(2, '0')}:00`, { ...unhelped, seconds: 2, says: foreign })
  const passedOn: PastRun['says'] = [found, [296, MARKER.escalate(3, `down for 300 s, impostor: ${STRANGER}`)]]
  logs.run('healthcheck', '2026-11-20 14:00:05', { ...unhelped, seconds: 302, says: passedOn })
  const called: PastRun['says'] = [found, [2, MARKER.manual(`impostor: ${STRANGER}`)]]
  logs.run('emergency-recovery', '2026-11-20 14:05:02', { ...unhelped, seconds: 3, says: called })
  const told = (title: string): PastRun => ({
    verdict: 'alerts delivered',
    says: ['Discord', 'Telegram'].map((channel) => [0, DEED.told(channel, `OpenClaw Gateway on mac-mini ${title}`)]),
  })
  logs.run('monitor', '2026-11-20 14:10:00', told('needs you'))
  logs.run('watchdog', '2026-11-20 14:41:01', { seconds: 0.2 })
  logs.run('monitor', '2026-11-20 14:45:00', told('is back'))
}
