/** The probe against HTTP from hell: whatever speaks on the port, it ends in time and is not taken for the gateway. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import { probe } from '../../lib/gateway/probe.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { freePort } from '../support/ports.ts'

/** For servers that only the time limit ends. The others must be done long before theirs, also on a machine that stalls. */
const LIMIT_MS = 700
const GENEROUS_MS = 60_000
const LIVE = '{"ok":true,"status":"live"}'
const BOMB = gzipSync(Buffer.alloc(50 * 1024 * 1024))

async function ask(behave: (socket: Socket) => void, limitMs = GENEROUS_MS) {
  const port = await freePort()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    behave(socket)
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const settings = loadSettings({ HOME: '/nonexistent', OPENCLAW_GATEWAY_PORT: String(port) })
  const before = process.memoryUsage().rss
  const answer = await probe(settings, limitMs)
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024)
  return answer
}

/** Answers with the beginning, and then with more of the same for as long as the other side takes it. */
function endless(beginning: string, more: string, everyMs = 0) {
  return (socket: Socket): void => {
    const write = () => {
      if (!socket.destroyed) socket.write(more, () => void setTimeout(write, everyMs))
    }
    socket.once('data', () => {
      socket.write(beginning)
      write()
    })
  }
}

const says =
  (...parts: (string | Buffer)[]) =>
  (socket: Socket) =>
    void socket.once('data', () => socket.end(Buffer.concat(parts.map((part) => Buffer.from(part)))))
const http = (body: string, status = '200 OK') =>
  says(`HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
const gzip = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${BOMB.length}\r\n\r\n`

test.each<[string, (socket: Socket) => void, string]>([
  ['a slow drip', endless(`HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n${LIVE}`, ' ', 50), 'timeout'],
  ['a body without end', endless('HTTP/1.1 200 OK\r\n\r\n', 'x'.repeat(65_536)), 'other'],
  ['headers without end', endless('HTTP/1.1 200 OK\r\n', 'X-A: b\r\n'.repeat(4000)), 'broken'],
  ['a length that never comes', says('HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"ok":true'), 'broken'],
  ['a stream of 100 Continue', endless('', 'HTTP/1.1 100 Continue\r\n\r\n', 1), 'timeout'],
  ['a redirect to itself', http('', '302 Found\r\nLocation: /health'), 'other'],
  ['a gzip bomb', says(gzip, BOMB), 'other'],
  ['a reset', (socket) => socket.resetAndDestroy(), 'broken'],
  ['an end without a word', (socket) => void socket.end(), 'broken'],
  ['bytes that are no HTTP', (socket) => void socket.end(Buffer.from([0, 255, 13, 10, 7, 27])), 'broken'],
  ['silence', () => {}, 'timeout'],
  ['the right words with a wrong status', http(LIVE, '503 No'), 'other'],
  ['nearly the right words', http('{"ok":1}'), 'other'],
])('%s', async (_name, behave, kind) => {
  expect((await ask(behave, kind === 'timeout' ? LIMIT_MS : GENEROUS_MS)).kind).toBe(kind)
})

test('the right words with trouble behind them are still the right words', async () => {
  let requests = 0
  const answer = await ask((socket) => {
    if (requests++ === 0) http(LIVE)(socket)
  }, 2000)
  expect(answer).toMatchObject({ kind: 'live', phase: undefined, failing: [], suppressed: [] })
})
