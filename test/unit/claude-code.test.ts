/** What of Claude Code's stream of messages counts: its own words about itself, never what it or a tool talks about. */
import { expect, test } from 'vitest'
import { claude } from '../../lib/agents/claude-code.ts'

const read = (message: unknown) => claude.read(JSON.stringify(message))
const said = (text: string, more: object = {}) =>
  read({ type: 'assistant', message: { content: [{ type: 'text', text }] }, ...more })
const answered = (text: string) =>
  read({ type: 'user', message: { content: [{ type: 'tool_result', content: [{ type: 'text', text }] }] } })

test.each([
  "You've hit your limit · resets 3am\nPlease run /login",
  'API Error: 401 in the log was old; OAuth token has expired. I am done.',
  '429 in pid 14292, limit reached, Credit balance is too low',
  'Not logged in · Please run /login',
])('what an instrument answered or the doctor says about limits and logins is no trouble of its own: %s', (text) => {
  expect(said(text)).toEqual([{ kind: 'said', text }])
  expect(answered(text)).toEqual([{ kind: 'answered', text }])
  expect(read({ type: 'result', subtype: 'success', is_error: false, result: text })).toEqual([{ kind: 'finished' }])
})

test.each([
  ['login', 'authentication_failed', 'Not logged in · Please run /login'],
  ['quota', 'billing_error', 'Credit balance is too low'],
  ['quota', 'rate_limit', "You've hit your limit · resets 3am"],
  ['service', 'overloaded', 'API Error: 529 Overloaded'],
  ['service', 'a_word_of_the_future', 'Something went wrong in pid 14292'],
  ['login', 'a_word_of_the_future', 'API Error: 401 invalid x-api-key'],
])(
  'that it cannot work is trouble with its %s, whether it says so by a word (%s) or in the end',
  (trouble, error, text) => {
    expect(said(text, { error })).toContainEqual({ kind: 'trouble', trouble, detail: text })
    const [end] = read({ type: 'result', subtype: 'success', is_error: true, result: text })
    expect(end).toMatchObject({ kind: 'trouble', detail: text })
  },
)

test('a service that is late is waited for, a key that is refused again and again is not', () => {
  const retry = (attempt: number, error: string) =>
    read({ type: 'system', subtype: 'api_retry', attempt, error, error_status: 500 })
  expect(retry(3, 'overloaded')).toEqual([])
  expect(retry(6, 'overloaded')).toEqual([])
  expect(retry(7, 'overloaded')).toMatchObject([{ kind: 'trouble', trouble: 'service' }])
  expect(retry(3, 'authentication_failed')).toEqual([])
  expect(retry(4, 'authentication_failed')).toMatchObject([{ kind: 'trouble', trouble: 'login' }])
})

test('it is listened to when its instruments are connected, and not when they are not', () => {
  const init = (servers: unknown) => read({ type: 'system', subtype: 'init', mcp_servers: servers })
  expect(init([{ name: 'doctor', status: 'connected' }])).toEqual([{ kind: 'connected' }])
  expect(init([{ name: 'doctor', status: 'pending' }])).toEqual([])
  for (const servers of [
    [{ name: 'doctor', status: 'failed' }],
    [{ name: 'other', status: 'connected' }],
    [],
    undefined,
    'x',
  ])
    expect(init(servers)).toMatchObject([{ kind: 'trouble', trouble: 'instruments' }])
})

test('noise tells nothing', () => {
  for (const line of ['', 'claude: command not found', '{', '[]', '42', 'null', '{"type":"news"}', '{"type":"user"}'])
    expect(claude.read(line)).toEqual([])
  for (const message of [null, 7, { content: 7 }, { content: [7, null, { type: 'thinking' }] }])
    expect(read({ type: 'assistant', message })).toEqual([])
})
