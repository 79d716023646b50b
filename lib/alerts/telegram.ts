/** Telegram: https://core.telegram.org/bots/api#sendmessage and …/bots/api#html-style */
import { type Alert, bodyOf, type Channel, type Circumstances, headline } from './alert.ts'

/** Without the markup. */
const MAX_TEXT = 4096

const escapeHtml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

export function telegramChannel(apiUrl: string, botToken: string, chatId: string): Channel {
  const message = { chat_id: chatId, link_preview_options: { is_disabled: true } }
  const url = `${apiUrl.replace(/\/+$/, '')}/bot${botToken}/sendMessage`
  return {
    name: 'Telegram',
    address: `${url} ${chatId}`,
    url,
    payload: (alert, circumstances) => ({ ...message, text: telegramText(alert, circumstances), parse_mode: 'HTML' }),
    bare: (text) => ({ ...message, text }),
    todo: 'check TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, and that the bot is still in that chat',
  }
}

/** Text from outside stands in `<code>` and `<pre>`, where no mention or link is resolved. */
function telegramText(alert: Alert, circumstances: Circumstances): string {
  const title = headline(alert, 200)
  const body = escapeHtml(bodyOf(alert, circumstances, MAX_TEXT - title.length - 1))
    .replace(/```\n([^`]*)\n```/, '<pre>$1</pre>')
    .replace(/`([^`\n]+)`/g, '<code>$1</code>')
  return `<b>${escapeHtml(title)}</b>\n${body}`
}
