/**
 * A webhook receiver that is as strict as Discord: what Discord would refuse with 400, it refuses, in Discord's form.
 * Limits: https://discord.com/developers/docs/resources/webhook#execute-webhook and …/resources/message#embed-object.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { freePort } from './ports.ts'

export interface ReceivedMessage {
  method: string
  path: string
  headers: IncomingMessage['headers']
  /** The body as it came. */
  text: string
  /** The body parsed, if it is JSON. */
  json: DiscordMessage | undefined
  /** Why Discord would refuse it; empty for a message that it would show. */
  problems: string[]
  /** What was answered. 0: nothing (hang, reset). */
  status: number
}

export interface DiscordMessage {
  content?: string
  username?: string
  embeds?: DiscordEmbed[]
  allowed_mentions?: { parse?: string[] }
}

interface DiscordEmbed {
  title?: string
  description?: string
  footer?: { text?: string }
  author?: { name?: string }
  fields?: { name?: string; value?: string }[]
}

/** What the next request gets instead of the usual 204 (or 400). */
export type ScriptedAnswer = 'hang' | 'reset' | { status: number; headers?: Record<string, string>; body?: string }

/** Discord's answers to a message that comes too soon, to a gone webhook, and a proxy's when Discord is down. */
export const ANSWERS = {
  rateLimited: (retryAfterSec: number): ScriptedAnswer => ({
    status: 429,
    headers: { 'Content-Type': 'application/json', 'Retry-After': String(retryAfterSec) },
    body: JSON.stringify({ message: 'You are being rate limited.', retry_after: retryAfterSec, global: false }),
  }),
  unknownWebhook: {
    status: 404,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ message: 'Unknown Webhook', code: 10015 }),
  },
  serverError: { status: 500, body: '' },
  badGateway: {
    status: 502,
    headers: { 'Content-Type': 'text/html' },
    body: '<html><head><title>502 Bad Gateway</title></head></html>',
  },
} satisfies Record<string, ScriptedAnswer | ((n: number) => ScriptedAnswer)>

export interface WebhookReceiver {
  /** In the form of a Discord webhook URL, with a secret in its path. */
  url: string
  requests: ReceivedMessage[]
  /** The messages that a reader would see: those that were accepted. */
  delivered(): DiscordMessage[]
  /** Queues answers; each is given once, in order. */
  answerNext(...answers: ScriptedAnswer[]): void
  close(): Promise<void>
}

/**
 * Starts a receiver on a port of its own on the loopback interface.
 * @param noticed called for each message
 */
export async function startWebhookReceiver(noticed = () => {}): Promise<WebhookReceiver> {
  const requests: ReceivedMessage[] = []
  const scripted: ScriptedAnswer[] = []
  const server = createServer((req, res) => {
    void readBody(req).then((text) => {
      const received = examineRequest(req, text)
      received.status = respond(req, res, received, scripted.shift())
      requests.push(received)
      noticed()
    })
  })
  // One that nobody else is given when the receiver is closed and its port shall be a dead one.
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${port}/api/webhooks/123456789012345678/stand-in-token-aBcDeF0123456789`,
    requests,
    delivered: () => requests.filter((one) => one.status === 204).map((one) => one.json!),
    answerNext: (...answers) => scripted.push(...answers),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function readBody(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function examineRequest(req: IncomingMessage, text: string): ReceivedMessage {
  let json: DiscordMessage | undefined
  const problems: string[] = []
  try {
    json = JSON.parse(text) as DiscordMessage
    problems.push(...problemsOf(json))
  } catch {
    problems.push('the body is not valid JSON')
  }
  if (req.method !== 'POST') problems.push(`method ${req.method} instead of POST`)
  if (!/^application\/json\b/.test(req.headers['content-type'] ?? ''))
    problems.push(`content type ${req.headers['content-type'] ?? '(none)'} instead of application/json`)
  return { method: req.method ?? '', path: req.url ?? '', headers: req.headers, text, json, problems, status: 0 }
}

/** In UTF-16 units: the strictest way in which Discord could count. */
const length = (text: unknown): number => (typeof text === 'string' ? text.length : 0)

function problemsOf(message: DiscordMessage): string[] {
  const problems: string[] = []
  const limit = (name: string, text: unknown, max: number) => {
    if (length(text) > max) problems.push(`${name}: ${length(text)} characters, at most ${max} are allowed`)
  }
  const embeds = message.embeds ?? []
  if (!message.content?.trim() && embeds.length === 0) problems.push('Cannot send an empty message')
  limit('content', message.content, 2000)
  limit('username', message.username, 80)
  if (embeds.length > 10) problems.push(`${embeds.length} embeds, at most 10 are allowed`)
  let total = 0
  for (const embed of embeds) {
    limit('embed title', embed.title, 256)
    limit('embed description', embed.description, 4096)
    limit('embed footer', embed.footer?.text, 2048)
    limit('embed author', embed.author?.name, 256)
    const fields = embed.fields ?? []
    if (fields.length > 25) problems.push(`${fields.length} fields, at most 25 are allowed`)
    for (const field of fields) {
      limit('field name', field.name, 256)
      limit('field value', field.value, 1024)
      if (!field.name || !field.value) problems.push('a field without name or value')
    }
    const texts = [embed.title, embed.description, embed.footer?.text, embed.author?.name]
    total += [...texts, ...fields.flatMap((field) => [field.name, field.value])].reduce((sum, t) => sum + length(t), 0)
  }
  if (total > 6000) problems.push(`embeds of ${total} characters in all, at most 6000 are allowed`)
  return problems
}

function respond(
  req: IncomingMessage,
  res: ServerResponse,
  received: ReceivedMessage,
  scripted: ScriptedAnswer | undefined,
): number {
  if (scripted === 'hang') return 0
  if (scripted === 'reset') {
    req.socket.destroy()
    return 0
  }
  const refused = { message: 'Invalid Form Body', code: 50035, errors: received.problems }
  const usual: Exclude<ScriptedAnswer, string> =
    received.problems.length === 0
      ? { status: 204 }
      : { status: 400, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(refused) }
  const { status, headers, body } = scripted ?? usual
  res.writeHead(status, headers).end(body)
  return status
}
