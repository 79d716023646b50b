/**
 * Slack, Telegram, ntfy, a plain webhook and healthchecks.io as one local server, as strict as they are: what they
 * would refuse it refuses, with their documented errors. (Discord is in webhook-receiver.ts.)
 */
import type { IncomingMessage } from 'node:http'
import { listen, parseJson, type Reply } from './webhook-receiver.ts'

export const TELEGRAM_TOKEN = '110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0'
export const TELEGRAM_CHAT = '-1001234567890'
export const NTFY_TOKEN = 'tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2'

type Json = Record<string, unknown>
type Asked = Pick<IncomingMessage, 'method' | 'url' | 'headers'>

const SERVICES = {
  slack: { path: /^\/services\/T0\/B0\/slack-secret$/, judge: judgeSlack },
  telegram: { path: /^\/bot[^/]+\/sendMessage$/, judge: judgeTelegram },
  webhook: { path: /^\/webhook$/, judge: judgeWebhook },
  heartbeat: { path: /^\/ping\/[^/]+(\/fail)?$/, judge: () => ({ status: 200, body: 'OK' }) },
  ntfy: { path: /^\/$/, judge: judgeNtfy },
} satisfies Record<string, { path: RegExp; judge: (json: Json, asked: Asked) => Reply }>
type ServiceName = keyof typeof SERVICES

const serviceAt = (url = '') => (Object.keys(SERVICES) as ServiceName[]).find((name) => SERVICES[name].path.test(url))

export function answerOf(asked: Asked, text: string): Reply {
  const service = serviceAt(asked.url)
  const json = service === 'heartbeat' ? {} : parseJson(asked, text)
  if (!service) return { status: 404 }
  return json ? SERVICES[service].judge(json, asked) : refusal(400, 'no JSON')
}

export async function startAlertServices() {
  const received = (service: ServiceName, { url = '', headers, method }: Asked, text: string, { status }: Reply) => ({
    ...{ service, path: url, headers, text, status, json: parseJson({ method, headers }, text) ?? {} },
  })
  const requests: ReturnType<typeof received>[] = []
  const scripted: { service: ServiceName; reply: Reply }[] = []
  const { origin, close } = await listen((request, text) => {
    const service = serviceAt(request.url)
    const planned = scripted.findIndex((one) => one.service === service)
    const reply = planned < 0 ? answerOf(request, text) : scripted.splice(planned, 1)[0]!.reply
    if (service) requests.push(received(service, request, text, reply))
    return reply
  })
  return {
    requests,
    delivered: (service: ServiceName) => requests.filter((one) => one.service === service && one.status === 200),
    answerNext: (service: ServiceName, ...replies: Reply[]) =>
      void scripted.push(...replies.map((reply) => ({ service, reply }))),
    settings: settingsFor(origin),
    close,
  }
}

export const settingsFor = (origin: string) => ({
  SLACK_WEBHOOK_URL: `${origin}/services/T0/B0/slack-secret`,
  TELEGRAM_BOT_TOKEN: TELEGRAM_TOKEN,
  TELEGRAM_CHAT_ID: TELEGRAM_CHAT,
  TELEGRAM_API_URL: origin,
  NTFY_URL: `${origin}/openclaw-alerts`,
  NTFY_TOKEN,
  ALERT_WEBHOOK_URL: `${origin}/webhook`,
  HEARTBEAT_URL: `${origin}/ping/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278`,
})

/** As Telegram (`description`) and ntfy (`error`) say it. */
function refusal(status: number, why: string): Reply {
  return { status, body: JSON.stringify({ ok: false, description: why, error: why }) }
}

/** https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors: words, not JSON. */
function judgeSlack({ text: notification, blocks = [] }: Json): Reply {
  const isBad = (blocks as { type: string; text: { type: string; text: string } }[]).some(({ type, text }) => {
    const isLong = text.text.length > (type === 'header' ? 150 : 3000)
    // `<` and `&` that are not escaped would be markup.
    const isMarkup = type !== 'header' && /[<>]|&(?!amp;|lt;|gt;)/.test(text.text)
    return isLong || isMarkup || !text.text.trim() || text.type !== (type === 'header' ? 'plain_text' : 'mrkdwn')
  })
  if (!notification || isBad) return { status: 400, body: isBad ? 'invalid_blocks' : 'no_text' }
  return { status: 200, body: 'ok', headers: { 'content-type': 'text/html' } }
}

/** https://core.telegram.org/bots/api#making-requests */
function judgeTelegram(json: Json, { url }: Asked): Reply {
  if (url !== `/bot${TELEGRAM_TOKEN}/sendMessage`) return refusal(401, 'Unauthorized')
  if (json.chat_id !== TELEGRAM_CHAT) return refusal(400, 'Bad Request: chat not found')
  const shown = json.parse_mode === 'HTML' ? readHtml(String(json.text)) : String(json.text)
  if (shown === undefined) return refusal(400, "Bad Request: can't parse entities")
  return isFilled(shown, 4096) ? { status: 200, body: '{"ok":true}' } : refusal(400, 'Bad Request: empty or too long')
}

/** The text without its markup; undefined when Telegram would not understand the markup. */
export function readHtml(html: string): string | undefined {
  const open: string[] = []
  let text = ''
  for (const [part] of html.matchAll(/<[^>]*>?|[^<]+/g)) {
    const tag = /^<(\/?)(b|i|u|s|code|pre)>$/.exec(part)
    if (tag?.[1] === '') open.push(tag[2]!)
    else if (tag ? open.pop() !== tag[2] : /[<>]|&(?!lt;|gt;|amp;|quot;)/.test(part)) return undefined
    if (!tag) text += part
  }
  const shown = text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&')
  return open.length === 0 ? shown : undefined
}

/** https://docs.ntfy.sh/publish/#publish-as-json and …/#limitations */
function judgeNtfy({ topic, priority, message }: Json, { headers }: Asked): Reply {
  if (headers.authorization !== `Bearer ${NTFY_TOKEN}`) return refusal(403, 'forbidden')
  if (!/^[-_A-Za-z0-9]{1,64}$/.test(String(topic))) return refusal(400, 'invalid request: topic invalid')
  if (![1, 2, 3, 4, 5].includes(Number(priority))) return refusal(400, 'invalid request: priority invalid')
  // The real one would take more and deliver a file: nothing to read at night.
  const isText = isFilled(String(message), 4096) && Buffer.byteLength(String(message)) <= 4096
  return isText ? { status: 200, body: '{"event":"message"}' } : refusal(413, 'attachment too large')
}

function judgeWebhook({ text }: Json): Reply {
  return isFilled(String(text), 4000) ? { status: 200, body: '{}' } : refusal(400, 'empty or too long')
}

const isFilled = (text: string, max: number) => text.trim() !== '' && text.length <= max
