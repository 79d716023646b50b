/**
 * The Slack channel: blocks through an incoming webhook.
 * https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and …/reference/block-kit/blocks
 */
import type { Alert } from './alert.ts'
import { type Answer, type Channel, type Circumstances, judge } from './channel.ts'
import { type PostResult, postPatiently } from './http.ts'
import { circumstancesInWords, factsOf, headline } from './plain.ts'
import { cleanLine, codeBlock, codeSpan, cut, defuse, inCode, partsThatFit } from './safe-text.ts'

/** Slack's limits, in characters as they are sent. */
const MAX = { header: 150, section: 3000 }

interface Block {
  type: 'header' | 'section'
  text: { type: 'plain_text' | 'mrkdwn'; text: string; verbatim?: boolean }
}

export interface SlackPayload {
  text: string
  blocks: Block[]
  unfurl_links: false
  unfurl_media: false
}

export function slackChannel(webhookUrl: string, timeoutSec: number): Channel {
  const send = (payload: object, signal: AbortSignal) =>
    postPatiently(
      webhookUrl,
      JSON.stringify(payload),
      { 'Content-Type': 'application/json' },
      timeoutSec * 1000,
      signal,
    )
  return {
    name: 'Slack',
    address: webhookUrl,
    async send(alert, circumstances, signal) {
      const answer = judgeSlack(await send(slackPayload(alert, circumstances), signal))
      if (answer.kind !== 'refused') return answer
      const bare = `${escapeSlack(cleanLine(alert.title))} (the full alert was not accepted; see the logs)`
      return judgeSlack(await send({ text: cut(bare, 1000) }, signal))
    },
  }
}

/** 403 action_prohibited, 404 channel_not_found or no_service, 410 channel_is_archived: nothing will come through. */
function judgeSlack(result: PostResult): Answer {
  const answer = judge(result)
  const status = 'status' in result ? result.status : 0
  if (answer.kind !== 'refused' || ![401, 403, 404, 410].includes(status)) return answer
  const todo = 'the webhook or its channel is gone: make a new incoming webhook and put its URL into SLACK_WEBHOOK_URL'
  return { kind: 'gone', why: answer.why, todo }
}

/** The alert as Slack shows it. `text` is what notifications show. */
export function slackPayload(alert: Alert, circumstances: Circumstances): SlackPayload {
  const { downSince, verdict, evidence } = factsOf(alert, circumstances.now)
  const own = (text: string) => escapeSlack(defuse(cleanLine(text)))
  const span = (text: string, max: number) => codeSpan(text, max, escapeInCode)
  const whys = partsThatFit(
    [circumstancesInWords(alert, circumstances), alert.lead]
      .filter(Boolean)
      .map(own)
      .concat(alert.whys.map((why) => span(why, 700))),
    MAX.section,
  )
  const facts = [downSince && own(downSince), verdict && `*${own(verdict)}*`, evidence && span(evidence, 400)]
  const parts = [
    facts.filter(Boolean).join(' · '),
    ...alert.todo.map((step) => `➜ ${own(step)}`),
    ...alert.tried.map(({ who, what }) => `• ${own(who)}: ${span(what, 300)}`),
    alert.finding ? `The doctor found: ${span(alert.finding, 800)}` : '',
    alert.log ? `Log: ${span(alert.log.path, 300)}` : '',
  ]
  const details = partsThatFit(parts.filter(Boolean), MAX.section)
  const tail = alert.log ? codeBlock(alert.log.lines, MAX.section, escapeInCode) : ''
  return {
    text: cut(`${own(headline(alert, 150))}${alert.whys[0] ? `: ${own(cut(alert.whys[0], 200))}` : ''}`, 900),
    blocks: [
      // A plain_text is shown as it is; it knows no mentions.
      { type: 'header', text: { type: 'plain_text', text: headline(alert, MAX.header) } },
      ...[whys, details, tail].filter(Boolean).map((text): Block => {
        // `verbatim`: channel names and links in the text stay text.
        return { type: 'section', text: { type: 'mrkdwn', text, verbatim: true } }
      }),
    ],
    unfurl_links: false,
    unfurl_media: false,
  }
}

/** With these three Slack's markup (`<!channel>`, `<@id>`, `<url|text>`) is only text. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function escapeInCode(text: string): string {
  return escapeSlack(inCode(text))
}
