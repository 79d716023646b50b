/**
 * The Discord channel: one message with one embed, through a webhook.
 * https://discord.com/developers/docs/resources/webhook#execute-webhook and …/resources/message#embed-object-embed-limits
 */
import { type Alert, isUrgent } from './alert.ts'
import { type Answer, type Channel, type Circumstances, judge } from './channel.ts'
import { type PostResult, postPatiently } from './http.ts'
import { circumstancesInWords, factsOf, headline } from './plain.ts'
import { clean, cleanLine, codeBlock, codeSpan, cut, defuse, partsThatFit } from './safe-text.ts'

/** Discord's own limits, in characters. `total` is over all texts of the embed. */
const MAX = { content: 2000, title: 256, description: 4096, value: 1024, total: 6000 }
/** What the reasons get at most where everything stands in one text. */
const MAX_WHYS = 1500

const RED = 0xd83c3e
const GREEN = 0x3ba55d
const GREY = 0x747f8d

interface Field {
  name: string
  value: string
}

export interface DiscordPayload {
  content: string
  embeds: {
    title: string
    description?: string
    color: number
    fields: Field[]
    footer: { text: string }
    timestamp?: string
  }[]
  allowed_mentions: { parse: [] }
}

export function discordChannel(webhookUrl: string, timeoutSec: number): Channel {
  const url = new URL(webhookUrl)
  // Without it Discord answers 204 before the message is saved, and does not say when that fails.
  url.searchParams.set('wait', 'true')
  const send = (payload: object, signal: AbortSignal) =>
    postPatiently(url.href, JSON.stringify(payload), { 'Content-Type': 'application/json' }, timeoutSec * 1000, signal)
  return {
    name: 'Discord',
    address: webhookUrl,
    async send(alert, circumstances, signal) {
      const answer = judgeDiscord(await send(discordPayload(alert, circumstances), signal))
      if (answer.kind !== 'refused') return answer
      // Rather a poor message than none.
      return judgeDiscord(await send({ content: bareContent(alert), allowed_mentions: { parse: [] } }, signal))
    },
  }
}

function judgeDiscord(result: PostResult): Answer {
  const answer = judge(result)
  const status = 'status' in result ? result.status : 0
  if (answer.kind !== 'refused' || ![401, 403, 404].includes(status)) return answer
  return {
    kind: 'gone',
    why: answer.why,
    todo: 'the webhook was deleted or its URL is wrong: make a new one (channel settings, Integrations, Webhooks) and put its URL into DISCORD_WEBHOOK_URL',
  }
}

/** The alert as Discord shows it: `content` is what a phone's notification shows, the embed holds the rest. */
export function discordPayload(alert: Alert, circumstances: Circumstances): DiscordPayload {
  const { downSince, verdict, evidence } = factsOf(alert, circumstances.now)
  const facts = escapeMarkdown([verdict, downSince].filter(Boolean).join(' · ')).trim()
  const title = cut(facts || 'OpenClaw self-healing', MAX.title)
  const fields = fieldsOf(alert, evidence)
  const footer = { text: cut(`OpenClaw self-healing on ${defuse(cleanLine(alert.host))}`, 100) }
  const taken = [title, footer.text, ...fields.flatMap(({ name, value }) => [name, value])].join('').length
  const description = descriptionOf(alert, Math.min(MAX.description, MAX.total - taken))
  return {
    content: contentOf(alert, circumstances),
    embeds: [
      {
        title,
        ...(description ? { description } : {}),
        color: isUrgent(alert) ? RED : alert.kind === 'resolved' ? GREEN : GREY,
        fields,
        footer,
        ...(Number.isNaN(Date.parse(alert.writtenAt)) ? {} : { timestamp: new Date(alert.writtenAt).toISOString() }),
      },
    ],
    // `parse: []`: no mention in the content pings anybody.
    allowed_mentions: { parse: [] },
  }
}

function contentOf(alert: Alert, circumstances: Circumstances): string {
  const note = circumstancesInWords(alert, circumstances)
  const whys = isList(alert) ? [] : alert.whys.slice(0, 3)
  const lines = [
    `**${escapeMarkdown(headline(alert, 150))}**`,
    note && `-# ${escapeMarkdown(note)}`,
    escapeMarkdown(alert.lead),
    ...whys.map((why) => codeSpan(why, Math.floor(MAX_WHYS / 2 / whys.length))),
  ]
  return partsThatFit(lines.filter(Boolean), MAX.content)
}

/** What would be torn apart if its beginning stood in the notification. */
function isList({ kind }: Alert): boolean {
  return kind === 'several' || kind === 'digest'
}

function descriptionOf(alert: Alert, max: number): string {
  const rest = isList(alert) ? alert.whys : alert.whys.slice(3)
  const whys = partsThatFit(
    rest.map((why) => codeSpan(why, 250)),
    Math.min(MAX_WHYS, max),
  )
  const room = max - whys.length - 1
  const tail = alert.log ? codeBlock(alert.log.lines, room) : ''
  return [whys, tail].filter(Boolean).join('\n')
}

function fieldsOf(alert: Alert, evidence: string): Field[] {
  const tried = alert.tried.map(({ who, what }) => `${escapeMarkdown(cut(who, 80))}: ${codeSpan(what, 200)}`)
  const fields = [
    { name: 'Seen', value: evidence && codeSpan(evidence, 320) },
    {
      name: 'Do next',
      value: partsThatFit(
        alert.todo.map((step) => `➜ ${defuse(clean(step))}`),
        800,
      ),
    },
    { name: 'What was tried', value: partsThatFit(tried, MAX.value) },
    { name: 'The doctor found', value: alert.finding ? codeSpan(alert.finding, 720) : '' },
    { name: 'Log', value: alert.log ? codeSpan(alert.log.path, 300) : '' },
  ]
  return fields.filter(({ value }) => value.trim() !== '')
}

/** Our own words alone, for the case that something in the text is not accepted. */
function bareContent(alert: Alert): string {
  return cut(`${alert.title.replace(/[^\x20-\x7e]/g, '?')}\n(The full alert was not accepted; see the logs.)`, 500)
}

function escapeMarkdown(text: string): string {
  return defuse(clean(text)).replace(/[\\*_~|`>#[\]()]/g, '\\$&')
}
