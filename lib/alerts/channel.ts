/** What every channel to the human has in common. */
import { oneLine } from '../tier/contract.ts'
import type { Alert } from './alert.ts'
import { isGatewayTimeout, type PostResult } from './http.ts'

/** What has to be told about this sending, beside the alert itself. */
export interface Circumstances {
  now: Date
  /** The same at every try of the same message. */
  id: string
  /** An earlier try may have arrived. */
  mayBeRepetition: boolean
}

export type Answer =
  | { kind: 'delivered'; said: string }
  /** Not taken this time. `perhaps`: it may have been taken all the same. */
  | { kind: 'later'; why: string; waitSec: number; arrived: 'no' | 'perhaps' }
  /** This channel will not take anything any more until somebody has done what `todo` says. */
  | { kind: 'gone'; why: string; todo: string }
  /** This message is not accepted, in this form. */
  | { kind: 'refused'; why: string }

export interface Channel {
  name: string
  /** Where it sends to; secret. */
  address: string
  send(alert: Alert, circumstances: Circumstances, signal: AbortSignal): Promise<Answer>
}

/** What an answer means at any HTTP service, before its own particulars. */
export function judge(result: PostResult): Answer {
  if ('failure' in result) return { kind: 'later', why: result.failure, waitSec: 0, arrived: result.arrived }
  const { status, body } = result
  const why = `HTTP ${status}${describeBody(result)}`
  if (status >= 200 && status < 300) {
    // A hotel's login page, or a proxy's: whatever answered, it was not the service.
    if (isWebPage(result)) return { kind: 'later', why: `${why}, a web page`, waitSec: 0, arrived: 'no' }
    return { kind: 'delivered', said: why }
  }
  if (status === 429)
    return { kind: 'later', why, waitSec: result.retryAfterSec ?? retryAfterInBody(body) ?? 60, arrived: 'no' }
  if (status >= 500) {
    const arrived = isGatewayTimeout(status) ? 'perhaps' : 'no'
    return { kind: 'later', why, waitSec: result.retryAfterSec ?? 0, arrived }
  }
  if (status >= 300 && status < 400) return { kind: 'later', why: `${why}, a redirect`, waitSec: 0, arrived: 'no' }
  // A wall in front of the service (Cloudflare's is a web page, or says `error code: 1015`) does not speak for it.
  if (isWebPage(result) || /^error code: \d+/.test(body)) return { kind: 'later', why, waitSec: 600, arrived: 'no' }
  return { kind: 'refused', why }
}

/** By the body alone: Slack says its `ok` as text/html. */
function isWebPage({ body }: { body: string }): boolean {
  return /^\s*<[!?a-z]/i.test(body)
}

/** Discord: `retry_after`; Telegram: `parameters.retry_after`; both in seconds. */
function retryAfterInBody(body: string): number | undefined {
  const m = /"retry_after"\s*:\s*(\d{1,9}(?:\.\d{1,9})?)/.exec(body)
  return m ? Math.min(Number(m[1]), 3600) : undefined
}

/** What the service said, as ` (Unknown Webhook)`. */
function describeBody(result: { body: string }): string {
  if (isWebPage(result)) return ''
  const m = /"(?:message|description|error)"\s*:\s*"((?:[^"\\]|\\.){1,200})"/.exec(result.body)
  const text = oneLine(m?.[1] ?? result.body, 120)
  return text === '' ? '' : ` (${text})`
}
