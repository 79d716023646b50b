/** What the log of a gateway that is up says and a person should know. */
import { gatewayService } from '../services/supervisor.ts'
import { MARKER, NEEDS_ATTENTION, wholeWords } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import type { Examination } from './judge.ts'
import { outOfMemory } from './last-words.ts'
import { readGatewayLogs } from './logs.ts'
import { type GatewayRecord, REFUSALS_EVERY_MS, readRecord, writeRecord } from './record.ts'

const DAY_MS = 86_400_000

/** Logs that the process before this one ran out of memory; gives a notice, once a day, when it was not the first in a day. */
export async function noticeOutOfMemory(run: TierRun, before: GatewayRecord, seen: Examination, nowMs: number) {
  const { settings, journal } = run
  const { outOfMemoryMs, outOfMemoryToldMs } = before
  const sinceMs = before.lastHealthyMs
  const line = outOfMemory(await readGatewayLogs(settings, sinceMs, seen.service), sinceMs, before.pid)
  if (line === undefined) return {}
  journal.warn(`the gateway's process ${before.pid} ran out of memory: ${line}`)
  const isRepeated = outOfMemoryMs > 0 && nowMs - outOfMemoryMs < DAY_MS
  if (!isRepeated || nowMs - outOfMemoryToldMs < DAY_MS) return { outOfMemoryMs: nowMs }
  const what = 'out of memory for the second time within a day; each time it was restarted, which is no cure'
  journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what}`))
  return { outOfMemoryMs: nowMs, outOfMemoryToldMs: nowMs }
}

const WORTH_A_NOTICE = 3

/** OpenClaw's words for a refused connection (2026.9.6), from this machine's own addresses only. */
const REFUSAL =
  /^\[ws\] unauthorized conn=.* remote=(?:127\.[\d.]+|::1|::ffff:127\.[\d.]+) client=(\S{1,40}) .*reason=((?:device_)?(?:token|password)_mismatch)/

/** Of a run of an agent that ended with an error (2026.9.6): with a dead model provider it is live, and gives no answers. */
const FAILED_RUN = /^\[[\w/.-]{1,40}\] embedded run agent end: runId=(\S+) isError=true .*?\b(provider=\S.*)/

/** Gives a notice, once, of clients on this machine that the gateway refused in the last hour for an outdated token, and of agents that failed. */
export async function noticeRefusals(run: TierRun): Promise<void> {
  const { settings, journal } = run
  const nowMs = Date.now()
  const sinceMs = nowMs - REFUSALS_EVERY_MS
  const logs = await readGatewayLogs(settings, sinceMs, await gatewayService(settings))
  const lines = logs.flatMap((log) => log.lines).filter(({ ms = 0 }) => ms >= sinceMs)
  const refused = lines.flatMap(({ text }) => {
    const [, client = '', reason = ''] = REFUSAL.exec(text) ?? []
    return client ? [{ client, reason }] : []
  })
  const failed = new Map<string, string>()
  for (const { text, from } of lines) {
    const [, run, why = ''] = (from === 'logger' && FAILED_RUN.exec(text)) || []
    if (run) failed.set(run, why)
  }
  const record = readRecord(settings).value
  const tell = (count: number, wasTold: boolean, what: () => string): boolean => {
    if (count < WORTH_A_NOTICE) return false
    const why = `the gateway is up, and ${what()}; a restart will not fix this`
    if (!wasTold) journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${why}`))
    return true
  }
  const refusalsTold = tell(refused.length, record.refusalsTold, () => {
    const clients = [...new Set(refused.map(({ client }) => client))].sort().slice(0, 5).join(', ')
    const who = `tries of this machine's own clients (${clients}: ${refused.at(-1)!.reason})`
    return `refused ${refused.length} ${who}; give them the token of its config (gateway.auth)`
  })
  const failedRunsTold = tell(failed.size, record.failedRunsTold, () => {
    const last = wholeWords([...failed.values()].at(-1)!, 240)
    return `${failed.size} runs of its agents failed within the hour (the last: ${last}); see \`openclaw models status\``
  })
  writeRecord(settings, { ...record, refusalsLookMs: nowMs, refusalsTold, failedRunsTold })
}
