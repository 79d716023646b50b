/**
 * The Telegram channel: one message through a bot.
 * https://core.telegram.org/bots/api#sendmessage and …/bots/api#html-style
 */
import type { Alert } from './alert.ts'
import { type Answer, type Channel, type Circumstances, judge } from './channel.ts'
import { type PostResult, postPatiently } from './http.ts'
import { circumstancesInWords, factsOf, headline } from './plain.ts'
import { cleanLine, cut, cutEscaped, defuse, lastLines, partsThatFit } from './safe-text.ts'

/** Telegram counts the text without its markup; counted with it, it fits in any case. */
const MAX_TEXT = 4096
const ROOM_FOR_LOG = 1200

export interface TelegramAddress {
  apiUrl: string
  botToken: string
  chatId: string
}

export interface TelegramPayload {
  chat_id: string
  text: string
  parse_mode?: 'HTML'
  link_preview_options: { is_disabled: true }
}

export function telegramChannel(address: TelegramAddress, timeoutSec: number): Channel {
  const { apiUrl, botToken, chatId } = address
  const url = `${apiUrl.replace(/\/+$/, '')}/bot${botToken}/sendMessage`
  const send = (payload: TelegramPayload, signal: AbortSignal) =>
    postPatiently(url, JSON.stringify(payload), { 'Content-Type': 'application/json' }, timeoutSec * 1000, signal)
  return {
    name: 'Telegram',
    address: `${url} ${chatId}`,
    async send(alert, circumstances, signal) {
      const answer = judgeTelegram(await send(telegramPayload(alert, circumstances, chatId), signal))
      if (answer.kind !== 'refused') return answer
      const text = `${cut(alert.title, 500)}\n(The full alert was not accepted; see the logs.)`
      return judgeTelegram(await send({ chat_id: chatId, text, link_preview_options: { is_disabled: true } }, signal))
    },
  }
}

/** 401: the token is wrong; 403: the bot was blocked or removed; 404: no such bot; `chat not found`: says itself. */
function judgeTelegram(result: PostResult): Answer {
  const answer = judge(result)
  const status = 'status' in result ? result.status : 0
  if (answer.kind !== 'refused') return answer
  const isGone = [401, 403, 404].includes(status) || /chat not found|upgraded to a supergroup/i.test(answer.why)
  if (!isGone) return answer
  const moved = 'body' in result ? /"migrate_to_chat_id"\s*:\s*(-?\d+)/.exec(result.body)?.[1] : undefined
  const todo = moved
    ? `the group was moved: put ${moved} into TELEGRAM_CHAT_ID`
    : 'check TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, and that the bot is still in that chat'
  return { kind: 'gone', why: answer.why, todo }
}

/** The alert as Telegram shows it. Text from outside stands in `<code>` and `<pre>`: no mention or link lives there. */
export function telegramPayload(alert: Alert, circumstances: Circumstances, chatId: string): TelegramPayload {
  const { downSince, verdict, evidence } = factsOf(alert, circumstances.now)
  const own = (text: string) => escapeHtml(defuse(cleanLine(text)))
  const code = (text: string, max: number) => `<code>${cutEscaped(cleanLine(text) || '-', max, escapeHtml)}</code>`
  const facts = [downSince && own(downSince), verdict && `<b>${own(verdict)}</b>`, evidence && code(evidence, 300)]
  const parts = [
    `<b>${own(headline(alert, 200))}</b>`,
    own(circumstancesInWords(alert, circumstances)),
    own(alert.lead),
    ...alert.whys.map((why) => code(why, alert.whys.length > 3 ? 250 : 600)),
    facts.filter(Boolean).join(' · '),
    ...alert.todo.map((step) => `➜ ${inlineCode(own(step))}`),
    ...alert.tried.map(({ who, what }) => `• ${own(who)}: ${code(what, 200)}`),
    alert.finding ? `The doctor found: ${code(alert.finding, 700)}` : '',
    alert.log ? `Log: ${code(alert.log.path, 300)}` : '',
  ]
  const text = partsThatFit(parts.filter(Boolean), alert.log ? MAX_TEXT - ROOM_FOR_LOG : MAX_TEXT)
  const lines = alert.log ? lastLines(alert.log.lines, MAX_TEXT - text.length - '\n<pre></pre>'.length, escapeHtml) : []
  return {
    chat_id: chatId,
    text: lines.length > 0 ? `${text}\n<pre>${lines.join('\n')}</pre>` : text,
    parse_mode: 'HTML',
    link_preview_options: { is_disabled: true },
  }
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** Commands in our own words stand in backticks. */
function inlineCode(html: string): string {
  return html.replace(/`([^`]+)`/g, '<code>$1</code>')
}
