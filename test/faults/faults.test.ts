/** The failures of the field, one after the other, against the stand-in gateway; at the end the table. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { Fault } from './fault.ts'
import { type Outcome, play } from './play.ts'
import { tableOf } from './table.ts'

const names = readdirSync(import.meta.dirname).filter((name) => /^\d\d-.*\.ts$/.test(name))
const modules = await Promise.all(names.map((name) => import(join(import.meta.dirname, name))))
const faults = modules.flatMap(({ default: one }) => one as Fault | Fault[])
const outcomes: Outcome[] = []

afterAll(() => {
  process.stdout.write(`\n${tableOf(faults, outcomes)}\n`)
})

test('there is a file for each of the 21 classes', () => {
  const classes = new Set(faults.map(({ id }) => Number.parseInt(id, 10)))
  expect([...classes]).toEqual(Array.from({ length: 21 }, (_, i) => i + 1))
})

test.each(faults)('$id $name: $healedBy, $restarts restarts', async (fault) => {
  outcomes.push(await play(fault))
})
