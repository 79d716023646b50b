/**
 * The Discord channel: one message through a webhook.
 * https://discord.com/developers/docs/resources/webhook#execute-webhook
 */
import type { Alert } from './alert.ts'
import { type Answer, type Channel, type Circumstances, judge } from './channel.ts'
import { type PostResult, postPatiently } from './http.ts'
import { clean, codeBlock, codeSpan, cut, defuse } from './safe-text.ts'
import { clockTime, duration } from './time-words.ts'

/** The most characters that Discord takes as `content`. */
const MAX_CONTENT = 2000
/** What the log's tail gets at least, however much else there is to say. */
const ROOM_FOR_LOG = 400

/** A link in a message is not unfolded: Discord would fetch it, and the text is from outside. */
const SUPPRESS_EMBEDS = 1 << 2

export function discordChannel(webhookUrl: string, timeoutSec: number): Channel {
  const url = new URL(webhookUrl)
  // Without it Discord answers 204 before the message is saved, and does not say when that fails.
  url.searchParams.set('wait', 'true')
  const send = (content: string, signal: AbortSignal) => {
    // `parse: []`: no mention in the content pings anybody.
    const body = JSON.stringify({ content, allowed_mentions: { parse: [] }, flags: SUPPRESS_EMBEDS })
    return postPatiently(url.href, body, { 'Content-Type': 'application/json' }, timeoutSec * 1000, signal)
  }
  return {
    name: 'Discord',
    address: webhookUrl,
    async send(alert, circumstances, signal) {
      const answer = judgeDiscord(await send(discordContent(alert, circumstances), signal))
      if (answer.kind !== 'refused') return answer
      // Rather a poor message than none.
      return judgeDiscord(await send(bareContent(alert), signal))
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

/** The alert as the text of one Discord message, at most 2000 characters. */
export function discordContent(alert: Alert, { now, mayBeRepetition }: Circumstances): string {
  const written = new Date(alert.writtenAt)
  const lateSec = (now.getTime() - written.getTime()) / 1000
  const lines = [`🚨 **${escapeMarkdown(cut(alert.title, 150))}**`]
  if (lateSec > 600) lines.push(`-# From ${clockTime(written, now)}: it could not be sent for ${duration(lateSec)}.`)
  if (mayBeRepetition) lines.push('-# Perhaps a repetition: nobody knows whether the first try arrived.')
  const shown = alert.whys.slice(0, 4)
  for (const why of shown) lines.push(codeSpan(why, Math.floor(500 / shown.length)))
  if (alert.whys.length > shown.length) lines.push(`and ${alert.whys.length - shown.length} more`)
  const facts = [
    alert.downSince && `Down since ${clockTime(new Date(alert.downSince), now)}`,
    alert.verdict && `**${escapeMarkdown(alert.verdict)}**`,
    alert.evidence && codeSpan(alert.evidence, 200),
  ].filter(Boolean)
  if (facts.length > 0) lines.push(facts.join(' · '))
  lines.push(...alert.todo.map((step) => `➜ ${defuse(clean(step))}`))
  for (const { who, what } of alert.tried) lines.push(`• ${escapeMarkdown(who)}: ${codeSpan(what, 120)}`)
  if (alert.log) lines.push(`Log: ${codeSpan(alert.log.path, 150)}`)
  const text = linesThatFit(lines, MAX_CONTENT - ROOM_FOR_LOG)
  const tail = alert.log ? codeBlock(alert.log.lines, MAX_CONTENT - text.length - 1) : ''
  return tail === '' ? text : `${text}\n${tail}`
}

/** Lines in order of importance, until the room is used up: half a line could lose the end of its code span. */
function linesThatFit(lines: string[], max: number): string {
  const fitting: string[] = []
  let length = -1
  for (const line of lines) {
    if (length + line.length + 1 > max) break
    fitting.push(line)
    length += line.length + 1
  }
  return fitting.join('\n')
}

/** Our own words alone, for the case that something in the text is not accepted. */
function bareContent(alert: Alert): string {
  return cut(`🚨 ${alert.title.replace(/[^\x20-\x7e]/g, '?')}\n(The full alert was not accepted; see the logs.)`, 500)
}

function escapeMarkdown(text: string): string {
  return defuse(clean(text)).replace(/[\\*_~|`>#[\]()]/g, '\\$&')
}
