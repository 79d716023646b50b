/** Alive but silent: what the gateway's log, its channels and its credentials say of a gateway that is healthy; told once, never a restart. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type MakeKnown, test } from '../support/boxes.ts'
import { addProfile } from '../support/profiles.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

const DAY_MS = 86_400_000
const stateOf = (box: Sandbox) => join(box.stateDir, 'watchdog', 'silence.json')

/** As if so much time had gone by since Level 2 looked last. */
function letTimePass(box: Sandbox, ms: number): void {
  if (ms === 0 || !existsSync(stateOf(box))) return
  const state = JSON.parse(readFileSync(stateOf(box), 'utf8'))
  for (const when of ['readMs', 'askedMs', 'probedMs']) state[when] -= ms
  for (const channel of state.channels) if (channel.inboundMs) channel.inboundMs -= ms
  writeFileSync(stateOf(box), JSON.stringify(state))
}

/** What a run of Level 2 tells, so long after the one before. */
async function toldAfter(box: Sandbox, ms: number): Promise<string[]> {
  letTimePass(box, ms)
  const run = await box.runScript('gateway-healthcheck')
  expect(run.code, run.stdout).toBe(0)
  return run.stdout.match(/NOTICE .*/g) ?? []
}
const TEN_MIN = 600_000
const HOURS = 3_600_000

/** What OpenClaw 2026.9.6 wrote of its runs against a model server that refused, hung, or answered again (measured). */
const said = {
  retried: (run: string) => [
    `[agent/embedded] embedded run agent end: runId=${run} isError=true model=m1 provider=acme error=LLM request failed: network connection error. rawError=Connection error.`,
    '[agent/embedded] transient same-model retry 1/8 for acme/m1 reason=timeout: delayMs=659',
  ],
  failed: (reason: string, detail: string, suppressed = 0) => [
    `[agent/embedded] embedded run failover decision: runId=r stage=assistant decision=surface_error reason=${reason} attempt=1 retry=0 rotations=0 from=acme/m1 profile=- rawError=${detail}`,
    `[diagnostic] lane task error: lane=main durationMs=417 error="${detail}" errorName=FailoverError`,
    `[diagnostic] lane task error: lane=session:agent:main:main durationMs=421 error="${detail}" errorName=FailoverError`,
    `[model-fallback/decision] model fallback decision: decision=candidate_failed requested=acme/m1 candidate=acme/m1 reason=${reason} next=none detail=${detail}${suppressed ? ` (${suppressed} duplicates suppressed in last 30s)` : ''}`,
  ],
  fellBack: [
    '[diagnostic] lane task error: lane=session:agent:main:f1 durationMs=272 error="Authentication failed" errorName=FailoverError',
    '[model-fallback/decision] model fallback decision: decision=candidate_failed requested=acme/m1 candidate=acme/m1 reason=auth next=back/m2 detail=401 Incorrect API key provided: sk-dummy',
    '[model-fallback/decision] model fallback decision: decision=candidate_succeeded requested=acme/m1 candidate=back/m2 reason=unknown next=none',
  ],
  disabled: [
    '[diagnostic] lane task error: lane=main durationMs=23 error="Inline API key for provider "acme" is temporarily disabled after a provider auth/billing failure. Retry after about 1 minute, or switch to a different auth profile/API key." errorName=Error',
    '[diagnostic] lane task error: lane=session:agent:main:main durationMs=26 error="Inline API key for provider "acme" is temporarily disabled after a provider auth/billing failure. Retry after about 1 minute, or switch to a different auth profile/API key." errorName=Error',
  ],
  stopped: [
    '[diagnostic] lane task error: lane=session:agent:main:main durationMs=26 error="Operation aborted" errorName=AbortError',
  ],
  timedOut: ['[agent/embedded] embedded run timeout: runId=07c98c1c sessionId=cd673e87 timeoutMs=59992'],
  answered: ['[agents/agent-command] [agent] run 38e3df18 ended with stopReason=stop'],
}

