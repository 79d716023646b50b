/**
 * A local stand-in for OpenAI's Responses API, so that the real Codex can be run without a network: it answers
 * `POST /v1/responses` with server-sent events, and the test says what the "model" answers, turn by turn.
 *
 * Codex first asks for a WebSocket and for the list of models; both are refused, and it goes on with its built-in ones.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A call of a tool: of a plain function, of a tool in a namespace, or (`custom`) of one that takes a text. */
export interface ToolUse {
  name: string
  input: Record<string, unknown> | string
  namespace?: string
  /** An item of another kind than a function call, as it stands: `local_shell_call`, `tool_search_call`. */
  item?: Record<string, unknown>
}

/** What the model says in one turn: a text, tool calls (with or without a text before them), or a refusal of the API. */
export type Turn =
  | { text: string }
  | { text?: string; tools: ToolUse[] }
  | { status: number; error: { type?: string; code?: string; message: string }; headers?: Record<string, string> }
  | { hang: true }
  /** The stream ends in the middle. */
  | { cut: true }

export interface ResponsesRequest {
  headers: Record<string, string | string[] | undefined>
  /** The request body as it was sent. */
  body: { model: string; instructions?: string; input: Record<string, unknown>[]; tools?: Record<string, unknown>[] }
}

export interface ResponsesApi {
  url: string
  port: number
  /** Every request to `/v1/responses`, in order. */
  requests: ResponsesRequest[]
  /** Every method and path that was asked for, other paths included. */
  paths: string[]
  close(): Promise<void>
}

/**
 * Starts the server on a free port of 127.0.0.1.
 *
 * @param script The answers in order (the last one is repeated), or a function of the request and its number (from 0).
 */
export async function startResponsesApi(
  script: Turn[] | ((request: ResponsesRequest, number: number) => Turn | Promise<Turn>),
): Promise<ResponsesApi> {
  const requests: ResponsesRequest[] = []
  const paths: string[] = []
  const next = async (request: ResponsesRequest, at: number): Promise<Turn> => {
    if (typeof script === 'function') return await script(request, at)
    return script[Math.min(at, script.length - 1)] ?? { text: 'Done.' }
  }

  const server = createServer(async (request, response) => {
    paths.push(`${request.method} ${request.url}`)
    const raw = await readAll(request)
    if (request.method === 'GET' && request.headers.upgrade)
      return sendJson(response, 426, { error: { message: 'no WebSocket here' } })
    if (request.method !== 'POST' || (request.url ?? '').split('?')[0] !== '/v1/responses')
      return sendJson(response, 404, { error: { message: 'not here' } })
    // With a login Codex packs its requests with zstd, which Node 20 cannot read.
    const body = request.headers['content-encoding'] ? { model: '', input: [] } : JSON.parse(raw)
    const entry: ResponsesRequest = { headers: request.headers, body: body as ResponsesRequest['body'] }
    requests.push(entry)
    const turn = await next(entry, requests.length - 1)
    if ('hang' in turn) return
    if ('status' in turn) return sendJson(response, turn.status, { error: turn.error }, turn.headers)
    if ('cut' in turn) return cutStream(response)
    sendEvents(response, turn)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const port = (server.address() as AddressInfo).port
  return {
    url: `http://127.0.0.1:${port}/v1`,
    port,
    requests,
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
  response.writeHead(status, { 'content-type': 'application/json', 'x-request-id': 'req_local', ...headers })
  response.end(JSON.stringify(value))
}

let number = 0

function sendEvents(response: ServerResponse, turn: { text?: string; tools?: ToolUse[] }): void {
  const send = openStream(response)
  const id = `local${number++}`
  send({ type: 'response.created', response: { id: `resp_${id}` } })
  const items: Record<string, unknown>[] = (turn.tools ?? []).map((tool, index) => itemOf(tool, `${id}_${index}`))
  if (turn.text !== undefined)
    items.unshift({
      type: 'message',
      role: 'assistant',
      id: `msg_${id}`,
      content: [{ type: 'output_text', text: turn.text }],
    })
  for (const [index, item] of items.entries()) send({ type: 'response.output_item.done', output_index: index, item })
  const usage = {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 10,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 20,
  }
  send({ type: 'response.completed', response: { id: `resp_${id}`, usage } })
  response.end()
}

function itemOf({ name, input, namespace, item }: ToolUse, id: string): Record<string, unknown> {
  const call = { id: `item_${id}`, call_id: `call_${id}` }
  if (item) return { ...call, ...item }
  if (typeof input === 'string') return { ...call, type: 'custom_tool_call', name, input }
  return { ...call, type: 'function_call', name, arguments: JSON.stringify(input), ...(namespace ? { namespace } : {}) }
}

function cutStream(response: ServerResponse): void {
  openStream(response)({ type: 'response.created', response: { id: `resp_local${number++}` } })
  response.end()
}

function openStream(response: ServerResponse): (event: Record<string, unknown> & { type: string }) => void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'req_local' })
  return (event) => void response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}
