/** What the gateway's own log says of an assistant that gives no answers: runs of its agents that failed, clients that it refused. */
import { minuteOf } from '../incidents/words.ts'
import type { Service } from '../services/supervisor.ts'
import { wholeWords } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { readGatewayLogs } from './logs.ts'

/** The session of the probe, which reports its failures itself. */
export const PROBE_SESSION = 'self-healing-probe'

const WORTH_A_NOTICE = 3
const HOUR_MS = 3_600_000
/** Of the log, as much more than for last words: one failed run with its retries writes sixty lines. */
const LOG_TIMES = 16
/** Of a line: a longer one is no line of OpenClaw's own, and may be made to take minutes. */
const MOST_CHARS = 2000

/** What is reported of a gateway that is healthy; there is one of a kind. */
export type Found = { kind: string; text: string }

type Entry = { ms: number; text: string }

/** OpenClaw's words for a refused connection (2026.9.6), from this machine's own addresses only. */
const REFUSAL =
  /^\[ws\] unauthorized conn=.* remote=(?:127\.[\d.]+|::1|::ffff:127\.[\d.]+) client=(\S{1,40}) .*reason=((?:device_)?(?:token|password)_mismatch)/

/**
 * The log of the last hour, or of `SILENT_FAILED_RUNS_MINUTES`.
 * @param stands whether a finding of that kind is reported already: it ends only when nothing of it is left
 */
export async function readFailures(
  settings: Settings,
  service: Service,
  stands: (kind: string) => boolean,
  nowMs: number,
): Promise<Found[]> {
  const windowMs = Math.max(settings.failedRunsMin * 60_000, HOUR_MS)
  const logs = await readGatewayLogs(settings, nowMs - windowMs, service, LOG_TIMES)
  const entries = logs.map(({ lines }) =>
    lines.flatMap(({ from, ms = 0, text }) =>
      from === 'logger' && ms <= nowMs ? [{ ms, text: text.slice(0, MOST_CHARS) }] : [],
    ),
  )
  // Two logs may hold the same lines, as a file and the journal do.
  const most = <T>(read: (entries: Entry[]) => T, count: (found: T) => number, fromMs: number) =>
    entries.map((all) => read(all.filter(({ ms }) => ms >= fromMs))).sort((one, other) => count(other) - count(one))[0]
  const findings: Found[] = []
  const refused = most(refusals, ({ length }) => length, nowMs - HOUR_MS) ?? []
  // With one every half an hour it would begin and end again and again.
  if (refused.length >= (stands('refused clients') ? 1 : WORTH_A_NOTICE)) {
    const clients = [...new Set(refused.map(({ client }) => client))].sort().slice(0, 5).join(', ')
    const who = `tries of this machine's own clients (${clients}: ${refused.at(-1)!.reason})`
    const text = `it refused ${refused.length} ${who} within the hour; give them the token of its config (gateway.auth)`
    findings.push({ kind: 'refused clients', text })
  }
  const { failedRuns: limit, failedRunsMin } = settings
  // Standard error may have a log of its own, without the answers.
  const answers = entries.flat().flatMap(({ ms, text }) => (ANSWERED.test(text) ? [ms + 1] : []))
  const fromMs = answers.reduce((one, other) => Math.max(one, other), nowMs - failedRunsMin * 60_000)
  const { count = 0, last } = most(failedRuns, (runs) => runs.count, fromMs) ?? {}
  const kind = 'failed runs'
  if (last && limit > 0 && count >= (stands(kind) ? 1 : limit)) {
    const when = minuteOf(new Date(last.ms)).slice(11)
    const said = `the last at ${when}${[last.model, last.reason].map((word) => word && `, ${word}`).join('')}: "${last.said}"`
    const runs = count === 1 ? '1 run' : `${count} runs`
    findings.push({
      kind,
      text: `${runs} of its agents failed within ${failedRunsMin} min (${said}); ${helpFor(last)}`,
    })
  }
  return findings
}

const refusals = (entries: readonly Entry[]) =>
  entries.flatMap(({ text }) => {
    const [, client = '', reason = ''] = REFUSAL.exec(text) ?? []
    return client ? [{ client, reason }] : []
  })

