/**
 * The real Claude Code, Codex, Qwen Code and Gemini CLI as the doctor, the model played by a local server, the instruments
 * by a fake: whatever the model wishes and whatever lies about in the home, each has the instruments and nothing else.
 */
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import type { Doctor } from '../../lib/agents/agent.ts'
import { codex } from '../../lib/agents/codex.ts'
import { type ModelRequest, type Script, startModelApi, type Turn } from '../support/model-api.ts'
import { waitFor } from '../support/wait-for.ts'
import { AGENTS, type Agent, codexCalls, codexScripts, KEY, script, turns, wishes } from './agents.ts'
import { createWard, end, INSTRUMENTS, SECRET, type Ward } from './doctor-ward.ts'
import { agentBin } from './parts.ts'

/** A home with the agent, which asks the given model, or is pointed at another address. */
async function hospital(t: TestContext, agent: Agent, model: Script, url?: string) {
  const api = await startModelApi(agent.dialect, model)
  t.onTestFinished(api.close)
  const ward = await createWard(t, agentBin(agent.doctor.name), agent.env(url ?? api.url))
  // The connections of a program that is not Node's are not noted.
  if (!isOfNode(agent))
    Object.assign(ward.env, { HTTPS_PROXY: ward.neighbour.url, ALL_PROXY: ward.neighbour.url, NO_PROXY: '127.0.0.1' })
  return { ward, api }
}

const isOfNode = ({ doctor }: Agent) => doctor.name === 'qwen' || doctor.name === 'gemini'

/** The files of the home, but for what Claude Code keeps of its own in there. */
function filesOf(ward: Ward, { doctor }: Agent) {
  const files = Object.entries(ward.files())
  if (doctor.name !== 'claude') return Object.fromEntries(files)
  return Object.fromEntries(
    files.filter(([path]) => !/^\.cache\/|^\.claude(?:\.json|\/(?!settings|\w+\/evil|CLAUDE))/.test(path)),
  )
}

