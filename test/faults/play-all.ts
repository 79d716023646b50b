/** Plays all faults that can be played on a stage; the table of the run is printed when all stages are done (table.ts). */
import { appendFileSync } from 'node:fs'
import { afterAll, beforeAll, inject, test } from 'vitest'
import type { Scene, StageName } from './fault.ts'
import { partsOf } from './library.ts'
import { type Performance, play } from './play.ts'
import type { Line } from './table.ts'

export interface Stage<S extends Scene> {
  open(settings?: Record<string, string>): Promise<Performance<S>>
  close(): Promise<void>
}

/** @param inTurn the stage is one for all faults */
export function playAll<S extends Scene>(name: StageName, build: () => Promise<Stage<S>>, inTurn = true): void {
  const note = (line: Line) => appendFileSync(inject('linesOfTable'), `${JSON.stringify(line)}\n`)
  let stage: Stage<S>
  beforeAll(async () => {
    stage = await build()
  })
  afterAll(() => stage?.close())

  for (const part of partsOf<S>(name)) {
    test(`${part.id} ${part.name}: ${part.healedBy}, ${part.restarts} restarts`, { concurrent: !inTurn }, async ({
      skip,
    }) => {
      const about = { id: part.id, name: part.name, stage: name, verdict: part.verdict }
      const why = part.cannotBeMade?.()
      note({ ...about, healedBy: why ?? 'NOT AS IT SHOULD BE', restarts: '', seconds: '', told: '' })
      if (why) skip(why)
      const { verdict, healedBy, restarts, seconds, told } = await play(part, await stage.open(part.settings))
      const words = told === '' ? '–' : told.slice(0, 60)
      const measured = { restarts: String(restarts), seconds: seconds?.toFixed(1) ?? '–', told: words }
      note({ ...about, verdict, healedBy, ...measured })
    })
  }
}
