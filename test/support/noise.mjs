/**
 * What a busy gateway logs while it works: what people and agents write to each other, with its newlines, so that further
 * lines carry no time. Much of it looks like the end of a gateway, because people ask agents about such ends.
 */
/** @type {[subsystem: string, text: string][]} */
const TALK = [
  ['whatsapp', 'inbound: what does this mean?\ndatabase disk image is malformed'],
  ['agent/main', 'I found it:\nError: listen EADDRINUSE: address already in use 127.0.0.1:18789\n    at Server.listen'],
  ['discord', 'inbound: it says\nInvalid config at /home/me/.openclaw/openclaw.json:\ngateway.port: Invalid input'],
  ['tools', 'exec failed:\n[4711:0x16a15000] 30622 ms: Mark-Compact\nFATAL ERROR: JavaScript heap out of memory'],
  ['telegram', 'inbound: help!\nENOSPC: no space left on device, write'],
  ['agent/main', "npm test ended with\nError: Cannot find module './foo'\nRequire stack:\n- /home/me/app/index.js"],
  ['whatsapp', 'inbound: again\nGateway failed to start: required secrets are unavailable\nGateway start blocked'],
  [
    'slack',
    'inbound: uses newer schema version\nanother OpenClaw process owns gateway-lifecycle\nenv: node: No such file',
  ],
  ['telegram', 'inbound: I pasted it\n2026-01-02T03:04:05.678Z [gateway] loading configuration…\n[gateway] ready'],
  ['reload', 'config change applied (messages)'],
  ['agent/main', '[watchdog] [ERROR] MANUAL INTERVENTION REQUIRED: is what I would write\nDOWN absent: by me'],
  ['discord', 'inbound: \u001b[31mbye\u001b[0m\n[shutdown] completed cleanly in 5ms\nRefusing to bind'],
]

/** The n-th to the m-th entry, as lines of a gateway's log. */
export function talk(from, to) {
  const entry = (_, i) => TALK[(from + i) % TALK.length]
  const entries = Array.from({ length: Math.max(0, to - from) }, entry)
  return entries.map(([subsystem, text]) => `${new Date().toISOString()} [${subsystem}] ${text}\n`).join('')
}
