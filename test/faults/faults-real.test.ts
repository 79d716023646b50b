/**
 * The failures of the field against the real OpenClaw, as a bare process and under the real systemd; at the end the
 * table.
 */
import { afterAll, beforeAll, describe, test } from 'vitest'
import type { RealScene, SystemdScene } from './fault.ts'
import { partsOf } from './library.ts'
import { type Outcome, play } from './play.ts'
import { buildRealStage, type RealStage } from './real-stage.ts'
import { buildSystemdStage, type SystemdStage } from './systemd-stage.ts'
import { tableOf } from './table.ts'

const bare = partsOf<RealScene>('real')
const supervised = partsOf<SystemdScene>('systemd')
const outcomes: Outcome[] = []

afterAll(() => {
  process.stdout.write(`\n${tableOf([...bare, ...supervised], outcomes)}\n`)
})

describe('as a bare process', () => {
  let stage: RealStage
  beforeAll(async () => {
    stage = await buildRealStage()
  })
  afterAll(() => stage?.close())

  for (const part of bare)
    test(part.title, async ({ skip }) => {
      const why = part.cannotBeMade?.()
      if (why) skip(why)
      outcomes.push(await play(part, 'real', await stage.open(part.settings)))
    })
})

describe('under systemd', () => {
  let stage: SystemdStage
  beforeAll(async () => {
    stage = await buildSystemdStage()
  })
  afterAll(() => stage?.close())

  for (const part of supervised)
    test(part.title, async ({ skip }) => {
      const why = part.cannotBeMade?.()
      if (why) skip(why)
      outcomes.push(await play(part, 'systemd', await stage.open(part.settings)))
    })
})
