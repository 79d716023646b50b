import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { oneLine } from '../tier/contract.ts'

/** `gone`: this is not accepted, now and later. */
export type Answer = { why: string } & (
  | { kind: 'delivered'; text: string; hasMore: boolean }
  | { kind: 'later'; waitSec: number; arrived: 'no' | 'perhaps' }
  | { kind: 'gone'; status: number }
)

type Sent = { method?: string; body?: string; headers: Record<string, string> }
export type Limits = { timeoutSec: number; signal?: AbortSignal }

const MAX_WAIT_IN_RUN_SEC = 30
const MAX_RETRY_AFTER_SEC = 3600
const PAUSES_SEC = [0.5, 2]

/** Tries again soon, unless the message may have arrived. Never throws. */
export async function post(url: string, what: Sent, { timeoutSec, signal }: Limits): Promise<Answer> {
  for (let tries = 0; ; tries++) {
    const answer = await request(url, what, timeoutSec)
    const pauseSec = PAUSES_SEC[tries]
    if (answer.kind !== 'later' || answer.arrived === 'perhaps' || !pauseSec) return answer
    if (answer.waitSec > MAX_WAIT_IN_RUN_SEC) return answer
    const isWaited = await sleep((answer.waitSec || pauseSec) * 1000, true, { signal }).catch(() => false)
    if (!isWaited) return answer
  }
}

/** `hasMore`: of a list, there is a further page. Never throws. */
export async function request(url: string, what: Sent, timeoutSec: number, maxChars = 16 * 1024): Promise<Answer> {
  const target = new URL(url)
  const { origin, pathname, search } = target
  // fetch refuses such an address, and its error quotes it.
  target.username = target.password = ''
  // fetch does not say whether anything was sent, and what was not sent cannot have arrived.
  let isSent = false
  const onSent = (message: unknown) => {
    const { request } = message as { request: { origin: string; path: string } }
    if (request.origin === origin && request.path === pathname + search) isSent = true
  }
  subscribe('undici:client:sendHeaders', onSent)
  try {
    // A redirect would hand the message to another.
    const limits = { redirect: 'manual', signal: AbortSignal.timeout(timeoutSec * 1000) } as const
    const response = await fetch(target, { method: 'POST', ...what, ...limits })
    const text = await beginningOf(response, maxChars).catch(() => '')
    return judge(response, text)
  } catch (error) {
    const { name, cause } = error as { name: string; cause?: { message: string; errors?: Error[] } }
    const tooLate = `no ${isSent ? 'answer' : 'connection'} within ${timeoutSec} s`
    const why = cause?.errors?.[0]?.message ?? cause?.message ?? String(error)
    const arrived = isSent ? 'perhaps' : 'no'
    return { kind: 'later', why: name === 'TimeoutError' ? tooLate : oneLine(why, 200), waitSec: 0, arrived }
  } finally {
    unsubscribe('undici:client:sendHeaders', onSent)
  }
}

/** A service that sends without end costs no more than that. */
async function beginningOf({ body }: Response, maxChars: number): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > maxChars) break
  }
  return text
}

function judge({ status, headers }: Response, text: string): Answer {
  // By the body: Slack sends its `ok` as text/html.
  const isWebPage = /^\s*<[!?a-z]/i.test(text)
  const said = /"(?:message|description|error)"\s*:\s*"((?:[^"\\]|\\.){1,200})"/.exec(text)?.[1] ?? text
  const why = `HTTP ${status}${isWebPage ? ', a web page' : said.trim() && ` (${oneLine(said, 120)})`}`
  const hasMore = /rel="next"/.test(headers.get('link') ?? '')
  if (status < 300 && !isWebPage) return { kind: 'delivered', why, text, hasMore }
  // Discord: `retry_after`; Telegram: `parameters.retry_after`; both in seconds.
  const inBody = /"retry_after"\s*:\s*(\d{1,9}(?:\.\d{1,9})?)/.exec(text)?.[1] ?? ''
  const asked = [headers.get('retry-after') ?? '', inBody].map(Number.parseFloat).find(Number.isFinite)
  const resetSec = resetOf(headers)
  const later = (waitSec: number, arrived: 'no' | 'perhaps' = 'no'): Answer => {
    return { kind: 'later', why, waitSec: Math.min(asked ?? resetSec ?? waitSec, MAX_RETRY_AFTER_SEC), arrived }
  }
  const isLimited = asked !== undefined || resetSec !== undefined || /\brate limit\b/i.test(text)
  if (status === 429 || (status === 403 && isLimited)) return later(60)
  // After a gateway's time-out the service behind it may have taken it.
  if (status >= 500) return later(0, status === 504 || status === 524 ? 'perhaps' : 'no')
  if (status < 400) return later(0)
  // A wall in front of the service (Cloudflare's).
  if (isWebPage || /^error code: \d+/.test(text)) return later(600)
  return { kind: 'gone', why, status }
}

/** GitHub's primary limit, in seconds from now by its own clock; its secondary one has `retry-after`, or a minute is to be waited.
 * https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit */
function resetOf(headers: Headers): number | undefined {
  if (headers.get('x-ratelimit-remaining') !== '0') return undefined
  const nowMs = Date.parse(headers.get('date') ?? '') || Date.now()
  const sec = Number.parseFloat(headers.get('x-ratelimit-reset') ?? '') - nowMs / 1000
  return Number.isFinite(sec) ? Math.max(1, sec) : 60
}
