/**
 * A local stand-in for the Chat Completions API, which most model services and local model servers speak, so that a
 * real coding agent can be run without a network: it answers `POST …/chat/completions`, streamed or whole as it is
 * asked, and the test says what the "model" answers, turn by turn. A request that offers no tools is none of the
 * conversation (a title, a summary): it gets a short text and does not use up a scripted turn.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the model says in one turn: a text, tool calls (with or without a text before them), or a refusal of the API. */
export type ChatTurn =
  | { text: string }
  | { text?: string; tools: { name: string; input: Record<string, unknown> }[] }
  | { status: number; error: { type: string; message: string; code?: string }; headers?: Record<string, string> }
  | { hang: true }

export interface ChatRequest {
  headers: Record<string, string | string[] | undefined>
  /** The request body as it was sent. */
  body: {
    model: string
    stream?: boolean
    messages: { role: string; content: unknown }[]
    tools?: { function: { name: string } }[]
  }
  /** The names of the tools that the model is offered. */
  tools: string[]
  isTurn: boolean
}

export interface ChatApi {
  /** The base URL, with `/v1`. */
  url: string
  port: number
  /** Every request to `/chat/completions`, in order. */
  requests: ChatRequest[]
  /** The turns of the conversation alone. */
  turns(): ChatRequest[]
  /** Every method and path that was asked for, other paths included. */
  paths: string[]
  close(): Promise<void>
}

/**
 * Starts the server on a free port of 127.0.0.1.
 *
 * @param script The answers in order (the last one is repeated), or a function of the turn's request and number (from 0).
 */
export async function startChatApi(
  script: ChatTurn[] | ((request: ChatRequest, number: number) => ChatTurn | Promise<ChatTurn>),
): Promise<ChatApi> {
  const requests: ChatRequest[] = []
  const paths: string[] = []
  let number = 0
  const next = async (request: ChatRequest): Promise<ChatTurn> => {
    const at = number++
    if (typeof script === 'function') return await script(request, at)
    return script[Math.min(at, script.length - 1)] ?? { text: 'Done.' }
  }

  const server = createServer(async (request, response) => {
    paths.push(`${request.method} ${request.url}`)
    const raw = await readAll(request)
    if (request.method !== 'POST' || !/\/chat\/completions$/.test(request.url ?? ''))
      return sendJson(response, 404, { error: { type: 'not_found', message: 'There is no such path here.' } })
    const body = JSON.parse(raw) as ChatRequest['body']
    const tools = (body.tools ?? []).map((tool) => tool.function.name)
    const entry: ChatRequest = { headers: request.headers, body, tools, isTurn: tools.length > 0 }
    requests.push(entry)
    const turn = entry.isTurn ? await next(entry) : { text: 'Gateway recovery' }
    if ('hang' in turn) return
    if ('status' in turn) return sendJson(response, turn.status, { error: turn.error }, turn.headers)
    if (body.stream) sendChunks(response, body.model, turn)
    else sendWhole(response, body.model, turn)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const port = (server.address() as AddressInfo).port
  return {
    url: `http://127.0.0.1:${port}/v1`,
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
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(value))
}

type Answer = { text?: string; tools?: { name: string; input: Record<string, unknown> }[] }

const USAGE = { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 }
const finishOf = (answer: Answer) => (answer.tools?.length ? 'tool_calls' : 'stop')
const newId = () => `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`
const created = () => Math.floor(Date.now() / 1000)

function callsOf(answer: Answer) {
  return (answer.tools ?? []).map(({ name, input }, index) => ({
    index,
    id: `call_${newId()}`,
    type: 'function',
    function: { name, arguments: JSON.stringify(input) },
  }))
}

function sendWhole(response: ServerResponse, model: string, answer: Answer): void {
  const calls = callsOf(answer).map(({ index: _, ...call }) => call)
  const message = {
    role: 'assistant',
    content: answer.text ?? null,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  }
  const choices = [{ index: 0, message, finish_reason: finishOf(answer) }]
  sendJson(response, 200, {
    id: `chatcmpl-${newId()}`,
    object: 'chat.completion',
    created: created(),
    model,
    choices,
    usage: USAGE,
  })
}

function sendChunks(response: ServerResponse, model: string, answer: Answer): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const head = { id: `chatcmpl-${newId()}`, object: 'chat.completion.chunk', created: created(), model }
  const send = (delta: Record<string, unknown>, finish: string | null = null): void => {
    const choices = [{ index: 0, delta, finish_reason: finish }]
    response.write(`data: ${JSON.stringify({ ...head, choices })}\n\n`)
  }
  send({ role: 'assistant', content: answer.text ?? '' })
  for (const call of callsOf(answer)) send({ tool_calls: [call] })
  send({}, finishOf(answer))
  response.write(`data: ${JSON.stringify({ ...head, choices: [], usage: USAGE })}\n\n`)
  response.end('data: [DONE]\n\n')
}