/** Writes the lines, which the gateway says so many minutes ago. */
function say(box: Sandbox, minutesAgo: number, lines: readonly string[]): void {
  const at = new Date(Date.now() - minutesAgo * 60_000).toISOString()
  for (const line of lines) appendFileSync(box.gatewayLog, `${at} ${line}\n`)
}

async function wellBox(known: MakeKnown, settings: Record<string, string> = {}) {
  const { box, pid } = await known({ settings })
  expect(await toldAfter(box, 0)).toEqual([])
  return { box, pid, isUntouched: () => box.restarts() === 0 && box.processes().includes(pid) }
}

test('three failed runs are told once, with what was said and what helps, and again only after an answer', async ({
  known,
}) => {
  const { box, isUntouched } = await wellBox(known)
  for (const minutes of [50, 20, 2]) say(box, minutes, said.failed('auth', '401 Incorrect API key provided'))
  const notice = expect.stringMatching(
    /needs attention: .*\b3 runs\b.*acme\/m1, auth: "401 Incorrect API key provided".*`openclaw models auth login --provider acme`.*a restart will not fix this/,
  )
  expect(await toldAfter(box, TEN_MIN)).toEqual([notice])
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  const status = await box.runScript('status', ['--json'])
  expect(JSON.parse(status.stdout).gateway.warnings).toEqual([expect.stringMatching(/\b3 runs\b.*acme/)])
  say(box, 0, said.answered)
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  expect(JSON.parse((await box.runScript('status', ['--json'])).stdout).gateway.warnings).toEqual([])
  for (const _ of [1, 2, 3]) say(box, 0, said.failed('billing', '429 You exceeded your current quota'))
  expect(await toldAfter(box, TEN_MIN)).toEqual([expect.stringMatching(/billing.*top up the account at acme/)])
  expect(isUntouched()).toBe(true)
})

test.for([
  ['a run that timed out, and runs that were not begun', [said.timedOut, said.disabled, said.disabled], /timeout/],
  ['three runs that were not begun', [said.disabled, said.disabled, said.disabled], /disabled.*login --provider acme/],
  ['one decision that stands for three', [said.failed('auth', '401 no', 2)], /\b3 runs\b/],
  ['other reasons', ['rate_limit', 'timeout', 'model_not_found'].map((why) => said.failed(why, 'x')), /models list/],
] as const)('failed as well: %s', async ([, runs, told], { known }) => {
  const { box } = await wellBox(known)
  for (const [i, lines] of runs.entries()) say(box, 9 - i, lines)
  expect(await toldAfter(box, TEN_MIN)).toEqual([expect.stringMatching(told)])
})

test('--dry-run says what it would report, and keeps nothing of it', async ({ known }) => {
  const { box } = await wellBox(known)
  for (const minutes of [50, 20, 2]) say(box, minutes, said.failed('auth', '401 Incorrect API key provided'))
  const before = readFileSync(stateOf(box), 'utf8')
  const run = await box.runScript('gateway-healthcheck', ['--dry-run'])
  expect(run).toMatchObject({ code: 0, stdout: expect.stringMatching(/dry run: .*\b3 runs\b.*acme/) })
  expect(run.stdout).not.toContain('NOTICE')
  expect(readFileSync(stateOf(box), 'utf8')).toBe(before)
  expect(await toldAfter(box, TEN_MIN)).toHaveLength(1)
})

test('--dry-run takes no trouble of a channel for one of hours because it asks twice', async ({ known }) => {
  const { box } = await wellBox(known)
  plan(box, { telegram: { connected: false } })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  const dry = async () => (await box.runScript('gateway-healthcheck', ['--dry-run'])).stdout
  expect(await dry()).not.toContain('telegram')
  letTimePass(box, 3 * HOURS)
  expect(await dry()).toMatch(/dry run: would report: .*telegram/)
  expect(await toldAfter(box, 0)).toHaveLength(1)
  expect(await dry()).not.toMatch(/telegram/)
})

