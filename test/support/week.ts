/**
 * Logs of times that nobody wants to wait for, written by the contract's own writer: what the tiers would have left in
 * a folder in a week. Times are given as `2026-11-18 22:05:00`, local time.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEED, formatLine, localStamp, MARKER, type Severity, TIERS, type TierName } from '../../lib/tier/contract.ts'
import { logName } from '../../lib/tier/journal.ts'

/** `2026-11-18 22:05:00`, local time. */
export function at(text: string): Date {
  return new Date(text.replace(' ', 'T'))
}

export interface PastRun {
  /** When it began. */
  begin: string | Date
  /** What it said, and how many seconds after its begin. */
  says?: [afterSec: number, text: string, severity?: Severity][]
  verdict?: string
  exitCode?: number
  seconds?: number
  /** Killed: it has no last line. */
  isKilled?: boolean
}

export interface PastLogs {
  run(tier: TierName, run: PastRun): void
  /** Runs of all daily tiers at their intervals, healthy, but for those that would begin in one of these times. */
  quiet(from: string, to: string, but?: readonly (readonly [from: string, to: string])[]): void
  /** Runs of the watchers that only say that they are paused. */
  paused(from: string, to: string): void
}

/** @param shiftMs added to every time that is given, so that a test can let it end now */
export function pastLogs(folder: string, shiftMs = 0): PastLogs {
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

  const put = (tier: TierName, run: PastRun) => {
    const { says = [], verdict = 'healthy', exitCode = 0, seconds = 0.3, isKilled = false } = run
    const given = typeof run.begin === 'string' ? at(run.begin) : run.begin
    const begin = new Date(given.getTime() + shiftMs)
    const path = join(folder, logName(tier, begin))
    const lines = logs.get(path) ?? []
    logs.set(path, lines)
    changed.add(path)
    const line = (afterSec: number, text: string, severity: Severity = 'INFO') => {
      const at = new Date(begin.getTime() + afterSec * 1000)
      lines.push({ atMs: at.getTime(), line: formatLine(at, tier, severity, text) })
    }
    line(0, MARKER.runStarted(4711))
    for (const [afterSec, text, severity] of says) line(afterSec, text, severity)
    if (!isKilled) line(seconds, MARKER.runEnded(verdict, exitCode, seconds), exitCode === 1 ? 'WARN' : 'INFO')
  }
  const every = (tier: TierName, from: string, to: string, run: (begin: Date) => void) => {
    const stepMs = (TIERS[tier].intervalSec ?? 300) * 1000
    for (let ms = at(from).getTime(); ms < at(to).getTime(); ms += stepMs) run(new Date(ms))
  }

  return {
    run(tier, run) {
      put(tier, run)
      flush()
    },
    quiet(from, to, but = []) {
      const isLeftOut = (begin: Date) => but.some(([a, b]) => begin >= at(a) && begin < at(b))
      for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const)
        every(tier, from, to, (begin) => {
          if (isLeftOut(begin)) return
          const verdict = { monitor: 'nothing to alert', guardian: 'all watchers are well' }[tier as string]
          put(tier, { begin, verdict })
        })
      flush()
    },
    paused(from, to) {
      for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const)
        every(tier, from, to, (begin) =>
          put(tier, {
            begin,
            says: [[0, 'standing down: paused by ~/.openclaw/self-healing.paused, until it is removed']],
            verdict: 'stood down',
            exitCode: 3,
          }),
        )
      flush()
    },
  }
}

/** When the week below ends. */
export const WEEK_ENDS = '2026-11-22 12:00:00'

/**
 * A week with an incident for each level, a pause of an hour, a night in which the machine slept, and a day without the
 * guardian's log. What it must add up to is in the tests.
 */
export function writeWeek(folder: string, ends = at(WEEK_ENDS)): void {
  const shiftMs = ends.getTime() - at(WEEK_ENDS).getTime()
  const logs = pastLogs(folder, shiftMs)
  report(folder, shiftMs)
  logs.quiet('2026-11-15 00:00:00', WEEK_ENDS, [
    ['2026-11-16 03:14:00', '2026-11-16 03:14:30'],
    ['2026-11-17 09:30:00', '2026-11-17 09:31:00'],
    ['2026-11-18 22:05:00', '2026-11-18 22:24:00'],
    ['2026-11-19 10:00:00', '2026-11-19 11:00:00'],
    ['2026-11-20 14:00:00', '2026-11-20 14:41:00'],
    ['2026-11-21 01:00:00', '2026-11-21 07:00:00'],
  ])
  logs.paused('2026-11-19 10:00:00', '2026-11-19 11:00:00')
  crash(logs)
  brokenConfig(logs)
  brokenInstall(logs)
  stranger(logs)
}

/** Level 1: down for 12 s. */
function crash(logs: PastLogs): void {
  const evidence = 'connection refused; no gateway process (ai.openclaw.gateway is loaded)'
  logs.run('watchdog', {
    begin: '2026-11-16 03:14:00',
    seconds: 12,
    says: [
      [0, MARKER.down('absent', evidence), 'WARN'],
      [1, DEED.restart('launchctl kickstart gui/501/ai.openclaw.gateway')],
      [12, MARKER.recovered(1, 12)],
    ],
  })
}

