/**
 * A local stand-in for a model's service, so that a real coding agent can be run without a network: it speaks the agent's
 * dialect, and the test says what the "model" answers, turn by turn. Small requests that an agent makes beside the
 * conversation (a title, a summary; they offer no tools of ours) get a short text and use up no scripted turn.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A call of a tool. For Codex: in a namespace, as a plain text (`custom`), or an item of another kind, as it stands. */
export interface ToolUse {
  name: string
  input: Record<string, unknown> | string
  namespace?: string
  item?: Record<string, unknown>
}

/** What the model says in one turn: a text, tool calls (with or without a text before them), or a refusal of the service. */
export type Turn =
  | { text: string }
  | { text?: string; tools: ToolUse[] }
  | { status: number; error: Record<string, unknown> }
  | { hang: true }
  /** The stream ends in the middle (Codex). */
  | { cut: true }
type Words = { text?: string; tools?: ToolUse[] }

export interface ModelRequest {
  headers: Record<string, string | string[] | undefined>
  // biome-ignore lint/suspicious/noExplicitAny: as the agent sent it
  body: any
  /** The names of the tools that the model is offered. */
  tools: string[]
  isTurn: boolean
}

export type Script = Turn[] | ((request: ModelRequest, number: number) => Turn)
export type ModelApi = Awaited<ReturnType<typeof startModelApi>>

interface Dialect {
  /** Behind the server's address. */
  base: string
  /** Whether it is a request to a model. */
  isAsked: (path: string) => boolean
  /** What other paths are answered with. */
  other: (request: IncomingMessage, path: string) => [status: number, value: unknown]
  toolsOf: (body: ModelRequest['body']) => string[]
  isTurn?: (request: Omit<ModelRequest, 'isTurn'>) => boolean
  errorOf: (turn: { status: number; error: Record<string, unknown> }) => unknown
  answer: (response: ServerResponse, turn: Words, body: ModelRequest['body'], path: string) => void
}

const NOT_HERE: [number, unknown] = [404, { error: { code: 404, status: 'NOT_FOUND', message: 'not here' } }]
const names = (tools: { name: string }[] = []) => tools.map(({ name }) => name)

const DIALECTS = {
  /** Anthropic's Messages API. */
  messages: {
    base: '',
    isAsked: (path) => path === '/v1/messages',
    other: (_, path) => [200, path === '/v1/messages/count_tokens' ? { input_tokens: 100 } : {}],
    toolsOf: ({ tools }) => names(tools),
    isTurn: ({ tools, body }) =>
      tools.some((name) => name === 'Bash' || name.startsWith('mcp__')) &&
      textOf(body.messages[0]?.content) !== 'Warmup',
    errorOf: ({ error }) => ({ type: 'error', error }),
    answer: sayMessages,
  },
  /** OpenAI's Responses API; Codex first asks for a WebSocket and for the list of models, and does without both. */
  responses: {
    base: '/v1',
    isAsked: (path) => path === '/v1/responses',
    other: ({ headers }) => (headers.upgrade ? [426, { error: { message: 'no WebSocket here' } }] : NOT_HERE),
    toolsOf: () => [],
    isTurn: () => true,
    errorOf: ({ error }) => ({ error }),
    answer: sayResponses,
  },
  /** The Chat Completions API, which most services and local model servers speak. */
  chat: {
    base: '/v1',
    isAsked: (path) => path.endsWith('/chat/completions'),
    other: () => NOT_HERE,
    toolsOf: ({ tools = [] }) => names(tools.map((tool: { function: { name: string } }) => tool.function)),
    errorOf: ({ error }) => ({ error }),
    answer: sayChat,
  },
  /** Google's Gemini API; a tool of the service's own goes by the name of its field. */
  gemini: {
    base: '',
    isAsked: (path) => /\/models\/[^/:]+:(?:streamG|g)enerateContent$/.test(path),
    other: (_, path) => (path.endsWith(':countTokens') ? [200, { totalTokens: 100 }] : NOT_HERE),
    toolsOf: ({ tools = [] }) =>
      tools.flatMap((tool: { functionDeclarations?: { name: string }[] }) =>
        tool.functionDeclarations ? names(tool.functionDeclarations) : Object.keys(tool),
      ),
    errorOf: ({ status, error }) => ({ error: { code: status, ...error } }),
    answer: sayGemini,
  },
} satisfies Record<string, Dialect>

