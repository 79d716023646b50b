/** What people write to each other stands in the gateway's log, in several lines; then it crashes, for no reason of that kind. */
import { appendFileSync, truncateSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type Fault, killGateway, type StandInScene } from './fault.ts'

const TEXTS = [
  'database disk image is malformed',
  'state database uses newer schema version 44; this OpenClaw build supports 43',
  "Cannot find module './foo'",
  'Invalid config at /home/otto/.openclaw/openclaw.json:\n<root>: Unrecognized key: "x"',
  'ENOSPC: no space left on device, write',
  'listen EADDRINUSE: address already in use 127.0.0.1:18789',
  'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory',
]
/** Without one with which a program could die; the last would decide. */
const ALL = TEXTS.slice(0, -1).reverse()
const message = (text: string) => `inbound: what does this mean?\n${text}\nIt says so since the update.`

const write = ({ box }: StandInScene, text: string) => appendFileSync(box.gatewayLog, `${text}\n`)
const chat = (scene: StandInScene, text: string) =>
  write(scene, `${new Date().toISOString()} [whatsapp] ${message(text)}`)

/** Started as after any crash, and nobody is told of a reason. */
const crash = (id: string, name: string, before: (scene: StandInScene) => unknown): Fault => ({
  ...{ id, name, verdict: 'absent', healedBy: 'level 1' },
  produce: async (scene) => {
    await before(scene)
    await killGateway(scene)
  },
})

export const chatAndCrash: Fault[] = [
  ...TEXTS.map((text, i) => crash(`C${i + 1}`, `chat, crash: ${text.split('\n')[0]}`, (scene) => chat(scene, text))),
  crash('C8', 'chat, then a line without a time, crash', async (scene) => {
    for (const text of TEXTS.slice(0, 3)) chat(scene, text)
    // More than a second later it is no further line of the chat.
    await delay(1500)
    write(scene, '(node:4711) MaxListenersExceededWarning: Possible EventEmitter memory leak detected.')
  }),
  crash('C9', 'chat in a log that was just rotated, crash', (scene) => {
    truncateSync(scene.box.gatewayLog)
    chat(scene, TEXTS[0]!)
  }),
  {
    ...crash('C10', 'chat with all of them, crash', (scene) => ALL.forEach((text) => void chat(scene, text))),
    // As a channel does: through the gateway's own console.
    real: {
      produce: async (scene) => {
        for (const text of ALL) await scene.inGateway(`console.log(${JSON.stringify(`[whatsapp] ${message(text)}`)})`)
        await scene.until(/\ndatabase disk image is malformed\n/)
        await killGateway(scene)
      },
    },
  },
]
