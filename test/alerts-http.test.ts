import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type Answer, judge } from '../lib/alerts/channel.ts'
import { parseRetryAfter, post, postPatiently } from '../lib/alerts/http.ts'
import { freePort } from './support/ports.ts'

/** For servers that only the time limit ends. The others answer long before theirs, also on a machine that stalls. */
const TIMEOUT_MS = 2500
const GENEROUS_MS = 60_000

/** A server that does this with each request; answers its URL. */
async function serve(handle: (req: IncomingMessage, res: ServerResponse) => void): Promise<string> {
  const server = createServer(handle)
  onTestFinished(() => server.closeAllConnections())
  return listen(server)
}

async function listen(server: Server): Promise<string> {
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${port}/`
}

async function answerOf(
  handle: (req: IncomingMessage, res: ServerResponse) => void,
  timeoutMs = GENEROUS_MS,
): Promise<Answer> {
  return judge(await post(await serve(handle), '{}', {}, timeoutMs))
}

const status = (code: number, body = '', headers: Record<string, string> = {}) => {
  return answerOf((_, res) => void res.writeHead(code, headers).end(body))
}

test('204, and 200 with what the service says, are delivered', async () => {
  expect(await status(204)).toMatchObject({ kind: 'delivered' })
  expect(await status(200, '{"id":"1"}', { 'content-type': 'application/json' })).toMatchObject({ kind: 'delivered' })
})

test('a login page with status 200 is not taken for the service', async () => {
  expect(await status(200, '<html>log in</html>')).toMatchObject({ kind: 'later', arrived: 'no' })
  // Slack says its `ok` as text/html.
  expect(await status(200, 'ok', { 'content-type': 'text/html' })).toMatchObject({ kind: 'delivered' })
})

test('a redirect is not followed: who is named in it gets nothing', async () => {
  let reached = false
  const elsewhere = await serve((_, res) => {
    reached = true
    res.end()
  })
  expect(await status(307, '', { location: elsewhere })).toMatchObject({ kind: 'later', arrived: 'no' })
  expect(reached).toBe(false)
})

test('429 is waited out for as long as header or body say', async () => {
  expect(await status(429, '', { 'retry-after': '65' })).toMatchObject({ kind: 'later', waitSec: 65 })
  expect(await status(429, '{"message":"slow","retry_after":64.57}')).toMatchObject({ waitSec: 64.57 })
  expect(await status(429, '{"ok":false,"parameters":{"retry_after":20}}')).toMatchObject({ waitSec: 20 })
  expect(await status(429)).toMatchObject({ waitSec: 60 })
})

test('a server error is a matter of time; after a gateway time-out the message may have arrived', async () => {
  expect(await status(500)).toMatchObject({ kind: 'later', arrived: 'no' })
  expect(await status(502, '<html>Bad Gateway</html>')).toMatchObject({ kind: 'later', arrived: 'no' })
  expect(await status(504)).toMatchObject({ kind: 'later', arrived: 'perhaps' })
})

test("what the service says is told, and a wall in front of it is not taken for the service's word", async () => {
  const said = '{"message": "Unknown Webhook", "code": 10015}'
  expect(await status(404, said)).toEqual({ kind: 'refused', why: 'HTTP 404 (Unknown Webhook)' })
  expect(await status(403, 'error code: 1015')).toMatchObject({ kind: 'later', waitSec: 600 })
})

test('a server that takes the request and never answers, drips or never ends costs no more than the time limit', async () => {
  const silence = await answerOf(() => {}, TIMEOUT_MS)
  expect(silence).toMatchObject({ kind: 'later', why: 'no answer within 2.5 s', arrived: 'perhaps' })
  const drip = (res: ServerResponse, text: string) => {
    const timer = setInterval(() => res.write(text), 20)
    res.on('close', () => clearInterval(timer))
  }
  // The status has been said: it counts, whatever becomes of the body.
  expect(await answerOf((_, res) => drip(res.writeHead(200), '.'), TIMEOUT_MS)).toMatchObject({ kind: 'delivered' })
  expect(await answerOf((_, res) => drip(res.writeHead(500), 'x'.repeat(100_000)))).toMatchObject({ kind: 'later' })
})

test('a network that swallows everything has not carried the message: it is sent again without delay', async () => {
  const url = await listen(createTcpServer(() => {}))
  // The connection, in the sense of TLS, is never made.
  expect(judge(await post(url.replace('http:', 'https:'), '{}', {}, TIMEOUT_MS))).toEqual({
    kind: 'later',
    // Our limit and that of the connection end at the same moment.
    why: expect.stringMatching(/^(no connection within 2\.5 s|the connection timed out .*)$/),
    waitSec: 0,
    arrived: 'no',
  })
})

test('a try that found no connection carried nothing, although the one before it was answered', async () => {
  const server = createServer((_, res) => {
    server.close()
    res.writeHead(503, { 'retry-after': '0.05' }).end()
  })
  const result = await postPatiently(await listen(server), '{}', {}, GENEROUS_MS, new AbortController().signal)
  expect(judge(result)).toMatchObject({ why: 'the connection was refused (ECONNREFUSED)', arrived: 'no' })
})

test('a package that cannot be loaded is a failure like any other', async () => {
  vi.doMock('undici', () => {
    throw new Error('Cannot find package')
  })
  onTestFinished(() => void vi.doUnmock('undici'))
  expect(await post('http://127.0.0.1:9/', '{}', {}, TIMEOUT_MS)).toMatchObject({
    failure: expect.stringMatching(/^undici cannot be loaded/),
    arrived: 'no',
  })
})

test('a body that is small on the wire and huge in memory is not unpacked', async () => {
  const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024))
  const before = process.memoryUsage().arrayBuffers
  const result = await post(
    await serve((_, res) => void res.writeHead(500, { 'content-encoding': 'gzip' }).end(bomb)),
    '{}',
    {},
    10_000,
  )
  expect(result).toMatchObject({ status: 500 })
  expect('body' in result && result.body.length).toBeLessThanOrEqual(16 * 1024)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * 1024 * 1024)
})

test('a broken connection may have carried the message, a refused one has not', async () => {
  expect(await answerOf((req) => void req.socket.destroy())).toMatchObject({ kind: 'later', arrived: 'perhaps' })
  const refused = await post(`http://127.0.0.1:${await freePort()}/`, '{}', {}, GENEROUS_MS)
  expect(judge(refused)).toMatchObject({
    kind: 'later',
    why: 'the connection was refused (ECONNREFUSED)',
    arrived: 'no',
  })
})

