/** The failures of the field, one after the other, against the stand-in gateway; at the end the table. */
import { afterAll, expect, test } from 'vitest'
import type { StandInScene } from './fault.ts'
import { faults, partsOf } from './library.ts'
import { type Outcome, play } from './play.ts'
import { openStandIn } from './stand-in-stage.ts'
import { tableOf } from './table.ts'

const parts = partsOf<StandInScene>('stand-in')
const outcomes: Outcome[] = []

afterAll(() => {
  process.stdout.write(`\n${tableOf(parts, outcomes)}\n`)
})

test('there is a file for each of the 21 classes', () => {
  const classes = new Set(faults.map(({ id }) => Number.parseInt(id, 10)))
  expect([...classes]).toEqual(Array.from({ length: 21 }, (_, i) => i + 1))
})

for (const part of parts)
  test(part.title, async ({ skip }) => {
    const why = part.cannotBeMade?.()
    if (why) skip(why)
    outcomes.push(await play(part, 'stand-in', await openStandIn(part.settings)))
  })
