/** The gateway's logs as lines with times: its files, and its unit's journal. */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Service } from '../services/supervisor.ts'
import { cleanText, localDay } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import { isForeignLog, rollingLogName } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { isRecord, namesIn, tried } from '../tier/state.ts'

export interface LogLine {
  text: string
  /** Epoch milliseconds: its own time, else the journal's. Undefined: a line of standard error in a file. */
  ms: number | undefined
  /** `logger`: with a time of its own. `output`: without, so it may be a further line of what stands above it. */
  from: 'logger' | 'output' | 'systemd'
}

export interface Log {
  lines: LogLine[]
  writtenMs: number
  /** False when there was more before the first line. */
  isWhole: boolean
}

const TAIL_BYTES = 64 * 1024
const JOURNAL_LINES = 1000

/** The logs that were written since then; of a unit its journal, too. @param times as much of each as is usual */
export async function readGatewayLogs(settings: Settings, sinceMs: number, service: Service | undefined, times = 1) {
  const bytes = TAIL_BYTES * times
  const files = gatewayLogs(settings).map((path) => {
    const text = readTail(path, bytes)
    const { size = 0, mtimeMs = 0 } = tried(() => statSync(path)) ?? {}
    return { lines: linesOf(text, mtimeMs), writtenMs: mtimeMs, isWhole: size <= bytes }
  })
  const isUnit = service?.loaded && service.kind !== 'launchd'
  const all: Log[] = isUnit ? [...files, await readJournal(settings, service, sinceMs, JOURNAL_LINES * times)] : files
  return all.filter(({ writtenMs }) => writtenMs >= sinceMs)
}

export function linesOf(text: string, writtenMs = Date.now()): LogLine[] {
  return cleanText(text)
    .split('\n')
    .flatMap((raw) => linesIn(raw, writtenMs))
}

/** OpenClaw's `logging.file` and its console style `json` write objects, whose message may be several lines. */
function linesIn(raw: string, writtenMs: number): LogLine[] {
  const json: unknown = raw.startsWith('{') ? tried(() => JSON.parse(raw)) : undefined
  const { time, message, ...others }: Record<string, unknown> = isRecord(json) ? json : {}
  const ms = timeOf(typeof time === 'string' ? time : raw, writtenMs)
  if (ms === undefined) return [{ text: raw, ms, from: 'output' }]
  // `[ws] ` for `"subsystem":"gateway/ws"`, as in the other styles.
  const subsystem = /"subsystem\\?":\\?"(?:[\w.-]+\/)*([\w.-]+)/.exec(raw)?.[1]
  const of = subsystem ? `[${subsystem}] ` : ''
  const spelled = modelDecision(isRecord(others['1']) ? others['1'] : others) ?? message
  const said = typeof spelled === 'string' ? of + cleanText(spelled) : raw.replace(/^\[?\S+?\]? /, '')
  return said.split('\n').map((text, i) => ({ text, ms, from: i === 0 ? 'logger' : 'output' }))
}

const DECISION_FIELDS = 'decision reason candidateProvider candidateModel nextCandidateModel errorPreview'.split(' ')

/** Its objects hold as fields what its other styles say in the message (2026.9.6). */
function modelDecision(facts: Record<string, unknown>): string | undefined {
  if (facts.event !== 'model_fallback_decision') return undefined
  // A chat may have written the object: a field may be anything.
  const [decision, reason, provider, model, next, detail] = DECISION_FIELDS.map((name) =>
    typeof facts[name] === 'string' ? facts[name] : '',
  )
  return `model fallback decision: decision=${decision} candidate=${provider}/${model} reason=${reason} next=${next || 'none'} detail=${detail}`
}

function timeOf(text: string, writtenMs: number): number | undefined {
  // Its console style `pretty` tells the time of day alone.
  const [hours, minutes, seconds] = (/^(\d\d):(\d\d):(\d\d) /.exec(text) ?? []).slice(1).map(Number)
  const onThatDay = new Date(writtenMs).setHours(hours ?? Number.NaN, minutes, seconds, 0)
  if (!Number.isNaN(onThatDay)) return onThatDay > writtenMs ? onThatDay - 86_400_000 : onThatDay
  const ms = Date.parse(/^\[?(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))/.exec(text)?.[1] ?? '')
  return Number.isNaN(ms) ? undefined : ms
}

async function readJournal(settings: Settings, { name, scope }: Service, sinceMs: number, most: number): Promise<Log> {
  const since = new Date(Math.max(sinceMs, Date.now() - 86_400_000)).toISOString().slice(0, 19).replace('T', ' ')
  const $ = shell(settings)
  const { stdout } =
    await $`journalctl ${scope} -u ${name} --since ${`${since} UTC`} -n ${most} -r -o json --all --output-fields=MESSAGE,_COMM --no-pager`
  // Newest first: of too much text the end is what is needed.
  const lines = entriesOf(stdout)
    .reverse()
    .flatMap(({ message, ms: writtenMs, entry }) =>
      linesIn(message, writtenMs).map((line) => ({
        ...{ ...line, ms: line.ms ?? writtenMs },
        from: entry._COMM === 'systemd' ? ('systemd' as const) : line.from,
      })),
    )
  return { lines, writtenMs: lines.at(-1)?.ms ?? 0, isWhole: lines.length < most }
}

function entriesOf(stdout: string) {
  return stdout.split('\n').flatMap((raw) => {
    const entry: unknown = tried(() => JSON.parse(raw))
    if (!isRecord(entry)) return []
    // A coloured text is written as its bytes.
    const said = Array.isArray(entry.MESSAGE) ? Buffer.from(entry.MESSAGE).toString() : entry.MESSAGE
    if (typeof said !== 'string') return []
    return [{ entry, message: cleanText(said), ms: Number(entry.__REALTIME_TIMESTAMP) / 1000 }]
  })
}

/** What systemd wrote of the starts and ends of its units in that time. */
export async function readUnits(settings: Settings, scope: Service['scope'], fromMs: number, untilMs: number) {
  const [since, until] = [fromMs, untilMs].map((ms) => `@${Math.floor(ms / 1000)}`)
  const $ = shell(settings)
  const words = '^Started |Failed with result|code=exited'
  const { stdout } =
    await $`journalctl ${scope} --since ${since} --until ${until} -n 1000 -o json --no-pager -g ${words} _COMM=systemd`
  return entriesOf(stdout).map(({ entry, message: text, ms }) => ({
    ...{ ms, text, unit: String(entry.USER_UNIT ?? entry.UNIT ?? '') },
  }))
}

/** The log that gateways of all users share; it never decides a verdict. */
export function sharedLog(settings: Settings, now = new Date()): string | undefined {
  const path = join('/tmp/openclaw', `${rollingLogName(settings.profile)}-${localDay(now)}.log`)
  return existsSync(path) ? path : undefined
}

export function gatewayLogs(settings: Settings): string[] {
  const library = join(settings.home, 'Library', 'Logs', 'openclaw')
  const state = join(settings.stateDir, 'logs')
  return [library, state].flatMap((folder) =>
    namesIn(folder)
      .filter((name) => /^gateway.*\.log$/.test(name) && name !== 'gateway-restart.log')
      // On macOS the gateways of all profiles write into one folder.
      .filter((name) => folder !== library || !isForeignLog(name, settings.profile))
      .map((name) => join(folder, name)),
  )
}
