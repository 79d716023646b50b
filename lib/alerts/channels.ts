/** The channels to the human: those whose settings are present, and what each is sent. */
import type { Settings } from '../tier/settings.ts'
import {
  type Alert,
  bodyOf,
  type Channel,
  type Circumstances,
  codeBlock,
  codeSpan,
  cut,
  detailsOf,
  escapeHtml,
  factsOf,
  headline,
  isUrgent,
  partsThatFit,
  reasonsOf,
  safeLine,
} from './alert.ts'
import { composeTestAlert } from './compose.ts'
import { githubChannel, githubProblems, isOnGithub } from './github.ts'
import { type Answer, type Limits, post } from './post.ts'

export function configuredChannels(settings: Settings): Channel[] {
  const { telegramBotToken: botToken, telegramChatId: chatId } = settings
  return [
    settings.discordWebhookUrl && discordChannel(settings.discordWebhookUrl),
    settings.slackWebhookUrl && slackChannel(settings.slackWebhookUrl),
    // The token alone is OpenClaw's own: its file is shared with us.
    botToken && chatId && telegramChannel(settings.telegramApiUrl, botToken, chatId),
    settings.ntfyUrl && ntfyChannel(settings.ntfyUrl, settings.ntfyToken),
    settings.alertWebhookUrl && webhookChannel(settings.alertWebhookUrl),
    isOnGithub(settings) && githubChannel(settings),
  ].filter((channel) => typeof channel === 'object')
}

/** On GitHub only what is worth an issue; what was healed, again, goes nowhere else. */
export const isFor = ({ file }: Channel, { kind, issue }: Alert) => (file ? issue !== undefined : kind !== 'recurred')

export function noChannel(settings: Settings): string {
  const file = settings.envFile ?? `${settings.stateDir}/.env`
  return `no alert channel is configured: set DISCORD_WEBHOOK_URL (or Slack's, Telegram's, ntfy's) in ${file}`
}