/** Starts the service on a free port of 127.0.0.1. @param script the answers in order (the last is repeated), or a function */
export async function startModelApi(dialect: keyof typeof DIALECTS, script: Script) {
  const speaks: Dialect = DIALECTS[dialect]
  const requests: ModelRequest[] = []
  let number = 0
  const server = createServer(async (request, response) => {
    const raw = await readAll(request)
    const path = (request.url ?? '').split('?')[0]!
    if (request.method !== 'POST' || !speaks.isAsked(path)) return sendJson(response, ...speaks.other(request, path))
    // With a login Codex packs its requests with zstd, which Node 20 cannot read.
    const body = request.headers['content-encoding'] ? { model: '', input: [] } : JSON.parse(raw)
    const asked = { headers: request.headers, body, tools: speaks.toolsOf(body) }
    const entry = { ...asked, isTurn: speaks.isTurn?.(asked) ?? asked.tools.length > 0 }
    requests.push(entry)
    const at = entry.isTurn ? number++ : 0
    const scripted = () =>
      typeof script === 'function' ? script(entry, at) : (script[Math.min(at, script.length - 1)] ?? { text: 'Done.' })
    const turn: Turn = entry.isTurn ? scripted() : { text: 'Gateway recovery' }
    if ('hang' in turn) return
    if ('status' in turn) return sendJson(response, turn.status, speaks.errorOf(turn))
    if ('cut' in turn) return void eventStream(response)({ type: 'response.created', response: { id: 'cut' } }).end()
    speaks.answer(response, turn, body, path)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    /** The base URL as the agent wants it. */
    url: `http://127.0.0.1:${port}${speaks.base}`,
    port,
    /** Every request to a model, in order, and the turns of the conversation alone. */
    requests,
    turns: () => requests.filter(({ isTurn }) => isTurn),
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

/** The text parts of a message's content, tool results included, joined by newlines. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  const texts = content.map((part) => (part.type === 'tool_result' ? textOf(part.content) : (part.text ?? '')))
  return texts.filter(Boolean).join('\n')
}

async function readAll(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const headers = { 'content-type': 'application/json', 'request-id': 'req_local', 'x-request-id': 'req_local' }
  response.writeHead(status, headers).end(JSON.stringify(value))
}

/** Begins a stream of server-sent events; returns what sends one. */
function eventStream(response: ServerResponse) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': 'req_local' })
  return (event: Record<string, unknown> & { type?: string }) => {
    response.write(`${event.type ? `event: ${event.type}\n` : ''}data: ${JSON.stringify(event)}\n\n`)
    return response
  }
}

let count = 0
const newId = () => `${Date.now().toString(36)}local${count++}`

function sayMessages(response: ServerResponse, { text, tools = [] }: Words, { model }: { model: string }): void {
  const send = eventStream(response)
  const id = `msg_${newId()}`
  const usage = { input_tokens: 10, output_tokens: 10, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
  const start = { id, type: 'message', role: 'assistant', model, content: [], stop_reason: null, stop_sequence: null }
  send({ type: 'message_start', message: { ...start, usage } })
  const blocks = [
    ...(text === undefined
      ? []
      : [
          [
            { type: 'text', text: '' },
            { type: 'text_delta', text },
          ],
        ]),
    ...tools.map(({ name, input }, i) => [
      { type: 'tool_use', id: `toolu_${id}${i}`, name, input: {} },
      { type: 'input_json_delta', partial_json: JSON.stringify(input) },
    ]),
  ]
  for (const [index, [block, delta]] of blocks.entries()) {
    send({ type: 'content_block_start', index, content_block: block })
    send({ type: 'content_block_delta', index, delta })
    send({ type: 'content_block_stop', index })
  }
  const delta = { stop_reason: tools.length > 0 ? 'tool_use' : 'end_turn', stop_sequence: null }
  send({ type: 'message_delta', delta, usage: { output_tokens: 10 } })
  send({ type: 'message_stop' }).end()
}

function sayResponses(response: ServerResponse, { text, tools = [] }: Words): void {
  const send = eventStream(response)
  const id = newId()
  send({ type: 'response.created', response: { id: `resp_${id}` } })
  const content = [{ type: 'output_text', text }]
  const said = { type: 'message', role: 'assistant', id: `msg_${id}`, content }
  const calls = tools.map(({ name, input, namespace, item }, i) => {
    const call = { id: `item_${id}_${i}`, call_id: `call_${id}_${i}` }
    if (item) return { ...call, ...item }
    if (typeof input === 'string') return { ...call, type: 'custom_tool_call', name, input }
    const args = JSON.stringify(input)
    return { ...call, type: 'function_call', name, arguments: args, ...(namespace ? { namespace } : {}) }
  })
  for (const [index, item] of [...(text === undefined ? [] : [said]), ...calls].entries())
    send({ type: 'response.output_item.done', output_index: index, item })
  const details = { input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 } }
  const usage = { input_tokens: 10, output_tokens: 10, total_tokens: 20, ...details }
  send({ type: 'response.completed', response: { id: `resp_${id}`, usage } }).end()
}

function sayChat(
  response: ServerResponse,
  { text, tools = [] }: Words,
  { model, stream }: { model: string; stream?: boolean },
): void {
  const usage = { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 }
  const head = { id: `chatcmpl-${newId()}`, created: Math.floor(Date.now() / 1000), model }
  const finish = tools.length > 0 ? 'tool_calls' : 'stop'
  const calls = tools.map(({ name, input }) => ({
    ...{ id: `call_${newId()}`, type: 'function', function: { name, arguments: JSON.stringify(input) } },
  }))
  if (!stream) {
    const message = { role: 'assistant', content: text ?? null, ...(calls.length > 0 ? { tool_calls: calls } : {}) }
    const choices = [{ index: 0, message, finish_reason: finish }]
    sendJson(response, 200, { ...head, object: 'chat.completion', choices, usage })
    return
  }
  const send = eventStream(response)
  const chunk = (choices: unknown[], more = {}) => send({ ...head, object: 'chat.completion.chunk', choices, ...more })
  const part = (delta: unknown, reason: string | null = null) => chunk([{ index: 0, delta, finish_reason: reason }])
  part({ role: 'assistant', content: text ?? '' })
  for (const [index, call] of calls.entries()) part({ tool_calls: [{ index, ...call }] })
  part({}, finish)
  chunk([], { usage }).end('data: [DONE]\n\n')
}

function sayGemini(response: ServerResponse, { text, tools = [] }: Words, _: unknown, path: string): void {
  const calls = tools.map(({ name, input }) => ({ functionCall: { name, args: input } }))
  const parts = [...(text === undefined ? [] : [{ text }]), ...calls]
  const answer = {
    candidates: [{ index: 0, content: { role: 'model', parts }, finishReason: 'STOP' }],
    usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 10, totalTokenCount: 20 },
    modelVersion: 'stand-in',
  }
  if (path.endsWith(':generateContent')) sendJson(response, 200, answer)
  else eventStream(response)(answer).end()
}
