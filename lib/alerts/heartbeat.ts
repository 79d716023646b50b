/**
 * The dead man's switch: a service outside is told that this machine lives, and raises the alarm when it is not.
 * https://healthchecks.io/docs/http_api/
 */
import { post } from './http.ts'

/**
 * Pings the service. `/start` is left out: it measures long jobs, and a run of Level 4 takes seconds.
 * @param failure a sentence when this run could not deliver an alert (sent to `/fail`: that service may reach the
 *   human when we do not); undefined: all is well
 * @param remark what is said with a ping that is no failure, e.g. that everything is paused; may be empty
 * @returns why the ping was not taken; undefined when it was
 */
export async function sendHeartbeat(
  url: string,
  failure: string | undefined,
  remark: string,
  timeoutSec: number,
): Promise<string | undefined> {
  const target = new URL(url)
  if (failure !== undefined) target.pathname = `${target.pathname.replace(/\/+$/, '')}/fail`
  const result = await post(
    target.href,
    failure ?? remark,
    { 'Content-Type': 'text/plain; charset=utf-8' },
    timeoutSec * 1000,
  )
  if ('failure' in result) return result.failure
  return result.status >= 200 && result.status < 300 ? undefined : `HTTP ${result.status}`
}
