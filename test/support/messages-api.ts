/**
 * A local stand-in for the Messages API, so that the real Claude Code can be run without a network: it answers
 * `POST /v1/messages` with server-sent events, and the test says what the "model" answers, turn by turn.
 *
 * Claude Code also makes small calls of its own (a session title, a topic check, "Warmup" calls of its subagents in
 * 2.0.x); they get a short text and do not use up a scripted turn.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the model says in one turn: a text, tool calls (with or without a text before them), or a refusal of the API. */
export type Turn =
  | { text: string }
  | { text?: string; tools: { name: string; input: Record<string, unknown> }[] }
  | { status: number; error: { type: string; message: string }; headers?: Record<string, string> }
  | { hang: true }

export interface MessagesRequest {
  headers: Record<string, string | string[] | undefined>
  /** The request body as it was sent. */
  body: { model: string; system?: unknown; messages: { role: string; content: unknown }[]; tools?: { name: string }[] }
  /** True for a turn of the conversation, false for Claude Code's own small calls. */
  isTurn: boolean
}

export interface MessagesApi {
  url: string
  port: number
  /** Every request to `/v1/messages`, in order. */
  requests: MessagesRequest[]
  /** The turns of the conversation alone. */
  turns(): MessagesRequest[]
  /** Every method and path that was asked for, other paths included. */
  paths: string[]
  close(): Promise<void>
}

/** The text parts of a message's content, tool results included, joined by newlines. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part: { type?: string; text?: string; content?: unknown }) =>
      part.type === 'tool_result' ? textOf(part.content) : (part.text ?? ''),
    )
    .filter((text) => text !== '')
    .join('\n')
}

/**
 * Starts the server on a free port of 127.0.0.1.
 *
 * @param script The answers in order (the last one is repeated), or a function of the turn's request and number (from 0).
 */
export async function startMessagesApi(
  script: Turn[] | ((request: MessagesRequest, number: number) => Turn | Promise<Turn>),
): Promise<MessagesApi> {
  const requests: MessagesRequest[] = []
  const paths: string[] = []
  let number = 0
  const next = async (request: MessagesRequest): Promise<Turn> => {
    const at = number++
    if (typeof script === 'function') return await script(request, at)
    return script[Math.min(at, script.length - 1)] ?? { text: 'Done.' }
  }

  const server = createServer(async (request, response) => {
    paths.push(`${request.method} ${request.url}`)
    const raw = await readAll(request)
    const path = (request.url ?? '').split('?')[0]
    if (path === '/v1/messages/count_tokens') return sendJson(response, 200, { input_tokens: 100 })
    if (request.method !== 'POST' || path !== '/v1/messages') return sendJson(response, 200, {})
    const body = JSON.parse(raw) as MessagesRequest['body']
    const isTurn =
      (body.tools ?? []).some(({ name }) => name === 'Bash' || name.startsWith('mcp__')) &&
      textOf(body.messages[0]?.content).trim() !== 'Warmup'
    const entry: MessagesRequest = { headers: request.headers, body, isTurn }
    requests.push(entry)
    const turn = isTurn ? await next(entry) : { text: 'Gateway recovery' }
    if ('hang' in turn) return
    if ('status' in turn) return sendJson(response, turn.status, { type: 'error', error: turn.error }, turn.headers)
    sendEvents(response, body.model, turn)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const port = (server.address() as AddressInfo).port
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    turns: () => requests.filter((request) => request.isTurn),
    paths,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

async function readAll(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', 'request-id': 'req_local', ...headers })
  response.end(JSON.stringify(value))
}

function sendEvents(
  response: ServerResponse,
  model: string,
  turn: { text?: string; tools?: { name: string; input: Record<string, unknown> }[] },
): void {
  const tools = turn.tools ?? []
  const usage = { input_tokens: 10, output_tokens: 10, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
  response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': 'req_local' })
  const send = (event: Record<string, unknown> & { type: string }): void => {
    response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  }
  const id = `msg_${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`
  send({
    type: 'message_start',
    message: {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage,
    },
  })
  let index = 0
  if (turn.text !== undefined) {
    send({ type: 'content_block_start', index, content_block: { type: 'text', text: '' } })
    send({ type: 'content_block_delta', index, delta: { type: 'text_delta', text: turn.text } })
    send({ type: 'content_block_stop', index })
    index++
  }
  for (const tool of tools) {
    const block = { type: 'tool_use', id: `toolu_${id}${index}`, name: tool.name, input: {} }
    send({ type: 'content_block_start', index, content_block: block })
    send({
      type: 'content_block_delta',
      index,
      delta: { type: 'input_json_delta', partial_json: JSON.stringify(tool.input) },
    })
    send({ type: 'content_block_stop', index })
    index++
  }
  send({
    type: 'message_delta',
    delta: { stop_reason: tools.length > 0 ? 'tool_use' : 'end_turn', stop_sequence: null },
    usage: { output_tokens: 10 },
  })
  send({ type: 'message_stop' })
  response.end()
}
