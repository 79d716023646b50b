/** What the log of a gateway that is up says and a person should know. */
import { gatewayService } from '../services/supervisor.ts'
import { MARKER, NEEDS_ATTENTION } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { outOfMemorySince, readGatewayLogs, timeOf } from './clues.ts'
import type { Examination } from './examination.ts'
import { type GatewayRecord, REFUSALS_EVERY_MS, readRecord, writeRecord } from './record.ts'

const DAY_MS = 86_400_000

/** Logs that the process before this one ran out of memory; gives a notice, once a day, when it was not the first in a day. */
export async function noticeOutOfMemory(
  { settings, journal }: TierRun,
  before: GatewayRecord,
  seen: Examination,
  nowMs: number,
): Promise<Pick<GatewayRecord, 'outOfMemoryMs' | 'outOfMemoryToldMs'>> {
  const { outOfMemoryMs, outOfMemoryToldMs } = before
  const unit = seen.service?.kind === 'systemd' ? seen.service.name : undefined
  const line = await outOfMemorySince(settings, before.lastHealthyMs, unit, before.pid)
  if (line === undefined) return { outOfMemoryMs, outOfMemoryToldMs }
  journal.warn(`the gateway's process ${before.pid} ran out of memory: ${line}`)
  const isRepeated = outOfMemoryMs > 0 && nowMs - outOfMemoryMs < DAY_MS
  if (!isRepeated || nowMs - outOfMemoryToldMs < DAY_MS) return { outOfMemoryMs: nowMs, outOfMemoryToldMs }
  const what = 'out of memory for the second time within a day; each time it was restarted, which is no cure'
  journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what}`))
  return { outOfMemoryMs: nowMs, outOfMemoryToldMs: nowMs }
}

const WORTH_A_NOTICE = 3

/** OpenClaw's words for a refused connection (2026.9.6), from this machine's own addresses only. */
const REFUSAL =
  /\[ws\] unauthorized conn=.* remote=(?:127\.[\d.]+|::1|::ffff:127\.[\d.]+) client=(\S{1,40}) .*reason=((?:device_)?(?:token|password)_mismatch)/

/** Gives a notice, once, of clients on this machine that the gateway refused in the last hour for an outdated token. */
export async function noticeRefusals(run: TierRun): Promise<void> {
  const { settings, journal } = run
  const nowMs = Date.now()
  const sinceMs = nowMs - REFUSALS_EVERY_MS
  const service = await gatewayService(settings)
  const logs = await readGatewayLogs(settings, sinceMs, service.kind === 'systemd' ? service.name : undefined)
  const refused = logs
    .flatMap(({ text }) => text.split('\n'))
    .flatMap((line) => {
      const m = REFUSAL.exec(line)
      return m && (timeOf(line) ?? 0) >= sinceMs ? [{ client: m[1]!, reason: m[2]! }] : []
    })
  const isWorthIt = refused.length >= WORTH_A_NOTICE
  const record = readRecord(settings).value
  if (isWorthIt && !record.refusalsTold) {
    const clients = [...new Set(refused.map(({ client }) => client))].sort().slice(0, 5).join(', ')
    const what = `the gateway is up, and refused ${refused.length} tries of this machine's own clients (${clients}: ${refused.at(-1)!.reason})`
    const advice = 'give them the token of its config (gateway.auth); a restart will not fix this'
    journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what}; ${advice}`))
  }
  writeRecord(settings, { ...record, refusalsLookMs: nowMs, refusalsTold: isWorthIt })
}
