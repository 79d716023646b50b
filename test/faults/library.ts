/** All faults, and their parts on one stage. */
import { chatAndCrash } from './chat-and-crash.ts'
import type { Expected, Fault, RealFault, Scene, StageName, Way } from './fault.ts'
import { diesOften } from './it-dies-often.ts'
import { down } from './it-is-down.ts'
import { up } from './it-is-up.ts'
import { refuses } from './it-refuses.ts'
import { saysWhy } from './it-says-why.ts'
import { whoRunsIt } from './who-runs-it.ts'

export type AnyFault = Fault | RealFault
export type Part = { id: string; name: string } & Expected & Way<Scene>

const byId = (a: AnyFault, b: AnyFault) => a.id.localeCompare(b.id, 'en', { numeric: true })

/** The 21 classes. */
export const faults: AnyFault[] = [...refuses, ...up, ...down].sort(byId)
/** What field reports added to them. */
export const fieldFaults: AnyFault[] = [...saysWhy, ...diesOften, ...chatAndCrash, ...whoRunsIt]

export function partsOf(stage: StageName, among: AnyFault[]): Part[] {
  return among.flatMap((fault) => {
    const { real, systemd, ...own } = fault
    const way = { 'stand-in': 'produce' in own ? own : undefined, real, systemd }[stage]
    if (!way) return []
    // What is done on the stand-in's stage is not done on another.
    const { produce, meanwhile, again, check, repair, cannotBeMade, ...expected } = own as Fault
    return [{ ...expected, ...(way as unknown as Part) }]
  })
}
