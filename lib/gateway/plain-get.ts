/**
 * The cheap half of the probe. node:http alone costs as much to load as all of a healthy tick's own work, so a plain
 * GET goes over a bare socket first. Only an answer that leaves no question is taken from it (one status line, one
 * Content-Length, all of the body); whatever else comes is `unclear`, and node:http is asked to judge it.
 */
import { connect } from 'node:net'

/** What one GET came to. */
export type HttpAnswer =
  | { kind: 'answer'; status: number; body: string }
  /** Nobody listens. */
  | { kind: 'refused' }
  /** Connected, but no whole answer within the time. */
  | { kind: 'timeout'; connected: boolean }
  /** Something listens that does not speak HTTP, or the connection broke. */
  | { kind: 'broken'; error: string }

const MAX_BYTES = 64 * 1024

/**
 * @param url `http:` only
 * @param timeoutMs from connecting to the last byte
 */
export function plainGet(url: URL, timeoutMs: number): Promise<HttpAnswer | 'unclear'> {
  return new Promise((resolve) => {
    let connected = false
    let received = Buffer.alloc(0)
    const finish = (answer: HttpAnswer | 'unclear') => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => finish({ kind: 'timeout', connected }), timeoutMs)
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) })
    socket.on('connect', () => {
      connected = true
      socket.write(
        `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n`,
      )
    })
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      const answer = received.length > MAX_BYTES ? 'unclear' : readAnswer(received)
      if (answer) finish(answer)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => finish(isRefused(error) ? { kind: 'refused' } : 'unclear'))
    socket.on('close', () => finish('unclear'))
  })
}

/** Undefined while the answer is not complete. */
function readAnswer(received: Buffer): HttpAnswer | 'unclear' | undefined {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = received.toString('latin1', 0, headEnd)
  const status = /^HTTP\/1\.[01] ([2-5]\d\d)(?: [^\r\n]*)?(?:\r\n|$)/.exec(head)?.[1]
  const lengths = [...head.matchAll(/\r\ncontent-length:[ \t]*(\d{1,6})[ \t]*(?=\r\n|$)/gi)]
  if (status === undefined || lengths.length !== 1 || /\r\n(?:transfer|content)-encoding:/i.test(head)) return 'unclear'
  const bodyEnd = headEnd + 4 + Number(lengths[0]![1])
  if (bodyEnd > MAX_BYTES) return 'unclear'
  if (received.length < bodyEnd) return undefined
  return { kind: 'answer', status: Number(status), body: received.toString('utf8', headEnd + 4, bodyEnd) }
}

/** Nobody listens. */
export function isRefused(error: NodeJS.ErrnoException): boolean {
  if (error.code === 'ECONNREFUSED') return true
  // `localhost` tries ::1 and 127.0.0.1 and reports both in one error.
  const all = (error as { errors?: NodeJS.ErrnoException[] }).errors
  return Array.isArray(all) && all.length > 0 && all.every((one) => one.code === 'ECONNREFUSED')
}
