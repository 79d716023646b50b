/** The contract between the tiers, which are separate processes: exit codes, log lines and markers, written and read here. */

export const EXIT = { healthy: 0, down: 1, unusable: 2, stoodDown: 3 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export const TIERS = {
  watchdog: { level: 1, script: 'gateway-watchdog', intervalSec: 180 },
  healthcheck: { level: 2, script: 'gateway-healthcheck', intervalSec: 300 },
  'emergency-recovery': { level: 3, script: 'emergency-recovery', intervalSec: undefined },
  monitor: { level: 4, script: 'emergency-recovery-monitor', intervalSec: 300 },
  guardian: { level: undefined, script: 'watchdog-guardian', intervalSec: 300 },
} as const
export type TierName = keyof typeof TIERS
export const ALL_TIERS = Object.keys(TIERS) as TierName[]

export type Severity = 'INFO' | 'WARN' | 'ERROR'

export type Marker =
  | { kind: 'run-started'; pid: number }
  | { kind: 'run-ended'; verdict: string; exitCode: number; seconds: number }
  | { kind: 'down'; verdict: string; evidence: string }
  | { kind: 'recovered'; level: number | undefined; seconds: number }
  | { kind: 'escalate'; level: number; why: string }
  | { kind: 'manual'; why: string }
  | { kind: 'notice'; what: string }
  | { kind: 'restart'; how: string }
  | { kind: 'doctor'; name: string; version: string }
  | { kind: 'ended'; times: number }
  | { kind: 'delivered'; channel: string; title: string }
  | { kind: 'cannot-start'; why: string }

export const MARKER = {
  runStarted: (pid: number): string => `RUN started (pid ${pid})`,
  runEnded: (verdict: string, exitCode: number, seconds: number): string =>
    `RUN ended: ${verdict}, exit ${exitCode} after ${seconds.toFixed(1)} s`,
  down: (verdict: string, evidence: string): string => `DOWN ${verdict}: ${evidence}`,
  /** `level` undefined: it recovered by itself or was repaired from outside. */
  recovered: (level: number | undefined, seconds: number): string =>
    `RECOVERED by ${level === undefined ? 'itself or from outside' : `level ${level}`} after ${Math.round(seconds)} s`,
  escalate: (level: number, why: string): string => `ESCALATE to level ${level}: ${why}`,
  manual: (why: string): string => `MANUAL INTERVENTION REQUIRED: ${why}`,
  notice: (what: string): string => `NOTICE ${what}`,
} as const

export const ABOUT_WATCHERS = 'watchers: '

/** How a notice begins that is sent under NOTIFY=failures too: nothing is down, but a human has to act soon. */
export const NEEDS_ATTENTION = 'needs attention: '

const PATTERNS: [kind: Marker['kind'], pattern: RegExp][] = [
  ['run-started', /^RUN started \(pid (?<pid>\d+)\)/],
  ['run-ended', /^RUN ended: (?<verdict>.+), exit (?<exitCode>\d+) after (?<seconds>[\d.]+) s$/],
  ['down', /^DOWN (?<verdict>[a-z-]+): (?<evidence>.*)/s],
  ['recovered', /^RECOVERED by (?:level (?<level>\d)|itself or from outside) after (?<seconds>\d+) s/],
  ['escalate', /^ESCALATE to level (?<level>\d): (?<why>.*)/s],
  ['manual', /^MANUAL INTERVENTION REQUIRED: (?<why>.*)/s],
  ['notice', /^NOTICE (?<what>.*)/s],
  // The second form is that of 1.x.
  ['restart', /^(?:restart|no supervisor starts what the doctor repaired): (?<how>.*)/s],
  ['doctor', /^calling (?<name>[\w ]+) (?<version>[\w.-]+) with \d+ similar/],
  ['ended', /^processes of the gateway that ended since the last check: (?<times>\d+)/],
  ['cannot-start', /^cannot start: (?<why>.*)/s],
  ['delivered', /^alert delivered to (?<channel>[\w ]+): (?<title>.*)/s],
]

export function parseMarker(text: string): Marker | undefined {
  // As 1.x wrote it.
  const said = text.replace(/^NOTICE needs a look: /, `NOTICE ${NEEDS_ATTENTION}`)
  for (const [kind, pattern] of PATTERNS) {
    const groups: Record<string, string | number> | undefined = pattern.exec(said)?.groups
    if (!groups) continue
    for (const name of ['pid', 'exitCode', 'seconds', 'level', 'times'])
      if (groups[name]) groups[name] = Number(groups[name])
    return { kind, ...groups } as Marker
  }
  return undefined
}

export const DEED = {
  restart: (how: string): string => `restart: ${how}`,
  ended: (times: number): string => `processes of the gateway that ended since the last check: ${times}`,
  doctor: (name: string, version: string, learnings: number): string =>
    `calling ${name} ${version} with ${learnings} similar incidents of the past`,
  delivered: (channel: string, title: string): string => `alert delivered to ${channel}: ${title}`,
  deliveredDigest: (channel: string, title: string): string => `weekly digest delivered to ${channel}: ${title}`,
} as const

/** `[2026-11-22T05:44:10+09:00] [watchdog] [WARN] text`; further lines are indented, so that no text passes for a line of ours. */
export function formatLine(at: Date, tier: TierName, severity: Severity, text: string): string {
  const [first = '', ...rest] = cleanText(text).split('\n')
  return [`[${localIso(at)}] [${tier}] [${severity}] ${first}`, ...rest.map((line) => `    ${line}`)].join('\n')
}

const LINE = /^\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)\] \[([a-z-]+)\] \[(INFO|WARN|ERROR)\] (.*)$/

export function parseLine(line: string) {
  const m = LINE.exec(line)
  if (!m) return undefined
  const at = new Date(m[1]!)
  if (Number.isNaN(at.getTime())) return undefined
  return { at, tier: m[2]!, severity: m[3] as Severity, text: m[4]! }
}

/** Text from outside as one line without control characters, cut to `maxChars` with an ellipsis. */
export function oneLine(text: string, maxChars = 300): string {
  const flat = cleanText(text).replace(/\s+/g, ' ').trim()
  return flat.length <= maxChars ? flat : `${flat.slice(0, maxChars - 1).replace(/[\ud800-\udbff]$/, '')}…`
}

/** As `oneLine`, cut between words: redaction, which follows, does not find half a secret. */
export function wholeWords(text: string, maxChars: number): string {
  const flat = oneLine(text, Number.POSITIVE_INFINITY)
  return flat.length <= maxChars ? flat : `${flat.slice(0, Math.max(0, flat.lastIndexOf(' ', maxChars - 2)))} …`.trim()
}

/** CSI, OSC and two-character escapes. */
const ESCAPES =
  /\u001b\[[0-9;:<=>?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b\n]*(?:\u0007|\u001b\\)?|\u001b[@-Z\\-_a-z0-9=>]?/g
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

export const cleanText = (text: string): string =>
  text.replace(/\r\n?/g, '\n').replace(ESCAPES, '').replace(CONTROLS, '')

export function localIso(at: Date): string {
  const offsetMin = -at.getTimezoneOffset()
  const shifted = new Date(at.getTime() + offsetMin * 60_000).toISOString().slice(0, 19)
  const zone = new Date(Math.abs(offsetMin) * 60_000).toISOString().slice(11, 16)
  return `${shifted}${offsetMin < 0 ? '-' : '+'}${zone}`
}

export const localDay = (at: Date): string => localIso(at).slice(0, 10)

export const localStamp = (at: Date): string => localIso(at).slice(0, 19).replace('T', '-').replaceAll(':', '')
