/** All faults, and their parts on one stage. */
import type { Expected, Fault, RealFault, Scene, StageName, Way } from './fault.ts'
import { down } from './it-is-down.ts'
import { up } from './it-is-up.ts'
import { refuses } from './it-refuses.ts'

export type Part = { id: string; name: string } & Expected & Way<Scene>

const byId = (a: Fault | RealFault, b: Fault | RealFault) => a.id.localeCompare(b.id, 'en', { numeric: true })

export const faults: (Fault | RealFault)[] = [...refuses, ...up, ...down].sort(byId)

export function partsOf(stage: StageName): Part[] {
  return faults.flatMap((fault) => {
    const { real, systemd, ...own } = fault
    const way = { 'stand-in': 'produce' in own ? own : undefined, real, systemd }[stage]
    if (!way) return []
    // What is done on the stand-in's stage is not done on another.
    const { produce, meanwhile, again, check, repair, cannotBeMade, ...expected } = own as Fault
    return [{ ...expected, ...(way as unknown as Part) }]
  })
}
