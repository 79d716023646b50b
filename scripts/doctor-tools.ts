#!/usr/bin/env -S npx tsx
/**
 * The doctor's instruments as an MCP server on stdin and stdout, for one session: doctor-tools.ts <context.json>
 * Or, as Markdown for the documentation: doctor-tools.ts --list
 * Exit 0  standard input was closed: the doctor has ended
 *      2  unusable context or settings; the session ends, and the human is called
 */
import { createInterface } from 'node:readline'
import type { Argument, Instrument } from '../lib/doctor/instrument.ts'
import { callInstrument, DESCRIPTIONS, INSTRUMENTS } from '../lib/doctor/instruments.ts'
import { readSessionOf, type Session } from '../lib/doctor/session.ts'
import { exitAsIn, print } from '../lib/tier/by-hand.ts'
import { EXIT, type ExitCode } from '../lib/tier/contract.ts'
import { endRunningCommands } from '../lib/tier/shell.ts'
import { isRecord, tried } from '../lib/tier/state.ts'

const PROTOCOLS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']

await exitAsIn('doctor-tools', main, EXIT.unusable)

async function main(): Promise<ExitCode> {
  const [contextPath = ''] = process.argv.slice(2)
  if (contextPath === '--list') return print(instrumentsTable())
  if (contextPath !== '' && !contextPath.startsWith('-')) return serve(readSessionOf(contextPath))
  process.stderr.write('Usage: doctor-tools.ts <context.json>, which Level 3 writes; or --list\n')
  return contextPath === '--help' ? EXIT.healthy : EXIT.unusable
}

/** Answers one request after the other: two calls at once would undo each other's checks. */
async function serve(session: Session): Promise<never> {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => {
      endRunningCommands()
      process.exit(EXIT.healthy)
    })
  process.stdout.on('error', () => {})
  let isOpen = true
  let last = Promise.resolve()
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === '') continue
    last = last.then(async () => {
      const response = isOpen ? await respond(session, line) : undefined
      if (response) process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...response })}\n`)
    })
  }
  isOpen = false
  endRunningCommands()
  await Promise.race([last, new Promise((resolve) => setTimeout(resolve, 2000))])
  endRunningCommands()
  process.exit(EXIT.healthy)
}

async function respond(session: Session, line: string): Promise<Record<string, unknown> | undefined> {
  const fail = (id: unknown, code: number, message: string) => ({ id, error: { code, message } })
  const message: unknown = tried(() => JSON.parse(line))
  if (message === undefined) return fail(null, -32700, 'this is no JSON')
  if (!isRecord(message) || typeof message.method !== 'string') return fail(null, -32600, 'this is no request')
  const { id, method } = message
  if (id === undefined) return undefined
  const given = isRecord(message.params) ? message.params : {}
  if (method === 'ping') return { id, result: {} }
  if (method === 'initialize') {
    const protocolVersion = PROTOCOLS.find((one) => one === given.protocolVersion) ?? PROTOCOLS.at(-1)
    const serverInfo = { name: 'doctor', version: '2' }
    return { id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo } }
  }
  if (method === 'tools/list') return { id, result: { tools: Object.entries(INSTRUMENTS).map(describe) } }
  if (method !== 'tools/call') return fail(id, -32601, `there is no method ${method}`)
  const { name, arguments: args = {} } = given
  if (!isRecord(args) || typeof name !== 'string')
    return fail(id, -32602, 'name must be a text, and arguments an object')
  const { text, isError } = await callInstrument(session, name, args)
  return { id, result: { content: [{ type: 'text', text }], isError } }
}

function describe([name, { arguments: known, acts }]: [string, Instrument]) {
  const properties = Object.fromEntries(Object.entries(known).map(([key, argument]) => [key, schemaOf(argument)]))
  const required = Object.keys(known).filter((key) => !known[key]!.optional)
  return {
    name,
    description: DESCRIPTIONS[name],
    inputSchema: { type: 'object', properties, required, additionalProperties: false },
    annotations: { readOnlyHint: acts !== true, destructiveHint: acts === true, openWorldHint: false },
  }
}

function schemaOf({ type, description, choices, max = 300 }: Argument) {
  if (type === 'value') return { description, type: ['string', 'number', 'boolean', 'object', 'array', 'null'] }
  return { type, description, ...(type === 'string' ? { maxLength: max } : {}), ...(choices ? { enum: choices } : {}) }
}

function instrumentsTable(): string {
  const rows = Object.entries(INSTRUMENTS).map(([name, { acts, most }]) => {
    const limit = most ? `, at most ${most === 1 ? 'once' : `${most} times`}` : ''
    return `| \`${name}\` | ${acts ? 'acts' : 'reads'}${limit} | ${DESCRIPTIONS[name]} |`
  })
  return ['| instrument | kind | what it does |', '|---|---|---|', ...rows].join('\n')
}
