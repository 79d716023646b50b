/**
 * On the machine of `npm run bench:felt`: the human's webhook, and a look at the gateway ten times a second.
 * `node felt-witness.ts <folder>` leaves there the webhook's URL and, a line of JSON each, every change and every message.
 */
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isLive } from '../test/faults/scene.ts'
import { startWebhookReceiver } from '../test/support/webhook-receiver.ts'

export interface Sight {
  atMs: number
  isUp?: boolean
  told?: string
}

const folder = process.argv[2]!
const note = (sight: Omit<Sight, 'atMs'>) =>
  appendFileSync(join(folder, 'sights'), `${JSON.stringify({ atMs: Date.now(), ...sight })}\n`)
const receiver = await startWebhookReceiver(() => note({ told: receiver.requests.at(-1)?.text }))
note({ isUp: false })
writeFileSync(join(folder, 'url'), receiver.url)
for (let wasUp = false; ; await delay(100)) {
  const isUp = await isLive(18789, 2000)
  if (isUp !== wasUp) note({ isUp })
  wasUp = isUp
}
