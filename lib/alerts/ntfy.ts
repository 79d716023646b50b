/** ntfy: https://docs.ntfy.sh/publish/#publish-as-json */
import { type Alert, bodyOf, type Channel, type Circumstances, headline, isUrgent } from './alert.ts'

/** In bytes; a longer message would arrive as an attached file. */
const MAX_MESSAGE_BYTES = 4096

export function ntfyChannel(topicUrl: string, token: string): Channel {
  const url = new URL(topicUrl)
  const segments = url.pathname.split('/').filter(Boolean)
  const topic = decodeURIComponent(segments.pop() ?? '')
  url.pathname = `/${segments.join('/')}`
  url.search = ''
  return {
    name: 'ntfy',
    address: `${topicUrl} ${token}`,
    url: url.href,
    headers: token ? { Authorization: `Bearer ${token}` } : {},
    payload: (alert, circumstances) => ({ topic, ...ntfyMessage(alert, circumstances) }),
    todo: 'check NTFY_URL (server and topic) and NTFY_TOKEN',
  }
}

function ntfyMessage(alert: Alert, circumstances: Circumstances) {
  let message = ''
  for (let max = MAX_MESSAGE_BYTES; message === '' || Buffer.byteLength(message) > MAX_MESSAGE_BYTES; max -= 100)
    message = bodyOf(alert, circumstances, max) || headline(alert, 120)
  return { title: headline(alert, 120), message, priority: isUrgent(alert) ? 5 : 3, tags: ['openclaw', alert.kind] }
}
