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
  const items = Array.isArray(value) ? value.slice(0, 20) : []
  return items.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)).slice(0, 60))
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
  // The gateway's certificate is self-signed; its words identify it, and nothing secret is sent.
  const headers = { accept: 'application/json', connection: 'close' }
  const req = request(url, { agent: false, headers, rejectUnauthorized: false })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    req.destroy(new Error('too late'))
  }, timeoutMs)
  try {
    const res = await new Promise<IncomingMessage>((resolve, reject) => {
      req.on('response', resolve).on('error', reject).end()
    })
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of res as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.length
      if (size > MAX_BODY_BYTES) break
    }
    return { kind: 'answer', status: res.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }
  } catch (error) {
    if (isLate) return { kind: 'timeout', detail: `no answer within ${timeoutMs / 1000} s` }
    const { code, message } = error as NodeJS.ErrnoException
    if (isRefused(error as Error)) return { kind: 'refused', detail: 'connection refused' }
    return { kind: 'broken', detail: `no HTTP answer (${code ?? message})` }
  } finally {
    clearTimeout(timer)
    req.destroy()
  }
}

/** No program listens. `localhost` tries ::1 and 127.0.0.1, and reports both in one error. */
function isRefused(error: NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }): boolean {
  return (error.errors?.length ? error.errors : [error]).every(({ code }) => code === 'ECONNREFUSED')
}
