/** Telegram: https://core.telegram.org/bots/api#sendmessage and …/bots/api#html-style */
import { type Alert, type Channel, type Circumstances, detailsOf, headline, reasonsOf, type Style } from './alert.ts'
import { cleanLine, cutEscaped, defuse, lastLines, partsThatFit } from './safe-text.ts'

const MAX_TEXT = 4096
const ROOM_FOR_LOG = 1200

const escapeHtml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
/** Text from outside stands in `<code>` and `<pre>`, where no mention or link is resolved. */
const STYLE: Style = {
  own: (text) => escapeHtml(defuse(cleanLine(text))).replace(/`([^`]+)`/g, '<code>$1</code>'),
  quote: (text, max) => `<code>${cutEscaped(cleanLine(text) || '-', max, escapeHtml)}</code>`,
  bold: (text) => `<b>${text}</b>`,
}

export function telegramChannel(apiUrl: string, botToken: string, chatId: string): Channel {
  const message = { chat_id: chatId, link_preview_options: { is_disabled: true } }
  const url = `${apiUrl.replace(/\/+$/, '')}/bot${botToken}/sendMessage`
  return {
    name: 'Telegram',
    address: `${url} ${chatId}`,
    url,
    payload: (alert, circumstances) => ({ ...message, text: telegramText(alert, circumstances), parse_mode: 'HTML' }),
    bare: (text) => ({ ...message, text }),
    goneWords: /chat not found|upgraded to a supergroup/i,
    todo: (body) => {
      const moved = /"migrate_to_chat_id"\s*:\s*(-?\d+)/.exec(body)?.[1]
      return moved
        ? `the group was moved: put ${moved} into TELEGRAM_CHAT_ID`
        : 'check TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, and that the bot is still in that chat'
    },
  }
}

export function telegramText(alert: Alert, circumstances: Circumstances): string {
  const parts = [
    `<b>${escapeHtml(headline(alert, 200))}</b>`,
    ...reasonsOf(alert, circumstances, STYLE),
    ...detailsOf(alert, circumstances, STYLE),
  ]
  const text = partsThatFit(parts, alert.log ? MAX_TEXT - ROOM_FOR_LOG : MAX_TEXT)
  const lines = alert.log ? lastLines(alert.log.lines, MAX_TEXT - text.length - '\n<pre></pre>'.length, escapeHtml) : []
  return lines.length > 0 ? `${text}\n<pre>${lines.join('\n')}</pre>` : text
}
