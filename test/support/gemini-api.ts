/**
 * A local stand-in for the Gemini API, so that the real Gemini CLI can be run without a network: it answers
 * `POST …:generateContent` and `…:streamGenerateContent`, and the test says what the "model" answers, turn by turn. A
 * request that offers no tools is none of the conversation (the choice of a model, a summary): it gets a short text and
 * does not use up a scripted turn.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the model says in one turn: a text, tool calls (with or without a text before them), or a refusal of the API. */
export type GeminiTurn =
  | { text: string }
  | { text?: string; tools: { name: string; input: Record<string, unknown> }[] }
  | { status: number; error: { status: string; message: string; details?: unknown[] } }
  | { hang: true }

export interface GeminiRequest {
  path: string
  headers: Record<string, string | string[] | undefined>
  /** The request body as it was sent. */
  body: {
    contents: { role: string; parts: Record<string, unknown>[] }[]
    tools?: { functionDeclarations?: { name: string }[] }[]
  }
  /** The names of the tools that the model is offered; one of the service's own by the name of its field. */
  tools: string[]
  isTurn: boolean
}

export interface GeminiApi {
  url: string
  port: number
  /** Every request to a model, in order. */
  requests: GeminiRequest[]
  /** The turns of the conversation alone. */
  turns(): GeminiRequest[]
  /** Every method and path that was asked for, other paths included. */
  paths: string[]
  close(): Promise<void>
}

/**
 * Starts the server on a free port of 127.0.0.1.
 *
 * @param script The answers in order (the last one is repeated), or a function of the turn's request and number (from 0).
 */
export async function startGeminiApi(
  script: GeminiTurn[] | ((request: GeminiRequest, number: number) => GeminiTurn | Promise<GeminiTurn>),
): Promise<GeminiApi> {
  const requests: GeminiRequest[] = []
  const paths: string[] = []
  let number = 0
  const next = async (request: GeminiRequest): Promise<GeminiTurn> => {
    const at = number++
    if (typeof script === 'function') return await script(request, at)
    return script[Math.min(at, script.length - 1)] ?? { text: 'Done.' }
  }

  const server = createServer(async (request, response) => {
    const path = request.url ?? ''
    paths.push(`${request.method} ${path}`)
    const raw = await readAll(request)
    const m = /\/models\/[^/:]+:(generateContent|streamGenerateContent|countTokens)\b/.exec(path)
    if (request.method !== 'POST' || !m)
      return sendJson(response, 404, {
        error: { code: 404, status: 'NOT_FOUND', message: 'There is no such path here.' },
      })
    if (m[1] === 'countTokens') return sendJson(response, 200, { totalTokens: 100 })
    const body = JSON.parse(raw) as GeminiRequest['body']
    const tools = (body.tools ?? []).flatMap((tool) =>
      tool.functionDeclarations ? tool.functionDeclarations.map(({ name }) => name) : Object.keys(tool),
    )
    const entry: GeminiRequest = { path, headers: request.headers, body, tools, isTurn: tools.length > 0 }
    requests.push(entry)
    const turn = entry.isTurn ? await next(entry) : { text: 'Gateway recovery' }
    if ('hang' in turn) return
    if ('status' in turn) return sendJson(response, turn.status, { error: { code: turn.status, ...turn.error } })
    const answer = answerOf(turn)
    if (m[1] === 'generateContent') return sendJson(response, 200, answer)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(`data: ${JSON.stringify(answer)}\r\n\r\n`)
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

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

function answerOf({ text, tools }: { text?: string; tools?: { name: string; input: Record<string, unknown> }[] }) {
  const parts: Record<string, unknown>[] = text === undefined ? [] : [{ text }]
  for (const { name, input } of tools ?? []) parts.push({ functionCall: { name, args: input } })
  return {
    candidates: [{ index: 0, content: { role: 'model', parts }, finishReason: 'STOP' }],
    usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 10, totalTokenCount: 20 },
    modelVersion: 'stand-in',
  }
}