test('its logs that are objects say the same', async ({ known }) => {
  const { box } = await wellBox(known)
  const facts = {
    ...{ event: 'model_fallback_decision', decision: 'candidate_failed', candidateProvider: 'acme' },
    ...{ candidateModel: 'm1', reason: 'overloaded', errorPreview: '529 Overloaded' },
  }
  const time = new Date().toISOString()
  const inConsole = {
    ...facts,
    time,
    level: 'warn',
    subsystem: 'model-fallback/decision',
    message: 'model fallback decision',
  }
  const inFile = {
    0: '{"subsystem":"model-fallback/decision"}',
    1: facts,
    2: 'model fallback decision',
    time,
    message: 'model fallback decision',
  }
  for (const line of [inConsole, inFile, inFile]) appendFileSync(box.gatewayLog, `${JSON.stringify(line)}\n`)
  expect(await toldAfter(box, TEN_MIN)).toEqual([
    expect.stringMatching(/\b3 runs\b.*acme\/m1, overloaded: "529 Overloaded"/),
  ])
})

test('no fault: two failed runs, one with many tries, another model that answers, runs that were stopped, an answer after them, a chat that quotes it', async ({
  known,
}) => {
  const { box } = await wellBox(known)
  for (const minutes of [70, 65, 30, 3]) say(box, minutes, said.failed('timeout', 'Connection error.'))
  for (let i = 0; i < 8; i++) say(box, 2, said.retried('b2c79bff'))
  for (let i = 0; i < 3; i++) say(box, 2, said.stopped)
  say(box, 1, said.fellBack.slice(0, 2))
  const quoted = said.failed('auth', '401 sk')
  for (let i = 0; i < 3; i++) say(box, 1, [`[whatsapp] inbound: ${quoted[3]}`, `[telegram] see\n${quoted[3]}`])
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  for (let i = 0; i < 3; i++) say(box, 0, said.failed('timeout', 'Connection error.'))
  say(box, 0, said.answered)
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  for (let i = 0; i < 3; i++) say(box, 0, said.failed('timeout', 'Connection error.'))
  say(box, 0, said.fellBack)
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
})

test('the thresholds are settings; 0 is never', async ({ known }) => {
  const { box } = await wellBox(known, { SILENT_FAILED_RUNS: '1', SILENT_FAILED_RUNS_MINUTES: '120' })
  say(box, 110, said.failed('auth', '401 no'))
  expect(await toldAfter(box, TEN_MIN)).toEqual([expect.stringMatching(/\b1 run\b.* within 120 min/)])
  const { box: other } = await wellBox(known, { SILENT_FAILED_RUNS: '0' })
  for (let i = 0; i < 9; i++) say(other, 0, said.failed('auth', '401 no'))
  expect(await toldAfter(other, TEN_MIN)).toEqual([])
})

test('refused clients of this machine are noticed once, strangers are not', async ({ known }) => {
  const { box } = await wellBox(known)
  const refuse = (remote: string, times: number, before = '') => {
    const words = `[ws] unauthorized conn=1 peer=x remote=${remote} client=cli cli v1 role=operator auth=token reason=token_mismatch guidance=x`
    say(box, 0, Array(times).fill(before + words))
  }
  refuse('192.0.2.7', 50)
  // A chat may say anything.
  refuse('127.0.0.1', 3, '[whatsapp] inbound: ')
  refuse('127.0.0.1', 2)
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  refuse('::1', 1)
  expect(await toldAfter(box, TEN_MIN)).toEqual([
    expect.stringMatching(/needs attention: .*\b3\b.*cli: token_mismatch/),
  ])
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
})