/** Level 2: down for 20 s. */
function brokenConfig(logs: PastLogs): void {
  const evidence = '~/.openclaw/openclaw.json is not JSON5: invalid end of input at 15:1'
  logs.run('watchdog', {
    begin: '2026-11-17 09:30:00',
    verdict: 'misconfigured',
    exitCode: 1,
    seconds: 1,
    says: [
      [0, MARKER.down('misconfigured', evidence), 'WARN'],
      [1, MARKER.escalate(2, 'it would exit 78 again; a restart cannot help'), 'WARN'],
    ],
  })
  logs.run('healthcheck', {
    begin: '2026-11-17 09:30:02',
    seconds: 18,
    says: [
      [0, MARKER.down('misconfigured', evidence), 'WARN'],
      [1, MARKER.notice('needs a look: config rolled back: the known-good one of 08:12 was put back'), 'WARN'],
      [2, DEED.restart('launchctl kickstart gui/501/ai.openclaw.gateway')],
      [18, MARKER.recovered(2, 20)],
    ],
  })
}

/** Level 3: down for 18 min. */
function brokenInstall(logs: PastLogs): void {
  const evidence = "its log says: [openclaw] Cannot find module 'run-command.mjs'"
  logs.run('watchdog', {
    begin: '2026-11-18 22:05:00',
    verdict: 'broken-install',
    exitCode: 1,
    seconds: 8,
    says: [
      [0, MARKER.down('absent', 'connection refused; no gateway process'), 'WARN'],
      [1, DEED.restart('launchctl kickstart gui/501/ai.openclaw.gateway')],
      [8, MARKER.escalate(2, `broken-install after a restart: ${evidence}`), 'WARN'],
    ],
  })
  logs.run('healthcheck', {
    begin: '2026-11-18 22:05:10',
    seconds: 1072,
    says: [
      [0, MARKER.down('broken-install', evidence), 'WARN'],
      [1, MARKER.down('broken-install', evidence), 'WARN'],
      [290, MARKER.escalate(3, `down for 300 s, broken-install: ${evidence}`), 'WARN'],
      [1072, 'level 3 ended with exit code 0'],
    ],
  })
  logs.run('emergency-recovery', {
    begin: '2026-11-18 22:10:01',
    seconds: 780,
    says: [
      [1, MARKER.down('broken-install', evidence), 'WARN'],
      [9, DEED.doctor('Claude Code', '2.1.330', 1)],
      [779, MARKER.recovered(3, 1080)],
    ],
  })
}

/** What the doctor of that evening wrote. */
function report(folder: string, shiftMs: number): void {
  const name = `emergency-recovery-report-${localStamp(new Date(at('2026-11-18 22:10:01').getTime() + shiftMs))}.md`
  const cause = "An update was interrupted: `run-command.mjs` of OpenClaw's package was missing."
  writeFileSync(join(folder, name), `# Emergency recovery report\n\n## Root cause\n${cause}\n\n## Fix\nReinstalled.\n`)
}

/** A human: down for 41 min. */
function stranger(logs: PastLogs): void {
  const evidence = 'port 18789 belongs to node (pid 10223, `node dev-server.mjs`), not to the gateway'
  const because = 'a foreign process is never killed; whose port it is, a human decides'
  for (const minute of ['00', '03', '06', '09', '12', '15', '18', '21', '24', '27', '30', '33', '36', '39'])
    logs.run('watchdog', {
      begin: `2026-11-20 14:${minute}:00`,
      verdict: 'impostor',
      exitCode: 1,
      seconds: 2,
      says: [
        [1, MARKER.down('impostor', evidence), 'WARN'],
        [2, MARKER.escalate(2, `${because}; a restart cannot help`), 'WARN'],
      ],
    })
  logs.run('healthcheck', {
    begin: '2026-11-20 14:00:05',
    verdict: 'impostor',
    exitCode: 1,
    seconds: 302,
    says: [
      [0, MARKER.down('impostor', evidence), 'WARN'],
      [296, MARKER.escalate(3, `down for 300 s, impostor: ${evidence}`), 'WARN'],
    ],
  })
  logs.run('emergency-recovery', {
    begin: '2026-11-20 14:05:02',
    verdict: 'impostor',
    exitCode: 1,
    seconds: 3,
    says: [
      [1, MARKER.down('impostor', evidence), 'WARN'],
      [2, MARKER.manual(`impostor: ${evidence} (${because})`), 'ERROR'],
    ],
  })
  logs.run('monitor', {
    begin: '2026-11-20 14:10:00',
    verdict: 'alerts delivered',
    says: [
      [0, DEED.told('Discord', 'OpenClaw Gateway on mac-mini needs you')],
      [0, DEED.told('Telegram', 'OpenClaw Gateway on mac-mini needs you')],
    ],
  })
  logs.run('watchdog', { begin: '2026-11-20 14:41:01', seconds: 0.2 })
  logs.run('monitor', {
    begin: '2026-11-20 14:45:00',
    verdict: 'alerts delivered',
    says: [
      [0, DEED.told('Discord', 'OpenClaw Gateway on mac-mini is back')],
      [0, DEED.told('Telegram', 'OpenClaw Gateway on mac-mini is back')],
    ],
  })
}
