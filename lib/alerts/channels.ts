/** The channels to the human: those whose settings are present, and how a message is sent through one. */
import type { Settings } from '../tier/settings.ts'
import { type Alert, type Channel, type Circumstances, headline, isUrgent, plainBody } from './alert.ts'
import { discordChannel } from './discord.ts'
import { ntfyChannel } from './ntfy.ts'
import { type Answer, type Limits, post } from './post.ts'
import { slackChannel } from './slack.ts'
import { telegramChannel } from './telegram.ts'

export function configuredChannels(settings: Settings): Channel[] {
  const { telegramBotToken: botToken, telegramChatId: chatId } = settings
  return [
    settings.discordWebhookUrl ? discordChannel(settings.discordWebhookUrl) : undefined,
    settings.slackWebhookUrl ? slackChannel(settings.slackWebhookUrl) : undefined,
    // The token alone is OpenClaw's own: its file is shared with us.
    botToken && chatId ? telegramChannel(settings.telegramApiUrl, botToken, chatId) : undefined,
    settings.ntfyUrl ? ntfyChannel(settings.ntfyUrl, settings.ntfyToken) : undefined,
    settings.alertWebhookUrl ? webhookChannel(settings.alertWebhookUrl) : undefined,
  ].filter((channel) => channel !== undefined)
}

export function noChannel(settings: Settings): string {
  const file = settings.envFile ?? `${settings.stateDir}/.env`
  return `no alert channel is configured: set DISCORD_WEBHOOK_URL (or Slack's, Telegram's, ntfy's) in ${file}`
}

export async function send(channel: Channel, alert: Alert, circumstances: Circumstances, limits: Limits) {
  const { url, bare, goneWords, todo } = channel
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': circumstances.id, ...channel.headers }
  const attempt = async (payload: object): Promise<Answer> => {
    const answer = await post(url, { body: JSON.stringify(payload), headers }, limits)
    if (answer.kind !== 'refused') return answer
    const { status, why, body } = answer
    const isGone = [401, 403, 404, 410].includes(status) || !bare || goneWords?.test(body)
    return isGone ? { kind: 'gone', why, todo: todo(body) } : answer
  }
  const answer = await attempt(channel.payload(alert, circumstances))
  const words = `${alert.title.replace(/[^\x20-\x7e]/g, '?').slice(0, 400)}\n(The full alert was not accepted; see the logs.)`
  return answer.kind === 'refused' && bare ? attempt(bare(words)) : answer
}

export const todoOf = (answer: Answer): string => (answer.kind === 'gone' ? `; ${answer.todo}` : '')

function webhookChannel(url: string): Channel {
  return { name: 'webhook', address: url, url, payload: webhookPayload, todo: () => 'check ALERT_WEBHOOK_URL' }
}

/** Mattermost, Rocket.Chat, Google Chat and the like show `text`, programs read the rest. */
export function webhookPayload(alert: Alert, circumstances: Circumstances) {
  const { id, mayBeRepetition } = circumstances
  const text = `${headline(alert, 200)}\n${plainBody(alert, circumstances, 3799)}`
  return { version: 1, id, ...alert, urgent: isUrgent(alert), mayBeRepetition, text }
}