/** The answers of OpenClaw's commands, with the fields that count here. */
function plan(
  box: Sandbox,
  accounts: Record<string, Record<string, unknown>>,
  auth: Record<string, unknown> = {},
): void {
  const channelAccounts = Object.fromEntries(
    Object.entries(accounts).map(([name, its]) => [
      name,
      [
        {
          accountId: 'default',
          enabled: true,
          configured: true,
          connected: true,
          lastInboundAt: null,
          lastError: null,
          ...its,
        },
      ],
    ]),
  )
  box.planCli({
    'channels status': { stdout: JSON.stringify({ channelAccounts, statusIssues: [] }) },
    'models status': { stdout: JSON.stringify({ auth: { oauth: { providers: [] }, unusableProfiles: [], ...auth } }) },
  })
}

test('a channel that has been without a message for unusually long is told once; one that never had any, or pauses often, is not', async ({
  known,
}) => {
  const { box, isUntouched } = await wellBox(known, { SILENT_CHANNEL_DAYS: '0.5' })
  const began = Date.now()
  let passed = 0
  const lookLater = (ms: number, lastInboundMs: number) => {
    passed += ms
    const lastInboundAt = lastInboundMs - passed
    plan(box, {
      whatsapp: { lastInboundAt },
      irc: {},
      off: { enabled: false, lastInboundAt: 1 },
      telegram: { lastInboundAt: began },
    })
    return toldAfter(box, ms)
  }
  // Telegram has a message at each look.
  for (let i = 0; i < 3; i++) expect(await lookLater(3 * HOURS, began)).toEqual([])
  expect(await lookLater(3 * HOURS, began)).toEqual([
    expect.stringMatching(/channel whatsapp for \d+ h.*`openclaw channels status --probe`/),
  ])
  expect(await lookLater(3 * HOURS, began)).toEqual([])
  // A message comes. The next pause is told when it is twice as long.
  const second = began + passed
  for (let i = 0; i < 9; i++) expect(await lookLater(3 * HOURS, second)).toEqual([])
  expect(await lookLater(3 * HOURS, second)).toEqual([
    expect.stringMatching(/channel whatsapp for .*its longest pause before: \d+ h/),
  ])
  expect(isUntouched()).toBe(true)
})

test('time in which nobody looked is no silence of a channel', async ({ known }) => {
  const { box } = await wellBox(known, { SILENT_CHANNEL_DAYS: '1' })
  const lastInboundAt = Date.now()
  plan(box, { whatsapp: { lastInboundAt } })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  // A machine that was off for a week.
  plan(box, { whatsapp: { lastInboundAt: lastInboundAt - 7 * DAY_MS } })
  expect(await toldAfter(box, 7 * DAY_MS)).toEqual([])
})

test("a channel's trouble is told when it is seen twice, but not what /readyz says", async ({ known }) => {
  const { box } = await wellBox(known)
  plan(box, { whatsapp: { lastError: 'stream errored: 515' }, telegram: { connected: false }, irc: { lastError: 'x' } })
  box.setFaults({ failing: ['irc'] })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  expect(await toldAfter(box, 3 * HOURS)).toEqual([
    expect.stringMatching(/whatsapp.*"stream errored: 515"/),
    expect.stringMatching(/telegram.*not connected/),
  ])
  plan(box, { whatsapp: {}, telegram: {} })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  plan(box, { whatsapp: { lastError: 'stream errored: 515' }, telegram: {} })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
})

const provider = (name: string, ...profiles: Record<string, unknown>[]) => ({
  provider: name,
  effectiveProfiles: profiles.map((one) => ({ provider: name, profileId: `${name}:someone@example.com`, ...one })),
})

