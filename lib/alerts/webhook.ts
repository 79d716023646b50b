/**
 * The channel for everything else: the alert as JSON, to a URL. Mattermost, Rocket.Chat, Google Chat and the like show
 * its `text`; programs read the rest. `Idempotency-Key` is the same for every try of one alert.
 */
import { type Alert, isUrgent } from './alert.ts'
import { type Answer, type Channel, type Circumstances, judge } from './channel.ts'
import { type PostResult, postPatiently } from './http.ts'
import { headline, plainBody } from './plain.ts'

const MAX_TEXT = 4000

export interface WebhookPayload extends Alert {
  /** Goes up when a field changes its meaning or goes away. */
  version: 1
  id: string
  urgent: boolean
  mayBeRepetition: boolean
  text: string
}

export function webhookChannel(url: string, timeoutSec: number): Channel {
  return {
    name: 'webhook',
    address: url,
    async send(alert, circumstances, signal) {
      const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': circumstances.id }
      const body = JSON.stringify(webhookPayload(alert, circumstances))
      return judgeWebhook(await postPatiently(url, body, headers, timeoutSec * 1000, signal))
    },
  }
}

function judgeWebhook(result: PostResult): Answer {
  const answer = judge(result)
  return answer.kind === 'refused' ? { kind: 'gone', why: answer.why, todo: 'check ALERT_WEBHOOK_URL' } : answer
}

export function webhookPayload(alert: Alert, circumstances: Circumstances): WebhookPayload {
  return {
    version: 1,
    id: circumstances.id,
    ...alert,
    urgent: isUrgent(alert),
    mayBeRepetition: circumstances.mayBeRepetition,
    text: `${headline(alert, 200)}\n${plainBody(alert, circumstances, MAX_TEXT - 201, 1000)}`,
  }
}
