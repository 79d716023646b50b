/** The channels to the human: those whose settings are present, and how a message is sent through one. */
import type { Settings } from '../tier/settings.ts'
import { type Alert, bodyOf, type Channel, type Circumstances, headline, isUrgent } from './alert.ts'
import { discordChannel } from './discord.ts'
import { ntfyChannel } from './ntfy.ts'
import { type Answer, type Limits, post } from './post.ts'
import { slackChannel } from './slack.ts'
import { telegramChannel } from './telegram.ts'

export function configuredChannels(settings: Settings): Channel[] {
  const { telegramBotToken: botToken, telegramChatId: chatId } = settings
  return [
    settings.discordWebhookUrl && discordChannel(settings.discordWebhookUrl),
    settings.slackWebhookUrl && slackChannel(settings.slackWebhookUrl),
    // The token alone is OpenClaw's own: its file is shared with us.
    botToken && chatId && telegramChannel(settings.telegramApiUrl, botToken, chatId),
    settings.ntfyUrl && ntfyChannel(settings.ntfyUrl, settings.ntfyToken),
    settings.alertWebhookUrl && webhookChannel(settings.alertWebhookUrl),
  ].filter((channel) => channel !== '')
}

export function noChannel(settings: Settings): string {
  const file = settings.envFile ?? `${settings.stateDir}/.env`
  return `no alert channel is configured: set DISCORD_WEBHOOK_URL (or Slack's, Telegram's, ntfy's) in ${file}`
}

/** `gone`: neither the message nor plain words are accepted. */
export async function send(channel: Channel, alert: Alert, circumstances: Circumstances, limits: Limits) {
  const { url, bare, todo } = channel
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': circumstances.id, ...channel.headers }
  const attempt = (payload: object) => post(url, { body: JSON.stringify(payload), headers }, limits)
  let answer: Answer = await attempt(channel.payload(alert, circumstances))
  if (answer.kind === 'gone' && bare && ![401, 403, 404, 410].includes(answer.status)) {
    const words = alert.title.replace(/[^\x20-\x7e]/g, '?').slice(0, 400)
    answer = await attempt(bare(`${words}\n(The full alert was not accepted; see the logs.)`))
  }
  return answer.kind === 'gone' ? { ...answer, why: `${answer.why}; ${todo}` } : answer
}

function webhookChannel(url: string): Channel {
  return { name: 'webhook', address: url, url, payload: webhookPayload, todo: 'check ALERT_WEBHOOK_URL' }
}

/** Mattermost, Rocket.Chat, Google Chat and the like show `text`, programs read the rest. */
function webhookPayload(alert: Alert, circumstances: Circumstances) {
  const { id, mayBeRepetition } = circumstances
  const text = `${headline(alert, 200)}\n${bodyOf(alert, circumstances, 3799)}`
  return { version: 1, id, ...alert, urgent: isUrgent(alert), mayBeRepetition, text }
}
