import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { oneLine } from '../tier/contract.ts'

/** `gone`: takes nothing until a human has done `todo`. `refused`: this form is not accepted. */
export type Answer =
  | { kind: 'delivered'; said: string }
  | { kind: 'later'; why: string; waitSec: number; arrived: 'no' | 'perhaps' }
  | { kind: 'gone'; why: string; todo: string }
  | { kind: 'refused'; why: string; status: number; body: string }

type Sent = { body: string; headers: Record<string, string> }
/** For each try; without a `signal` there is one try. */
export type Limits = { timeoutSec: number; signal?: AbortSignal }
type Result =
  | { status: number; retryAfterSec: number | undefined; body: string }
  | { failure: string; arrived: 'no' | 'perhaps' }

const MAX_BODY_BYTES = 16 * 1024
const MAX_WAIT_IN_RUN_SEC = 30
const MAX_RETRY_AFTER_SEC = 3600
const PAUSES_SEC = [0.5, 2]

/** Tries again after a server's error, not where the message may have arrived. Never throws. */
export async function post(url: string, what: Sent, { timeoutSec, signal }: Limits): Promise<Answer> {
  for (let tries = 0; ; tries++) {
    const result = await tryOnce(url, what, timeoutSec)
    const waitSec = signal && waitBeforeRetry(result, tries)
    const isWaited = waitSec !== undefined && (await sleep(waitSec * 1000, true, { signal }).catch(() => false))
    if (!isWaited) return judge(result)
  }
}

async function tryOnce(url: string, what: Sent, timeoutSec: number): Promise<Result> {
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
    const retryAfterSec = parseRetryAfter(response.headers.get('retry-after'))
    return { status: response.status, retryAfterSec, body: await readStart(response) }
  } catch (error) {
    const { name, cause } = error as { name: string; cause?: { message: string; errors?: Error[] } }
    const tooLate = `no ${isSent ? 'answer' : 'connection'} within ${timeoutSec} s`
    const why = cause?.errors?.[0]?.message ?? cause?.message ?? String(error)
    return { failure: name === 'TimeoutError' ? tooLate : oneLine(why, 200), arrived: isSent ? 'perhaps' : 'no' }
  } finally {
    unsubscribe('undici:client:sendHeaders', onSent)
  }
}

async function readStart({ body }: Response): Promise<string> {
  let bytes = Buffer.alloc(0)
  try {
    for await (const chunk of body ?? []) {
      bytes = Buffer.concat([bytes, chunk])
      if (bytes.length >= MAX_BODY_BYTES) break
    }
  } catch {}
  return bytes.subarray(0, MAX_BODY_BYTES).toString('utf8')
}

function parseRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined
  const seconds = /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SEC)
}

function waitBeforeRetry(result: Result, tries: number): number | undefined {
  const pauseSec = PAUSES_SEC[tries]
  if ('failure' in result || pauseSec === undefined || isGatewayTimeout(result.status)) return undefined
  const { status, retryAfterSec } = result
  const waitSec = status >= 500 ? (retryAfterSec ?? pauseSec) : status === 429 ? retryAfterSec : undefined
  return waitSec !== undefined && waitSec <= MAX_WAIT_IN_RUN_SEC ? waitSec : undefined
}

const isGatewayTimeout = (status: number): boolean => status === 504 || status === 524

function judge(result: Result): Answer {
  if ('failure' in result) return { kind: 'later', why: result.failure, waitSec: 0, arrived: result.arrived }
  const { status, body, retryAfterSec } = result
  // By the body: Slack sends its `ok` as text/html.
  const isWebPage = /^\s*<[!?a-z]/i.test(body)
  const said = /"(?:message|description|error)"\s*:\s*"((?:[^"\\]|\\.){1,200})"/.exec(body)?.[1] ?? body
  const why = `HTTP ${status}${isWebPage || said.trim() === '' ? '' : ` (${oneLine(said, 120)})`}`
  const later = (waitSec: number, what = ''): Answer => ({
    ...{ kind: 'later', why: why + what, waitSec, arrived: isGatewayTimeout(status) ? 'perhaps' : 'no' },
  })
  if (status >= 200 && status < 300) return isWebPage ? later(0, ', a web page') : { kind: 'delivered', said: why }
  // Discord: `retry_after`; Telegram: `parameters.retry_after`; both in seconds.
  const inBody = /"retry_after"\s*:\s*(\d{1,9}(?:\.\d{1,9})?)/.exec(body)?.[1]
  if (status === 429) return later(retryAfterSec ?? Math.min(Number(inBody ?? 60), MAX_RETRY_AFTER_SEC))
  if (status >= 500) return later(retryAfterSec ?? 0)
  if (status >= 300 && status < 400) return later(0, ', a redirect')
  // A wall in front of the service (Cloudflare's).
  if (isWebPage || /^error code: \d+/.test(body)) return later(600)
  return { kind: 'refused', why, status, body }
}
