/** The questions that setup asks at a terminal. */
import { SETTINGS } from '../tier/setting-table.ts'
import type { Settings } from '../tier/settings.ts'
import type { Answers } from './plan.ts'

/** Asks for what goes into `.env`; undefined when the person breaks off. */
export async function askAnswers(settings: Settings): Promise<Answers | undefined> {
  const { isCancel, password, text } = await import('@clack/prompts')
  const webhook = await password({
    message: 'Discord webhook URL, where Level 4 calls you (Enter: none)',
    validate: (value) => problemWith('discordWebhookUrl', value ?? '', settings),
  })
  if (isCancel(webhook)) return undefined
  const port = await text({
    message: "The gateway's port",
    initialValue: String(settings.gatewayPort),
    validate: (value) => problemWith('gatewayPort', value ?? '', settings),
  })
  if (isCancel(port)) return undefined
  return {
    webhook: webhook?.trim() || undefined,
    port: port && Number(port) !== settings.gatewayPort ? Number(port) : undefined,
  }
}

/** A yes or no; breaking off counts as no. */
export async function askYesNo(message: string): Promise<boolean> {
  const { confirm, isCancel } = await import('@clack/prompts')
  const answer = await confirm({ message })
  return !isCancel(answer) && answer
}

/** What is wrong with a value, in the words of the settings table; undefined when it can be used. Empty can. */
export function problemWith(
  key: 'discordWebhookUrl' | 'gatewayPort',
  value: string,
  settings: Settings,
): string | undefined {
  const trimmed = value.trim()
  if (trimmed === '') return undefined
  if (/["'`\\$\s]/.test(trimmed)) return 'it holds a blank, a quote, a $ or a backslash'
  const { read, expected } = SETTINGS[key]
  return read(trimmed, settings.home) === undefined ? `expected ${expected}` : undefined
}
