/** What of Claude Code's stream of messages counts: its own words about itself, never what it or a tool talks about. */
import { expect, test } from 'vitest'
import { claude } from '../../lib/agents/claude-code.ts'

const read = (message: unknown) => claude.read(JSON.stringify(message))
const said = (text: string, more: object = {}) =>
  read({ type: 'assistant', message: { content: [{ type: 'text', text }] }, ...more })
const answered = (text: string) =>
  read({ type: 'user', message: { content: [{ type: 'tool_result', content: [{ type: 'text', text }] }] } })
const retry = (attempt: number, error: string) =>
  read({ type: 'system', subtype: 'api_retry', attempt, error, error_status: 500 })
const init = (servers: unknown) => read({ type: 'system', subtype: 'init', mcp_servers: servers })
const ended = (text: string, is_error: boolean) => read({ type: 'result', subtype: 'success', is_error, result: text })

test.each([
  "You've hit your limit · resets 3am\nPlease run /login",
  'API Error: 401 in the log was old; OAuth token has expired. I am done.',
  '429 in pid 14292, limit reached, Credit balance is too low',
  'Not logged in · Please run /login',
])('what an instrument answered or the doctor says about limits and logins is no trouble of its own: %s', (text) => {
  expect(said(text)).toEqual([{ kind: 'said', text }])
  expect(answered(text)).toEqual([{ kind: 'answered', text }])
  expect(ended(text, false)).toEqual([{ kind: 'finished' }])
})

test.each([
  ['login', 'authentication_failed', 'Not logged in · Please run /login'],
  ['quota', 'billing_error', 'Credit balance is too low'],
  ['quota', 'rate_limit', "You've hit your limit · resets 3am"],
  ['service', 'overloaded', 'API Error: 529 Overloaded'],
  ['service', 'a_word_of_the_future', 'Something went wrong in pid 14292'],
  ['login', 'a_word_of_the_future', 'API Error: 401 invalid x-api-key'],
])('that it cannot work is trouble with its %s: a word (%s), or its end', (trouble, error, text) => {
  expect(said(text, { error })).toContainEqual({ kind: 'trouble', trouble, detail: text })
  expect(ended(text, true)).toEqual([{ kind: 'trouble', trouble, detail: text }])
})

const OURS = { name: 'doctor', status: 'connected' }
test.each<[string, object[], string | undefined]>([
  ['a service that is late is waited for', retry(6, 'overloaded'), undefined],
  ['but not without end', retry(7, 'overloaded'), 'service'],
  ['a key that was refused is tried again', retry(3, 'authentication_failed'), undefined],
  ['but not again and again', retry(4, 'authentication_failed'), 'login'],
  ['instruments that are late are waited for', init([{ ...OURS, status: 'pending' }]), undefined],
  ['instruments that failed', init([{ ...OURS, status: 'failed' }]), 'instruments'],
  ['others', init([{ ...OURS, name: 'other' }]), 'instruments'],
  ['none', init([]), 'instruments'],
  ['no word of them', init(undefined), 'instruments'],
  ['noise in their place', init('x'), 'instruments'],
])('%s', (_, events, trouble) => {
  expect(events).toEqual(trouble ? [expect.objectContaining({ kind: 'trouble', trouble })] : [])
})

test('it is connected when its instruments are; noise tells nothing', () => {
  expect(init([OURS])).toEqual([{ kind: 'connected' }])
  for (const line of ['', 'claude: command not found', '{', '[]', '42', 'null', '{"type":"news"}', '{"type":"user"}'])
    expect(claude.read(line)).toEqual([])
  for (const message of [null, 7, { content: 7 }, { content: [7, null, { type: 'thinking' }] }])
    expect(read({ type: 'assistant', message })).toEqual([])
})
