/** POST with a time limit that holds, whatever the other side does. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { errors, RetryHandler } from 'undici'

type RetryCallback = RetryHandler.RetryCallback
type Headers = Record<string, string | string[] | undefined>

/**
 * What came of a request. `failure`: there was no whole answer, and why; `arrived`: could it have been taken all the
 * same? Not without a connection (with TLS: not before the handshake is done), for nothing is sent before.
 */
export type PostResult =
  | { status: number; retryAfterSec: number | undefined; body: string }
  | { failure: string; arrived: 'no' | 'perhaps' }

/** Enough for every service's error message; an endless body is cut off there. */
const MAX_BODY_BYTES = 16 * 1024

/** Sends one POST request and tries no second time. Never throws; redirects are not followed, see `postPatiently`. */
export function post(
  url: string,
  body: string,
  headers: Record<string, string>,
  timeoutMs: number,
): Promise<PostResult> {
  return postPatiently(url, body, headers, timeoutMs, AbortSignal.abort())
}

/**
 * Sends a POST request, tried again where that is likely to help at once: when told to wait a moment (429), and after a
 * server's error (5xx). Not after a time-out, a gateway's among them, or a broken connection: the message may have been
 * taken. Never throws;
 * redirects are not followed (a webhook has no reason for one, and following would hand the message to whoever is
 * named).
 * @param timeoutMs for each try
 * @param signal ends the waiting (not a request under way)
 */
export async function postPatiently(
  url: string,
  body: string,
  headers: Record<string, string>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<PostResult> {
  const undici = await loadUndici()
  if ('failure' in undici) return undici
  const { Agent, interceptors, request } = undici
  const limit = new AbortController()
  let isConnected = false
  let timer: NodeJS.Timeout | undefined
  const startTry = () => {
    isConnected = false
    timer = setTimeout(() => limit.abort(new Error('too late')), timeoutMs)
  }
  const retry: RetryCallback = (error, { state }, done) => {
    const waitSec = waitBeforeRetry(error, state.counter)
    if (waitSec === undefined || signal.aborted) return done(error)
    clearTimeout(timer)
    void pause(waitSec * 1000, signal).then((isOver) => {
      startTry()
      done(isOver ? null : error)
    })
  }
  // One connection for one message: nothing is kept open that would keep the tier from ending. One that is still being
  // made is waited for at the end, so it has the same limit.
  const agent = new Agent({ pipelining: 0, connect: { timeout: timeoutMs } })
  agent.on('connect', () => {
    isConnected = true
  })
  const dispatcher = agent.compose(interceptors.retry({ retry, throwOnError: false }))
  startTry()
  try {
    const response = await request(url, { method: 'POST', body, headers, dispatcher, signal: limit.signal })
    return {
      status: response.statusCode,
      retryAfterSec: parseRetryAfter(response.headers['retry-after'], Date.now()),
      body: await readStart(response.body),
    }
  } catch (error) {
    const tooLate = `no ${isConnected ? 'answer' : 'connection'} within ${timeoutMs / 1000} s`
    return {
      failure: limit.signal.aborted ? tooLate : describeFailure(error),
      arrived: isConnected ? 'perhaps' : 'no',
    }
  } finally {
    clearTimeout(timer)
    await agent.destroy()
  }
}

/** Loaded only when something is sent. A package that is damaged must not keep the tier from writing down what is due. */
async function loadUndici(): Promise<typeof import('undici') | { failure: string; arrived: 'no' }> {
  try {
    return await import('undici')
  } catch (error) {
    return { failure: `undici cannot be loaded (${describeFailure(error)}); run \`npm ci\``, arrived: 'no' }
  }
}

async function readStart(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of stream) {
      chunks.push(chunk)
      length += chunk.length
      if (length >= MAX_BODY_BYTES) break
    }
  } catch {
    // The status has been said; how the body ends changes nothing.
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString('utf8')
}

function describeFailure(error: unknown): string {
  // For a name with several addresses what happened stands in the errors of each.
  const { errors, message } = error as NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }
  const code = (error as NodeJS.ErrnoException).code ?? errors?.[0]?.code ?? ''
  const words = IN_WORDS[code]
  return words ? `${words} (${code})` : code || message
}

const IN_WORDS: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'the name could not be resolved',
  EAI_AGAIN: 'the name could not be resolved',
  ENETUNREACH: 'there is no network',
  EHOSTUNREACH: 'the host cannot be reached',
  ETIMEDOUT: 'the connection timed out',
  UND_ERR_CONNECT_TIMEOUT: 'the connection timed out',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is self-signed',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate cannot be verified',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
}

/** A wait that is longer than this is not believed: one try an hour harms nobody. */
const MAX_RETRY_AFTER_SEC = 3600

/**
 * Reads a Retry-After header: seconds (Discord sends fractions) or an HTTP date (RFC 9110, 10.2.3). Undefined when
 * there is none, or none that makes sense.
 */
export function parseRetryAfter(header: string | string[] | undefined, nowMs: number): number | undefined {
  if (typeof header !== 'string') return undefined
  const seconds = /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) : (Date.parse(header) - nowMs) / 1000
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SEC)
}

/** A gateway gave up waiting for the service (504, Cloudflare's 524), which may have taken the message all the same. */
export function isGatewayTimeout(status: number): boolean {
  return status === 504 || status === 524
}

/** How long a Retry-After may be to be waited for within the run; a longer one is for a later run. */
const MAX_WAIT_IN_RUN_SEC = 30
/** Before the second and the third try after a server's error. */
const SERVER_ERROR_PAUSES_SEC = [0.5, 2]

/**
 * Seconds until the next try, or undefined when there is to be none. undici's own rule would cut a long Retry-After short.
 * A 429 without that header may say in its body how long to wait, which is read when the answer is judged.
 */
function waitBeforeRetry(error: Error, tries: number): number | undefined {
  const { statusCode, headers } = error as Partial<errors.RequestRetryError>
  const pauseSec = SERVER_ERROR_PAUSES_SEC[tries - 1]
  if (pauseSec === undefined || statusCode === undefined || isGatewayTimeout(statusCode)) return undefined
  const retryAfterSec = parseRetryAfter((headers as Headers | undefined)?.['retry-after'], Date.now())
  const waitSec = statusCode >= 500 ? (retryAfterSec ?? pauseSec) : statusCode === 429 ? retryAfterSec : undefined
  return waitSec !== undefined && waitSec <= MAX_WAIT_IN_RUN_SEC ? waitSec : undefined
}

/** False when it was ended early. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, undefined, { signal })
    return true
  } catch {
    return false
  }
}
