/** The table of the fault library. */
import type { StageName } from './fault.ts'
import type { Outcome } from './play.ts'

/** A line of the table before it is played: what should come of it. */
export interface Planned {
  id: string
  name: string
  stage: StageName
  verdict: string
}

const HEAD = ['#', 'class', 'stage', 'verdict', 'healed by', 'restarts', 'seconds', 'a human is told']

export function tableOf(planned: readonly Planned[], outcomes: readonly Outcome[]): string {
  const rows = planned.map(({ id, name, stage, verdict }) => {
    const outcome = outcomes.find((one) => one.id === id && one.stage === stage)
    if (!outcome) return [id, name, stage, verdict, 'not played, or not as it should', '', '', '']
    const { healedBy, restarts, seconds, told } = outcome
    const words = told === '' ? '–' : told.slice(0, 60)
    return [id, name, stage, outcome.verdict, healedBy, String(restarts), seconds?.toFixed(1) ?? '–', words]
  })
  const widths = HEAD.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`
  return [line(HEAD), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}
