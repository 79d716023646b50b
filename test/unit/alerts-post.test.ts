/** One request as the services, and the networks between, answer it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type Server } from 'node:net'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import { type Answer, post } from '../../lib/alerts/post.ts'
import { freePort } from '../support/ports.ts'

type Handler = (req: IncomingMessage, res: ServerResponse) => void
const WHAT = { body: '{}', headers: {} }
/** For servers that only the time limit ends; the others answer long before theirs. */
const SHORT_SEC = 2

async function listen(server: Server): Promise<string> {
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${port}/`
}

function serve(handle: Handler): Promise<string> {
  const server = createServer(handle)
  onTestFinished(() => server.closeAllConnections())
  return listen(server)
}

async function answerOf(handle: Handler, timeoutSec = 60): Promise<Answer> {
  return post(await serve(handle), WHAT, { timeoutSec })
}

const status = (code: number, body = '', headers: Record<string, string> = {}) =>
  answerOf((_, res) => void res.writeHead(code, headers).end(body))

test('what the service says is told; a login page, or a wall in front of it, does not speak for it', async () => {
  expect(await status(204)).toMatchObject({ kind: 'delivered' })
  expect(await status(200, 'ok', { 'content-type': 'text/html' })).toMatchObject({ kind: 'delivered' })
  expect(await status(200, '<html>log in</html>')).toMatchObject({ kind: 'later', arrived: 'no' })
  expect(await status(403, 'error code: 1015')).toMatchObject({ kind: 'later', waitSec: 600 })
  const refusal = await status(404, '{"message": "Unknown Webhook", "code": 10015}')
  expect(refusal).toMatchObject({ kind: 'refused', why: 'HTTP 404 (Unknown Webhook)', status: 404 })
})

test('an address with a user and a password is asked like any other', async () => {
  const url = await serve((_, res) => void res.end())
  expect(await post(url.replace('//', '//me:pass@'), WHAT, { timeoutSec: 60 })).toMatchObject({ kind: 'delivered' })
})

test('a redirect is not followed: the address that it names gets nothing', async () => {
  let reached = false
  const elsewhere = await serve((_, res) => {
    reached = true
    res.end()
  })
  expect(await status(307, '', { location: elsewhere })).toMatchObject({ kind: 'later', arrived: 'no' })
  expect(reached).toBe(false)
})

test.each([
  [64.57, '{"message":"slow","retry_after":64.57}', undefined],
  [20, '{"ok":false,"parameters":{"retry_after":20}}', undefined],
  [60, '', undefined],
  [65, '', '65'],
  [60, '', 'soon'],
  [3600, '', '31536000'],
  [0, '', 'Sun, 22 Nov 2020 11:00:00 GMT'],
])('429 is waited out for %s s: %s %s', async (waitSec, body, header) => {
  expect(await status(429, body, header ? { 'retry-after': header } : {})).toMatchObject({ kind: 'later', waitSec })
})

test('a server error is a matter of time; after a gateway time-out the message may have arrived', async () => {
  expect(await status(500)).toMatchObject({ kind: 'later', arrived: 'no' })
  expect(await status(502, '<html>Bad Gateway</html>')).toMatchObject({ kind: 'later', arrived: 'no' })
  expect(await status(504)).toMatchObject({ kind: 'later', arrived: 'perhaps' })
})

test('silence, a body that drips and one without end cost no more than the time limit', async () => {
  expect(await answerOf(() => {}, SHORT_SEC)).toMatchObject({ kind: 'later', arrived: 'perhaps' })
  const drip = (res: ServerResponse, text: string) => {
    const timer = setInterval(() => res.write(text), 20)
    res.on('close', () => clearInterval(timer))
  }
  // The status has been said: it counts, whatever becomes of the body.
  expect(await answerOf((_, res) => drip(res.writeHead(200), '.'), SHORT_SEC)).toMatchObject({ kind: 'delivered' })
  expect(await answerOf((_, res) => drip(res.writeHead(500), 'x'.repeat(100_000)))).toMatchObject({ kind: 'later' })
})

test('what never left has not arrived: no connection, no TLS, no connection at the second try', async () => {
  const notSent = { kind: 'later', waitSec: 0, arrived: 'no' }
  expect(await post(`http://127.0.0.1:${await freePort()}/`, WHAT, { timeoutSec: 60 })).toMatchObject(notSent)
  const silent = await listen(createTcpServer(() => {}))
  expect(await post(silent.replace('http:', 'https:'), WHAT, { timeoutSec: SHORT_SEC })).toMatchObject(notSent)
  const plain = await serve((_, res) => void res.end())
  expect(await post(plain.replace('http:', 'https:'), WHAT, { timeoutSec: SHORT_SEC })).toMatchObject(notSent)
  const once = createServer((_, res) => {
    server.close()
    res.writeHead(503, { 'retry-after': '0.05', connection: 'close' }).end()
  })
  const server = once
  const { signal } = new AbortController()
  expect(await post(await listen(once), WHAT, { timeoutSec: 60, signal })).toMatchObject(notSent)
})

test('a body that is small on the wire and huge in memory is not unpacked', async () => {
  const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024))
  const before = process.memoryUsage().arrayBuffers
  await answerOf((_, res) => void res.writeHead(500, { 'content-encoding': 'gzip' }).end(bomb), 10)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * 1024 * 1024)
})

test.each([
  ['a broken connection', ''],
  ['a content length that is no number', 'HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}'],
  ['less than was promised', 'HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{}'],
  ['more than was promised', `HTTP/1.1 204 No Content\r\ncontent-length: 1\r\n\r\n${'x'.repeat(5000)}`],
  ['nothing but 100 Continue', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(50)],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['headers without end', `HTTP/1.1 200 OK\r\n${'x-more: y\r\n'.repeat(50_000)}`],
])('%s: it may have arrived, so it is not sent again in this run', async (_what, answer) => {
  let requests = 0
  const server = createTcpServer((connection) => {
    connection.on('error', () => {})
    connection.once('data', () => {
      requests++
      connection.end(answer)
    })
  })
  const { signal } = new AbortController()
  const said = await post(await listen(server), WHAT, { timeoutSec: 60, signal })
  expect(said.kind === 'delivered' || (said.kind === 'later' && said.arrived === 'perhaps'), JSON.stringify(said)).toBe(
    true,
  )
  expect(requests).toBe(1)
})

// Each answer: a status, a Retry-After, a body.
test.each([
  ['delivered 3', '429:0.05 503:0.05 204'],
  ['later 1', '429:600'],
  ['later 3', '500:0 500:0 500:0 204'],
  ['refused 1', '404'],
  // The service behind that gateway may have taken it.
  ['later 1', '504:0'],
  ['later 1', '524'],
  // How long to wait stands in the body alone: it is for the next run.
  ['later 1', '429::{"parameters":{"retry_after":20}}'],
])(
  'a short Retry-After and a passing server error are waited out within the run: %s after %s',
  async (expected, script) => {
    const answers = script.split(' ').map((one) => /^(\d+):?([\d.]*):?(.*)$/.exec(one)!.slice(1))
    let requests = 0
    const url = await serve((_, res) => {
      const [code, retryAfter, body] = answers[requests++]!
      res.writeHead(Number(code), retryAfter ? { 'retry-after': retryAfter } : {}).end(body)
    })
    const { kind } = await post(url, WHAT, { timeoutSec: 60, signal: new AbortController().signal })
    expect(`${kind} ${requests}`).toBe(expected)
  },
)
