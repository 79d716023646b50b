/** Which channels there are: those whose settings are present. */
import type { Settings } from '../tier/settings.ts'
import type { Channel } from './channel.ts'
import { discordChannel } from './discord.ts'
import { ntfyChannel } from './ntfy.ts'
import { slackChannel } from './slack.ts'
import { telegramChannel } from './telegram.ts'
import { webhookChannel } from './webhook.ts'

export function configuredChannels(settings: Settings): Channel[] {
  const { alertTimeoutSec: timeoutSec, telegramBotToken: botToken, telegramChatId: chatId } = settings
  const apiUrl = settings.telegramApiUrl
  return [
    settings.discordWebhookUrl ? discordChannel(settings.discordWebhookUrl, timeoutSec) : undefined,
    settings.slackWebhookUrl ? slackChannel(settings.slackWebhookUrl, timeoutSec) : undefined,
    // The token alone is OpenClaw's own: its file is shared with us.
    botToken && chatId ? telegramChannel({ apiUrl, botToken, chatId }, timeoutSec) : undefined,
    settings.ntfyUrl ? ntfyChannel(settings.ntfyUrl, settings.ntfyToken, timeoutSec) : undefined,
    settings.alertWebhookUrl ? webhookChannel(settings.alertWebhookUrl, timeoutSec) : undefined,
  ].filter((channel) => channel !== undefined)
}

/** What to do when there is none, for the log. */
export function howToConfigure(settings: Settings): string {
  return `set DISCORD_WEBHOOK_URL (or Slack's, Telegram's, ntfy's) in ${settings.envFile ?? `${settings.stateDir}/.env`}`
}
