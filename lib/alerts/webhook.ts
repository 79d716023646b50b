/** Any other receiver gets JSON: Mattermost, Rocket.Chat, Google Chat and the like show `text`, programs read the rest. */
import { type Alert, isUrgent } from './alert.ts'
import { type Channel, type Circumstances, headline, plainBody } from './message.ts'

export function webhookChannel(url: string): Channel {
  return { name: 'webhook', address: url, url, payload: webhookPayload, todo: () => 'check ALERT_WEBHOOK_URL' }
}

export function webhookPayload(alert: Alert, circumstances: Circumstances) {
  const { id, mayBeRepetition } = circumstances
  const text = `${headline(alert, 200)}\n${plainBody(alert, circumstances, 3799)}`
  return { version: 1, id, ...alert, urgent: isUrgent(alert), mayBeRepetition, text }
}