test('a token that expires soon and a disabled credential are told, without whose they are; a login that renews itself is not', async ({
  known,
}) => {
  const { box } = await wellBox(known)
  const expiresAt = Date.now() + 2 * DAY_MS
  const later = Date.now() + 30 * DAY_MS
  const providers = [
    provider('anthropic', { type: 'token', status: 'ok', expiresAt }),
    provider('gone', { type: 'token', status: 'expired' }),
    provider('openai', { type: 'oauth', status: 'expired', expiresAt: 1 }),
    provider('static', { type: 'token', status: 'static' }, { type: 'token', status: 'expired' }),
    provider('late', { type: 'token', status: 'ok', expiresAt: later }),
    provider('unused'),
  ]
  const unusableProfiles = [
    { profileId: 'inline-api-key:back', kind: 'disabled', reason: 'billing', recoveryHint: 'Top up credits.' },
    { profileId: 'openai:someone@example.com', kind: 'cooldown', reason: 'rate_limit' },
  ]
  plan(box, {}, { oauth: { providers }, unusableProfiles })
  const told = await toldAfter(box, 3 * HOURS)
  expect(told).toEqual([
    expect.stringMatching(/anthropic expires at \d{4}-.*`openclaw models auth login --provider anthropic`/),
    expect.stringMatching(/gone has expired/),
    expect.stringMatching(/\bback\b.*billing.*Top up credits/),
  ])
  expect(told.join()).not.toContain('someone')
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
})

test('OpenClaw is asked every three hours, and where it gives no answer that is said', async ({ known }) => {
  const { box } = await wellBox(known)
  plan(box, {})
  const asked = () => box.openclawCalls().filter((call) => /status --json$/.test(call)).length
  expect(await toldAfter(box, 2.9 * HOURS)).toEqual([])
  expect(asked()).toBe(0)
  expect(await toldAfter(box, 0.2 * HOURS)).toEqual([])
  expect(asked()).toBe(2)
  box.planCli({ 'channels status': { code: 1, stderr: 'unauthorized\n' }, 'models status': { stdout: 'no JSON' } })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  expect(JSON.parse((await box.runScript('status', ['--json'])).stdout).notes).toContainEqual(
    expect.stringMatching(/not known.*unauthorized/),
  )
  box.env.SILENT_CHANNEL_DAYS = box.env.SILENT_CREDENTIAL_DAYS = '0'
  expect(await toldAfter(box, 30 * HOURS)).toEqual([])
  expect(asked()).toBe(4)
})

test('PROBE_AGENT asks for one word every six hours; no word is a notice', async ({ known }) => {
  const { box, isUntouched } = await wellBox(known, {
    PROBE_AGENT: 'on',
    SILENT_CHANNEL_DAYS: '0',
    SILENT_CREDENTIAL_DAYS: '0',
  })
  const key = 'agent self-healing-probe Reply with the one word OK. 60'
  const probes = () => box.openclawCalls().filter((call) => call.startsWith('agent '))
  const answer = (text: string, isError = false) => ({
    stdout: JSON.stringify({ status: 'ok', result: { payloads: [{ text, isError }] } }),
  })
  box.planCli({ [key]: answer('OK') })
  expect(await toldAfter(box, 5 * HOURS)).toEqual([])
  expect(probes()).toEqual([])
  expect(await toldAfter(box, 1 * HOURS)).toEqual([])
  expect(probes()).toEqual([
    'agent --session-key self-healing-probe --message Reply with the one word OK. --timeout 60 --json',
  ])
  const failure = { ok: false, error: { type: 'cli_error', message: 'LLM request failed: network connection error.' } }
  box.planCli({ [key]: { code: 1, stdout: JSON.stringify(failure) } })
  const notice = expect.stringMatching(/asked for one word.*"LLM request failed: network connection error\."/)
  expect(await toldAfter(box, 6 * HOURS)).toEqual([notice])
  box.planCli({ [key]: answer("⚠️ Agent couldn't generate a response.", true) })
  expect(await toldAfter(box, 6 * HOURS)).toEqual([])
  box.planCli({ [key]: answer('OK') })
  expect(await toldAfter(box, 6 * HOURS)).toEqual([])
  box.planCli({ [key]: answer(' ') })
  expect(await toldAfter(box, 6 * HOURS)).toEqual([expect.stringMatching(/one word/)])
  expect(isUntouched()).toBe(true)
})

