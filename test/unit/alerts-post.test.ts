/** One request as the services, and the networks between, answer it. */
import { expect, onTestFinished, test } from 'vitest'
import { post } from '../../lib/alerts/post.ts'
import { freePort } from '../support/ports.ts'
import { listen, type ScriptedAnswer } from '../support/webhook-receiver.ts'

const WHAT = { body: '{}', headers: {} }
const SHORT_SEC = 2
/** Twenty minutes before 1795000000. */
const OUT_OF_REQUESTS = { 'x-ratelimit-remaining': '0', date: new Date(1_794_998_800_000).toUTCString() }
const PERHAPS = { kind: 'later', arrived: 'perhaps' }

/** A service that gives these answers one after the other; the last one again and again. */
async function service(...answers: ScriptedAnswer[]) {
  const paths: string[] = []
  const { origin, close } = await listen(({ url }) => {
    paths.push(url!)
    return answers[Math.min(paths.length, answers.length) - 1]!
  })
  onTestFinished(close)
  return { url: `${origin}/`, paths }
}

test.each<[said: object, status: number, body?: string, headers?: Record<string, string>]>([
  [{ kind: 'delivered' }, 204],
  [{ kind: 'delivered' }, 200, 'ok', { 'content-type': 'text/html' }],
  // A login page, or a wall in front of the service, does not speak for it.
  [{ kind: 'later', arrived: 'no' }, 200, '<html>log in</html>'],
  [{ kind: 'later', waitSec: 600 }, 403, 'error code: 1015'],
  // A redirect is not followed.
  [{ kind: 'later', arrived: 'no' }, 307, '', { location: '/elsewhere' }],
  [{ kind: 'gone', status: 404, why: 'HTTP 404 (Unknown Webhook)' }, 404, '{"message": "Unknown Webhook"}'],
  [{ kind: 'later', waitSec: 64.57 }, 429, '{"message":"slow","retry_after":64.57}'],
  [{ kind: 'later', waitSec: 20 }, 429, '{"ok":false,"parameters":{"retry_after":20}}'],
  [{ kind: 'later', waitSec: 60 }, 429],
  [{ kind: 'later', waitSec: 65 }, 429, '', { 'retry-after': '65' }],
  [{ kind: 'later', waitSec: 60 }, 429, '', { 'retry-after': 'soon' }],
  [{ kind: 'later', waitSec: 3600 }, 429, '', { 'retry-after': '31536000' }],
  // GitHub's limits, the first by its own clock; without them it is a refusal.
  [{ kind: 'later', waitSec: 1200 }, 403, '', { ...OUT_OF_REQUESTS, 'x-ratelimit-reset': '1795000000' }],
  [{ kind: 'later', waitSec: 3600 }, 429, '', { ...OUT_OF_REQUESTS, 'x-ratelimit-reset': '1895000000' }],
  [{ kind: 'later', waitSec: 60 }, 403, '', { ...OUT_OF_REQUESTS, 'x-ratelimit-reset': 'soon' }],
  [{ kind: 'later', waitSec: 90 }, 403, '', { 'retry-after': '90' }],
  [{ kind: 'later', waitSec: 60 }, 403, '{"message":"You have exceeded a secondary rate limit."}'],
  [{ kind: 'gone', status: 403 }, 403, '{"message":"Resource not accessible by personal access token"}'],
  [{ kind: 'gone', status: 404 }, 404, '', OUT_OF_REQUESTS],
  [{ kind: 'later', arrived: 'no' }, 500],
  [{ kind: 'later', arrived: 'no' }, 502, '<html>Bad Gateway</html>'],
  // The service behind that gateway may have taken it.
  [PERHAPS, 504],
  [PERHAPS, 524],
])('%j is what is made of HTTP %d %s %j', async (said, status, body = '', headers = {}) => {
  const { url, paths } = await service({ status, body, headers })
  // Told to stop, it makes one try.
  expect(await post(url, WHAT, { timeoutSec: 60, signal: AbortSignal.abort() })).toMatchObject(said)
  expect(paths).toEqual(['/'])
})

const slow = (status: number, sec: number) => ({ status, headers: { 'retry-after': String(sec) } })

test.each<[kind: string, tries: number, answers: ScriptedAnswer[]]>([
  ['delivered', 3, [slow(429, 0.05), slow(503, 0.05), { status: 204 }]],
  ['later', 1, [slow(429, 600)]],
  ['later', 3, [slow(500, 0.05)]],
  ['gone', 1, [{ status: 404 }]],
  ['later', 1, [{ status: 504 }]],
  // It may have arrived.
  ['later', 1, ['reset']],
])('what passes soon is waited out within the run: %s after %d tries', async (kind, tries, answers) => {
  const { url, paths } = await service(...answers)
  expect(await post(url, WHAT, { timeoutSec: 60 })).toMatchObject({ kind })
  expect(paths).toHaveLength(tries)
})

test('an address with a user and a password is asked like any other', async () => {
  const { url } = await service({ status: 200 })
  expect(await post(url.replace('//', '//me:pass@'), WHAT, { timeoutSec: 60 })).toMatchObject({ kind: 'delivered' })
})

test('silence costs no more than the time limit; what never left has not arrived', async () => {
  const { url } = await service('hang')
  expect(await post(url, WHAT, { timeoutSec: SHORT_SEC })).toMatchObject(PERHAPS)
  for (const nowhere of [`http://127.0.0.1:${await freePort()}/`, url.replace('http:', 'https:')]) {
    const limits = { timeoutSec: SHORT_SEC, signal: AbortSignal.abort() }
    expect(await post(nowhere, WHAT, limits)).toMatchObject({ kind: 'later', waitSec: 0, arrived: 'no' })
  }
})
