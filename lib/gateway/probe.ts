/** Liveness over HTTP: `/health` of 2026.9.6 answers `{"ok":true,"status":"live"}`; before 2026.3.1 there is none. */
import type { IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { Settings } from '../tier/settings.ts'
import { isRecord, tried } from '../tier/state.ts'

export interface Probe {
  /** `other`: HTTP, but not the gateway's words. */
  kind: 'live' | 'other' | 'refused' | 'timeout' | 'broken'
  detail: string
  status?: number
  phase?: 'starting' | 'draining' | 'started'
  version?: string
  failing: string[]
  suppressed: string[]
}

type HttpAnswer =
  | { kind: 'answer'; status: number; body: string }
  | { kind: 'refused' | 'timeout' | 'broken'; detail: string }

const MAX_BODY_BYTES = 64 * 1024

/** Never throws. @param timeoutMs for each of at most three requests */
export async function probe(settings: Settings, timeoutMs: number): Promise<Probe> {
  const health = await get(settings, '/health', timeoutMs)
  const none = { failing: [], suppressed: [] }
  if (health.kind !== 'answer') return { ...health, ...none }
  const { status } = health
  const live = parseBody(health)
  const startup = parseBody(await get(settings, '/startupz', timeoutMs))
  const phase = (['starting', 'draining', 'started'] as const).find((word) => startup.status === word)
  const said = typeof startup.version === 'string' ? startup.version : ''
  const version = /^\d[\w.+-]{0,40}$/.test(said) ? said : undefined
  const words = { status, phase, version }
  if (status !== 200 || live.ok !== true || live.status !== 'live')
    return { kind: 'other', detail: `HTTP ${status} on /health, not the gateway's words`, ...words, ...none }
  const ready = parseBody(await get(settings, '/readyz', timeoutMs))
  const channels = { failing: names(ready.failing), suppressed: names(ready.suppressed) }
  return { kind: 'live', detail: '/health says live', ...words, ...channels }
}

function names(value: unknown): string[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, 20).map((item) => {
    const name = isRecord(item) ? (item.id ?? item.name ?? item.channel ?? JSON.stringify(item)) : item
    return String(name).slice(0, 60)
  })
}

function parseBody(answer: HttpAnswer): Record<string, unknown> {
  const value: unknown = tried(() => answer.kind === 'answer' && JSON.parse(answer.body))
  return isRecord(value) ? value : {}
}

/** One GET with one limit over everything, also over an answer that drips. `fetch` takes twice as long to load. */
export async function get(settings: Settings, path: string, timeoutMs: number): Promise<HttpAnswer> {
  const url = new URL(path, settings.gatewayUrl)
  // Required: an import also loads the WebSocket that node:http exports, 40 ms on Node 24.
  const load: (name: string) => typeof import('node:https') = createRequire(import.meta.url)
  const { request } = load(url.protocol === 'https:' ? 'node:https' : 'node:http')
  return new Promise((resolve) => {
    let connected = false
    const finish = (answer: HttpAnswer) => {
      clearTimeout(timer)
      req.destroy()
      resolve(answer)
    }
    const broken = (why: string) => finish({ kind: 'broken', detail: `no HTTP answer (${why})` })
    const timer = setTimeout(() => {
      const how = connected ? 'connected, but no answer' : 'no connection'
      finish({ kind: 'timeout', detail: `${how} within ${timeoutMs / 1000} s` })
    }, timeoutMs)
    const req = request(url, {
      agent: false,
      headers: { accept: 'application/json', connection: 'close' },
      // The gateway's certificate is self-signed; its words identify it, and nothing secret is sent.
      rejectUnauthorized: false,
    })
    req.on('socket', (socket) => socket.once('connect', () => (connected = true)))
    req.on('error', (error: NodeJS.ErrnoException) =>
      isRefused(error)
        ? finish({ kind: 'refused', detail: 'connection refused' })
        : broken(error.code ?? error.message),
    )
    req.on('response', (res: IncomingMessage) => {
      const chunks: Buffer[] = []
      let size = 0
      const done = () =>
        finish({ kind: 'answer', status: res.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') })
      res.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        size += chunk.length
        if (size > MAX_BODY_BYTES) done()
      })
      res.on('end', done)
      res.on('error', (error) => broken(error.message))
    })
    req.end()
  })
}

/** No program listens. `localhost` tries ::1 and 127.0.0.1, and reports both in one error. */
function isRefused(error: NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }): boolean {
  return (error.errors?.length ? error.errors : [error]).every(({ code }) => code === 'ECONNREFUSED')
}