test('without PROBE_AGENT no agent is ever asked', async ({ known }) => {
  const { box } = await wellBox(known)
  plan(box, {})
  await toldAfter(box, 60 * HOURS)
  expect(box.openclawCalls().filter((call) => call.startsWith('agent'))).toEqual([])
})

test('a damaged memory of it is kept aside, and nothing is lost', async ({ known }) => {
  const { box } = await wellBox(known)
  writeFileSync(stateOf(box), '{ "readMs": ')
  say(box, 1, said.failed('auth', '401 no', 2))
  expect(await toldAfter(box, 0)).toEqual([expect.stringMatching(/\b3 runs\b/)])
})

test('what a chat says may look like an entry of the log with odd fields: no level is kept from its work', async ({
  known,
}) => {
  const { box, pid, isUntouched } = await wellBox(known)
  const odd = {
    time: new Date().toISOString(),
    event: 'model_fallback_decision',
    decision: { toString: 0, valueOf: 0 },
  }
  appendFileSync(box.gatewayLog, `${JSON.stringify(odd)}\n`)
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  expect(isUntouched()).toBe(true)
  process.kill(pid, 'SIGKILL')
  expect((await box.runScript('gateway-watchdog')).stdout).toMatch(/RECOVERED by level 1/)
})

test('of hostile lines, however long, a notice quotes little, and reading them takes no time', async ({ known }) => {
  const { box } = await wellBox(known)
  const decision = '[x/decision] model fallback decision: decision=candidate_failed '
  const endless = (words: string, length: number) => words.repeat(length / words.length)
  const hostile = [
    `${decision}${endless('candidate=a reason=b next=c detail=( ', 8000)}\u0001`,
    `[ws] unauthorized conn=1${endless(' remote=127.0.0.1 client=a ', 60_000)}`,
    `[diagnostic] lane task error: lane=session:a ${endless('error=" ', 60_000)}`,
  ]
  for (let i = 0; i < 6; i++) say(box, 1, hostile)
  const began = performance.now()
  await toldAfter(box, TEN_MIN)
  expect(performance.now() - began).toBeLessThan(6000)
  const word = 'x'.repeat(500)
  say(box, 0.5, said.answered)
  const many = `(${'9'.repeat(400)} duplicates suppressed in last 30s)`
  for (const detail of [many, word, word, word])
    say(box, 0, [`${decision}candidate=${word} reason=${word} next=none detail=${detail}`])
  const told = (await toldAfter(box, TEN_MIN)).join('\n')
  expect(told).toMatch(/\b4 runs\b/)
  expect(told.length).toBeLessThan(700)
})

test('answers and failures may stand in two logs', async ({ known }) => {
  const { box } = await wellBox(known)
  const errors = join(box.stateDir, 'logs', 'gateway.err.log')
  const write = (path: string, lines: readonly string[], minutesAgo: number) =>
    appendFileSync(
      path,
      lines.map((line) => `${new Date(Date.now() - minutesAgo * 60_000).toISOString()} ${line}\n`).join(''),
    )
  for (const minutes of [40, 30, 20]) {
    write(errors, said.failed('timeout', 'Connection error.'), minutes)
    write(box.gatewayLog, said.answered, minutes - 1)
  }
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  for (const minutes of [3, 2, 1]) write(errors, said.failed('timeout', 'Connection error.'), minutes)
  expect(await toldAfter(box, TEN_MIN)).toEqual([expect.stringMatching(/\b3 runs\b/)])
})

