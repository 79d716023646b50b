/**
 * A local stand-in for a model's service, so that a real coding agent can be run without a network: it speaks the agent's
 * dialect, and the test says what the "model" answers, turn by turn. Small requests that an agent makes beside the
 * conversation (a title, a summary; they offer no tools of ours) get a short text and use up no scripted turn.
 */
import { createServer, type ServerResponse } from 'node:http'
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
  tools: string[]
}

export type Script = Turn[] | ((request: ModelRequest, number: number) => Turn)
type Body = ModelRequest['body']

interface Dialect {
  base: string
  asks: RegExp
  toolsOf: (body: Body) => string[]
  answer: (response: ServerResponse, turn: Words, body: Body) => void
}

const names = (tools: { name: string }[] = []) => tools.map(({ name }) => name)

const DIALECTS = {
  /** Anthropic's Messages API. */
  messages: { base: '', asks: /^\/v1\/messages$/, toolsOf: ({ tools }) => names(tools), answer: sayMessages },
  /** OpenAI's Responses API; Codex first asks for a WebSocket and for the list of models, and does without both. */
  responses: { base: '/v1', asks: /^\/v1\/responses$/, toolsOf: () => ['exec'], answer: sayResponses },
  /** The Chat Completions API, which most services and local model servers speak. */
  chat: {
    base: '/v1',
    asks: /\/chat\/completions$/,
    toolsOf: ({ tools = [] }) => names(tools.map((tool: { function: { name: string } }) => tool.function)),
    answer: sayChat,
  },
  /** Google's Gemini API; a tool of the service's own goes by the name of its field. */
  gemini: {
    base: '',
    asks: /\/models\/[^/:]+:(?:streamG|g)enerateContent$/,
    toolsOf: ({ tools = [] }) =>
      tools.flatMap((tool: { functionDeclarations?: { name: string }[] }) =>
        tool.functionDeclarations ? names(tool.functionDeclarations) : Object.keys(tool),
      ),
    answer: sayGemini,
  },
} satisfies Record<string, Dialect>

/** Starts the service on a free port of 127.0.0.1. @param script the answers in order (the last is repeated), or a function */
export async function startModelApi(dialect: keyof typeof DIALECTS, script: Script) {
  const speaks: Dialect = DIALECTS[dialect]
  const requests: ModelRequest[] = []
  const turns: ModelRequest[] = []
  const server = createServer(async (request, response) => {
    let raw = ''
    for await (const chunk of request.setEncoding('utf8')) raw += chunk
    const path = request.url!.split('?')[0]!
    if (request.method !== 'POST' || !speaks.asks.test(path)) {
      const isCount = /count_?tokens$/i.test(path)
      const counted = { input_tokens: 100, totalTokens: 100 }
      return sendJson(response, isCount ? 200 : request.headers.upgrade ? 426 : 404, isCount ? counted : { error: {} })
    }
    // With a login Codex packs its requests with zstd, which Node 20 cannot read.
    const body = request.headers['content-encoding'] ? { model: '', input: [] } : JSON.parse(raw)
    const tools = speaks.toolsOf(body)
    const entry = { headers: request.headers, body, tools }
    requests.push(entry)
    const scripted = (at: number) =>
      typeof script === 'function' ? script(entry, at) : (script[Math.min(at, script.length - 1)] ?? { text: 'Done.' })
    const turn = tools.length > 0 ? scripted(turns.push(entry) - 1) : { text: 'Gateway recovery' }
    if ('hang' in turn) return
    if ('status' in turn)
      return sendJson(response, turn.status, { type: 'error', error: { code: turn.status, ...turn.error } })
    if ('cut' in turn) return void eventStream(response)({ type: 'response.created', response: { id: 'cut' } }).end()
    speaks.answer(response, turn, body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}${speaks.base}`,
    port,
    /** Every request to a model, in order, and the turns of the conversation alone. */
    requests,
    turns: () => turns,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** The text parts of a message's content, tool results included, joined by newlines. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  const texts = content.map((part) => (part.type === 'tool_result' ? textOf(part.content) : (part.text ?? '')))
  return texts.filter(Boolean).join('\n')
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
  let index = 0
  const block = (content_block: unknown, delta: unknown) => {
    send({ type: 'content_block_start', index, content_block })
    send({ type: 'content_block_delta', index, delta })
    send({ type: 'content_block_stop', index: index++ })
  }
  if (text !== undefined) block({ type: 'text', text: '' }, { type: 'text_delta', text })
  for (const { name, input } of tools) {
    const delta = { type: 'input_json_delta', partial_json: JSON.stringify(input) }
    block({ type: 'tool_use', id: `toolu_${newId()}`, name, input: {} }, delta)
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

function sayChat(response: ServerResponse, { text, tools = [] }: Words, { model }: { model: string }): void {
  const head = { id: `chatcmpl-${newId()}`, created: Math.floor(Date.now() / 1000), model }
  const send = eventStream(response)
  const chunk = (choices: unknown[], more = {}) => send({ ...head, object: 'chat.completion.chunk', choices, ...more })
  const part = (delta: unknown, reason: string | null = null) => chunk([{ index: 0, delta, finish_reason: reason }])
  part({ role: 'assistant', content: text ?? '' })
  for (const [index, { name, input }] of tools.entries()) {
    const call = { name, arguments: JSON.stringify(input) }
    part({ tool_calls: [{ index, id: `call_${newId()}`, type: 'function', function: call }] })
  }
  part({}, tools.length > 0 ? 'tool_calls' : 'stop')
  const usage = { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 }
  chunk([], { usage }).end('data: [DONE]\n\n')
}

function sayGemini(response: ServerResponse, { text, tools = [] }: Words): void {
  const calls = tools.map(({ name, input }) => ({ functionCall: { name, args: input } }))
  const parts = [...(text === undefined ? [] : [{ text }]), ...calls]
  eventStream(response)({
    candidates: [{ index: 0, content: { role: 'model', parts }, finishReason: 'STOP' }],
    usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 10, totalTokenCount: 20 },
  }).end()
}
