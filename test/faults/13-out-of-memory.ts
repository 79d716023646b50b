import { appendFileSync } from 'node:fs'
import { type Fault, killGateway, type Scene } from './fault.ts'

async function runOutOfMemory(scene: Scene): Promise<void> {
  // The second time it is the process that Level 1 started.
  const pid = scene.box.events().findLast(({ what }) => what === 'ready')?.pid ?? scene.pid
  await killGateway({ ...scene, pid })
  appendFileSync(
    scene.box.gatewayLog,
    '\n<--- Last few GCs --->\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n',
  )
}

export default {
  id: '13',
  name: 'out of memory',
  signs: '`Reached heap limit`, SIGABRT',
  produce: runOutOfMemory,
  again: runOutOfMemory,
  verdict: 'absent',
  exits: [0, 0],
  healedBy: 'level 1',
  restarts: 2,
  told: /out of memory for the second time within a day/,
  keeps: ['config'],
} satisfies Fault
