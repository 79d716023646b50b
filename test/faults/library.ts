/** All faults, and their parts on one stage. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault, RealFault, Scene, StageName } from './fault.ts'
import type { Part } from './play.ts'

const names = readdirSync(import.meta.dirname).filter((name) => /^\d\d-.*\.ts$/.test(name))
const modules = await Promise.all(names.map((name) => import(join(import.meta.dirname, name))))

export const faults = modules.flatMap(({ default: one }) => one as (Fault | RealFault) | (Fault | RealFault)[])

/** The faults that can be played on a stage, as they are there. */
export function partsOf<S extends Scene>(stage: StageName): Part<S>[] {
  return faults.flatMap((fault) => {
    const { real, systemd, ...own } = fault
    const way = { 'stand-in': 'produce' in own ? own : undefined, real, systemd }[stage]
    if (!way) return []
    // What is done on the stand-in's stage is not done on another.
    const { produce, meanwhile, again, check, repair, cannotBeMade, ...expected } = own as Fault
    return [{ ...expected, ...(way as unknown as Part<S>) }]
  })
}