type FailedRun = { ms: number; model: string; reason: string; said: string }

/** The last words about a run of an agent (2026.9.6). A run tries again on its own, and with other models: only when there is no next
 * one has it failed. A fallback decision that repeats itself is left out of the log and counted in the next one. */
const DECISION =
  /^\[(?:[\w.-]+\/)*decision\] model fallback decision: decision=candidate_failed(?: requested=\S+)? candidate=(\S{1,80})\S* reason=(\S{1,40})\S*(?: \w+=\S+)*? next=(\S+)(?: detail=(.*?))?(?: \((\d{1,3}) duplicates suppressed [^)]*\))?$/
const TIMED_OUT = /^\[(?:[\w.-]+\/)*embedded\] embedded run timeout: runId=\S+ .*timeoutMs=(\d+)/
/** Of a run that was not begun, for its credential is disabled for now, there is no decision. One that was aborted was stopped by a person. */
const LANE_ERROR =
  /^\[(?:[\w.-]+\/)*diagnostic\] lane task error: (?!.* errorName=AbortError$)lane=session:(\S+) durationMs=\d+ error="(.*?)"?(?: errorName=\S+)?$/
const ANSWERED =
  /^\[(?:[\w.-]+\/)*(?:agent-command\] \[agent\] run \S+ ended with stopReason=(?!error)|decision\] model fallback decision: decision=candidate_succeeded )/
const DECIDED_WITHIN_MS = 2000

function failedRuns(entries: readonly Entry[]): { count: number; last: FailedRun | undefined } {
  let [count, last]: [number, FailedRun | undefined] = [0, undefined]
  const decisions = entries.flatMap(({ ms, text }) => (DECISION.test(text) ? [ms] : []))
  for (const { ms, text } of entries) {
    const [, model = '', reason = '', next, detail = '', suppressed = 0] = DECISION.exec(text) ?? []
    const [, limitMs] = TIMED_OUT.exec(text) ?? []
    const [, session = '', error = ''] = LANE_ERROR.exec(text) ?? []
    const isDecided = decisions.some((at) => at >= ms && at - ms < DECIDED_WITHIN_MS)
    const isUndecided = session !== '' && !session.endsWith(PROBE_SESSION) && !isDecided
    if (next !== 'none' && !limitMs && !isUndecided) continue
    count += 1 + Number(suppressed)
    const waited = `no answer within ${Number(limitMs) / 1000} s`
    const said = detail || error || (limitMs ? waited : '')
    // The run before it says why its credential is disabled.
    const why = { model, reason: reason || (limitMs ? 'timeout' : ''), said: wholeWords(said, 160) }
    last = { ...(isUndecided && last ? last : why), ms }
  }
  return { count, last }
}

/** By OpenClaw's reasons for a failover. */
function helpFor({ model, reason, said }: FailedRun): string {
  const provider = /^[\w.-]+(?=\/)/.exec(model)?.[0] ?? /provider "([\w.-]+)"/.exec(said)?.[1]
  const named = provider ?? 'its provider'
  const isSignIn = /^(?:auth|auth_permanent|session_expired)$/.test(reason) || /temporarily disabled|sign in/.test(said)
  if (isSignIn)
    return `see \`openclaw models status\`; a new key or login for ${named}: \`openclaw models auth login${provider ? ` --provider ${provider}` : ''}\`, or in the config, if its key stands there`
  if (reason === 'billing')
    return `top up the account at ${named}, or choose another model with \`openclaw models set\``
  if (/^(?:rate_limit|overloaded)$/.test(reason))
    return `it may pass; a second model helps meanwhile: \`openclaw models fallbacks add\``
  if (/^model_/.test(reason)) return 'choose a model that is there: `openclaw models list`, `openclaw models set`'
  if (/^(?:timeout|server_error)$/.test(reason))
    return `see whether ${named} can be reached from this machine (network, proxy, a model server of your own)`
  return 'see `openclaw logs` and `openclaw models status`'
}
