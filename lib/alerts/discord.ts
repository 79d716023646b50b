/** Discord: https://discord.com/developers/docs/resources/webhook#execute-webhook and …/message#embed-object-embed-limits */
import { type Alert, type Channel, type Circumstances, factsOf, headline, isUrgent, reasonsOf } from './alert.ts'
import { codeBlock, codeSpan, cut, partsThatFit, safeLine } from './safe-text.ts'

/** Discord's limits, in characters; `total` is over all texts of the embed. */
const MAX = { content: 2000, title: 256, description: 4096, value: 1024, total: 6000 }
const [RED, GREEN, GREY] = [0xd83c3e, 0x3ba55d, 0x747f8d]
const escapeMarkdown = (text: string) => text.replace(/[\\*_~|`>#[\]()]/g, '\\$&')
const NO_MENTIONS = { allowed_mentions: { parse: [] } }

export function discordChannel(webhookUrl: string): Channel {
  const url = new URL(webhookUrl)
  // Without it Discord answers 204 before the message is saved, and does not say when that fails.
  url.searchParams.set('wait', 'true')
  return {
    name: 'Discord',
    address: webhookUrl,
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
  const title = cut(escapeMarkdown(factsOf(alert, circumstances.now)), MAX.title)
  const fields = fieldsOf(alert)
  const footer = { text: `OpenClaw self-healing on ${safeLine(alert.host, 70)}` }
  const embed = { title: title || 'OpenClaw self-healing', fields, footer }
  const taken = [embed.title, footer.text, ...fields.flatMap(({ name, value }) => [name, value])].join('').length
  const room = Math.min(MAX.description, MAX.total - taken)
  const whys = alert.whys.slice(inContent).map((why) => codeSpan(why, 250))
  const list = partsThatFit(whys, Math.min(1500, room))
  const tail = codeBlock(alert.log?.lines ?? [], room - list.length - 1)
  const description = [list, tail].filter(Boolean).join('\n')
  const writtenMs = Date.parse(alert.writtenAt)
  return {
    content: partsThatFit([`**${escapeMarkdown(headline(alert, 150))}**`, ...reasons], MAX.content),
    embeds: [
      {
        ...embed,
        ...(description ? { description } : {}),
        color: isUrgent(alert) ? RED : alert.kind === 'resolved' ? GREEN : GREY,
        ...(Number.isNaN(writtenMs) ? {} : { timestamp: new Date(writtenMs).toISOString() }),
      },
    ],
    ...NO_MENTIONS,
  }
}

function fieldsOf({ evidence, todo, tried, finding, log }: Alert): { name: string; value: string }[] {
  const steps = todo.map((step) => `➜ ${safeLine(step)}`)
  const levels = tried.map(({ who, what }) => `${escapeMarkdown(safeLine(who, 80))}: ${codeSpan(what, 200)}`)
  return [
    { name: 'Seen', value: evidence ? codeSpan(evidence, 320) : '' },
    { name: 'Do next', value: partsThatFit(steps, 800) },
    { name: 'What was tried', value: partsThatFit(levels, MAX.value) },
    { name: 'The doctor found', value: finding ? codeSpan(finding, 720) : '' },
    { name: 'Log', value: log ? codeSpan(log.path, 300) : '' },
  ].filter(({ value }) => value.trim() !== '')
}
