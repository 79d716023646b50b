/**
 * Clients of this machine that the gateway refuses: a command line, an app or a node with an outdated token. The
 * gateway is well, and its user is shut out all the same. Only its log is looked at: to try a command oneself would cost
 * seconds, and would add to the refusals.
 */
import { gatewayService } from '../services/supervisor.ts'
import { MARKER, NEEDS_A_LOOK } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { readGatewayLogs, timeOf } from './clues.ts'
import { REFUSALS_EVERY_MS, readRecord, writeRecord } from './record.ts'

/** One or two are a slip of the hand. */
const WORTH_A_WORD = 3

/**
 * OpenClaw's words for each refused connection (measured on 2026.9.6). One from elsewhere is not a user of this machine,
 * and may be somebody who guesses.
 */
const REFUSAL =
  /\[ws\] unauthorized conn=.* remote=(?:127\.[\d.]+|::1|::ffff:127\.[\d.]+) client=(\S{1,40}) .*reason=((?:device_)?(?:token|password)_mismatch)/

/** Looks at the last hour, on a healthy gateway: says it when there were some, once until there are none. */
export async function noticeRefusals(run: TierRun, nowMs: number): Promise<void> {
  const { settings, journal } = run
  const record = readRecord(settings).value
  const sinceMs = nowMs - REFUSALS_EVERY_MS
  const service = await gatewayService(settings)
  const logs = await readGatewayLogs(settings, sinceMs, service.kind === 'systemd' ? service.name : undefined)
  const refused = logs
    .flatMap(({ text }) => text.split('\n'))
    .flatMap((line) => {
      const m = REFUSAL.exec(line)
      return m && (timeOf(line) ?? 0) >= sinceMs ? [{ client: m[1]!, reason: m[2]! }] : []
    })
  const isWorthIt = refused.length >= WORTH_A_WORD
  if (isWorthIt && !record.refusalsTold) {
    const clients = [...new Set(refused.map(({ client }) => client))].sort().slice(0, 5).join(', ')
    journal.warn(
      MARKER.notice(
        `${NEEDS_A_LOOK}the gateway is up, and refused ${refused.length} tries of this machine's own clients (${clients}: ${refused.at(-1)!.reason}); give them the token of its config (gateway.auth); no restart helps that`,
      ),
    )
  }
  // Said before it is written down: a tier that is killed between the two says it twice rather than never.
  writeRecord(settings, { ...readRecord(settings).value, refusalsLookMs: nowMs, refusalsTold: isWorthIt })
}