test('what was turned off, or is of another version, is shown no longer', async ({ known }) => {
  const { box } = await wellBox(known, { PROBE_AGENT: 'on' })
  const status = async () => JSON.parse((await box.runScript('status', ['--json'])).stdout)
  box.planCli({
    'channels status': { code: 1, stderr: 'unauthorized\n' },
    'models status': { code: 1 },
    'agent self-healing-probe Reply with the one word OK. 60': { code: 1 },
  })
  expect(await toldAfter(box, 7 * HOURS)).toEqual([expect.stringMatching(/one word/)])
  const state = JSON.parse(readFileSync(stateOf(box), 'utf8'))
  for (const from of ['channels', 'credentials', 'of a future version'])
    state.findings.push({ from, kind: from, text: `it has ${from}` })
  writeFileSync(stateOf(box), JSON.stringify(state))
  expect((await status()).gateway.warnings).toHaveLength(4)
  box.env.SILENT_CHANNEL_DAYS = box.env.SILENT_CREDENTIAL_DAYS = '0'
  box.env.PROBE_AGENT = 'off'
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  const { gateway, notes } = await status()
  expect(gateway.warnings).toEqual([])
  expect(notes.join()).not.toMatch(/not known/)
})

test('what is known of the channels is told also where nothing is known of the credentials', async ({ known }) => {
  const { box } = await wellBox(known)
  const channelAccounts = { whatsapp: [{ accountId: 'default', lastError: 'stream errored: 515' }] }
  box.planCli({ 'channels status': { stdout: JSON.stringify({ channelAccounts }) }, 'models status': { code: 1 } })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  expect(await toldAfter(box, 3 * HOURS)).toEqual([expect.stringMatching(/whatsapp.*515/)])
})

test("OpenClaw's opinion of a channel's config is no trouble", async ({ known }) => {
  const { box } = await wellBox(known)
  const of = { channel: 'whatsapp', accountId: 'default' }
  const open = { ...of, kind: 'config', message: 'dmPolicy is "open", allowing any user to message the bot.' }
  const planned = (...statusIssues: object[]) => {
    const channelAccounts = { whatsapp: [{ accountId: 'default', connected: true, lastError: null }] }
    box.planCli({
      'channels status': { stdout: JSON.stringify({ channelAccounts, statusIssues }) },
      'models status': { stdout: '{"auth":{}}' },
    })
  }
  planned(open)
  for (let i = 0; i < 3; i++) expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  planned(open, { ...of, kind: 'auth', message: 'Not linked.' })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  expect(await toldAfter(box, 3 * HOURS)).toEqual([expect.stringMatching(/whatsapp.*Not linked/)])
})

test('a clock that was ahead makes no channel quiet', async ({ known }) => {
  const { box } = await wellBox(known, { SILENT_CHANNEL_DAYS: '0.2' })
  plan(box, { whatsapp: { lastInboundAt: Date.now() } })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  const state = JSON.parse(readFileSync(stateOf(box), 'utf8'))
  state.channels[0].inboundMs += 400 * DAY_MS
  writeFileSync(stateOf(box), JSON.stringify(state))
  for (let i = 0; i < 3; i++) {
    plan(box, { whatsapp: { lastInboundAt: Date.now() } })
    expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  }
})

