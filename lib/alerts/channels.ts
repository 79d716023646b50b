/** Which channels there are: those whose settings are present. */
import type { Settings } from '../tier/settings.ts'
import type { Channel } from './channel.ts'
import { discordChannel } from './discord.ts'

export function configuredChannels(settings: Settings): Channel[] {
  return settings.discordWebhookUrl ? [discordChannel(settings.discordWebhookUrl, settings.alertTimeoutSec)] : []
}

/** What to do when there is none, for the log. */
export function howToConfigure(settings: Settings): string {
  return `set DISCORD_WEBHOOK_URL in ${settings.envFile ?? `${settings.stateDir}/.env`}`
}