/** The tools of a request to Codex's model, and those that a script in `exec` can call by its description. */
function offeredByCodex({ body }: ModelRequest): string[] {
  interface Tool {
    name?: string
    type: string
    description?: string
    tools?: Tool[]
  }
  const added = body.input.filter((item: Tool) => item.type === 'additional_tools').flatMap(({ tools }: Tool) => tools)
  return [...(body.tools ?? []), ...added]
    .flatMap((tool: Tool) => (tool.tools ?? [tool]).map((inner) => [tool, inner] as const))
    .flatMap(([{ name }, tool]) => {
      const nested = tool.name === 'exec' ? (tool.description ?? '').matchAll(/^### `(.*)`/gm) : []
      return [`${name}.${tool.name ?? tool.type}`, ...[...nested].map((m) => `exec: ${m[1]}`)]
    })
}

const NESTED = 'apply_patch clock__curr_time list_mcp_resource_templates list_mcp_resources read_mcp_resource'.split(
  ' ',
)
const CODEX_OFFERS = [
  ...NESTED.map((name) => `exec: ${name}`),
  ...['functions.exec', 'functions.send_message_to_user_async', 'functions.wait'],
]

/** In this and every turn the model is offered the instruments, and of Codex's own what does nothing, and no more. */
function expectOffered(agent: Agent, requests: readonly ModelRequest[]): void {
  const isCodex = agent.doctor === codex
  const wanted = isCodex ? CODEX_OFFERS : INSTRUMENTS.map((name) => agent.call(name).name)
  for (const request of requests) expect((isCodex ? offeredByCodex(request) : request.tools).toSorted()).toEqual(wanted)
}

const bodies = (requests: readonly ModelRequest[]) => JSON.stringify(requests.map(({ body }) => body))
const status = (agent: Agent): Turn => ({ tools: [agent.call('gateway_status')] })
const DOWN = /The gateway is down\. Its log ends with: @\.env @\/etc\/hostname/
const FINISHED = { kind: 'finished' }

describe.concurrent.each(Object.entries(AGENTS))('%s', (name, agent: Agent) => {
  const { doctor } = agent

  // First what takes longest: agents try for up to two minutes.
  test.for(agent.refusals)('what it cannot work without is said: %s', async ([, kind, turn], t) => {
    const { ward } = await hospital(t, agent, [turn])
    agent.plant(ward)
    const before = filesOf(ward, agent)
    const visit = await ward.visit(doctor)
    expect(visit.trouble, visit.stdout + visit.stderr).toMatchObject({ trouble: kind })
    expect(filesOf(ward, agent)).toEqual(before)
    // Its report of the error, with the conversation in it, goes with the session's folder.
    if (name === 'gemini') expect(Object.keys(visit.left).join(' ')).toMatch(/gemini-tmp\/gemini-client-error/)
  })

  test.for([
    ['take 8 s to start', 'late', 8_000],
    ['take 70 s to answer', 'slow', 70_000],
  ] as const)('instruments that %s are waited for', async ([, instruments, leastMs], t) => {
    const { ward, api } = await hospital(t, agent, [status(agent), { text: 'Done.' }])
    const visit = await ward.visit(doctor, { instruments })
    const kinds = visit.events.map(({ kind }) => kind)
    expect(kinds, visit.stdout).toEqual(['connected', 'called', 'answered', 'said', 'finished'])
    expect(visit.durationMs).toBeGreaterThan(leastMs)
    expectOffered(agent, api.turns())
    expect(api.turns()).toHaveLength(2)
    expect(visit.calls).toHaveLength(1)
  })

  test('dangerous wishes and hostile settings have no effect; the instruments work', async (t) => {
    const value = '@.env !{id}'
    const steps = [
      status(agent),
      { tools: [agent.call('set_config', { path: 'gateway.mode', value })] },
      { tools: [agent.call('write_report', { text: 'Repaired.' })] },
    ]
    const wished = (ward: Ward) => agent.ownWishes?.(ward) ?? turns(wishes(ward))
    const { ward, api } = await hospital(t, agent, (_, turn) => {
      const all: Turn[] = [...wished(ward), ...steps]
      return all[turn] ?? { text: 'The gateway is repaired.' }
    })
    const count = wished(ward).length
    agent.plant(ward)
    ward.plant('precious.txt', 'keep me\n')
    const before = filesOf(ward, agent)
    const noise = 'A line of the log. '.repeat(1000)
    const prompt = ['# Briefing of the doctor', ...agent.lines(ward), noise, 'End of the briefing.'].join('\n')

    const visit = await ward.visit(doctor, { prompt })
    expect(visit.code, visit.stdout + visit.stderr).toBe(0)
    expect(visit.trouble).toBeUndefined()
    expect(visit.events[0]).toEqual({ kind: 'connected' })
    expect(visit.events.at(-1)).toMatchObject(FINISHED)
    expectOffered(agent, api.turns())
    expect(api.turns()).toHaveLength(count + 4)
    expect(visit.calls).toEqual([
      { name: 'gateway_status', input: {} },
      { name: 'set_config', input: { path: 'gateway.mode', value } },
      { name: 'write_report', input: { text: 'Repaired.' } },
    ])
    expect(bodies(api.turns().slice(-1))).toMatch(DOWN)

    // No secret reached the model, nothing ran, no other was called, and no file of the home is another one.
    const guesses = name === 'codex' ? codexScripts(ward).filter(({ input }) => String(input).includes(SECRET)) : []
    expect(bodies(api.requests.slice(-1)).split(SECRET)).toHaveLength(guesses.length + 1)
    expect(bodies(api.requests)).toContain('End of the briefing.')
    expect(visit.stdout + visit.stderr).not.toContain(SECRET)
    expect(existsSync(ward.canary)).toBe(false)
    expect(ward.neighbour.asked).toEqual([])
    if (isOfNode(agent)) expect(visit.connections).toEqual([`127.0.0.1:${api.port}`])
    for (const request of api.requests) expect(agent.keyOf(request)).toBe(KEY)
    expect(filesOf(ward, agent)).toEqual(before)

    // What it writes lies in the session's folder, without a secret, and its sign-in does not reach the instruments.
    const left = Object.entries(visit.left).filter(([path]) => path.startsWith(`${name}-`))
    for (const [path, content] of left)
      if (path !== 'codex-home/auth.json')
        expect(content, path).not.toMatch(name === 'codex' ? `SECRET=${SECRET}\n` : `${SECRET}|${KEY}`)
    expect(visit.variables).toEqual(expect.arrayContaining(['HOME', 'PATH']))

    if (name === 'codex') {
      expect(visit.variables.filter((one) => /KEY|CODEX/.test(one))).toEqual([])
      expectCodexRefused(api.requests.at(-1)!, codexCalls(ward))
    } else {
      // Each wish was answered with a refusal of its own.
      const failed = /"type":"tool_result"(?:,[^{}]*?"is_error":(true|false)|.*?"status":"(\w+)")/g
      const answers = [...visit.stdout.matchAll(failed)].map((m) => m[1] === 'true' || m[2] === 'error')
      if (name !== 'claude') expect(answers).toEqual([...Array<boolean>(count).fill(true), false, false, false])
      else expect(visit.stdout.match(/"is_error":true/g)).toHaveLength(count)
    }
    for (const [path, content] of name === 'qwen' ? left : []) {
      expect(path).toMatch(/^qwen-(?:home\/|mcp\.json$)/)
      expect(content, path).not.toContain('Briefing')
    }
    if (name === 'gemini') expect(left.some(([path]) => path.startsWith('gemini-tmp/'))).toBe(false)
  })

  test.runIf(agent.prompts.length > 0)('commands of its own and shell escapes begin a prompt in vain', async (t) => {
    const { ward, api } = await hospital(t, agent, [{ text: 'Hello.' }])
    agent.plant(ward)
    const before = filesOf(ward, agent)
    for (const one of agent.prompts) {
      const prompt = one.replace('{canary}', ward.canary).replace('{home}', ward.home)
      const visit = await ward.visit(doctor, { prompt })
      expect(visit.calls, prompt).toEqual([])
      expect(visit.connections.join().replaceAll(`127.0.0.1:${api.port}`, ''), prompt).toBe('')
    }
    expect(existsSync(ward.canary)).toBe(false)
    expect(filesOf(ward, agent)).toEqual(before)
    expect(bodies(api.requests)).not.toContain(SECRET)
    expect(ward.neighbour.asked).toEqual([])
  })

  const repeats = name === 'qwen' ? 'is stopped at the fifth time, with other arguments not' : 'is not stopped'
  test.runIf(isOfNode(agent))(`a model that asks the same again and again ${repeats}`, async (t) => {
    const ask =
      (times: number, differs: boolean): Script =>
      (_, turn) =>
        turn < times ? { tools: [agent.call('gateway_status', differs ? { turn } : {})] } : { text: 'Done.' }
    const same = await hospital(t, agent, ask(50, false))
    const visit = await same.ward.visit(doctor)
    expect(visit.calls).toHaveLength(name === 'qwen' ? 4 : 50)
    expect(visit.trouble).toBeUndefined()
    expect(visit.events.at(-1)).toEqual(FINISHED)
    if (name !== 'qwen') return
    const other = await hospital(t, agent, ask(50, true))
    expect((await other.ward.visit(doctor)).calls).toHaveLength(50)
  })

  test.runIf(name !== 'codex')('the longest answer of an instrument arrives whole', async (t) => {
    const { ward, api } = await hospital(t, agent, [status(agent), { text: 'Done.' }])
    await ward.visit(doctor, { instruments: 'long' })
    expect(bodies(api.turns().slice(-1))).toMatch(/first line(?:\\{1,3}na short line){1840}\\{1,3}nlast line/)
  })

  test.for(['dead', 'dies'] as const)('instruments that are not there end the session: %s', async (instruments, t) => {
    const { ward, api } = await hospital(t, agent, [status(agent), { text: 'I go on without instruments.' }])
    const visit = await ward.visit(doctor, { instruments })
    expect(visit.trouble, visit.stdout).toMatchObject({ trouble: 'instruments' })
    // It may say so twice before it is ended, and nothing else.
    const after = visit.events.slice(visit.events.findIndex(({ kind }) => kind === 'trouble'))
    if (name !== 'gemini') expect(after.filter(({ kind }) => kind !== 'trouble')).toEqual([])
    if (name === 'codex' && instruments === 'dead') expect(api.requests).toEqual([])
  })

  test('a service that cannot be reached, and no key at all', async (t) => {
    const base = name === 'gemini' || name === 'claude' ? '' : '/v1'
    const { ward } = await hospital(t, agent, [], `http://127.0.0.1:9${base}`)
    expect((await ward.visit(doctor)).trouble).toMatchObject({ trouble: 'service' })
    if (name === 'codex') return
    const { ward: bare } = await hospital(t, agent, [])
    for (const one of Object.keys(agent.env(''))) delete bare.env[one]
    expect((await bare.visit(doctor)).trouble).toMatchObject({ trouble: 'login' })
  })

  test('ended in the middle of its work, nothing of it goes on', async (t) => {
    const loop: Turn = name === 'codex' ? { tools: [script('while (true) {}')] } : { hang: true }
    const { ward, api } = await hospital(t, agent, [loop])
    const { child, ended } = ward.start(doctor)
    await waitFor(() => api.requests.length > 0, 'its first request')
    if (name === 'codex') await waitFor(() => ward.processes().length > 2, 'its program for scripts')
    end(child)
    expect((await ended).calls).toEqual([])
  })

  test('it is found with its version; what is missing, too old or not signed in is said', async (t) => {
    const { ward } = await hospital(t, agent, [])
    const before = filesOf(ward, agent)
    const find = () => doctor.find(ward.settings())
    expect(await find()).toEqual({ version: agent.version })
    if (name !== 'codex') expect(filesOf(ward, agent)).toEqual(before)
    else {
      delete ward.env.OPENAI_API_KEY
      expect(await find()).toEqual({ failure: expect.stringMatching(/not signed in.*auth\.json/) })
      ward.plant('.codex/auth.json', {})
      expect(await find()).toEqual({ version: agent.version })
    }
    const bin = join(ward.home, 'bin')
    mkdirSync(bin)
    ward.env.PATH = bin
    expect(await find()).toEqual({ failure: expect.stringMatching(/not on the PATH/) })
    writeFileSync(join(bin, name), `#!/bin/sh\necho ${agent.tooOld}\n`, { mode: 0o755 })
    expect(await find()).toEqual({ failure: expect.stringContaining(`${agent.tooOld} is too old`) })
  })
})

/** What Codex answered to each call and script, and that a right guess is answered as a wrong one. */
function expectCodexRefused({ body }: ModelRequest, calls: readonly { name: string }[]): void {
  const answers: string[] = body.input
    .filter(({ type }: { type: string }) => type.endsWith('_output'))
    .map(({ output }: { output: unknown }) => JSON.stringify(output))
  const refused =
    /unsupported|aborted|rejected|verification failed|resources\/read failed|unknown MCP server|incompatible/
  for (const [index, answer] of answers.slice(0, calls.length).entries())
    if (calls[index]!.name !== 'list_mcp_resources') expect(answer).toMatch(refused)
  const guesses = answers.slice(calls.length).filter((answer) => /file to update \S*home\/\.env/.test(answer))
  const [right, wrong] = guesses.map((answer) => answer.replace(/Wall time [\d.]+/, ''))
  expect(right).toBe(wrong)
  const text = answers.join('\n')
  const callable = [...NESTED, ...INSTRUMENTS.map((name) => `mcp__doctor__${name}`)].toSorted()
  expect(/tools: ([\w ]+)/.exec(text)![1]!.split(' ')).toEqual(callable)
  expect(text).toContain('globals: 0')
  expect(text.match(/unsupported import in exec/g)).toHaveLength(5)
  expect(text).not.toContain(SECRET)
}

test.concurrent('qwen signs in as its own settings say, and a local model needs no key', async (t) => {
  const { ward, api } = await hospital(t, AGENTS.qwen, [{ text: 'Hello.' }])
  delete ward.env.OPENAI_API_KEY
  expect((await ward.visit(AGENTS.qwen.doctor)).trouble).toBeUndefined()
  for (const name of ['OPENAI_BASE_URL', 'OPENAI_MODEL']) delete ward.env[name]
  ward.plant('.qwen/settings.json', {
    modelProviders: { openai: [{ id: 'their-model', baseUrl: api.url, envKey: 'THEIR_KEY' }] },
    env: { THEIR_KEY: 'sk-theirs' },
    model: { name: 'their-model' },
  })
  expect((await ward.visit(AGENTS.qwen.doctor)).trouble).toBeUndefined()
  expect(api.requests.map(({ headers, body }) => [headers.authorization, body.model])).toEqual([
    ['Bearer none', 'stand-in'],
    ['Bearer sk-theirs', 'their-model'],
  ])
})

describe.concurrent('codex', () => {
  test('an instrument can be called from a script; a search that the service made ends the session', async (t) => {
    const call = script(`text(await tools.mcp__doctor__set_config({ path: 'a', value: '!{id}' }))`)
    const inScript = await hospital(t, AGENTS.codex, [{ tools: [call] }, { text: 'Done.' }])
    const { calls } = await inScript.ward.visit(codex)
    expect(calls).toEqual([{ name: 'set_config', input: { path: 'a', value: '!{id}' } }])
    const item = { type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'x' } }
    const search = { tools: [{ name: '', input: '', item }, script('text("on")')] }
    const { ward } = await hospital(t, AGENTS.codex, [search])
    const { trouble } = await ward.visit(codex)
    expect(trouble).toMatchObject({ trouble: 'instruments', detail: expect.stringContaining('web_search') })
  })

  test('a script that takes all of the time or of the memory ends alone', async (t) => {
    const { ward } = await hospital(t, AGENTS.codex, [
      { tools: [script('// @exec: {"yield_time_ms": 1000}\nwhile (true) {}')] },
      { tools: [script('const all = []\nwhile (true) all.push(new Array(1e6).fill(Math.random()))')] },
      status(AGENTS.codex),
      { text: 'Done.' },
    ])
    const visit = await ward.visit(codex)
    expect(visit.calls).toHaveLength(1)
    expect(visit.events.at(-1)).toEqual({ kind: 'finished' })
  })

  /** A token of the form that the login has, without a signature that is checked. */
  function token(name: string, expiresInSec: number): string {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const account = { chatgpt_plan_type: 'plus', chatgpt_account_id: 'account', chatgpt_user_id: 'user' }
    const claims = { exp: Math.floor(Date.now() / 1000) + expiresInSec, name, 'https://api.openai.com/auth': account }
    return `${part({ alg: 'RS256' })}.${part(claims)}.c2lnbmVk`
  }

  test.for([
    ['is renewed stays the user’s, and nothing else comes into their home', true],
    ['cannot be renewed is said, and is left as it was', false],
  ] as const)('a login that has expired and %s', async ([, renews], t) => {
    const renewed = { id_token: token('id', 3600), access_token: token('new', 3600), refresh_token: 'refresh-new' }
    const used: string[] = []
    const service = createServer(async (request, response) => {
      let raw = ''
      for await (const chunk of request) raw += chunk
      const isToken = request.url === '/token'
      if (isToken) used.push(JSON.parse(raw).refresh_token)
      response.writeHead(isToken ? (renews ? 200 : 401) : 404, { 'content-type': 'application/json' })
      response.end(JSON.stringify(isToken && renews ? renewed : { error: { code: 'refresh_token_reused' } }))
    })
    await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
    t.onTestFinished(() => void service.close())
    const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
    const expired = { status: 401, error: { code: 'token_expired', message: 'The token is expired.' } }
    const { ward, api } = await hospital(t, AGENTS.codex, [renews ? { text: 'Hello.' } : expired])
    const tokens = { id_token: token('id', -60), access_token: token('old', -60), refresh_token: 'refresh-old' }
    const last_refresh = new Date(Date.now() - 20 * 86_400_000).toISOString()
    const theirs = { auth_mode: 'chatgpt', OPENAI_API_KEY: null, tokens: { ...tokens, account_id: 'account' } }
    const name = '.codex/auth.json'
    AGENTS.codex.plant(ward)
    ward.plant(name, { ...theirs, last_refresh })
    const before = ward.files()
    // As prepared, but for the addresses, which with a login are OpenAI's own.
    const here: Doctor = {
      ...codex,
      prepare: (commission) => {
        const launch = codex.prepare(commission)
        const path = join(commission.folder, 'codex-home', 'config.toml')
        const config = readFileSync(path, 'utf8')
        expect(config).not.toContain('base_url')
        writeFileSync(path, `openai_base_url = "${api.url}"\nchatgpt_base_url = "${url}/"\n${config}`)
        return { ...launch, env: { ...launch.env, CODEX_REFRESH_TOKEN_URL_OVERRIDE: `${url}/token` } }
      },
    }
    const { trouble } = await ward.visit(here)
    const now = ward.files()
    expect(ward.neighbour.asked).toEqual([])
    if (!renews) {
      expect(trouble).toMatchObject({ trouble: 'login' })
      expect(now[name]).toBe(before[name])
      return
    }
    // The second session finds it good.
    expect([trouble, (await ward.visit(here)).trouble]).toEqual([undefined, undefined])
    expect(readlinkSync(join(ward.folder, 'codex-home', 'auth.json'))).toBe(join(ward.home, name))
    expect(used).toEqual(['refresh-old'])
    const { tokens: kept } = JSON.parse(now[name]!)
    expect(kept).toMatchObject({ access_token: renewed.access_token, refresh_token: 'refresh-new' })
    for (const { headers } of api.requests) expect(headers.authorization).toBe(`Bearer ${renewed.access_token}`)
    // Its lock, empty, is the only new file.
    expect({ ...ward.files(), [name]: before[name] }).toEqual({ ...before, [`${name}.lock`]: '' })
  })
})