test('why a probe had no answer is told, however long the command is', async ({ known }) => {
  const { box } = await wellBox(known, { PROBE_AGENT: 'on' })
  const key = 'agent self-healing-probe Reply with the one word OK. 60'
  box.planCli({
    [key]: { code: 1, stderr: 'gateway closed: pairing required\n' },
    'channels status': { stdout: '{"channelAccounts":{}}' },
    'models status': { stdout: '{"auth":{}}' },
  })
  expect(await toldAfter(box, 6 * HOURS)).toEqual([expect.stringMatching(/none: "[^`]*pairing required/)])
})

test('an answer of OpenClaw with odd fields makes no healthy gateway a failure', async ({ known }) => {
  const { box, isUntouched } = await wellBox(known)
  const accounts = [{ accountId: { toString: 0 } }, { accountId: 'b' }]
  box.planCli({
    'channels status': { stdout: JSON.stringify({ channelAccounts: { irc: accounts } }) },
    'models status': { stdout: '{"auth":{}}' },
  })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([])
  expect(isUntouched()).toBe(true)
})

test('of a profile its own commands are named', async ({ sandbox }) => {
  const box = await sandbox()
  const work = await addProfile(box, 'work')
  await work.startGateway()
  expect((await work.run('gateway-watchdog')).code).toBe(0)
  const lines = said.failed('auth', '401 no', 2).map((line) => `${new Date().toISOString()} ${line}\n`)
  appendFileSync(join(work.stateDir, 'logs', 'gateway.log'), lines.join(''))
  expect((await work.run('gateway-healthcheck')).stdout).toMatch(
    /NOTICE .*`openclaw --profile work models status`.*`openclaw --profile work models auth login --provider acme`/,
  )
})

/** A gateway that dies while Level 2 waits for an answer of its agent. */
async function diesWhileAsked(known: MakeKnown) {
  const settings = { PROBE_AGENT: 'on', SILENT_CHANNEL_DAYS: '0', SILENT_CREDENTIAL_DAYS: '0' }
  const { box, pid } = await wellBox(known, settings)
  box.planCli({ 'agent self-healing-probe Reply with the one word OK. 60': { hangs: true } })
  letTimePass(box, 6 * HOURS)
  const level2 = box.startScript('gateway-healthcheck')
  await waitFor(() => box.openclawCalls().some((call) => call.startsWith('agent ')), 'the probe')
  process.kill(pid, 'SIGKILL')
  return { box, level2 }
}

test('while its agent is asked and gives no answer, Level 1 restarts a gateway that dies', async ({ known }) => {
  const { box, level2 } = await diesWhileAsked(known)
  const level1 = await box.runScript('gateway-watchdog')
  expect(level1.stdout).toMatch(/RECOVERED by level 1/)
  expect(level2.child.exitCode).toBe(null)
  level2.child.kill('SIGTERM')
  await level2.finished
})

test('a gateway that died while its agent was asked is no silent one', async ({ known }) => {
  const { level2 } = await diesWhileAsked(known)
  process.kill(-Number(execFileSync('pgrep', ['-P', `${level2.pid}`])), 'SIGKILL')
  expect((await level2.finished).stdout).not.toContain('NOTICE')
})

test('a key of its config that an error quotes stands in no notice, log or status', async ({ known }) => {
  const { box } = await wellBox(known)
  const apiKey = 'zebra-horse-battery-7781'
  box.writeConfig({ models: { providers: { acme: { apiKey } } } })
  say(box, 1, said.failed('auth', `401 no such key: ${apiKey}`, 2))
  box.planCli({
    'channels status': { code: 1, stderr: `no: ${apiKey}\n` },
    'models status': { code: 1, stderr: `no: ${apiKey}\n` },
  })
  expect(await toldAfter(box, 3 * HOURS)).toEqual([expect.stringMatching(/no such key: \[REDACTED\]/)])
  say(box, 0, said.answered)
  await toldAfter(box, TEN_MIN)
  expect(box.log('healthcheck') + (await box.runScript('status', ['--json'])).stdout).not.toContain(apiKey)
})

test('a client that tries every 25 minutes is told of once', async ({ known }) => {
  const { box } = await wellBox(known)
  const refusedAt = (...minutes: number[]) => {
    writeFileSync(box.gatewayLog, '')
    for (const one of minutes)
      say(box, one, ['[ws] unauthorized conn=1 peer=x remote=::1 client=cli cli v1 auth=token reason=token_mismatch'])
  }
  refusedAt(55, 30, 5)
  expect(await toldAfter(box, TEN_MIN)).toHaveLength(1)
  refusedAt(65, 40, 15)
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
  refusedAt(52, 27, 2)
  expect(await toldAfter(box, TEN_MIN)).toEqual([])
})
