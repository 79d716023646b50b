/**
 * Slack, Telegram, ntfy, a plain webhook and healthchecks.io as one local server, as strict as they are: what they
 * would refuse it refuses, with their documented errors. (Discord is in webhook-receiver.ts.)
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type ServiceName = 'slack' | 'telegram' | 'ntfy' | 'webhook' | 'heartbeat'

export interface ServiceRequest {
  service: ServiceName
  path: string
  headers: IncomingMessage['headers']
  text: string
  json: Record<string, unknown>
  status: number
}

interface Reply {
  status: number
  body: string
  headers?: Record<string, string>
}

export const TELEGRAM_TOKEN = '110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0'
export const TELEGRAM_CHAT = '-1001234567890'
export const NTFY_TOKEN = 'tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2'

const PATHS: [RegExp, ServiceName][] = [
  [/^\/services\/T0\/B0\/slack-secret$/, 'slack'],
  [/^\/bot[^/]+\/sendMessage$/, 'telegram'],
  [/^\/webhook$/, 'webhook'],
  [/^\/ping\/[^/]+(\/fail)?$/, 'heartbeat'],
  [/^\/$/, 'ntfy'],
]

export type AlertServices = Awaited<ReturnType<typeof startAlertServices>>

export async function startAlertServices() {
  const requests: ServiceRequest[] = []
  const scripted = new Map<ServiceName, Reply[]>()
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => answer(req, res, Buffer.concat(chunks).toString('utf8')))
  })
  const answer = (req: IncomingMessage, res: ServerResponse, text: string) => {
    const path = req.url ?? ''
    const service = PATHS.find(([pattern]) => pattern.test(path))?.[1]
    if (!service) return void res.writeHead(404).end()
    const json = parse(text)
    const reply = scripted.get(service)?.shift() ?? judge(service, path, req, text, json)
    requests.push({ service, path, headers: req.headers, text, json: json ?? {}, status: reply.status })
    res.writeHead(reply.status, reply.headers).end(reply.body)
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    requests,
    /** The messages that a reader would see. */
    delivered: (service: ServiceName) => requests.filter((one) => one.service === service && one.status === 200),
    answerNext: (service: ServiceName, ...replies: Reply[]) => {
      scripted.set(service, [...(scripted.get(service) ?? []), ...replies])
    },
    /** The settings with which everything arrives here. */
    settings: {
      SLACK_WEBHOOK_URL: `${origin}/services/T0/B0/slack-secret`,
      TELEGRAM_BOT_TOKEN: TELEGRAM_TOKEN,
      TELEGRAM_CHAT_ID: TELEGRAM_CHAT,
      TELEGRAM_API_URL: origin,
      NTFY_URL: `${origin}/openclaw-alerts`,
      NTFY_TOKEN,
      ALERT_WEBHOOK_URL: `${origin}/webhook`,
      HEARTBEAT_URL: `${origin}/ping/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278`,
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

type Json = Record<string, unknown>

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

function judge(service: ServiceName, path: string, req: IncomingMessage, text: string, json: Json | undefined): Reply {
  if (service === 'heartbeat') return { status: 200, body: 'OK' }
  const isJson = /^application\/json\b/.test(req.headers['content-type'] ?? '')
  const valid = isJson && req.method === 'POST' && !/[\ud800-\udfff]/u.test(text) ? json : undefined
  if (service === 'slack') return judgeSlack(valid)
  if (service === 'telegram') return judgeTelegram(path, valid)
  if (service === 'ntfy') return judgeNtfy(req, valid)
  return valid ? { status: 200, body: '{}' } : { status: 400, body: 'no JSON' }
}

/** https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors: words, not JSON. */
function judgeSlack(json: Json | undefined): Reply {
  if (!json) return { status: 400, body: 'invalid_payload' }
  const blocks = (json.blocks ?? []) as { type: string; text?: { type?: string; text?: string } }[]
  if (!json.text && blocks.length === 0) return { status: 400, body: 'no_text' }
  const isBad = blocks.some(({ type, text }) => {
    const length = text?.text?.length ?? 0
    if (type === 'header') return text?.type !== 'plain_text' || length < 1 || length > 150
    return type !== 'section' || text?.type !== 'mrkdwn' || length < 1 || length > 3000
  })
  if (blocks.length > 50 || isBad) return { status: 400, body: 'invalid_blocks' }
  return { status: 200, body: 'ok', headers: { 'content-type': 'text/html' } }
}

/** https://core.telegram.org/bots/api#making-requests */
function judgeTelegram(path: string, json: Json | undefined): Reply {
  const refuse = (status: number, description: string): Reply => ({
    status,
    body: JSON.stringify({ ok: false, error_code: status, description }),
    headers: { 'content-type': 'application/json' },
  })
  if (path !== `/bot${TELEGRAM_TOKEN}/sendMessage`) return refuse(401, 'Unauthorized')
  if (!json) return refuse(400, "Bad Request: can't parse JSON object")
  if (json.chat_id !== TELEGRAM_CHAT) return refuse(400, 'Bad Request: chat not found')
  const shown = json.parse_mode === 'HTML' ? readHtml(String(json.text)) : String(json.text)
  if (shown === undefined) return refuse(400, "Bad Request: can't parse entities")
  if (shown.trim() === '') return refuse(400, 'Bad Request: message text is empty')
  if (shown.length > 4096) return refuse(400, 'Bad Request: message is too long')
  return { status: 200, body: JSON.stringify({ ok: true, result: { message_id: 1 } }) }
}

/** The text without its markup; undefined when Telegram would not understand the markup. */
export function readHtml(html: string): string | undefined {
  const open: string[] = []
  let text = ''
  for (const [part] of html.matchAll(/<[^>]*>?|[^<]+/g)) {
    const tag = /^<(\/?)(b|i|u|s|code|pre)>$/.exec(part)
    if (part.startsWith('<')) {
      if (!tag) return undefined
      if (tag[1] === '') open.push(tag[2]!)
      else if (open.pop() !== tag[2]) return undefined
      continue
    }
    if (/&(?!lt;|gt;|amp;|quot;)/.test(part) || part.includes('>')) return undefined
    text += part.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&')
  }
  return open.length === 0 ? text : undefined
}

/** https://docs.ntfy.sh/publish/#publish-as-json and …/#limitations */
function judgeNtfy(req: IncomingMessage, json: Json | undefined): Reply {
  const refuse = (code: number, error: string): Reply => ({
    status: Math.floor(code / 100),
    body: JSON.stringify({ code, http: Math.floor(code / 100), error }),
    headers: { 'content-type': 'application/json' },
  })
  if (req.headers.authorization !== `Bearer ${NTFY_TOKEN}`) return refuse(40301, 'forbidden')
  if (!json) return refuse(40024, 'invalid request: request body must be valid JSON')
  if (!/^[-_A-Za-z0-9]{1,64}$/.test(String(json.topic))) return refuse(40009, 'invalid request: topic invalid')
  if (![1, 2, 3, 4, 5].includes(Number(json.priority))) return refuse(40007, 'invalid request: priority invalid')
  // The real one would take it and deliver a file: nothing to read at night.
  if (Buffer.byteLength(String(json.message)) > 4096) return refuse(41301, 'attachment too large')
  return { status: 200, body: JSON.stringify({ id: 'x', event: 'message', topic: json.topic }) }
}
