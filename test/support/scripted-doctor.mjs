/**
 * A stand-in for Claude Code as `claude -p`: the prompt from standard input, the stream of 2.1.332 on standard output,
 * and the real MCP server of `--mcp-config`. What it calls comes from a script instead of a model.
 */
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { controlDir, readJson, recordEvent } from './control.mjs'

/** @type {import('./doctor-script.ts').DoctorScript} */
const script = readJson('doctor.json') ?? {}
const { mode } = script

const TROUBLE = {
  login: { error: 'authentication_failed', text: 'Not logged in · Please run /login' },
  quota: { error: 'billing_error', text: 'Credit balance is too low' },
}

if (process.argv.includes('--version')) console.log('2.1.332 (Claude Code)')
else await work()

async function work() {
  recordEvent('doctor started')
  if (mode === 'exits') {
    console.error('Claude Code could not start.')
    process.exit(1)
  }
  const prompt = await text(process.stdin)
  if (mode === 'silent') return forever()
  const server = mode === 'no-instruments' ? undefined : await connect()
  say({ type: 'system', subtype: 'init', mcp_servers: [{ name: 'doctor', status: server ? 'connected' : 'failed' }] })
  recordEvent('doctor was prompted')
  appendFileSync(join(controlDir, 'prompts.jsonl'), `${JSON.stringify(prompt)}\n`)
  const trouble = TROUBLE[mode]
  if (trouble) {
    say({ type: 'assistant', error: trouble.error, message: { content: [{ type: 'text', text: trouble.text }] } })
    say({ type: 'result', subtype: 'success', is_error: true, result: trouble.text })
    process.exit(1)
  }
  if (mode === 'hangs') return forever()
  for (const step of script.steps ?? []) await take(step, server)
  if (script.report) await call(server, 'write_report', script.report)
  say({ type: 'assistant', message: { content: [{ type: 'text', text: 'I am done.' }] } })
  say({ type: 'result', subtype: 'success', is_error: false, result: 'I am done.', total_cost_usd: 0.12 })
  process.exit(0)
}

async function take(step, server) {
  if (step.waitMs) await sleep(step.waitMs)
  while (step.untilFile && !existsSync(join(controlDir, step.untilFile))) await sleep(50)
  if (step.say) say({ type: 'assistant', message: { content: [{ type: 'text', text: step.say }] } })
  if (step.call) await call(server, step.call, step.args ?? {})
}

async function call(server, name, args) {
  const use = { type: 'tool_use', id: 'toolu_0', name: `mcp__doctor__${name}`, input: args }
  say({ type: 'assistant', message: { content: [use] } })
  if (!server) return
  const { content, isError } = (await server('tools/call', { name, arguments: args })).result
  recordEvent(`doctor ${isError ? 'was refused' : 'called'} ${name}: ${content[0].text}`)
  say({ type: 'user', message: { content: [{ type: 'tool_result', tool_use_id: 'toolu_0', content }] } })
}

/** Starts the MCP server as Claude Code does; returns what sends it a request. */
async function connect() {
  const { mcpServers } = JSON.parse(readFileSync(process.argv[process.argv.indexOf('--mcp-config') + 1], 'utf8'))
  const { command, args } = mcpServers.doctor
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting = new Map()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const response = JSON.parse(line)
    waiting.get(response.id)?.(response)
  })
  let id = 0
  const request = (method, params) =>
    new Promise((resolve) => {
      waiting.set(++id, resolve)
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    })
  await request('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'stand-in' } })
  child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`)
  await request('tools/list', {})
  return request
}

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

async function forever() {
  for (;;) await sleep(60_000)
}
