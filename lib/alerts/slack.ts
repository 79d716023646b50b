/** Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and …/reference/block-kit/blocks */
import { type Alert, type Channel, type Circumstances, detailsOf, headline, reasonsOf } from './alert.ts'
import { codeBlock, cut, partsThatFit, safeLine } from './safe-text.ts'

const MAX = { header: 150, section: 3000 }

const escapeSlack = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

export function slackChannel(url: string): Channel {
  return {
    name: 'Slack',
    address: url,
    url,
    payload: slackPayload,
    bare: (text) => ({ text: escapeSlack(safeLine(text, 900)) }),
    todo: 'the webhook or its channel is gone: make a new incoming webhook and put its URL into SLACK_WEBHOOK_URL',
  }
}

function slackPayload(alert: Alert, circumstances: Circumstances) {
  const sections = [
    partsThatFit(reasonsOf(alert, circumstances).map(escapeSlack), MAX.section),
    partsThatFit(detailsOf(alert, circumstances).map(escapeSlack), MAX.section),
    codeBlock(alert.log?.lines ?? [], MAX.section, escapeSlack),
  ].filter(Boolean)
  const notification = [headline(alert, 150), ...alert.whys.slice(0, 1).map((why) => safeLine(why, 200))].join(': ')
  return {
    text: escapeSlack(cut(notification, 400)),
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: headline(alert, MAX.header) } },
      ...sections.map((text) => ({ type: 'section', text: { type: 'mrkdwn', text, verbatim: true } })),
    ],
    unfurl_links: false,
    unfurl_media: false,
  }
}
