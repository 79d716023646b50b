/** POST with a time limit that holds, whatever the other side does. */
import { setTimeout as sleep } from 'node:timers/promises'

/** What came of a request. `failure`: there was no whole answer, and why; `arrived`: could it have been taken all the same? */
export type PostResult =
  | { status: number; retryAfterSec: number | undefined; body: string }
  | { failure: string; arrived: 'no' | 'perhaps' }

/** Enough for every service's error message; an endless body is cut off there. */
const MAX_BODY_BYTES = 16 * 1024

/**
 * Sends one POST request. Never throws; redirects are not followed (a webhook has no reason for one, and following
 * would hand the message to whoever is named).
 */
export async function post(
  url: string,
  body: string,
  headers: Record<string, string>,
  timeoutMs: number,
): Promise<PostResult> {
  try {
    const signal = AbortSignal.timeout(timeoutMs)
    const response = await fetch(url, { method: 'POST', body, headers, redirect: 'manual', signal })
    return {
      status: response.status,
      retryAfterSec: parseRetryAfter(response.headers.get('retry-after'), Date.now()),
      body: await readStart(response),
    }
  } catch (error) {
    return describeFailure(error, timeoutMs)
  }
}

async function readStart(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of response.body ?? []) {
      chunks.push(chunk)
      length += chunk.length
      if (length >= MAX_BODY_BYTES) break
    }
  } catch {
    // The status has been said; how the body ends changes nothing.
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString('utf8')
}

function describeFailure(error: unknown, timeoutMs: number): PostResult {
  if ((error as Error).name === 'TimeoutError')
    return { failure: `no answer within ${timeoutMs / 1000} s`, arrived: 'perhaps' }
  // fetch says "fetch failed"; what happened stands in its cause, or, for a name with several addresses, in the causes.
  const cause = (error as Error).cause as (NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }) | undefined
  const code = cause?.code ?? cause?.errors?.[0]?.code ?? ''
  const words = NO_CONNECTION[code]
  if (words) return { failure: `${words} (${code})`, arrived: 'no' }
  return { failure: code || cause?.message || String(error), arrived: 'perhaps' }
}

/** These happen before the first byte is sent. */
const NO_CONNECTION: Record<string, string> = {
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
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined
  const seconds = /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) : (Date.parse(header) - nowMs) / 1000
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SEC)
}

/** How long a Retry-After may be to be waited for within the run; a longer one is for a later run. */
const MAX_WAIT_IN_RUN_SEC = 30
/** Before the second and the third try after a server's error. */
const SERVER_ERROR_PAUSES_SEC = [0.5, 2]

/**
 * `post`, tried again where that is likely to help at once: when told to wait a moment (429), and after a server's
 * error (5xx). Not after a time-out or a broken connection: the message may have been taken.
 * @param signal ends the waiting (not a request under way)
 */
export async function postPatiently(
  url: string,
  body: string,
  headers: Record<string, string>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<PostResult> {
  for (let tries = 0; ; tries++) {
    const result = await post(url, body, headers, timeoutMs)
    const pauseSec = SERVER_ERROR_PAUSES_SEC[tries]
    if (pauseSec === undefined || !('status' in result) || (result.status !== 429 && result.status < 500)) return result
    const waitSec = result.retryAfterSec ?? pauseSec
    if (waitSec > MAX_WAIT_IN_RUN_SEC || !(await pause(waitSec * 1000, signal))) return result
  }
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
