/**
 * Liveness over HTTP, identity-checked: healthy is not "something answers 200" but "the gateway says that it is the
 * gateway". Measured on OpenClaw 2026.9.6: `GET /health` answers exactly `{"ok":true,"status":"live"}`; `/startupz`
 * answers 503 with `starting` or `draining`, then 200 `started` with `version`; `/readyz` tells of channels and is for
 * alerts only. Before 2026.3.1 there is no `/health`.
 */
import type { IncomingMessage } from 'node:http'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import { type HttpAnswer, isRefused, plainGet } from './plain-get.ts'

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

/** No answer of the gateway's is longer; what is longer comes from somebody else and is not read to its end. */
const MAX_BODY_BYTES = 64 * 1024

/**
 * Asks the gateway how it is. Never throws.
 * @param timeoutMs for each of the (at most three) requests, from connecting to the last byte
 */
export async function probe(settings: Settings, timeoutMs: number): Promise<Probe> {
  const health = await get(settings, '/health', timeoutMs)
  if (health.kind !== 'answer')
    return { kind: health.kind, detail: describe(health, timeoutMs), failing: [], suppressed: [] }
  const live = isLiveBody(health)
  const startup = await get(settings, '/startupz', timeoutMs)
  const { phase, version } = readStartup(startup)
  if (!live) {
    return {
      kind: 'other',
      detail: describe(health, timeoutMs),
      status: health.status,
      phase,
      version,
      failing: [],
      suppressed: [],
    }
  }
  const ready = await get(settings, '/readyz', timeoutMs)
  return { kind: 'live', detail: '/health says live', status: health.status, phase, version, ...readReadiness(ready) }
}

/** True when the answer is the gateway's own: `{"ok":true,"status":"live"}`, whatever the spacing. */
function isLiveBody(answer: Extract<HttpAnswer, { kind: 'answer' }>): boolean {
  const body = parseObject(answer.body)
  return answer.status === 200 && body?.ok === true && body.status === 'live'
}

function readStartup(answer: HttpAnswer): Pick<Probe, 'phase' | 'version'> {
  const body = answer.kind === 'answer' ? parseObject(answer.body) : undefined
  const phase = (['starting', 'draining', 'started'] as const).find((word) => body?.status === word)
  const version = typeof body?.version === 'string' && /^\d[\w.+-]{0,40}$/.test(body.version) ? body.version : undefined
  return { phase, version }
}

function readReadiness(answer: HttpAnswer): Pick<Probe, 'failing' | 'suppressed'> {
  const body = answer.kind === 'answer' ? parseObject(answer.body) : undefined
  return { failing: names(body?.failing), suppressed: names(body?.suppressed) }
}

function names(value: unknown): string[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, 20).map((item) => {
    const name = isRecord(item) ? (item.id ?? item.name ?? item.channel ?? JSON.stringify(item)) : item
    return String(name).slice(0, 60)
  })
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

function describe(answer: HttpAnswer, timeoutMs: number): string {
  switch (answer.kind) {
    case 'refused':
      return 'connection refused'
    case 'timeout':
      return `${answer.connected ? 'connected, but no answer' : 'no connection'} within ${timeoutMs / 1000} s`
    case 'broken':
      return `no HTTP answer (${answer.error})`
    case 'answer':
      return `HTTP ${answer.status} on /health, not the gateway's words`
  }
}

/** One GET without redirects, with one limit over everything. */
export async function get(settings: Settings, path: string, timeoutMs: number): Promise<HttpAnswer> {
  const url = new URL(path, settings.gatewayUrl)
  if (url.protocol === 'https:') return fullGet(url, timeoutMs)
  const startedSec = process.uptime()
  const answer = await plainGet(url, timeoutMs)
  // What is left of the time, but enough for a machine that is busy to say what it has at hand.
  return answer === 'unclear' ? fullGet(url, Math.max(timeoutMs - (process.uptime() - startedSec) * 1000, 100)) : answer
}

/**
 * By node:http, which knows HTTP in all its forms. Not fetch: half the start-up cost, and a limit that also holds for an
 * answer that drips byte by byte.
 */
async function fullGet(url: URL, timeoutMs: number): Promise<HttpAnswer> {
  const { request } = url.protocol === 'https:' ? await import('node:https') : await import('node:http')
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
      // The gateway's own certificate is self-signed; who it is, its words tell, and nothing secret is sent.
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
