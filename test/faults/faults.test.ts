/** The failures of the field, one after the other, against the stand-in gateway. */
import { expect, test } from 'vitest'
import { faults } from './library.ts'
import { playAll } from './play.ts'
import { openStandIn } from './stand-in-stage.ts'

test('there is a play for each of the 21 classes', () => {
  const classes = new Set(faults.map(({ id }) => Number.parseInt(id, 10)))
  expect([...classes]).toEqual(Array.from({ length: 21 }, (_, i) => i + 1))
})

playAll('stand-in', async () => ({ open: openStandIn, close: async () => {} }), false, faults)