test.each([
  ['a content length that is no number', 'HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}'],
  ['less than was promised', 'HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{}'],
  ['more than was promised', `HTTP/1.1 204 No Content\r\ncontent-length: 1\r\n\r\n${'x'.repeat(5000)}`],
  ['nothing but 100 Continue', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(50)],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['headers without end', `HTTP/1.1 200 OK\r\n${'x-more: y\r\n'.repeat(50_000)}`],
])('%s: the message is kept or delivered, and nothing breaks', async (_what, answer) => {
  let requests = 0
  const server = createTcpServer((connection) => {
    connection.on('error', () => {})
    connection.once('data', () => {
      requests++
      connection.end(answer)
    })
  })
  const url = await listen(server)
  const { kind } = judge(await postPatiently(url, '{}', {}, GENEROUS_MS, new AbortController().signal))
  expect(['later', 'delivered']).toContain(kind)
  // It may have arrived, so it is not sent again in this run.
  expect(requests).toBe(1)
})

test('TLS on the plain port and plain words on the TLS port are failures, said in words', async () => {
  const plain = await serve((_, res) => void res.end())
  const result = await post(plain.replace('http:', 'https:'), '{}', {}, TIMEOUT_MS)
  expect(result).toHaveProperty('failure')
  const url = await listen(createTlsServer(() => {}))
  expect(await post(url, '{}', {}, TIMEOUT_MS)).toHaveProperty('failure')
})

test('Retry-After is read as seconds, fractions and dates; nonsense is none, and a year is not believed', () => {
  const now = Date.parse('2026-11-22T12:00:00Z')
  expect(parseRetryAfter(undefined, now)).toBeUndefined()
  expect(parseRetryAfter('soon', now)).toBeUndefined()
  expect(parseRetryAfter('0.5', now)).toBe(0.5)
  expect(parseRetryAfter('Sun, 22 Nov 2026 12:01:00 GMT', now)).toBe(60)
  expect(parseRetryAfter('Sun, 22 Nov 2026 11:00:00 GMT', now)).toBe(0)
  expect(parseRetryAfter('31536000', now)).toBe(3600)
})

test('a short Retry-After and a passing server error are waited out within the run, others are not', async () => {
  const script = (answers: [number, string?, string?][]) => {
    let requests = 0
    const url = serve((_, res) => {
      const [code, retryAfter, body] = answers[requests++] ?? [204]
      res.writeHead(code, retryAfter ? { 'retry-after': retryAfter } : {}).end(body)
    })
    return async () => {
      const result = await postPatiently(await url, '{}', {}, GENEROUS_MS, new AbortController().signal)
      return ['status' in result ? result.status : result.failure, requests]
    }
  }
  expect(
    await script([
      [429, '0.05'],
      [503, '0.05'],
    ])(),
  ).toEqual([204, 3])
  expect(await script([[429, '600']])()).toEqual([429, 1])
  expect(
    await script([
      [500, '0'],
      [500, '0'],
      [500, '0'],
      [500, '0'],
    ])(),
  ).toEqual([500, 3])
  expect(await script([[404]])()).toEqual([404, 1])
  // The service behind that gateway may have taken it.
  expect(await script([[504, '0']])()).toEqual([504, 1])
  expect(await script([[524]])()).toEqual([524, 1])
  // How long to wait may stand in the body alone (Telegram: `parameters.retry_after`): it is for the next run.
  expect(await script([[429, undefined, '{"parameters":{"retry_after":20}}']])()).toEqual([429, 1])
})
