/**
 * Liveness over HTTP, identity-checked: healthy is not "something answers 200" but "the gateway says that it is the
 * gateway". Measured on OpenClaw 2026.9.6: `GET /health` answers exactly `{"ok":true,"status":"live"}`; `/startupz`
 * answers 503 with `starting` or `draining`, then 200 `started` with `version`; `/readyz` reports channels and is for
 * alerts only. Before 2026.3.1 there is no `/health`.
 */
import type { IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'

/** What the port says, in the order in which it is asked. */
export interface Probe {
  /** `live`: it said that it is the gateway. `other`: HTTP, but not the gateway's words. */
  kind: 'live' | 'other' | 'refused' | 'timeout' | 'broken'
  /** One phrase for the log. */
  detail: string
  /** HTTP status of `/health`, when there was one. */
  status?: number
  /** What `/startupz` says; undefined for versions that have none. */
  phase?: 'starting' | 'draining' | 'started'
  version?: string
  /** Channels that `/readyz` reports as failing or suppressed: worth a warning, never a restart. */
  failing: string[]
  suppressed: string[]
}

/** What one GET came to; `broken`: no HTTP, or the connection broke. */
type HttpAnswer =
  | { kind: 'answer'; status: number; body: string }
  | { kind: 'refused' }
  | { kind: 'timeout'; connected: boolean }
  | { kind: 'broken'; error: string }

/** No answer of the gateway's is longer; a longer one is not read to its end. */
const MAX_BODY_BYTES = 64 * 1024

/**
 * Asks the gateway how it is. Never throws.
 * @param timeoutMs for each of the (at most three) requests, from connecting to the last byte
 */
export async function probe(settings: Settings, timeoutMs: number): Promise<Probe> {
  const health = await get(settings, '/health', timeoutMs)
  const none = { failing: [], suppressed: [] }
  if (health.kind !== 'answer') return { kind: health.kind, detail: describe(health, timeoutMs), ...none }
  const { status } = health
  const live = parseBody(health)
  const startup = parseBody(await get(settings, '/startupz', timeoutMs))
  const phase = (['starting', 'draining', 'started'] as const).find((word) => startup.status === word)
  const said = typeof startup.version === 'string' ? startup.version : ''
  const version = /^\d[\w.+-]{0,40}$/.test(said) ? said : undefined
  if (status !== 200 || live.ok !== true || live.status !== 'live')
    return {
      kind: 'other',
      detail: `HTTP ${status} on /health, not the gateway's words`,
      status,
      phase,
      version,
      ...none,
    }
  const ready = parseBody(await get(settings, '/readyz', timeoutMs))
  const channels = { failing: names(ready.failing), suppressed: names(ready.suppressed) }
  return { kind: 'live', detail: '/health says live', status, phase, version, ...channels }
}

function names(value: unknown): string[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, 20).map((item) => {
    const name = isRecord(item) ? (item.id ?? item.name ?? item.channel ?? JSON.stringify(item)) : item
    return String(name).slice(0, 60)
  })
}

/** The JSON object that was answered; an empty one when there is none. */
function parseBody(answer: HttpAnswer): Record<string, unknown> {
  try {
    const value: unknown = answer.kind === 'answer' && JSON.parse(answer.body)
    return isRecord(value) ? value : {}
  } catch {
    return {}
  }
}

function describe(answer: Exclude<HttpAnswer, { kind: 'answer' }>, timeoutMs: number): string {
  if (answer.kind === 'refused') return 'connection refused'
  if (answer.kind === 'broken') return `no HTTP answer (${answer.error})`
  return `${answer.connected ? 'connected, but no answer' : 'no connection'} within ${timeoutMs / 1000} s`
}

/**
 * One GET without redirects, with one limit over everything, an answer that drips byte by byte included. By node:http
 * and not fetch, which costs twice as much to load.
 */
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
    const timer = setTimeout(() => finish({ kind: 'timeout', connected }), timeoutMs)
    const req = request(url, {
      agent: false,
      headers: { accept: 'application/json', connection: 'close' },
      // The gateway's certificate is self-signed; its words identify it, and nothing secret is sent.
      rejectUnauthorized: false,
    })
    req.on('socket', (socket) => socket.once('connect', () => (connected = true)))
    req.on('error', (error: NodeJS.ErrnoException) =>
      finish(isRefused(error) ? { kind: 'refused' } : { kind: 'broken', error: error.code ?? error.message }),
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
      res.on('error', (error) => finish({ kind: 'broken', error: error.message }))
    })
    req.end()
  })
}

/** No program listens. `localhost` tries ::1 and 127.0.0.1, and reports both in one error. */
function isRefused(error: NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }): boolean {
  return (error.errors?.length ? error.errors : [error]).every(({ code }) => code === 'ECONNREFUSED')
}
