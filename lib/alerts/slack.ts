/** Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and …/reference/block-kit/blocks */
import { type Alert, type Channel, type Circumstances, detailsOf, headline, reasonsOf, type Style } from './alert.ts'
import { cleanLine, codeBlock, codeSpan, cut, defuse, inCode, partsThatFit } from './safe-text.ts'

const MAX = { header: 150, section: 3000 }

const escapeSlack = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
const escapeInCode = (text: string) => escapeSlack(inCode(text))
const own = (text: string) => escapeSlack(defuse(cleanLine(text)))
const STYLE: Style = {
  own,
  quote: (text, max) => codeSpan(text, max, escapeInCode),
  bold: (text) => `*${text}*`,
}

export function slackChannel(url: string): Channel {
  return {
    name: 'Slack',
    address: url,
    url,
    payload: slackPayload,
    bare: (text) => ({ text: own(text) }),
    todo: () =>
      'the webhook or its channel is gone: make a new incoming webhook and put its URL into SLACK_WEBHOOK_URL',
  }
}

export function slackPayload(alert: Alert, circumstances: Circumstances) {
  const sections = [
    partsThatFit(reasonsOf(alert, circumstances, STYLE), MAX.section),
    partsThatFit(detailsOf(alert, circumstances, STYLE), MAX.section),
    alert.log ? codeBlock(alert.log.lines, MAX.section, escapeInCode) : '',
  ].filter(Boolean)
  return {
    text: cut(`${own(headline(alert, 150))}${alert.whys[0] ? `: ${own(cut(alert.whys[0], 200))}` : ''}`, 900),
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: headline(alert, MAX.header) } },
      ...sections.map((text) => ({ type: 'section', text: { type: 'mrkdwn', text, verbatim: true } })),
    ],
    unfurl_links: false,
    unfurl_media: false,
  }
}
