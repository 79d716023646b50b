/**
 * The ntfy channel: one notification to a topic, of ntfy.sh or of a server of one's own.
 * https://docs.ntfy.sh/publish/#publish-as-json
 */
import { type Alert, isUrgent } from './alert.ts'
import { type Answer, type Channel, type Circumstances, judge } from './channel.ts'
import { type PostResult, postPatiently } from './http.ts'
import { headline, plainBody } from './plain.ts'

/** In bytes; a longer message would arrive as an attached file. */
const MAX_MESSAGE_BYTES = 4096

export interface NtfyPayload {
  topic: string
  title: string
  message: string
  priority: number
  tags: string[]
}

/** @param topicUrl e.g. `https://ntfy.sh/my-topic` */
export function ntfyChannel(topicUrl: string, token: string, timeoutSec: number): Channel {
  // A message as JSON goes to the server's root and names its topic: unlike in headers, any text is safe there.
  const url = new URL(topicUrl)
  const segments = url.pathname.split('/').filter(Boolean)
  const topic = decodeURIComponent(segments.pop() ?? '')
  url.pathname = `/${segments.join('/')}`
  url.search = ''
  const headers = {
    'Content-Type': 'application/json',
    ...(token ? { Authorization: `Bearer ${token}` } : {}),
  }
  return {
    name: 'ntfy',
    address: `${topicUrl} ${token}`,
    async send(alert, circumstances, signal) {
      const body = JSON.stringify(ntfyPayload(alert, circumstances, topic))
      return judgeNtfy(await postPatiently(url.href, body, headers, timeoutSec * 1000, signal))
    },
  }
}

function judgeNtfy(result: PostResult): Answer {
  const answer = judge(result)
  if (answer.kind !== 'refused') return answer
  return { kind: 'gone', why: answer.why, todo: 'check NTFY_URL (server and topic) and NTFY_TOKEN' }
}

export function ntfyPayload(alert: Alert, circumstances: Circumstances, topic: string): NtfyPayload {
  let max = MAX_MESSAGE_BYTES
  let message = plainBody(alert, circumstances, max, max / 4)
  // In UTF-8 a unit takes up to three bytes: how many are too many depends on the text.
  for (let bytes = Buffer.byteLength(message); bytes > MAX_MESSAGE_BYTES; bytes = Buffer.byteLength(message)) {
    max = Math.min(max - 100, Math.floor((max * MAX_MESSAGE_BYTES) / bytes))
    message = plainBody(alert, circumstances, max, Math.floor(max / 4))
  }
  return {
    topic,
    title: headline(alert, 120),
    message: message || alert.title,
    priority: isUrgent(alert) ? 5 : 3,
    tags: ['openclaw', alert.kind],
  }
}