/** How the services' own addresses and tokens look, each with an example. ALERT_WEBHOOK_URL may be any address. */
const FORMS = {
  DISCORD_WEBHOOK_URL: {
    what: 'Discord webhook',
    pattern: /^https:\/\/(?:(?:canary|ptb)\.)?discord(?:app)?\.com\/api\/(?:v\d+\/)?webhooks\/\d+\/[\w-]+(?:\?\S*)?$/,
    example: 'https://discord.com/api/webhooks/<id>/<token>',
  },
  SLACK_WEBHOOK_URL: {
    what: 'Slack webhook',
    pattern: /^https:\/\/hooks\.slack(?:-gov)?\.com\/services\/\w+\/\w+\/\w+$/,
    example: 'https://hooks.slack.com/services/T…/B…/…',
  },
  TELEGRAM_BOT_TOKEN: {
    what: "Telegram bot's token",
    pattern: /^\d+:[\w-]{30,}$/,
    example: '123456789:AAE… (35 characters after the colon)',
  },
  NTFY_URL: {
    what: "ntfy topic's address",
    pattern: /^https?:\/\/[^/?#]+\/(?:[^?#]+\/)?[\w-]{1,64}\/?$/,
    example: 'https://ntfy.sh/my-topic',
  },
} as const

/** What is wrong with the form of an address or a token, as the end of a sentence; undefined when nothing is. */
export function formProblem(name: keyof typeof FORMS, value: string): string | undefined {
  const { what, pattern, example } = FORMS[name]
  return pattern.test(value) ? undefined : `no ${what}; one looks like ${example}`
}

/** The setting that a webhook's URL is for, by its form. */
export const webhookSetting = (url: string) =>
  (['DISCORD_WEBHOOK_URL', 'SLACK_WEBHOOK_URL'] as const).find((name) => formProblem(name, url) === undefined)

const GITHUB_ALONE =
  'GitHub alone wakes no person, and cannot report a full disk or of its own expired token: set another channel, too'

/** A warning for each channel that is configured: behind another address may be a proxy, or a service that speaks Slack's form. */
export function formProblems(settings: Settings): string[] {
  const values = {
    DISCORD_WEBHOOK_URL: settings.discordWebhookUrl,
    SLACK_WEBHOOK_URL: settings.slackWebhookUrl,
    TELEGRAM_BOT_TOKEN: settings.telegramChatId && settings.telegramBotToken,
    NTFY_URL: settings.ntfyUrl,
  }
  const ofForms = (Object.keys(FORMS) as (keyof typeof FORMS)[]).flatMap((name) => {
    const problem = values[name] && formProblem(name, values[name])
    return problem ? [`${name} is ${problem}`] : []
  })
  const isAlone = isOnGithub(settings) && ![...Object.values(values), settings.alertWebhookUrl].some(Boolean)
  return [...ofForms, ...githubProblems(settings), ...(isAlone ? [GITHUB_ALONE] : [])]
}

/** Sends a test through every channel. Returns what each said to it. */
export async function sendTest(settings: Settings, signal?: AbortSignal) {
  const now = new Date()
  const circumstances = { now, id: `test-${now.getTime()}`, mayBeRepetition: false }
  const limits = { timeoutSec: settings.alertTimeoutSec, signal }
  const answers = configuredChannels(settings).map(async (channel) => {
    if (channel.check) return channel.check(limits)
    const { kind, why } = await send(channel, composeTestAlert(settings, now), circumstances, limits)
    const isTaken = kind === 'delivered'
    return { isTaken, said: `${channel.name} ${isTaken ? 'took' : 'did not take'} the test: ${why}` }
  })
  return Promise.all(answers)
}

/** `gone`: neither the message nor plain words are accepted. */
export async function send(channel: Channel, alert: Alert, circumstances: Circumstances, limits: Limits) {
  const { url, bare, todo } = channel
  if (channel.file) return channel.file(alert, limits)
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': circumstances.id, ...channel.headers }
  const attempt = (payload: object) => post(url, { body: JSON.stringify(payload), headers }, limits)
  let answer: Answer = await attempt(channel.payload(alert, circumstances))
  if (answer.kind === 'gone' && bare && ![401, 403, 404, 410].includes(answer.status)) {
    const words = alert.title.replace(/[^\x20-\x7e]/g, '?').slice(0, 400)
    answer = await attempt(bare(`${words}\n(The full alert was not accepted; see the logs.)`))
  }
  return answer.kind === 'gone' ? { ...answer, why: `${answer.why}; ${todo}` } : answer
}

/** Mattermost, Rocket.Chat, Google Chat and the like show `text`, programs read the rest. */
function webhookChannel(url: string): Channel {
  const payload: Channel['payload'] = ({ issue: _, ...alert }, circumstances) => {
    const { id, mayBeRepetition } = circumstances
    const text = `${headline(alert, 200)}\n${bodyOf(alert, circumstances, 3799)}`
    return { version: 1, id, ...alert, urgent: isUrgent(alert), mayBeRepetition, text }
  }
  return { name: 'webhook', url, payload, todo: 'check ALERT_WEBHOOK_URL' }
}

/** Discord's limits, in characters; `total` is over all texts of the embed.
 * https://discord.com/developers/docs/resources/webhook#execute-webhook and …/message#embed-object-embed-limits */
const DISCORD_MAX = { content: 2000, title: 256, description: 4096, value: 1024, total: 6000 }
const [RED, GREEN, GREY] = [0xd83c3e, 0x3ba55d, 0x747f8d]
const escapeMarkdown = (text: string) => text.replace(/[\\*_~|`>#[\]()]/g, '\\$&')
const NO_MENTIONS = { allowed_mentions: { parse: [] } }

function discordChannel(webhookUrl: string): Channel {
  const url = new URL(webhookUrl)
  // Without it Discord answers 204 before the message is saved, and does not say when that fails.
  url.searchParams.set('wait', 'true')
  return {
    name: 'Discord',
    url: url.href,
    payload: discordPayload,
    bare: (content) => ({ content, ...NO_MENTIONS }),
    todo: 'the webhook was deleted or its URL is wrong: make a new one (channel settings, Integrations, Webhooks) and put its URL into DISCORD_WEBHOOK_URL',
  }
}

/** `content` is what a phone's notification shows, the embed holds the rest. */
function discordPayload(alert: Alert, circumstances: Circumstances) {
  // A list would be torn apart if its beginning stood in the notification.
  const inContent = alert.kind === 'several' || alert.kind === 'digest' ? 0 : 3
  const reasons = reasonsOf(alert, circumstances, alert.whys.slice(0, inContent))
  const title = cut(escapeMarkdown(factsOf(alert, circumstances.now)), DISCORD_MAX.title)
  const fields = fieldsOf(alert)
  const footer = { text: `OpenClaw self-healing on ${safeLine(alert.host, 70)}` }
  const embed = { title: title || 'OpenClaw self-healing', fields, footer }
  const taken = [embed.title, footer.text, ...fields.flatMap(({ name, value }) => [name, value])].join('').length
  const left = Math.min(DISCORD_MAX.description, DISCORD_MAX.total - taken)
  const whys = alert.whys.slice(inContent).map((why) => codeSpan(why, 250))
  const list = partsThatFit(whys, Math.min(1500, left))
  const tail = codeBlock(alert.log?.lines ?? [], left - list.length - 1)
  const description = [list, tail].filter(Boolean).join('\n')
  return {
    content: partsThatFit([`**${escapeMarkdown(headline(alert, 150))}**`, ...reasons], DISCORD_MAX.content),
    embeds: [
      {
        ...embed,
        description: description || undefined,
        color: isUrgent(alert) ? RED : alert.kind === 'resolved' ? GREEN : GREY,
        timestamp: alert.writtenAt || undefined,
      },
    ],
    ...NO_MENTIONS,
  }
}

function fieldsOf({ todo, tried, finding, log }: Alert): { name: string; value: string }[] {
  const steps = todo.map((step) => `➜ ${safeLine(step)}`)
  const levels = tried.map(({ who, what }) => `${escapeMarkdown(safeLine(who, 80))}: ${codeSpan(what, 200)}`)
  return [
    { name: 'What was tried', value: partsThatFit(levels, DISCORD_MAX.value) },
    { name: 'Do next', value: partsThatFit(steps, 800) },
    { name: 'The doctor found', value: finding ? codeSpan(finding, 720) : '' },
    { name: 'Log', value: log ? codeSpan(log.path, 300) : '' },
  ].filter(({ value }) => value.trim() !== '')
}

/** https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and …/reference/block-kit/blocks */
const SLACK_MAX = { header: 150, section: 3000 }

function slackChannel(url: string): Channel {
  return {
    name: 'Slack',
    url,
    payload: slackPayload,
    bare: (text) => ({ text: escapeHtml(safeLine(text, 900)) }),
    todo: 'the webhook or its channel is gone: make a new incoming webhook and put its URL into SLACK_WEBHOOK_URL',
  }
}

function slackPayload(alert: Alert, circumstances: Circumstances) {
  const sections = [
    partsThatFit(reasonsOf(alert, circumstances).map(escapeHtml), SLACK_MAX.section),
    partsThatFit(detailsOf(alert, circumstances).map(escapeHtml), SLACK_MAX.section),
    codeBlock(alert.log?.lines ?? [], SLACK_MAX.section, escapeHtml),
  ].filter(Boolean)
  const [cause = ''] = [alert.evidence, ...alert.whys].filter(Boolean)
  const notification = [headline(alert, 150), safeLine(cause, 200)].filter(Boolean).join(': ')
  return {
    text: escapeHtml(cut(notification, 400)),
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: headline(alert, SLACK_MAX.header) } },
      ...sections.map((text) => ({ type: 'section', text: { type: 'mrkdwn', text, verbatim: true } })),
    ],
    unfurl_links: false,
    unfurl_media: false,
  }
}

/** Without the markup: https://core.telegram.org/bots/api#sendmessage and …/bots/api#html-style */
const TELEGRAM_MAX_TEXT = 4096

function telegramChannel(apiUrl: string, botToken: string, chatId: string): Channel {
  const message = { chat_id: chatId, link_preview_options: { is_disabled: true } }
  return {
    name: 'Telegram',
    url: `${apiUrl.replace(/\/+$/, '')}/bot${botToken}/sendMessage`,
    account: chatId,
    /** Text from outside stands in `<code>` and `<pre>`, where no mention or link is resolved. */
    payload(alert, circumstances) {
      const title = headline(alert, 200)
      const body = escapeHtml(bodyOf(alert, circumstances, TELEGRAM_MAX_TEXT - title.length - 1))
        .replace(/```\n([^`]*)\n```/, '<pre>$1</pre>')
        .replace(/`([^`\n]+)`/g, '<code>$1</code>')
      return { ...message, text: `<b>${escapeHtml(title)}</b>\n${body}`, parse_mode: 'HTML' }
    },
    bare: (text) => ({ ...message, text }),
    todo: 'check TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, and that the bot is still in that chat',
  }
}

/** In bytes; a longer message would arrive as an attached file: https://docs.ntfy.sh/publish/#publish-as-json */
const NTFY_MAX_BYTES = 4096

function ntfyChannel(topicUrl: string, token: string): Channel {
  const url = new URL(topicUrl)
  const segments = url.pathname.split('/').filter(Boolean)
  const topic = decodeURIComponent(segments.pop() ?? '')
  url.pathname = `/${segments.join('/')}`
  url.search = ''
  return {
    name: 'ntfy',
    url: url.href,
    account: `${topic} ${token}`,
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    payload(alert, circumstances) {
      let message = ''
      for (let max = NTFY_MAX_BYTES; message === '' || Buffer.byteLength(message) > NTFY_MAX_BYTES; max -= 100)
        message = bodyOf(alert, circumstances, max) || headline(alert, 120)
      const [priority, tags] = [isUrgent(alert) ? 5 : 3, ['openclaw', alert.kind]]
      return { topic, title: headline(alert, 120), message, priority, tags }
    },
    todo: 'check NTFY_URL (server and topic) and NTFY_TOKEN',
  }
}
