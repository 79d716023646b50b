/**
 * A webhook receiver that is as strict as Discord: what Discord would refuse with 400, it refuses.
 * Limits: https://discord.com/developers/docs/resources/webhook#execute-webhook and …/resources/message#embed-object.
 */
import { createServer, type IncomingMessage } from 'node:http'
import { freePort } from './ports.ts'

export interface Reply {
  status: number
  headers?: Record<string, string>
  body?: string
}
export type ScriptedAnswer = 'hang' | 'reset' | Reply

export interface DiscordMessage {
  content?: string
  username?: string
  embeds?: {
    title?: string
    description?: string
    footer?: { text?: string }
    fields?: { name?: string; value?: string }[]
  }[]
  allowed_mentions?: { parse?: string[] }
}

/** Discord's answers to a message that comes too soon, to a gone webhook, and a proxy's when Discord is down. */
export const ANSWERS = {
  rateLimited: (sec: number): Reply => ({ status: 429, headers: { 'Retry-After': String(sec) }, body: '{}' }),
  unknownWebhook: { status: 404, body: JSON.stringify({ message: 'Unknown Webhook', code: 10015 }) },
  serverError: { status: 500, body: '' },
  badGateway: { status: 502, body: '<html><head><title>502 Bad Gateway</title></head></html>' },
}

/** Listens on a port that is dead once it is closed. */
export async function listen(answer: (request: IncomingMessage, text: string) => ScriptedAnswer) {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const reply = answer(request, Buffer.concat(chunks).toString('utf8'))
    if (reply === 'reset') request.socket.destroy()
    else if (reply !== 'hang') response.writeHead(reply.status, reply.headers).end(reply.body)
  })
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return { origin: `http://127.0.0.1:${port}`, close }
}

export type WebhookReceiver = Awaited<ReturnType<typeof startWebhookReceiver>>

export async function startWebhookReceiver(noticed = () => {}) {
  /** `problems`: why Discord would refuse it. `status` 0: nothing was answered. */
  const requests: { text: string; json: DiscordMessage | undefined; problems: string[]; status: number }[] = []
  const scripted: ScriptedAnswer[] = []
  const { origin, close } = await listen((request, text) => {
    const json = parseJson(request, text) as DiscordMessage | undefined
    const problems = json ? problemsOf(json) : ['no valid JSON']
    const usual = problems.length === 0 ? { status: 204 } : { status: 400, body: JSON.stringify({ errors: problems }) }
    const reply = scripted.shift() ?? usual
    requests.push({ text, json, problems, status: typeof reply === 'string' ? 0 : reply.status })
    noticed()
    return reply
  })
  return {
    /** In the form of a Discord webhook URL, with a secret in its path. */
    url: `${origin}/api/webhooks/123456789012345678/stand-in-token-aBcDeF0123456789`,
    requests,
    /** The messages that a reader would see: those that were accepted. */
    delivered: () => requests.filter(({ status }) => status === 204).map(({ json }) => json!),
    /** Queues answers; each is given once, in order. */
    answerNext: (...answers: ScriptedAnswer[]) => void scripted.push(...answers),
    close,
  }
}

/** Half a surrogate pair is no valid text: that alone is still escaped in what JSON.stringify makes. */
export function parseJson({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>, text: string) {
  if (method !== 'POST' || !/^application\/json\b/.test(headers['content-type'] ?? '')) return undefined
  if (/(?<!\\)(?:\\\\)*\\ud[89a-f]/i.test(text)) return undefined
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}

/** Counted in UTF-16 units: the strictest way in which Discord could count. */
export function problemsOf({ content, embeds = [] }: DiscordMessage): string[] {
  const fields = embeds.flatMap((embed) => embed.fields ?? [])
  const embedded: [what: string, max: number, texts: (string | undefined)[]][] = [
    ['embed title', 256, embeds.map(({ title }) => title)],
    ['embed description', 4096, embeds.map(({ description }) => description)],
    ['embed footer', 2048, embeds.map(({ footer }) => footer?.text)],
    ['field name', 256, fields.map(({ name }) => name)],
    ['field value', 1024, fields.map(({ value }) => value)],
  ]
  const all = embedded.flatMap(([, , texts]) => texts).join('')
  const problems = [...embedded, ['all of the embeds', 6000, [all]] as const, ['content', 2000, [content]] as const]
    .filter(([, max, texts]) => texts.some((text) => (text?.length ?? 0) > max))
    .map(([what, max]) => `${what}: more than ${max} characters`)
  if (!content?.trim() && embeds.length === 0) problems.push('an empty message')
  if (embeds.length > 10 || fields.length > 25) problems.push('too many embeds or fields')
  if (fields.some(({ name, value }) => !name?.trim() || !value?.trim())) problems.push('an empty field')
  return problems
}
